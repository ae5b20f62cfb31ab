use std::ffi::c_char;
use std::ptr;

use super::boundary::{Fault, enter, handle, harmless, optional_text, out, out_if_wanted, shielded, text};
use super::config::tokauth_config;
use super::status::{TOKAUTH_ERR_BUFFER_TOO_SMALL, TOKAUTH_ERR_UNSUPPORTED, TOKAUTH_OK, tokauth_status};
use super::values::{into_handle, share, tokauth_error, tokauth_token};
use crate::cache::Counter;
use crate::client::Client;
use crate::token::Token;

/// One credential at one provider, with one scope and audience. May be used from any number of threads at once; clients
/// of one process with equal options share one token. Since: 0.1.0.
#[derive(Debug)]
pub struct tokauth_client {
    client: Client,
}

/// Flag: only a token that is there already, here or in a store on this machine. Never sends, never waits, but may read
/// a file; TOKAUTH_ERR_NOT_CACHED if there is none.
pub const TOKAUTH_CACHED_ONLY: u32 = 1;
/// Flag: a token asked for after this call began, for a person who presses a button. In the pause after a failure it is
/// that failure, for a while after a rejected token was replaced it is the latest token; a budget is obeyed.
pub const TOKAUTH_FORCE_REFRESH: u32 = 2;

/// Counter: token requests whose body left.
pub const TOKAUTH_COUNT_REQUESTS: u32 = 1;
/// Counter: refreshes begun while the old token was still valid.
pub const TOKAUTH_COUNT_REFRESHES_AHEAD: u32 = 2;
/// Counter: attempts that brought no token.
pub const TOKAUTH_COUNT_FAILURES: u32 = 3;
/// Counter: tokens that came from the store.
pub const TOKAUTH_COUNT_STORE_HITS: u32 = 4;
/// Counter: calls that waited for another caller's request.
pub const TOKAUTH_COUNT_WAITS: u32 = 5;

fn of_number(counter: u32) -> Option<Counter> {
    match counter {
        TOKAUTH_COUNT_REQUESTS => Some(Counter::Requests),
        TOKAUTH_COUNT_REFRESHES_AHEAD => Some(Counter::RefreshesAhead),
        TOKAUTH_COUNT_FAILURES => Some(Counter::Failures),
        TOKAUTH_COUNT_STORE_HITS => Some(Counter::StoreHits),
        TOKAUTH_COUNT_WAITS => Some(Counter::Waits),
        _ => None,
    }
}

fn ask(client: &Client, flags: u32) -> Result<Token, Fault> {
    match flags {
        0 => Ok(shielded(|| client.token())?),
        TOKAUTH_CACHED_ONLY => Ok(shielded(|| client.cached())?),
        TOKAUTH_FORCE_REFRESH => Ok(shielded(|| client.refresh())?),
        flags if flags == TOKAUTH_CACHED_ONLY | TOKAUTH_FORCE_REFRESH => {
            Err(Fault::argument("flags: TOKAUTH_CACHED_ONLY and TOKAUTH_FORCE_REFRESH exclude each other"))
        }
        flags => Err(Fault::argument(format!(
            "flags: {:#x} is unknown to this version",
            flags & !(TOKAUTH_CACHED_ONLY | TOKAUTH_FORCE_REFRESH)
        ))),
    }
}

/// What `read` makes of a token that a call without flags would get at once. It runs while others do the same, and
/// touches nothing that they write; whatever is not as it should be goes the whole way instead.
///
/// # Safety
/// `client` is NULL or a live client.
#[inline(always)]
unsafe fn in_passing<T>(client: *const tokauth_client, flags: u32, read: impl FnOnce(&Token) -> T) -> Option<T> {
    if flags != 0 {
        return None;
    }
    // SAFETY: NULL or live, as the caller promised.
    let client = unsafe { client.as_ref() }?;
    client.client.peek(read) // nothing on this way panics, so nothing is to be caught
}

