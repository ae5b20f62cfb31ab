//! The one door between C and Rust: pointers are checked, panics caught, errors handed over here.

use std::any::Any;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::status::{TOKAUTH_ERR_INTERNAL, TOKAUTH_ERR_INVALID_ARGUMENT, TOKAUTH_OK, of_kind, tokauth_status};
use super::values::tokauth_error;
use crate::error::Error;
use crate::options::MAX_TEXT;

/// Why a call failed: the core's error, or one that only C can make.
pub(super) struct Fault {
    pub(super) status: tokauth_status,
    pub(super) message: String,
    pub(super) cause: Option<Error>,
}

impl Fault {
    pub(super) fn new(status: tokauth_status, message: impl Into<String>) -> Fault {
        Fault { status, message: message.into(), cause: None }
    }

    pub(super) fn argument(message: impl Into<String>) -> Fault {
        Fault::new(TOKAUTH_ERR_INVALID_ARGUMENT, message)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault { status: of_kind(error.kind()), message: error.to_string(), cause: Some(error) }
    }
}

/// Runs a function's body; its failure or panic becomes a status and, if the host wants it, an error object.
///
/// # Safety
/// `out_error` is NULL or points to a writable slot.
pub(super) unsafe fn enter(
    out_error: *mut *mut tokauth_error,
    body: impl FnOnce() -> Result<(), Fault>,
) -> tokauth_status {
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        Err(Fault::new(TOKAUTH_ERR_INTERNAL, format!("{}: a bug in libtokauth, please report it", words(&*panic))))
    });
    let (status, error) = match outcome {
        Ok(()) => (TOKAUTH_OK, std::ptr::null_mut()),
        Err(fault) if out_error.is_null() => (fault.status, std::ptr::null_mut()),
        Err(fault) => (fault.status, Box::into_raw(Box::new(tokauth_error::from(fault)))),
    };
    if !out_error.is_null() {
        // SAFETY: not NULL, and the caller promised a writable slot.
        unsafe { out_error.write(error) };
    }
    status
}

/// The same for functions that cannot fail: a panic gives `fallback`.
pub(super) fn harmless<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(fallback)
}

/// Runs what may block or calls the host, with the cancellation of this thread put off until its next cancellation
/// point after the call: `pthread_cancel` would unwind through Rust, and that ends the process.
#[cfg(all(target_os = "linux", not(miri)))] // which knows no cancellation
pub(super) fn shielded<T>(body: impl FnOnce() -> T) -> T {
    let _shield = cancellation::Shield::raise();
    body()
}

#[cfg(any(not(target_os = "linux"), miri))]
pub(super) use elsewhere::shielded;

#[cfg(any(test, not(target_os = "linux"), miri))]
mod elsewhere {
    /// Runs it as it is: a thread must not be cancelled in a call.
    pub(in crate::ffi) fn shielded<T>(body: impl FnOnce() -> T) -> T {
        body()
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
mod cancellation {
    use std::ffi::c_int;

    /// In glibc and in musl.
    const PTHREAD_CANCEL_DISABLE: c_int = 1;

    unsafe extern "C" {
        fn pthread_setcancelstate(state: c_int, old_state: *mut c_int) -> c_int;
    }

    /// Holds what to go back to.
    pub(super) struct Shield(c_int);

    impl Shield {
        pub(super) fn raise() -> Shield {
            let mut before = 0;
            // SAFETY: a state that there is, and a slot of this function's own.
            unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut before) };
            Shield(before)
        }
    }

