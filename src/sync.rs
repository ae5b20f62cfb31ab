//! Locks and atomics: those of std. With `--cfg shuttle` those of a checker, which decides who runs next at each of them
//! (`tests/model`).

#[cfg(not(shuttle))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError, RwLock, TryLockError,
    atomic::{AtomicU64, Ordering},
};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Condvar, Mutex, MutexGuard, PoisonError, RwLock, TryLockError,
    atomic::{AtomicU64, Ordering},
};

/// The number of the page of the stack that this thread is on: tells threads apart, without a promise.
#[cfg(not(shuttle))]
#[inline(always)]
pub(crate) fn stack_page() -> usize {
    let here = 0_u8;
    (&raw const here).addr() / 4096
}

/// The number of the thread: the same in each run.
#[cfg(shuttle)]
pub(crate) fn stack_page() -> usize {
    shuttle::current::get_current_task().map_or(0, usize::from)
}