/// Judges all options together and makes a client.
///
/// Blocks for files: reads those that options name, and tries what store=file is to use. Does not touch the network,
/// but for a store in Redis, which it asks for at most 3 s or half of timeout_ms; one that cannot be reached may come
/// later.
///
/// @param config      is not kept, and may be changed or freed afterwards.
/// @param out_client  gets a client to free with tokauth_client_free().
/// @return TOKAUTH_OK; TOKAUTH_ERR_CONFIG and TOKAUTH_ERR_UNSUPPORTED name the option and what to do, TOKAUTH_ERR_STORE
///         what is wrong with the store.
///
/// Threads: any number at once, while none changes the config or, for store=file, the environment. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_client_new(
    config: *const tokauth_config,
    out_client: *mut *mut tokauth_client,
    out_error: *mut *mut tokauth_error,
) -> tokauth_status {
    let body = || {
        // SAFETY: the header asks for a NULL or writable slot.
        let slot = unsafe { out(out_client, ptr::null_mut(), "out_client") }?;
        // SAFETY: the header asks for a NULL or live config.
        let config = unsafe { handle(config, "config") }?;
        *slot = Box::into_raw(Box::new(tokauth_client { client: shielded(|| config.builder.build())? }));
        Ok(())
    };
    // SAFETY: the header asks for a NULL or writable error slot.
    unsafe { enter(out_error, body) }
}

/// Makes a sibling of a client, with one option changed.
///
/// It shares credential, log, connections and store. With another scope or audience it has a token of its own; with
/// another timeout_ms, min_valid_s or refresh_ahead it shares the token too. Blocks as tokauth_client_new() does.
///
/// @param name        an option other than provider, provider_file, client_id, client_secret and client_secret_file.
/// @param value       what to set it to; NULL removes the option.
/// @param out_client  gets a client to free with tokauth_client_free(), before or after the first one.
/// @return TOKAUTH_OK; TOKAUTH_ERR_CONFIG for those five too; else as tokauth_client_new().
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_client_with(
    client: *const tokauth_client,
    name: *const c_char,
    value: *const c_char,
    out_client: *mut *mut tokauth_client,
    out_error: *mut *mut tokauth_error,
) -> tokauth_status {
    let body = || {
        // SAFETY: the header asks for a NULL or writable slot.
        let slot = unsafe { out(out_client, ptr::null_mut(), "out_client") }?;
        // SAFETY: the header asks for a NULL or live client.
        let client = unsafe { handle(client, "client") }?;
        // SAFETY: the header asks for a NULL or NUL-terminated string.
        let name = unsafe { text(name, "name") }?;
        // SAFETY: as above.
        let value = unsafe { optional_text(value, "value") }?;
        *slot = Box::into_raw(Box::new(tokauth_client { client: shielded(|| client.client.with(name, value))? }));
        Ok(())
    };
    // SAFETY: the header asks for a NULL or writable error slot.
    unsafe { enter(out_error, body) }
}

/// Makes a second owner of the same client.
///
/// Does not block.
///
/// @return a client to free with tokauth_client_free(), once for each owner; NULL for NULL.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_client_clone(client: *const tokauth_client) -> *mut tokauth_client {
    // SAFETY: the header asks for a NULL or live client.
    let client = unsafe { client.as_ref() };
    let clone = |client: &tokauth_client| Box::into_raw(Box::new(tokauth_client { client: client.client.clone() }));
    harmless(ptr::null_mut(), || client.map_or(ptr::null_mut(), clone))
}

/// Gives up one owner's claim to a client.
///
/// The token stays cached in this process for the next client with equal options. Does not block. The last of a client
/// and its siblings closes their connections; the last that has a log calls its destroy.
///
/// @param client  NULL does nothing.
///
/// Threads: any, when no call with this pointer runs any more. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_client_free(client: *mut tokauth_client) {
    if !client.is_null() {
        // SAFETY: not NULL, made by this library, and the caller gives it up.
        let client = unsafe { Box::from_raw(client) };
        harmless((), || shielded(|| drop(client)));
    }
}

