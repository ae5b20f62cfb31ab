use std::ffi::{c_char, c_void};
use std::mem;

use super::boundary::{c_text, enter, handle_mut, harmless, optional_text, shielded, text};
use super::status::tokauth_status;
use super::values::tokauth_error;
use crate::config::Builder;
use crate::log::LogLevel;

/// Options: texts under names, in any order; a later one replaces, NULL removes. Names and values are judged together,
/// by tokauth_client_new(). To be used by one thread at a time.
#[derive(Debug, Default)]
pub struct tokauth_config {
    pub(super) builder: Builder,
}

/// Gets one line: level 1 error, 2 warning, 3 info, 4 debug; the message lives for the call. Called on any thread that
/// asks for a token, with no lock held, while others may wait for that token: it must be quick, must not ask a client
/// for one, and must not unwind or longjmp. Lines hold no secret and no token.
pub type tokauth_log_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, level: i32, message: *const c_char)>;

/// Called once, when user_data is needed no more: the config and all its clients are gone or have another log. Any
/// thread.
pub type tokauth_destroy_fn = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// The host's log callback and what it needs.
struct HostLog {
    log: unsafe extern "C" fn(user_data: *mut c_void, level: i32, message: *const c_char),
    data: HostData,
}

/// The host's data, destroyed with its last owner.
struct HostData {
    user_data: *mut c_void,
    destroy: tokauth_destroy_fn,
}

// SAFETY: the header says that callback and destroy run on any thread, and user_data is only handed to them.
unsafe impl Send for HostData {}
// SAFETY: as above.
unsafe impl Sync for HostData {}

impl Drop for HostData {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy {
            // SAFETY: the host gave both for this one call.
            shielded(|| unsafe { destroy(self.user_data) });
        }
    }
}

impl HostLog {
    fn line(&self, level: LogLevel, line: &str) {
        let level = match level {
            LogLevel::Error => 1,
            LogLevel::Warning => 2,
            LogLevel::Info => 3,
            LogLevel::Debug => 4,
        };
        // SAFETY: the host promised a callback for any thread; user_data lives until destroy.
        unsafe { (self.log)(self.data.user_data, level, c_text(line).as_ptr()) };
    }
}

/// An empty config. Never NULL. Free it with tokauth_config_free().
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn tokauth_config_new() -> *mut tokauth_config {
    Box::into_raw(Box::default())
}

/// Frees a config; clients made from it live on. NULL does nothing.
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_config_free(config: *mut tokauth_config) {
    if !config.is_null() {
        // SAFETY: not NULL, made by tokauth_config_new, and the caller gives it up.
        let config = unsafe { Box::from_raw(config) };
        harmless((), || drop(config));
    }
}

/// Sets an option; NULL as value removes it. Fails with TOKAUTH_ERR_INVALID_ARGUMENT for a NULL config or name, text
/// that is not UTF-8, or more than 64 KiB; nothing has changed then.
/// Threads: one at a time per config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_config_set(
    config: *mut tokauth_config,
    name: *const c_char,
    value: *const c_char,
    out_error: *mut *mut tokauth_error,
) -> tokauth_status {
    let body = || {
        // SAFETY: the header asks for a NULL or live config that no other thread uses.
        let config = unsafe { handle_mut(config, "config") }?;
        // SAFETY: the header asks for a NULL or NUL-terminated string.
        let name = unsafe { text(name, "name") }?;
        // SAFETY: as above.
        let value = unsafe { optional_text(value, "value") }?;
        let builder = mem::take(&mut config.builder);
        config.builder = match value {
            Some(value) => builder.set(name, value),
            None => builder.remove(name),
        };
        Ok(())
    };
    // SAFETY: the header asks for a NULL or writable error slot.
    unsafe { enter(out_error, body) }
}

/// Takes every variable of the environment whose name begins with prefix (NULL: "TOKAUTH_"); the rest of the name, in
/// lower case, is the option. No other function reads options from the environment. Nothing has changed on failure.
/// Threads: one at a time per config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_config_load_env(
    config: *mut tokauth_config,
    prefix: *const c_char,
    out_error: *mut *mut tokauth_error,
) -> tokauth_status {
    let body = || {
        // SAFETY: the header asks for a NULL or live config that no other thread uses.
        let config = unsafe { handle_mut(config, "config") }?;
        // SAFETY: the header asks for a NULL or NUL-terminated string.
        let prefix = unsafe { optional_text(prefix, "prefix") }?;
        config.builder = config.builder.clone().load_env(prefix)?;
        Ok(())
    };
    // SAFETY: the header asks for a NULL or writable error slot.
    unsafe { enter(out_error, body) }
}

/// Takes every member of one flat JSON object: texts, numbers and booleans as their text; null removes; a name given
/// twice is refused. Nothing has changed on failure.
/// Threads: one at a time per config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_config_load_json(
    config: *mut tokauth_config,
    json: *const c_char,
    out_error: *mut *mut tokauth_error,
) -> tokauth_status {
    let body = || {
        // SAFETY: the header asks for a NULL or live config that no other thread uses.
        let config = unsafe { handle_mut(config, "config") }?;
        // SAFETY: the header asks for a NULL or NUL-terminated string.
        let json = unsafe { text(json, "json") }?;
        config.builder = config.builder.clone().load_json(json)?;
        Ok(())
    };
    // SAFETY: the header asks for a NULL or writable error slot.
    unsafe { enter(out_error, body) }
}

/// Sends log lines of clients made from now on to log; NULL as log sends them nowhere. user_data is the library's from
/// this call on: destroy (may be NULL) gets it once, when the config and all its clients are gone or have another log,
/// and at once if this fails or log is NULL.
/// Threads: one at a time per config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_config_set_log(
    config: *mut tokauth_config,
    log: tokauth_log_fn,
    user_data: *mut c_void,
    destroy: tokauth_destroy_fn,
) -> tokauth_status {
    let data = HostData { user_data, destroy };
    let body = || {
        // SAFETY: the header asks for a NULL or live config that no other thread uses.
        let config = unsafe { handle_mut(config, "config") }?;
        let before = config.builder.clone();
        let builder = mem::take(&mut config.builder);
        config.builder = match log {
            Some(log) => {
                let host = HostLog { log, data };
                builder.log(move |level, line| host.line(level, line))
            }
            None => builder.without_log(),
        };
        drop(before); // the config is whole again when the host's destroy runs
        Ok(())
    };
    // SAFETY: NULL is allowed.
    unsafe { enter(std::ptr::null_mut(), body) }
}
