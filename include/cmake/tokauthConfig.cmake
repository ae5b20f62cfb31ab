# CMake's package of libtokauth: find_package(tokauth 0.1 REQUIRED) gives tokauth::tokauth, the shared library, and
# tokauth::tokauth_static with the system's libraries that it needs.
#
# All paths come from where this file lies, PREFIX/share/cmake/tokauth or LIBDIR/cmake/tokauth: an installed tree may
# be moved.
get_filename_component(_tokauth_here "${CMAKE_CURRENT_LIST_DIR}" REALPATH)
set(_tokauth_prefix "${_tokauth_here}")
while(NOT EXISTS "${_tokauth_prefix}/include/tokauth.h")
    get_filename_component(_tokauth_above "${_tokauth_prefix}" DIRECTORY)
    if(_tokauth_above STREQUAL _tokauth_prefix)
        break()
    endif()
    set(_tokauth_prefix "${_tokauth_above}")
endwhile()
get_filename_component(_tokauth_libdir "${_tokauth_here}/../.." ABSOLUTE)

set(_tokauth_shared "${CMAKE_SHARED_LIBRARY_PREFIX}tokauth${CMAKE_SHARED_LIBRARY_SUFFIX}")
set(_tokauth_static "${CMAKE_STATIC_LIBRARY_PREFIX}tokauth${CMAKE_STATIC_LIBRARY_SUFFIX}")
foreach(_tokauth_folder IN ITEMS "lib/${CMAKE_LIBRARY_ARCHITECTURE}" lib64 lib)
    if(NOT EXISTS "${_tokauth_libdir}/${_tokauth_shared}" AND NOT EXISTS "${_tokauth_libdir}/${_tokauth_static}")
        set(_tokauth_libdir "${_tokauth_prefix}/${_tokauth_folder}")
    endif()
endforeach()

if(NOT TARGET tokauth::tokauth AND EXISTS "${_tokauth_libdir}/${_tokauth_shared}")
    add_library(tokauth::tokauth SHARED IMPORTED)
    set_target_properties(tokauth::tokauth PROPERTIES
        IMPORTED_LOCATION "${_tokauth_libdir}/${_tokauth_shared}"
        INTERFACE_INCLUDE_DIRECTORIES "${_tokauth_prefix}/include")
endif()

# What the system must add is written in tokauth.pc: the compiler knew it.
if(NOT TARGET tokauth::tokauth_static AND EXISTS "${_tokauth_libdir}/${_tokauth_static}"
        AND EXISTS "${_tokauth_libdir}/pkgconfig/tokauth.pc")
    file(STRINGS "${_tokauth_libdir}/pkgconfig/tokauth.pc" _tokauth_private REGEX "^Libs\\.private: ")
    string(REGEX REPLACE "^Libs\\.private: *" "" _tokauth_private "${_tokauth_private}")
    separate_arguments(_tokauth_private UNIX_COMMAND "${_tokauth_private}")
    add_library(tokauth::tokauth_static STATIC IMPORTED)
    set_target_properties(tokauth::tokauth_static PROPERTIES
        IMPORTED_LOCATION "${_tokauth_libdir}/${_tokauth_static}"
        INTERFACE_INCLUDE_DIRECTORIES "${_tokauth_prefix}/include"
        INTERFACE_LINK_LIBRARIES "${_tokauth_private}")
endif()

if(NOT EXISTS "${_tokauth_prefix}/include/tokauth.h"
        OR (NOT TARGET tokauth::tokauth AND NOT TARGET tokauth::tokauth_static))
    set(tokauth_FOUND FALSE)
    set(tokauth_NOT_FOUND_MESSAGE
        "no include/tokauth.h above ${_tokauth_here}, or no ${_tokauth_shared} and no ${_tokauth_static} in its lib")
endif()