/// Gives a usable token: the cached one, or by asking the provider.
///
/// Blocks for at most the option timeout_ms; callers that come together share one request and its outcome. After a
/// failure comes a pause, in which a call that has no valid token gets that failure at once: see
/// tokauth_error_retry_after_ms().
///
/// @param flags      0, TOKAUTH_CACHED_ONLY or TOKAUTH_FORCE_REFRESH; not both, and no other bit.
/// @param out_token  gets a token to free with tokauth_token_free(); it needs no client.
/// @return TOKAUTH_OK; TOKAUTH_ERR_NOT_CACHED with TOKAUTH_CACHED_ONLY; else any but TOKAUTH_ERR_BUFFER_TOO_SMALL.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_client_token(
    client: *const tokauth_client,
    flags: u32,
    out_token: *mut *mut tokauth_token,
    out_error: *mut *mut tokauth_error,
) -> tokauth_status {
    if !out_token.is_null() {
        // SAFETY: the header asks for a NULL or live client.
        if let Some(token) = unsafe { in_passing(client, flags, Token::clone) } {
            // SAFETY: not NULL, and the header asks for a writable slot then.
            unsafe { out_token.write(into_handle(token)) };
            // SAFETY: the header asks for a NULL or writable error slot.
            unsafe { out_if_wanted(out_error, ptr::null_mut()) };
            return TOKAUTH_OK;
        }
    }
    // SAFETY: they are this function's own arguments.
    unsafe { ask_for_token(client, flags, out_token, out_error) }
}

/// The whole way.
///
/// # Safety
/// As for [`tokauth_client_token`].
#[cold]
#[inline(never)]
unsafe fn ask_for_token(
    client: *const tokauth_client,
    flags: u32,
    out_token: *mut *mut tokauth_token,
    out_error: *mut *mut tokauth_error,
) -> tokauth_status {
    let body = || {
        // SAFETY: the header asks for a NULL or writable slot.
        let slot = unsafe { out(out_token, ptr::null_mut(), "out_token") }?;
        // SAFETY: the header asks for a NULL or live client.
        let client = unsafe { handle(client, "client") }?;
        *slot = into_handle(ask(&client.client, flags)?);
        Ok(())
    };
    // SAFETY: the header asks for a NULL or writable error slot.
    unsafe { enter(out_error, body) }
}

/// Copies the value of the Authorization header of a usable token into a buffer, all or nothing.
///
/// Gets the token as tokauth_client_token() does, and blocks as that. A new token that does not fit is cached: ask for
/// it with flags 0.
///
/// @param flags        as for tokauth_client_token().
/// @param buffer       gets the text and its NUL; may be NULL if buffer_size is 0, which asks for the size.
/// @param buffer_size  in bytes.
/// @param out_needed   gets the size that is needed, the NUL included, with TOKAUTH_OK and with
///                     TOKAUTH_ERR_BUFFER_TOO_SMALL; may be NULL.
/// @return TOKAUTH_OK; TOKAUTH_ERR_BUFFER_TOO_SMALL; TOKAUTH_ERR_UNSUPPORTED where the API takes no such header; else
///         as tokauth_client_token().
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_client_copy_authorization(
    client: *const tokauth_client,
    flags: u32,
    buffer: *mut c_char,
    buffer_size: usize,
    out_needed: *mut usize,
    out_error: *mut *mut tokauth_error,
) -> tokauth_status {
    let fits = |token: &Token| {
        let text = token.authorization_with_nul().filter(|text| !buffer.is_null() && text.len() <= buffer_size)?;
        // SAFETY: the header asks for buffer_size writable bytes, which suffice.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), text.len()) };
        Some(text.len())
    };
    // SAFETY: the header asks for a NULL or live client.
    if let Some(Some(length)) = unsafe { in_passing(client, flags, fits) } {
        // SAFETY: the header asks for a NULL or writable slot.
        unsafe { out_if_wanted(out_needed, length) };
        // SAFETY: the header asks for a NULL or writable error slot.
        unsafe { out_if_wanted(out_error, ptr::null_mut()) };
        return TOKAUTH_OK;
    }
    // SAFETY: they are this function's own arguments.
    unsafe { ask_for_copy(client, flags, buffer, buffer_size, out_needed, out_error) }
}

