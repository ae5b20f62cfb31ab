use std::ffi::{c_char, c_void};
use std::mem;

use super::boundary::{c_text, enter, handle_mut, harmless, optional_text, shielded, text};
use super::status::tokauth_status;
use super::values::tokauth_error;
use crate::config::Builder;
use crate::log::LogLevel;

/// Options: texts under names, in any order. To be used by one thread at a time. Since: 0.1.0.
#[derive(Debug, Default)]
pub struct tokauth_config {
    pub(super) builder: Builder,
}

/// Gets a line of the log, which holds no secret and no token.
///
/// Called by several threads at once: on each that makes or calls a client, with no mutex held, while others may wait
/// for what that call brings. It must be quick, must not ask a client for a token, and must not unwind or longjmp.
///
/// @param user_data  what tokauth_config_set_log() got.
/// @param level      1 error, 2 warning, 3 info, 4 debug.
/// @param message    lives for the call.
///
/// Threads: any number at once. Since: 0.1.0.
pub type tokauth_log_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, level: i32, message: *const c_char)>;

/// Called once, when user_data is needed no more: the config and all its clients are gone or have another log. Must not
/// unwind or longjmp.
///
/// Threads: any. Since: 0.1.0.
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

/// Makes an empty config.
///
/// Does not block.
///
/// @return a config to free with tokauth_config_free(). Never NULL.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn tokauth_config_new() -> *mut tokauth_config {
    Box::into_raw(Box::default())
}

/// Frees a config; clients made from it live on.
///
/// Wipes the values that it holds. Does not block; calls the log's destroy, if no client has that log.
///
/// @param config  NULL does nothing.
///
/// Threads: any, when no other uses the config any more. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_config_free(config: *mut tokauth_config) {
    if !config.is_null() {
        // SAFETY: not NULL, made by tokauth_config_new, and the caller gives it up.
        let config = unsafe { Box::from_raw(config) };
        harmless((), || drop(config));
    }
}

/// Sets an option, in place of what it was set to before.
///
/// Only keeps the texts: tokauth_client_new() judges all of them together. Does not block.
///
/// @param name   an option of the list above.
/// @param value  what to set it to, numbers too: "5000"; NULL removes the option.
/// @return TOKAUTH_OK; TOKAUTH_ERR_INVALID_ARGUMENT for a NULL config or name, text that is not UTF-8, or more than 64
///         KiB: nothing has changed then.
///
/// Threads: one at a time per config. Since: 0.1.0.
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

/// Takes every variable of the environment whose name begins with a prefix as an option.
///
/// The rest of the name, in lower case, is the option: TOKAUTH_CLIENT_ID is client_id. (So param.NAME and header.NAME
/// do not come this way.) No other function reads options from the environment. Does not block.
///
/// @param prefix  NULL for "TOKAUTH_".
/// @return TOKAUTH_OK; TOKAUTH_ERR_CONFIG for an empty prefix, and for a variable under it that is not in upper case or
///         not UTF-8; TOKAUTH_ERR_INVALID_ARGUMENT as tokauth_config_set(). Nothing has changed on failure.
///
/// Threads: one at a time per config, and none that changes the environment meanwhile. Since: 0.1.0.
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

/// Takes every member of one flat JSON object as an option.
///
/// Texts as they are, whole numbers and booleans as their text; null removes the option. Does not block.
///
/// @param json  such as {"provider": "calven", "client_id": "my-id", "timeout_ms": 5000}; not kept.
/// @return TOKAUTH_OK; TOKAUTH_ERR_CONFIG if it is no such object or gives a name twice; TOKAUTH_ERR_INVALID_ARGUMENT
///         as tokauth_config_set(). Nothing has changed on failure.
///
/// Threads: one at a time per config. Since: 0.1.0.
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

/// Sends the log lines of clients made from now on to a callback.
///
/// user_data is the library's from this call on: destroy gets it once, when the config and all its clients are gone or
/// have another log, and at once if this fails or log is NULL. Does not block; calls the destroy of the log before, if
/// no client has that.
///
/// @param log        gets the lines; NULL sends them nowhere.
/// @param user_data  handed to both callbacks, and left alone; may be NULL.
/// @param destroy    NULL if nothing is to be done.
/// @return TOKAUTH_OK, or TOKAUTH_ERR_INVALID_ARGUMENT for a NULL config.
///
/// Threads: one at a time per config. Since: 0.1.0.
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

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;
    use crate::ffi::{TOKAUTH_ERR_INVALID_ARGUMENT, TOKAUTH_OK};

    unsafe extern "C" fn log(_: *mut c_void, _: i32, _: *const c_char) {}

    unsafe extern "C" fn destroy(count: *mut c_void) {
        // SAFETY: each test gives a counter that lives.
        let count = unsafe { &mut *count.cast::<u32>() };
        *count += 1;
    }

    #[test]
    fn the_data_of_a_log_is_destroyed_once_whatever_becomes_of_it() {
        let mut count = 0_u32;
        let data = (&raw mut count).cast::<c_void>();
        // SAFETY: NULL is allowed; the data lives.
        let status = unsafe { tokauth_config_set_log(ptr::null_mut(), Some(log), data, Some(destroy)) };
        // SAFETY: it is this test's, which reads it while nobody writes.
        assert_eq!((status, unsafe { data.cast::<u32>().read() }), (TOKAUTH_ERR_INVALID_ARGUMENT, 1), "refused");
        let config = tokauth_config_new();
        for (log, destroyed) in [(Some(log as _), 1), (Some(log as _), 2), (None, 4)] {
            // SAFETY: a live config; the data lives.
            assert_eq!(unsafe { tokauth_config_set_log(config, log, data, Some(destroy)) }, TOKAUTH_OK);
            // SAFETY: as above.
            assert_eq!(unsafe { data.cast::<u32>().read() }, destroyed);
        }
        // SAFETY: a live config; the data lives.
        assert_eq!(unsafe { tokauth_config_set_log(config, Some(log), data, Some(destroy)) }, TOKAUTH_OK);
        // SAFETY: given up here.
        unsafe { tokauth_config_free(config) };
        // SAFETY: as above.
        assert_eq!(unsafe { data.cast::<u32>().read() }, 5);
    }
}
