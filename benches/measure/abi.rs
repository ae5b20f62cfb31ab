//! The shared library as it is shipped, used as a C program uses it: loaded at run time, through its C functions.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::null_mut;

type Handle = *mut c_void;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}
const RTLD_NOW: c_int = 2;

macro_rules! functions {
    ($($name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        #[derive(Clone, Copy)]
        pub struct Abi { $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?),* }

        impl Abi {
            pub fn load(library: &Path) -> Abi {
                let path = CString::new(library.to_str().unwrap()).unwrap();
                let library = unsafe { dlopen(path.as_ptr(), RTLD_NOW) };
                assert!(!library.is_null(), "{path:?} cannot be loaded");
                $(
                    let $name = unsafe { dlsym(library, concat!("tokauth_", stringify!($name), "\0").as_ptr().cast()) };
                    assert!(!$name.is_null(), "there is no tokauth_{}", stringify!($name));
                )*
                Abi {
                    $($name: unsafe {
                        transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>($name)
                    }),*
                }
            }
        }
    };
}

functions! {
    config_new() -> Handle;
    config_set(Handle, *const c_char, *const c_char, *mut Handle) -> i32;
    config_free(Handle);
    client_new(Handle, *mut Handle, *mut Handle) -> i32;
    client_with(Handle, *const c_char, *const c_char, *mut Handle, *mut Handle) -> i32;
    client_token(Handle, u32, *mut Handle, *mut Handle) -> i32;
    client_copy_authorization(Handle, u32, *mut c_char, usize, *mut usize, *mut Handle) -> i32;
    client_generation(Handle) -> u64;
    client_counter(Handle, u32) -> u64;
    client_free(Handle);
    token_free(Handle);
    error_message(Handle) -> *const c_char;
}

/// A client behind the C functions.
pub struct InC {
    abi: Abi,
    client: Handle,
}

// The header says so.
unsafe impl Send for InC {}
unsafe impl Sync for InC {}

impl Drop for InC {
    fn drop(&mut self) {
        unsafe { (self.abi.client_free)(self.client) };
    }
}

impl InC {
    pub fn new(abi: Abi, options: &[(&str, &str)]) -> InC {
        let (mut client, mut error) = (null_mut(), null_mut());
        unsafe {
            let config = (abi.config_new)();
            for (name, value) in options {
                let (name, value) = (CString::new(*name).unwrap(), CString::new(*value).unwrap());
                assert_eq!((abi.config_set)(config, name.as_ptr(), value.as_ptr(), null_mut()), 0);
            }
            let status = (abi.client_new)(config, &raw mut client, &raw mut error);
            assert!(status == 0, "{:?}", CStr::from_ptr((abi.error_message)(error)));
            (abi.config_free)(config);
        }
        InC { abi, client }
    }

    pub fn with_scope(&self, scope: &str) -> InC {
        let (mut client, value) = (null_mut(), CString::new(scope).unwrap());
        let name = c"scope".as_ptr();
        let status = unsafe { (self.abi.client_with)(self.client, name, value.as_ptr(), &raw mut client, null_mut()) };
        assert_eq!(status, 0);
        InC { abi: self.abi, client }
    }

    /// A token that is cached already: nothing is judged here, so that little but the two calls is measured.
    #[inline(always)]
    pub fn token_and_free(&self) {
        let mut token = null_mut();
        unsafe { (self.abi.client_token)(self.client, 0, &raw mut token, null_mut()) };
        unsafe { (self.abi.token_free)(token) };
    }

    /// The status.
    pub fn copy_authorization(&self, buffer: &mut [u8]) -> i32 {
        let (at, size) = (buffer.as_mut_ptr().cast(), buffer.len());
        unsafe { (self.abi.client_copy_authorization)(self.client, 0, at, size, null_mut(), null_mut()) }
    }

    pub fn generation(&self) -> u64 {
        unsafe { (self.abi.client_generation)(self.client) }
    }

    /// A counter by its number in the header.
    pub fn counter(&self, counter: u32) -> u64 {
        unsafe { (self.abi.client_counter)(self.client, counter) }
    }
}

/// Builds it where .ci/run does: cargo drops link-time optimisation where the Rust library is asked for too.
pub fn ship() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let target = executable.ancestors().nth(3).unwrap().join("shipped");
    let mut command = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_")) {
        command.env_remove(name); // of this crate: a build script would think that they changed
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("rustc").args(["--quiet", "--locked", "--release", "--lib"]);
    let status = command.args(["--crate-type", "cdylib", "--target-dir"]).arg(&target).status().unwrap();
    assert!(status.success(), "the shared library was not built");
    target.join("release/libtokauth.so")
}