/// The whole way.
///
/// # Safety
/// As for [`tokauth_client_copy_authorization`].
#[cold]
#[inline(never)]
unsafe fn ask_for_copy(
    client: *const tokauth_client,
    flags: u32,
    buffer: *mut c_char,
    buffer_size: usize,
    out_needed: *mut usize,
    out_error: *mut *mut tokauth_error,
) -> tokauth_status {
    let body = || {
        // SAFETY: the header asks for a NULL or writable slot.
        let needed = unsafe { out_if_wanted(out_needed, 0) };
        // SAFETY: the header asks for a NULL or live client.
        let client = unsafe { handle(client, "client") }?;
        if buffer.is_null() && buffer_size > 0 {
            return Err(Fault::argument("buffer is NULL, but buffer_size is not 0"));
        }
        let token = ask(&client.client, flags)?;
        let Some(text) = token.authorization_with_nul() else {
            let message = "this API takes no Authorization header; use tokauth_token_header_name() and _value()";
            return Err(Fault::new(TOKAUTH_ERR_UNSUPPORTED, message));
        };
        if let Some(needed) = needed {
            *needed = text.len();
        }
        if text.len() > buffer_size {
            let message = format!("buffer holds {buffer_size} bytes, {} are needed", text.len());
            return Err(Fault::new(TOKAUTH_ERR_BUFFER_TOO_SMALL, message));
        }
        // SAFETY: the header asks for buffer_size writable bytes, which suffice.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), text.len()) };
        Ok(())
    };
    // SAFETY: the header asks for a NULL or writable error slot.
    unsafe { enter(out_error, body) }
}

/// Tells that the API refused a token, so that the next call gets another.
///
/// The token is dropped if it is still the cached one, unless it has itself replaced a rejected one lately (30 s at
/// first, doubling to 15 min; longer where tokens are limited): then it stays in service. Blocks only for a store that
/// is shared, for at most timeout_ms.
///
/// @param rejected  what the API refused, with 401 for example; still the caller's.
/// @return TOKAUTH_OK, also if it was not the cached one; else the store could not be told, and only this process
///         knows.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_client_invalidate(
    client: *const tokauth_client,
    rejected: *const tokauth_token,
    out_error: *mut *mut tokauth_error,
) -> tokauth_status {
    let body = || {
        // SAFETY: the header asks for a NULL or live client.
        let client = unsafe { handle(client, "client") }?;
        // SAFETY: the header asks for a NULL or live token.
        unsafe { handle(rejected, "rejected") }?;
        // SAFETY: live, and just seen not to be NULL.
        let rejected = unsafe { share(rejected) };
        Ok(shielded(|| client.client.invalidate(&rejected))?)
    };
    // SAFETY: the header asks for a NULL or writable error slot.
    unsafe { enter(out_error, body) }
}

/// Forgets the token and the failures, here and in the store: the next call asks the provider.
///
/// Waits that the provider asked for and secrets that it refused are forgotten for all clients of this client id; what
/// rejected tokens have brought about and what is left of a budget stay. Blocks only for a store that is shared, for at
/// most timeout_ms.
///
/// @return TOKAUTH_OK; else the store could not be told, and all is forgotten in this process.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_client_clear(
    client: *const tokauth_client,
    out_error: *mut *mut tokauth_error,
) -> tokauth_status {
    let body = || {
        // SAFETY: the header asks for a NULL or live client.
        let client = unsafe { handle(client, "client") }?;
        Ok(shielded(|| client.client.clear())?)
    };
    // SAFETY: the header asks for a NULL or writable error slot.
    unsafe { enter(out_error, body) }
}

/// Returns how often something happened to the token that this client shares with others.
///
/// Counts in this process, since the first client of that token. Does not block.
///
/// @param counter  TOKAUTH_COUNT_REQUESTS or the like.
/// @return the number; 0 for a NULL client and for counters that this version of the library does not know.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_client_counter(client: *const tokauth_client, counter: u32) -> u64 {
    // SAFETY: the header asks for a NULL or live client.
    let client = unsafe { client.as_ref() };
    harmless(0, || client.zip(of_number(counter)).map_or(0, |(client, counter)| client.client.counter(counter)))
}

/// Returns a number that changes with the token, for hosts that keep a copy of it.
///
/// Never blocks: it waits for no lock, allocates nothing and does not call the system.
///
/// @return 0: call tokauth_client_token() (none is cached, or this caller is to renew it). Else: that call would give,
///         at once, the same token as when this number was last seen. 0 for a NULL client.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_client_generation(client: *const tokauth_client) -> u64 {
    // SAFETY: the header asks for a NULL or live client.
    let client = unsafe { client.as_ref() };
    client.map_or(0, |client| client.client.generation()) // nothing on this way panics
}