    impl Drop for Shield {
        fn drop(&mut self) {
            let mut raised = 0;
            // SAFETY: the state that was found, and a slot of this function's own.
            unsafe { pthread_setcancelstate(self.0, &raw mut raised) };
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a panic ({})", text.unwrap_or("without words"))
}

/// Sets an output to what it holds on failure, and lends it.
///
/// # Safety
/// `slot` is NULL or points to a writable `T` that nothing else uses during the call.
pub(super) unsafe fn out<'a, T>(slot: *mut T, neutral: T, name: &str) -> Result<&'a mut T, Fault> {
    // SAFETY: as above.
    match unsafe { out_if_wanted(slot, neutral) } {
        Some(slot) => Ok(slot),
        None => Err(null(name)),
    }
}

/// The same for an output that the caller may do without.
///
/// # Safety
/// As for [`out`].
pub(super) unsafe fn out_if_wanted<'a, T>(slot: *mut T, neutral: T) -> Option<&'a mut T> {
    if slot.is_null() {
        return None;
    }
    // SAFETY: not NULL, and the caller promised a writable slot; it may hold anything yet, so it is not read.
    unsafe { slot.write(neutral) };
    // SAFETY: just written, and the caller promised that nothing else uses it.
    Some(unsafe { &mut *slot })
}

/// Lends what a handle points to.
///
/// # Safety
/// `handle` is NULL or a live handle of this library.
pub(super) unsafe fn handle<'a, T>(handle: *const T, name: &str) -> Result<&'a T, Fault> {
    // SAFETY: NULL or live, as the caller promised.
    unsafe { handle.as_ref() }.ok_or_else(|| null(name))
}

/// The same, to change it.
///
/// # Safety
/// `handle` is NULL or a live handle that no other thread uses now.
pub(super) unsafe fn handle_mut<'a, T>(handle: *mut T, name: &str) -> Result<&'a mut T, Fault> {
    // SAFETY: NULL or live and unshared, as the caller promised.
    unsafe { handle.as_mut() }.ok_or_else(|| null(name))
}

/// A text that must be there.
///
/// # Safety
/// `text` is NULL or points to a NUL-terminated string that does not change during the call.
pub(super) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str, Fault> {
    // SAFETY: as above.
    match unsafe { optional_text(text, name) }? {
        Some(text) => Ok(text),
        None => Err(null(name)),
    }
}

/// A text, or NULL.
///
/// # Safety
/// As for [`text`].
pub(super) unsafe fn optional_text<'a>(text: *const c_char, name: &str) -> Result<Option<&'a str>, Fault> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, and the caller promised a NUL-terminated string.
    let bytes = unsafe { CStr::from_ptr(text) };
    if bytes.count_bytes() > MAX_TEXT {
        return Err(Fault::argument(format!("{name} is longer than 64 KiB")));
    }
    bytes.to_str().map(Some).map_err(|_| Fault::argument(format!("{name} is not UTF-8")))
}

fn null(name: &str) -> Fault {
    Fault::argument(format!("{name} is NULL"))
}

/// A text for C; control characters, NUL among them, were taken out when it was made.
pub(super) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::{tokauth_error_free, tokauth_error_message, tokauth_error_status};

    #[test]
    fn where_no_cancellation_is_put_off_calls_run_as_they_are() {
        assert_eq!(elsewhere::shielded(|| 7), shielded(|| 7));
    }

