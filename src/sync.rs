//! Locks, atomics, and what tells threads and processes apart: those of std. With `--cfg tokauth_shuttle` those of a
//! checker, which decides who runs next at each of them (`tests/model`).

#[cfg(tokauth_shuttle)]
#[path = "../tests/model/sync.rs"]
pub(crate) mod checked;

#[cfg(tokauth_shuttle)]
pub(crate) use checked::{RwLock, process_id, stack_page};
#[cfg(tokauth_shuttle)]
pub(crate) use shuttle::sync::{
    Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
    atomic::{AtomicU64, Ordering},
};
#[cfg(not(tokauth_shuttle))]
pub(crate) use std::{
    process::id as process_id,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError, RwLock, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The number of the page of the stack that this thread is on: tells threads apart, without a promise.
#[cfg(not(tokauth_shuttle))]
#[inline(always)]
pub(crate) fn stack_page() -> usize {
    let here = 0_u8;
    (&raw const here).addr() / 4096
}