/// Tells what is left of the token budget, as the ledger in the store says.
///
/// All scopes and secrets of a client id draw on one. Blocks for reading a file, or for a store in Redis; sends nothing
/// to the provider.
///
/// @param out_remaining  gets the number of requests that may still be sent; -1 without a budget.
/// @param out_next_at    gets 0 if a request may be sent now, else the Unix second from which on.
/// @return TOKAUTH_OK; else the ledger cannot be read: TOKAUTH_ERR_STORE, for example.
///
/// Threads: any number at once. Since: 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tokauth_client_budget(
    client: *const tokauth_client,
    out_remaining: *mut i64,
    out_next_at: *mut i64,
    out_error: *mut *mut tokauth_error,
) -> tokauth_status {
    let body = || {
        // SAFETY: the header asks for a NULL or writable slot.
        let next_at = unsafe { out(out_next_at, 0, "out_next_at") };
        // SAFETY: as above.
        let remaining = unsafe { out(out_remaining, 0, "out_remaining") }?;
        let next_at = next_at?;
        // SAFETY: the header asks for a NULL or live client.
        let client = unsafe { handle(client, "client") }?;
        let left = shielded(|| client.client.budget())?;
        *remaining = left.map_or(-1, |left| left.requests.into());
        *next_at = left.and_then(|left| left.next_at).unwrap_or(0);
        Ok(())
    };
    // SAFETY: the header asks for a NULL or writable error slot.
    unsafe { enter(out_error, body) }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::error::Error;
    use crate::ffi::{
        TOKAUTH_ERR_INTERNAL, tokauth_error_free, tokauth_error_message, tokauth_token_authorization,
        tokauth_token_clone, tokauth_token_free,
    };
    use crate::seams::{
        Change, Clock, Deadline, Event, Head, Name, Registry, Reply, Seams, Secret, Sent, Store, Transport, Turn,
    };

    /// All that a client reaches the world through. Panics while it is broken, and when it goes.
    #[derive(Debug, Default)]
    struct Brittle(AtomicBool);

    impl Brittle {
        fn holds(&self) {
            assert!(!self.0.load(Ordering::SeqCst), "a fault put here");
        }
    }

    impl Drop for Brittle {
        fn drop(&mut self) {
            self.holds();
        }
    }

    impl Clock for Brittle {
        fn since_boot(&self) -> Duration {
            Duration::from_secs(1000) // asked for on the way on which nothing may panic
        }
        fn since_epoch(&self) -> Duration {
            self.holds();
            Duration::from_secs(1_795_219_200)
        }
        fn is_the_systems(&self) -> bool {
            self.holds();
            false
        }
        fn wait(&self, event: &Arc<Event>, _: Duration) {
            event.wait_while(|| false);
        }
    }

    impl Store for Brittle {
        fn load(&self, _: &Name) -> Result<Option<Vec<u8>>, Error> {
            self.holds();
            Ok(None)
        }
        fn change(&self, _: &Name, _: &Deadline, change: &mut dyn FnMut(Option<&[u8]>) -> Change) -> Result<(), Error> {
            self.holds();
            change(None);
            Ok(())
        }
        fn turn(&self, _: &Name, _: &Deadline) -> Result<Box<dyn Turn>, Error> {
            self.holds();
            Ok(Box::new(Free))
        }
    }

    #[derive(Debug)]
    struct Free;

    impl Turn for Free {}

    impl Transport for Brittle {
        fn send(&self, _: &Head, _: Deadline, body: &mut dyn FnMut() -> Result<Secret, Error>) -> Result<Sent, Error> {
            self.holds();
            body()?;
            let body = br#"{"access_token": "canary-token", "expires_in": 3600}"#.to_vec();
            Ok(Sent::Reply(Reply { status: 200, headers: Vec::new(), body: body.into() }))
        }
    }

    fn brittle() -> (Arc<Brittle>, tokauth_client) {
        let world = Arc::<Brittle>::default();
        let client = client_in(&world, Some(world.clone()));
        (world, client)
    }

    fn client_in(world: &Arc<Brittle>, store: Option<Arc<dyn Store>>) -> tokauth_client {
        let has_store = store.is_some();
        let seams = Seams {
            clock: world.clone(),
            store,
            transport: Some(world.clone()),
            registry: Registry::new([7; 32]),
            ..Seams::system().unwrap()
        };
        let builder = Client::builder().provider("oauth2").token_url("https://a.example/").client_id("me");
        // Only a budget has every function look at the store.
        let quota = if has_store { "99/month" } else { "none" };
        let builder = builder.client_secret("canary-secret-of-the-brittle").quota(quota);
        tokauth_client { client: builder.build_over(seams).unwrap() }
    }

    type Call = fn(*const tokauth_client, *mut *mut tokauth_error) -> tokauth_status;

    fn token(client: *const tokauth_client, flags: u32, out_error: *mut *mut tokauth_error) -> tokauth_status {
        let mut token = ptr::dangling_mut();
        // SAFETY: a live client, and slots of this test's own.
        let status = unsafe { tokauth_client_token(client, flags, &raw mut token, out_error) };
        assert_eq!(status == TOKAUTH_OK, !token.is_null());
        // SAFETY: NULL or just made.
        unsafe { tokauth_token_free(token) };
        status
    }

    /// Without a store, whose seal Miri cannot follow.
    #[test]
    fn what_the_functions_give_lives_until_its_last_owner_frees_it() {
        let client = Box::into_raw(Box::new(client_in(&Arc::default(), None)));
        // SAFETY: a live client.
        let clone = unsafe { tokauth_client_clone(client) };
        // SAFETY: given up here.
        unsafe { tokauth_client_free(client) };
        let (mut got, mut error) = (ptr::null_mut(), ptr::dangling_mut());
        // SAFETY: a live client, and slots of this test's own.
        let status = unsafe { tokauth_client_token(clone, 0, &raw mut got, &raw mut error) };
        assert!(status == TOKAUTH_OK && error.is_null());
        // SAFETY: a live token.
        let second = unsafe { tokauth_token_clone(got) };
        // SAFETY: given up here.
        unsafe { tokauth_token_free(got) };
        let (mut buffer, mut length, mut needed) = ([0x7f; 64], 0, 0);
        let at = buffer.as_mut_ptr();
        for (size, expected) in [(19, TOKAUTH_ERR_BUFFER_TOO_SMALL), (20, TOKAUTH_OK), (64, TOKAUTH_OK)] {
            // SAFETY: a live client, and slots and a buffer of this test's own.
            let status =
                unsafe { tokauth_client_copy_authorization(clone, 0, at, size, &raw mut needed, ptr::null_mut()) };
            assert_eq!((status, needed), (expected, 20));
        }
        // SAFETY: a live client, a live token, and NULL.
        assert_eq!(unsafe { tokauth_client_invalidate(clone, second, ptr::null_mut()) }, TOKAUTH_OK);
        // SAFETY: given up here.
        unsafe { tokauth_client_free(clone) };
        // SAFETY: a live token, and a slot of this test's own.
        let value = unsafe { tokauth_token_authorization(second, &raw mut length) };
        // SAFETY: a text of the token's, which lives.
        let value = unsafe { CStr::from_ptr(value) };
        assert_eq!((value, length), (c"Bearer canary-token", 19));
        // SAFETY: the same text, in this test's buffer.
        assert_eq!(value, unsafe { CStr::from_ptr(at) });
        // SAFETY: given up here.
        unsafe { tokauth_token_free(second) };
    }

    #[test]
    fn threads_read_a_token_while_another_replaces_it() {
        let client = client_in(&Arc::default(), None);
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    for _ in 0..5 {
                        assert_eq!(token(&raw const client, 0, ptr::null_mut()), TOKAUTH_OK);
                    }
                });
            }
            for _ in 0..3 {
                client.client.clear().unwrap();
                assert_eq!(token(&raw const client, 0, ptr::null_mut()), TOKAUTH_OK);
            }
        });
    }

    /// A-24.
    #[test]
    #[cfg_attr(miri, ignore = "seals what it shares, with assembly")]
    fn a_panic_under_any_function_is_told_and_leaves_the_client_usable() {
        let with_scope: Call = |client, out_error| {
            let mut sibling = ptr::dangling_mut();
            let (name, value) = (c"scope".as_ptr(), c"more".as_ptr());
            // SAFETY: a live client, texts, and slots of this test's own.
            let status = unsafe { tokauth_client_with(client, name, value, &raw mut sibling, out_error) };
            assert_eq!(status == TOKAUTH_OK, !sibling.is_null());
            // SAFETY: NULL or just made.
            unsafe { tokauth_client_free(sibling) };
            status
        };
        let copy: Call = |client, out_error| {
            let (mut buffer, mut needed) = ([0; 64], 99);
            let (at, size) = (buffer.as_mut_ptr(), buffer.len());
            // SAFETY: a live client, and slots and a buffer of this test's own.
            let status = unsafe { tokauth_client_copy_authorization(client, 0, at, size, &raw mut needed, out_error) };
            assert_eq!(status == TOKAUTH_OK, needed > 0);
            status
        };
        let invalidate: Call = |client, out_error| {
            // SAFETY: a live client.
            let rejected = into_handle(unsafe { &*client }.client.token().unwrap());
            // SAFETY: a live client, a live token, and a slot of this test's own.
            let status = unsafe { tokauth_client_invalidate(client, rejected, out_error) };
            // SAFETY: just made.
            unsafe { tokauth_token_free(rejected) };
            status
        };
        let budget: Call = |client, out_error| {
            let (mut remaining, mut next_at) = (99, 99);
            // SAFETY: a live client, and slots of this test's own.
            unsafe { tokauth_client_budget(client, &raw mut remaining, &raw mut next_at, out_error) }
        };
        let rows: [(&str, bool, Call); 8] = [
            ("token", false, |client, out_error| token(client, 0, out_error)),
            ("a refresh", true, |client, out_error| token(client, TOKAUTH_FORCE_REFRESH, out_error)),
            ("what is cached", false, |client, out_error| token(client, TOKAUTH_CACHED_ONLY, out_error)),
            ("copy_authorization", false, copy),
            ("with", true, with_scope),
            ("invalidate", true, invalidate),
            ("budget", false, budget),
            // SAFETY: a live client, and a slot of this test's own.
            ("clear", true, |client, out_error| unsafe { tokauth_client_clear(client, out_error) }),
        ];
        for (what, has_token, call) in rows {
            let (world, client) = brittle();
            if has_token {
                client.client.token().unwrap();
            }
            let mut error = ptr::null_mut();
            world.0.store(true, Ordering::SeqCst);
            assert_eq!(call(&raw const client, &raw mut error), TOKAUTH_ERR_INTERNAL, "{what}");
            // SAFETY: just made.
            let message = unsafe { tokauth_error_message(error) };
            // SAFETY: a text of the object's, which lives.
            let message = unsafe { CStr::from_ptr(message) }.to_str().unwrap();
            assert_eq!(message, "a panic (a fault put here): a bug in libtokauth, please report it", "{what}");
            // SAFETY: given up here.
            unsafe { tokauth_error_free(error) };
            world.0.store(false, Ordering::SeqCst);
            assert_eq!(token(&raw const client, 0, ptr::null_mut()), TOKAUTH_OK, "{what}");
            assert_eq!(call(&raw const client, ptr::null_mut()), TOKAUTH_OK, "{what}");
        }
        let (world, client) = brittle();
        client.client.token().unwrap();
        world.0.store(true, Ordering::SeqCst);
        drop(world);
        // SAFETY: given up here; the last claim to that world, whose end panics.
        unsafe { tokauth_client_free(Box::into_raw(Box::new(client))) };
    }

    #[test]
    fn each_number_is_the_counter_that_the_header_says() {
        let all = [1, 2, 3, 4, 5].map(of_number);
        let told = [Counter::Requests, Counter::RefreshesAhead, Counter::Failures, Counter::StoreHits, Counter::Waits];
        assert_eq!(all, told.map(Some));
        assert_eq!([0, 6, u32::MAX].map(of_number), [None; 3]);
    }
}
