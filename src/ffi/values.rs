use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::Arc;

use super::boundary::{Fault, c_text, harmless, out_if_wanted};
use super::status::{TOKAUTH_OK, tokauth_status};
use crate::error::Error;
use crate::token::{Text, Token, TokenData};

/// An access token and the headers made of it. Immutable and reference-counted: may be used from any number of threads
/// at once. Its texts live until its last owner has freed it. Since: 0.1.0.
#[derive(Debug)]
pub struct tokauth_token {
    _opaque: [u8; 0],
}

/// Why a call failed. Immutable: may be read from any number of threads at once. Its texts live until it is freed.
/// Since: 0.1.0.
#[derive(Debug)]
pub struct tokauth_error {
    status: tokauth_status,
    message: CString,
    provider_code: Option<CString>,
    http_status: i32,
    retry_after_ms: i64,
}

impl From<Fault> for tokauth_error {
    fn from(fault: Fault) -> tokauth_error {
        let cause = fault.cause.as_ref();
        let retry_after = cause.and_then(Error::retry_after);
        tokauth_error {
            status: fault.status,
            message: c_text(&fault.message),
            provider_code: cause.and_then(Error::provider_code).map(c_text),
            http_status: cause.and_then(Error::http_status).map_or(0, i32::from),
            retry_after_ms: retry_after.map_or(-1, |wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

/// A handle that owns one reference.
pub(super) fn into_handle(token: Token) -> *mut tokauth_token {
    Arc::into_raw(token.into_shared()).cast_mut().cast()
}

/// A token of its own, which shares what the handle points to.
///
/// # Safety
/// `token` is a live handle, not NULL.
pub(super) unsafe fn share(token: *const tokauth_token) -> Token {
    let data: *const TokenData = token.cast();
    // SAFETY: the handle came from Arc::into_raw and is alive, as the caller promised.
    unsafe { Arc::increment_strong_count(data) };
    // SAFETY: takes over the reference that was just added.
    Token::from_shared(unsafe { Arc::from_raw(data) })
}

/// What a token says, or `absent` for NULL.
///
/// # Safety
/// `token` is NULL or a live handle.
unsafe fn ask<'a, T>(token: *const tokauth_token, absent: T, question: impl FnOnce(&'a TokenData) -> T) -> T {
    // SAFETY: NULL or live, as the caller promised; a handle points to TokenData.
    let data = unsafe { token.cast::<TokenData>().as_ref() };
    harmless(None, || data.map(question)).unwrap_or(absent)
}

fn lend(text: Option<&Text>) -> *const c_char {
    text.map_or(ptr::null(), |text| text.with_nul().as_ptr().cast())
}

/// # Safety
/// `token` is NULL or a live handle; `out_len` is NULL or writable.
unsafe fn lend_with_length<'a>(
    token: *const tokauth_token,
    out_len: *mut usize,
    text: impl FnOnce(&'a TokenData) -> Option<&'a Text>,
) -> *const c_char {
    // SAFETY: NULL or writable, as the caller promised.
    let length = unsafe { out_if_wanted(out_len, 0) };
    // SAFETY: NULL or live, as the caller promised.
    let text = unsafe { ask(token, None, text) };
    if let (Some(length), Some(text)) = (length, text) {
        *length = text.as_str().len();
    }
    lend(text)
}

/// Lends the bare token.
///
/// Does not block.
///
/// @param out_len  gets the length without the NUL, 0 for a NULL token; may be NULL.
/// @return visible ASCII, which lives until the last owner frees the token; NULL for a NULL token.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_token_value(token: *const tokauth_token, out_len: *mut usize) -> *const c_char {
    // SAFETY: the header asks for a NULL or live token and a NULL or writable length.
    unsafe { lend_with_length(token, out_len, |token| Some(&token.value)) }
}

/// Lends the value of the Authorization header, with the scheme as the provider's API wants it.
///
/// Does not block.
///
/// @param out_len  gets the length without the NUL, 0 where there is none; may be NULL.
/// @return "Bearer eyJ...", for example, which lives until the last owner frees the token; NULL where the API takes no
///         such header, and for a NULL token.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_token_authorization(
    token: *const tokauth_token,
    out_len: *mut usize,
) -> *const c_char {
    // SAFETY: the header asks for a NULL or live token and a NULL or writable length.
    unsafe { lend_with_length(token, out_len, TokenData::authorization) }
}

/// Returns how many headers a call of the API needs.
///
/// Mostly one, Authorization; some APIs take another, or two. Does not block.
///
/// @return their number; 0 for a NULL token.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_token_header_count(token: *const tokauth_token) -> usize {
    // SAFETY: the header asks for a NULL or live token.
    unsafe { ask(token, 0, |token| token.headers.len()) }
}

/// Lends the name of a header that a call of the API needs.
///
/// Does not block.
///
/// @param index  0 for the first of tokauth_token_header_count().
/// @return the name, which lives until the last owner frees the token; NULL past the end and for a NULL token.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_token_header_name(token: *const tokauth_token, index: usize) -> *const c_char {
    // SAFETY: the header asks for a NULL or live token.
    lend(unsafe { ask(token, None, |token| token.headers.get(index)) }.map(|(name, _)| name))
}