    ///
    #[test]
    fn a_panic_becomes_a_status_and_an_error_object() {
        let mut error = std::ptr::null_mut();
        // SAFETY: a slot of this function's own.
        let status = unsafe { enter(&raw mut error, || panic!("seven of {}", "nine")) };
        assert_eq!(status, TOKAUTH_ERR_INTERNAL);
        // SAFETY: the object was just made.
        assert_eq!(unsafe { tokauth_error_status(error) }, TOKAUTH_ERR_INTERNAL);
        // SAFETY: as above.
        let message = unsafe { tokauth_error_message(error) };
        // SAFETY: a text of the object's, which lives.
        let message = unsafe { CStr::from_ptr(message) }.to_str().unwrap();
        assert_eq!(message, "a panic (seven of nine): a bug in libtokauth, please report it");
        // SAFETY: given up here.
        unsafe { tokauth_error_free(error) };
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { enter(std::ptr::null_mut(), || panic!("unseen")) }, TOKAUTH_ERR_INTERNAL);
        assert_eq!(harmless(7, || panic!("unseen")), 7);
    }

    fn refusal<T>(outcome: Result<T, Fault>) -> String {
        let Err(Fault { status, message, cause }) = outcome else { panic!("not refused") };
        assert!(status == TOKAUTH_ERR_INVALID_ARGUMENT && cause.is_none());
        message
    }

    #[test]
    fn text_is_what_it_points_to_or_refused_by_its_name() {
        let longest = CString::new("x".repeat(MAX_TEXT)).unwrap();
        for sound in [c"", c"a", c"caf\xc3\xa9", &longest] {
            // SAFETY: a NUL-terminated string that lives.
            assert_eq!(unsafe { text(sound.as_ptr(), "name") }.ok(), sound.to_str().ok());
            // SAFETY: as above.
            assert_eq!(unsafe { optional_text(sound.as_ptr(), "name") }.ok(), Some(sound.to_str().ok()));
        }
        let too_long = CString::new("x".repeat(MAX_TEXT + 1)).unwrap();
        for (bad, words) in [(c"caf\xe9", "name is not UTF-8"), (&*too_long, "name is longer than 64 KiB")] {
            // SAFETY: as above.
            assert_eq!(refusal(unsafe { text(bad.as_ptr(), "name") }), words);
            // SAFETY: as above.
            assert_eq!(refusal(unsafe { optional_text(bad.as_ptr(), "name") }), words);
        }
        // SAFETY: NULL is allowed.
        assert_eq!(refusal(unsafe { text(std::ptr::null(), "name") }), "name is NULL");
        // SAFETY: as above.
        assert!(matches!(unsafe { optional_text(std::ptr::null(), "name") }, Ok(None)));
    }

    #[test]
    fn an_output_is_written_before_it_is_lent_and_may_hold_anything_before() {
        let mut slot = std::mem::MaybeUninit::<u64>::uninit();
        // SAFETY: a slot of this test's own.
        let lent = unsafe { out(slot.as_mut_ptr(), 7, "slot") };
        assert!(matches!(lent, Ok(&mut 7)));
        // SAFETY: as above.
        let lent = unsafe { out_if_wanted(slot.as_mut_ptr(), 8) };
        *lent.unwrap() += 1;
        // SAFETY: written above.
        assert_eq!(unsafe { slot.assume_init() }, 9);
        // SAFETY: NULL is allowed.
        assert_eq!(refusal(unsafe { out(std::ptr::null_mut::<u64>(), 7, "slot") }), "slot is NULL");
        // SAFETY: as above.
        assert!(unsafe { out_if_wanted(std::ptr::null_mut::<u64>(), 7) }.is_none());
    }

    #[test]
    fn a_handle_lends_what_it_points_to() {
        let mut value = 7;
        // SAFETY: a value of this test's own.
        unsafe { handle_mut(&raw mut value, "value") }.map(|value| *value += 1).ok().unwrap();
        // SAFETY: as above.
        assert!(matches!(unsafe { handle(&raw const value, "value") }, Ok(&8)));
        // SAFETY: NULL is allowed.
        assert_eq!(refusal(unsafe { handle(std::ptr::null::<u64>(), "value") }), "value is NULL");
        // SAFETY: as above.
        assert_eq!(refusal(unsafe { handle_mut(std::ptr::null_mut::<u64>(), "value") }), "value is NULL");
    }

    #[test]
    fn success_takes_an_error_out_of_its_slot() {
        let mut error = std::ptr::dangling_mut();
        // SAFETY: a slot of this function's own.
        let status = unsafe { enter(&raw mut error, || Ok(())) };
        assert!(status == TOKAUTH_OK && error.is_null());
    }

    #[test]
    fn text_for_c_holds_no_nul() {
        for (text, told) in [("", c""), ("a b", c"a b"), ("a\0b", c"a b")] {
            assert_eq!(c_text(text).as_c_str(), told);
        }
    }
}
