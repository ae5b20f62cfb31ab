//! What `src/sync.rs` has instead of std's, where shuttle's own is not enough.

use std::cell::Cell;

use shuttle::sync::{RwLockReadGuard, RwLockWriteGuard};

// All threads of a model run on one of the system, one after the other.
thread_local! {
    static PROCESS: Cell<u32> = const { Cell::new(1) };
    static FOUND_LOCKED: Cell<usize> = const { Cell::new(0) };
}

/// The number of the thread: the same in each run.
pub(crate) fn stack_page() -> usize {
    shuttle::current::get_current_task().map_or(0, usize::from)
}

pub(crate) fn process_id() -> u32 {
    PROCESS.get()
}

/// From now on those who ask are told that they are of `process`.
pub(crate) fn be_process(process: u32) {
    PROCESS.set(process);
}

/// How often somebody who would not wait found an [`RwLock`] locked, since it was asked last.
pub(crate) fn found_locked() -> usize {
    FOUND_LOCKED.replace(0)
}

/// shuttle's, and counts.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, ()> {
        self.0.try_read().map_err(|_| FOUND_LOCKED.set(FOUND_LOCKED.get() + 1))
    }

    pub(crate) fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, ()> {
        self.0.try_write().map_err(|_| FOUND_LOCKED.set(FOUND_LOCKED.get() + 1))
    }
}