/// Lends the value of a header that a call of the API needs.
///
/// Does not block.
///
/// @param index  0 for the first of tokauth_token_header_count().
/// @return the value, which lives until the last owner frees the token; NULL past the end and for a NULL token.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_token_header_value(token: *const tokauth_token, index: usize) -> *const c_char {
    // SAFETY: the header asks for a NULL or live token.
    lend(unsafe { ask(token, None, |token| token.headers.get(index)) }.map(|(_, value)| value))
}

/// Lends the token type that the server named.
///
/// The scheme of the header is tokauth_token_authorization()'s to say. Does not block.
///
/// @return the type, "Bearer" if the server named none, which lives until the last owner frees the token; NULL for a
///         NULL token.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_token_type(token: *const tokauth_token) -> *const c_char {
    // SAFETY: the header asks for a NULL or live token.
    lend(unsafe { ask(token, None, |token| Some(&token.token_type)) })
}

/// Lends the scope that the server granted, as it wrote it.
///
/// Does not block.
///
/// @return the scope, which lives until the last owner frees the token; NULL if the server did not say (then it is what
///         was asked for), and for a NULL token.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_token_scope(token: *const tokauth_token) -> *const c_char {
    // SAFETY: the header asks for a NULL or live token.
    lend(unsafe { ask(token, None, |token| token.scope.as_ref()) })
}

/// Returns when the token ends, for people to read, not to schedule on.
///
/// By this machine's wall clock, which may be wrong or be set. Does not block.
///
/// @return Unix seconds; 0 for a NULL token.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_token_expires_at(token: *const tokauth_token) -> i64 {
    // SAFETY: the header asks for a NULL or live token.
    unsafe { ask(token, 0, |token| token.expires_at) }
}

/// Makes a second owner of the same token.
///
/// Does not block.
///
/// @return a token to free with tokauth_token_free(), once for each owner; NULL for NULL.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_token_clone(token: *const tokauth_token) -> *mut tokauth_token {
    if token.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: not NULL, and the header asks for a live token.
    into_handle(unsafe { share(token) })
}

/// Gives up one owner's claim to a token.
///
/// The last owner's call wipes its texts. Does not block.
///
/// @param token  NULL does nothing.
///
/// Threads: any, when nobody reads by this owner's claim any more. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_token_free(token: *mut tokauth_token) {
    if !token.is_null() {
        let data: *const TokenData = token.cast_const().cast();
        // SAFETY: not NULL, and the caller gives up its reference.
        let data = unsafe { Arc::from_raw(data) };
        // The last owner's claim: texts are wiped and freed, which does not panic.
        drop(Arc::into_inner(data));
    }
}

/// Returns the status that came with the error.
///
/// Does not block.
///
/// @return the status; TOKAUTH_OK for NULL.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_error_status(error: *const tokauth_error) -> tokauth_status {
    // SAFETY: the header asks for a NULL or live error.
    unsafe { error.as_ref() }.map_or(TOKAUTH_OK, |error| error.status)
}

/// Lends one line for the person who must act: the step, what happened, what to do.
///
/// It holds no secret and no token, and may be logged. Does not block.
///
/// @return the line, which lives until the error is freed; "" for NULL. Never NULL.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_error_message(error: *const tokauth_error) -> *const c_char {
    // SAFETY: the header asks for a NULL or live error.
    unsafe { error.as_ref() }.map_or(c"", |error| &error.message).as_ptr()
}

/// Lends the provider's own code.
///
/// Does not block.
///
/// @return "invalid_client" or "401003", for example, which lives until the error is freed; NULL if it gave none, and
///         for NULL.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_error_provider_code(error: *const tokauth_error) -> *const c_char {
    // SAFETY: the header asks for a NULL or live error.
    let error = unsafe { error.as_ref() };
    error.and_then(|error| error.provider_code.as_ref()).map_or(ptr::null(), |code| code.as_ptr())
}

/// Returns the HTTP status of the reply.
///
/// Does not block.
///
/// @return 401, for example; 0 if there was no reply, and for NULL.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_error_http_status(error: *const tokauth_error) -> i32 {
    // SAFETY: the header asks for a NULL or live error.
    unsafe { error.as_ref() }.map_or(0, |error| error.http_status)
}

/// Returns how long to wait before asking again.
///
/// That is what was left, when the call returned, of the pause that the failure began, in which a call that has no
/// valid token gets this error at once and sends nothing. (After TOKAUTH_ERR_TIMEOUT that holds for calls with the
/// same timeout_ms or less.) Does not block.
///
/// @return milliseconds; 0: ask at once; -1 if no pause began, and for NULL.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_error_retry_after_ms(error: *const tokauth_error) -> i64 {
    // SAFETY: the header asks for a NULL or live error.
    unsafe { error.as_ref() }.map_or(-1, |error| error.retry_after_ms)
}

/// Frees an error, and the texts that it lent.
///
/// Does not block.
///
/// @param error  NULL does nothing.
///
/// Threads: any, when no other reads the error any more. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_error_free(error: *mut tokauth_error) {
    if !error.is_null() {
        // SAFETY: not NULL, made by Box::into_raw, and the caller gives it up.
        drop(unsafe { Box::from_raw(error) });
    }
}
