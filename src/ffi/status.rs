use std::ffi::{CStr, c_char};

use crate::error::ErrorKind;

/// What became of a call: 0 is success. Each number below says when it comes, and what to do. Numbers are never reused;
/// new ones may come. Since: 0.1.0.
pub type tokauth_status = i32;

/// Success.
pub const TOKAUTH_OK: tokauth_status = 0;
/// A pointer that must not be NULL is, a text is not UTF-8 or too long, or a flag is unknown: correct the call.
pub const TOKAUTH_ERR_INVALID_ARGUMENT: tokauth_status = 1;
/// An option is missing, unknown, malformed or contradicts another: correct the option that is named.
pub const TOKAUTH_ERR_CONFIG: tokauth_status = 2;
/// The buffer cannot hold the text: give the size that is needed; the token is cached.
pub const TOKAUTH_ERR_BUFFER_TOO_SMALL: tokauth_status = 3;
/// This build or version does not offer what was asked for: leave the option out, build with the feature, or use the
/// token's own headers.
pub const TOKAUTH_ERR_UNSUPPORTED: tokauth_status = 4;
/// Only a cached token was asked for, and there is none: ask without cached-only.
pub const TOKAUTH_ERR_NOT_CACHED: tokauth_status = 5;
/// No answer: name lookup, connection or proxy failed, or the connection broke. Ask again later; check address, proxy
/// and network.
pub const TOKAUTH_ERR_NETWORK: tokauth_status = 10;
/// The call's time ran out: ask again, or raise timeout_ms.
pub const TOKAUTH_ERR_TIMEOUT: tokauth_status = 11;
/// The server's certificate or the TLS handshake was not acceptable: check the host; for a private CA set ca_file.
pub const TOKAUTH_ERR_TLS: tokauth_status = 12;
/// The provider refused the request: correct credentials or options; asking again unchanged is pointless.
pub const TOKAUTH_ERR_DENIED: tokauth_status = 20;
/// The provider asks to wait: wait as long as is told, by tokauth_error_retry_after_ms().
pub const TOKAUTH_ERR_RATE_LIMITED: tokauth_status = 21;
/// The provider failed: ask again later.
pub const TOKAUTH_ERR_SERVER: tokauth_status = 22;
/// The reply cannot be understood, or holds no usable token: check token_url.
pub const TOKAUTH_ERR_BAD_RESPONSE: tokauth_status = 23;
/// The token budget is spent: wait until the time that is told, or raise quota if it is less than the provider allows.
/// See tokauth_error_retry_after_ms().
pub const TOKAUTH_ERR_QUOTA: tokauth_status = 30;
/// The store cannot be used, or holds a ledger that cannot be read, and the call cannot do without: mend the directory,
/// the server or the ledger that is named, or give another: store=file:/directory.
pub const TOKAUTH_ERR_STORE: tokauth_status = 31;
/// A bug in this library: report the bug.
pub const TOKAUTH_ERR_INTERNAL: tokauth_status = 90;

macro_rules! names {
    ($($name:ident)*) => { &[$(($name, match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
        Ok(name) => name,
        Err(_) => c"",
    })),*] };
}

const NAMES: &[(tokauth_status, &CStr)] = names!(TOKAUTH_OK TOKAUTH_ERR_INVALID_ARGUMENT TOKAUTH_ERR_CONFIG
    TOKAUTH_ERR_BUFFER_TOO_SMALL TOKAUTH_ERR_UNSUPPORTED TOKAUTH_ERR_NOT_CACHED TOKAUTH_ERR_NETWORK TOKAUTH_ERR_TIMEOUT
    TOKAUTH_ERR_TLS TOKAUTH_ERR_DENIED TOKAUTH_ERR_RATE_LIMITED TOKAUTH_ERR_SERVER TOKAUTH_ERR_BAD_RESPONSE
    TOKAUTH_ERR_QUOTA TOKAUTH_ERR_STORE TOKAUTH_ERR_INTERNAL);

/// Returns the name of a status, as the macros spell it.
///
/// Does not block.
///
/// @param status  any number.
/// @return "TOKAUTH_ERR_DENIED", for example, which lives for ever; "TOKAUTH_ERR_UNKNOWN" for a number that this
///         version of the library does not know. Never NULL.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn tokauth_status_name(status: tokauth_status) -> *const c_char {
    NAMES.iter().find(|(known, _)| *known == status).map_or(c"TOKAUTH_ERR_UNKNOWN", |(_, name)| *name).as_ptr()
}

/// No `_` arm: a new kind does not compile until it has a status.
pub(super) fn of_kind(kind: ErrorKind) -> tokauth_status {
    match kind {
        ErrorKind::Config => TOKAUTH_ERR_CONFIG,
        ErrorKind::Unsupported => TOKAUTH_ERR_UNSUPPORTED,
        ErrorKind::NotCached => TOKAUTH_ERR_NOT_CACHED,
        ErrorKind::Network => TOKAUTH_ERR_NETWORK,
        ErrorKind::Timeout => TOKAUTH_ERR_TIMEOUT,
        ErrorKind::Tls => TOKAUTH_ERR_TLS,
        ErrorKind::Denied => TOKAUTH_ERR_DENIED,
        ErrorKind::RateLimited => TOKAUTH_ERR_RATE_LIMITED,
        ErrorKind::Server => TOKAUTH_ERR_SERVER,
        ErrorKind::BadResponse => TOKAUTH_ERR_BAD_RESPONSE,
        ErrorKind::Quota => TOKAUTH_ERR_QUOTA,
        ErrorKind::Store => TOKAUTH_ERR_STORE,
        ErrorKind::Internal => TOKAUTH_ERR_INTERNAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_of_the_header_has_its_name_and_no_other_number_has_one() {
        let header = include_str!("../../include/tokauth.h");
        let macros = header.lines().filter_map(|line| line.strip_prefix("#define ")?.split_once(' '));
        let statuses: Vec<(tokauth_status, &str)> = macros
            .filter(|(name, _)| *name == "TOKAUTH_OK" || name.starts_with("TOKAUTH_ERR_"))
            .map(|(name, number)| (number.parse().unwrap(), name))
            .collect();
        let named: Vec<_> = NAMES.iter().map(|(number, name)| (*number, name.to_str().unwrap())).collect();
        assert_eq!(named, statuses);
    }
}
