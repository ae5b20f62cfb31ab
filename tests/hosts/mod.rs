//! One view of the library for tests, through its Rust API and through its C functions.
#![allow(dead_code, unreachable_pub)] // each test file uses a part
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::multiple_unsafe_ops_per_block)] // this plays a C host

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::canary;
use tokauth::ffi::*;
use tokauth::seams::RetryClass;
use tokauth::{Client, Counter, Error, ErrorKind, Token};

pub const CONFIG: i32 = TOKAUTH_ERR_CONFIG;
pub const UNSUPPORTED: i32 = TOKAUTH_ERR_UNSUPPORTED;
pub const NOT_CACHED: i32 = TOKAUTH_ERR_NOT_CACHED;
pub const NETWORK: i32 = TOKAUTH_ERR_NETWORK;
pub const TIMEOUT: i32 = TOKAUTH_ERR_TIMEOUT;
pub const TLS: i32 = TOKAUTH_ERR_TLS;
pub const DENIED: i32 = TOKAUTH_ERR_DENIED;
pub const RATE_LIMITED: i32 = TOKAUTH_ERR_RATE_LIMITED;
pub const SERVER: i32 = TOKAUTH_ERR_SERVER;
pub const BAD_RESPONSE: i32 = TOKAUTH_ERR_BAD_RESPONSE;
pub const STORE: i32 = TOKAUTH_ERR_STORE;

