use std::ffi::{CStr, c_char};

use crate::provider::BUILT_IN_WITH_NUL;

const MAJOR: u32 = number(env!("CARGO_PKG_VERSION_MAJOR"));
const MINOR: u32 = number(env!("CARGO_PKG_VERSION_MINOR"));
const PATCH: u32 = number(env!("CARGO_PKG_VERSION_PATCH"));
const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

const fn number(digits: &str) -> u32 {
    let (bytes, mut value, mut index) = (digits.as_bytes(), 0, 0);
    while index < bytes.len() {
        value = value * 10 + (bytes[index] - b'0') as u32;
        index += 1;
    }
    value
}

/// Returns the version of the library that runs, which may be newer than this header.
///
/// Does not block.
///
/// @return major << 16 | minor << 8 | patch, as TOKAUTH_VERSION_NUMBER is of the header.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn tokauth_version_number() -> u32 {
    MAJOR << 16 | MINOR << 8 | PATCH
}

/// Returns the version of the library that runs, as text.
///
/// Does not block.
///
/// @return "0.1.0", for example, which lives for ever. Never NULL.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn tokauth_version_string() -> *const c_char {
    VERSION.as_ptr()
}

/// Returns how many providers are built in.
///
/// Does not block.
///
/// @return their number; tokauth_provider_name() names each.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn tokauth_provider_count() -> usize {
    BUILT_IN_WITH_NUL.len()
}

/// Returns the name of a built-in provider, as the option provider takes it.
///
/// Does not block.
///
/// @param index  0 for the first; they are sorted.
/// @return the name, which lives for ever; NULL past the end.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn tokauth_provider_name(index: usize) -> *const c_char {
    BUILT_IN_WITH_NUL.get(index).map_or(std::ptr::null(), |name| name.as_ptr().cast())
}