/// Runs each behaviour once through each API. An attribute in front goes to all tests.
macro_rules! through_both_apis {
    (#[$attribute:meta] $($behaviour:ident),* $(,)?) => {
        mod in_rust { $(#[test] #[$attribute] fn $behaviour() { super::$behaviour::<super::hosts::InRust>(); })* }
        mod in_c { $(#[test] #[$attribute] fn $behaviour() { super::$behaviour::<super::hosts::InC>(); })* }
    };
    ($($behaviour:ident),* $(,)?) => {
        mod in_rust { $(#[test] fn $behaviour() { super::$behaviour::<super::hosts::InRust>(); })* }
        mod in_c { $(#[test] fn $behaviour() { super::$behaviour::<super::hosts::InC>(); })* }
    };
}
pub(crate) use through_both_apis;

/// A failure as both APIs tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: i32,
    pub message: String,
    pub provider_code: Option<String>,
    pub http_status: i32,
    pub retry_after_ms: i64,
    /// Told in Rust only.
    pub class: Option<RetryClass>,
}

/// A token as both APIs tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub value: String,
    pub authorization: Option<String>,
    pub token_type: String,
    pub scope: Option<String>,
    pub headers: Vec<(String, String)>,
    pub expires_at: i64,
}

impl Seen {
    pub fn life(&self) -> i64 {
        self.expires_at - SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
    }
}

/// A client in some host.
pub trait Host: Sized + Sync {
    fn client(options: &[(String, String)]) -> Result<Self, Failure>;
    fn token(&self) -> Result<Seen, Failure>;
    fn cached(&self) -> Result<Seen, Failure>;
    fn clear(&self);
    /// The counter of requests.
    fn requests(&self) -> u64;
}

static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn log(line: &str) {
    canary::search(line);
    LOG.lock().unwrap().push(line.to_owned());
}

/// Every log line of every host of this process.
pub fn logged() -> Vec<String> {
    LOG.lock().unwrap().clone()
}

pub struct InRust(Client);

impl Host for InRust {
    fn client(options: &[(String, String)]) -> Result<InRust, Failure> {
        canary::watch();
        let builder = options.iter().fold(Client::builder(), |builder, (name, value)| builder.set(name, value));
        canary::outcome(builder.log(|_, line| log(line)).build()).map(InRust).map_err(told)
    }

    fn token(&self) -> Result<Seen, Failure> {
        canary::outcome(self.0.token()).map(seen).map_err(told)
    }

    fn cached(&self) -> Result<Seen, Failure> {
        canary::outcome(self.0.cached()).map(seen).map_err(told)
    }

    fn clear(&self) {
        self.0.clear().unwrap();
    }

    fn requests(&self) -> u64 {
        self.0.counter(Counter::Requests)
    }
}

fn seen(token: Token) -> Seen {
    Seen {
        value: token.value().to_owned(),
        authorization: token.authorization().map(str::to_owned),
        token_type: token.token_type().to_owned(),
        scope: token.scope().map(str::to_owned),
        headers: token.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        expires_at: token.expires_at(),
    }
}

fn told(error: Error) -> Failure {
    let status = match error.kind() {
        ErrorKind::Config => CONFIG,
        ErrorKind::Unsupported => UNSUPPORTED,
        ErrorKind::NotCached => NOT_CACHED,
        ErrorKind::Network => NETWORK,
        ErrorKind::Timeout => TIMEOUT,
        ErrorKind::Tls => TLS,
        ErrorKind::Denied => DENIED,
        ErrorKind::RateLimited => RATE_LIMITED,
        ErrorKind::Server => SERVER,
        ErrorKind::BadResponse => BAD_RESPONSE,
        ErrorKind::Store => STORE,
        other => panic!("{other:?} in a test that does not know it"),
    };
    Failure {
        status,
        message: error.to_string(),
        provider_code: error.provider_code().map(str::to_owned),
        http_status: error.http_status().map_or(0, i32::from),
        retry_after_ms: error.retry_after().map_or(-1, |wait| wait.as_millis() as i64),
        class: Some(error.retry_class()),
    }
}

pub struct InC(*mut tokauth_client);

unsafe impl Sync for InC {}

impl Drop for InC {
    fn drop(&mut self) {
        unsafe { tokauth_client_free(self.0) };
    }
}

impl Host for InC {
    fn client(options: &[(String, String)]) -> Result<InC, Failure> {
        canary::watch();
        let (mut client, mut error) = (ptr::null_mut(), ptr::null_mut());
        let config = tokauth_config_new();
        for (name, value) in options {
            let (name, value) = (CString::new(name.as_str()).unwrap(), CString::new(value.as_str()).unwrap());
            let status = unsafe { tokauth_config_set(config, name.as_ptr(), value.as_ptr(), ptr::null_mut()) };
            assert_eq!(status, TOKAUTH_OK);
        }
        let status = unsafe { tokauth_config_set_log(config, Some(log_c), ptr::null_mut(), None) };
        assert_eq!(status, TOKAUTH_OK);
        let status = unsafe { tokauth_client_new(config, &raw mut client, &raw mut error) };
        unsafe { tokauth_config_free(config) };
        check(status, error).map(|()| InC(client))
    }

    fn token(&self) -> Result<Seen, Failure> {
        self.ask(0)
    }

    fn cached(&self) -> Result<Seen, Failure> {
        self.ask(TOKAUTH_CACHED_ONLY)
    }

    fn clear(&self) {
        assert_eq!(unsafe { tokauth_client_clear(self.0, ptr::null_mut()) }, TOKAUTH_OK);
    }

    fn requests(&self) -> u64 {
        unsafe { tokauth_client_counter(self.0, TOKAUTH_COUNT_REQUESTS) }
    }
}

/// A panic here ends the test program, since it must not cross into the library.
unsafe extern "C" fn log_c(_: *mut c_void, _: i32, line: *const c_char) {
    log(&text(line).unwrap());
}

impl InC {
    fn ask(&self, flags: u32) -> Result<Seen, Failure> {
        let (mut token, mut error) = (ptr::null_mut(), ptr::null_mut());
        let status = unsafe { tokauth_client_token(self.0, flags, &raw mut token, &raw mut error) };
        check(status, error)?;
        let seen = unsafe {
            Seen {
                value: text(tokauth_token_value(token, ptr::null_mut())).unwrap(),
                authorization: text(tokauth_token_authorization(token, ptr::null_mut())),
                token_type: text(tokauth_token_type(token)).unwrap(),
                scope: text(tokauth_token_scope(token)),
                headers: (0..tokauth_token_header_count(token))
                    .map(|index| {
                        let name = text(tokauth_token_header_name(token, index)).unwrap();
                        (name, text(tokauth_token_header_value(token, index)).unwrap())
                    })
                    .collect(),
                expires_at: tokauth_token_expires_at(token),
            }
        };
        unsafe { tokauth_token_free(token) };
        Ok(seen)
    }
}

impl InC {
    /// What tokauth_client_copy_authorization() copies.
    pub fn copy_authorization(&self) -> Result<String, Failure> {
        let (mut buffer, mut error) = ([0_u8; 8192], ptr::null_mut());
        let at = buffer.as_mut_ptr().cast();
        let needed = ptr::null_mut();
        let status = unsafe { tokauth_client_copy_authorization(self.0, 0, at, buffer.len(), needed, &raw mut error) };
        check(status, error)?;
        Ok(CStr::from_bytes_until_nul(&buffer).unwrap().to_str().unwrap().to_owned())
    }
}

fn check(status: i32, error: *mut tokauth_error) -> Result<(), Failure> {
    if status == TOKAUTH_OK {
        assert!(error.is_null());
        return Ok(());
    }
    let failure = unsafe {
        assert_eq!(tokauth_error_status(error), status);
        Failure {
            status,
            message: text(tokauth_error_message(error)).unwrap(),
            provider_code: text(tokauth_error_provider_code(error)),
            http_status: tokauth_error_http_status(error),
            retry_after_ms: tokauth_error_retry_after_ms(error),
            class: None,
        }
    };
    unsafe { tokauth_error_free(error) };
    canary::search(&format!("{failure:?}"));
    Err(failure)
}

fn text(pointer: *const c_char) -> Option<String> {
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_str().unwrap().to_owned())
}
