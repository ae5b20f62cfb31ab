//! The locks that this process holds.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use crate::process::Locked;
use crate::sync::{AtomicU64, Ordering};

/// Each lock is an open file, of which a forked child has a copy: while that is open the lock outlives a parent that
/// died. So all are listed here, for the child to close.
#[derive(Debug, Default)]
pub(super) struct Locks {
    held: Locked<Vec<(u64, OwnedFd)>>,
    /// A child counts on, so that its numbers are not its parent's.
    next: AtomicU64,
}

/// A lock, unlocked when dropped. In a child it is nothing.
#[derive(Debug)]
pub(super) struct Held(Arc<Locks>, u64);

impl Locks {
    pub(super) fn keep(locks: &Arc<Locks>, lock: OwnedFd) -> Held {
        let number = locks.next.fetch_add(1, Ordering::Relaxed);
        locks.locked(|held| held.push((number, lock)));
        Held(locks.clone(), number)
    }

    /// Lets go of what a child has of its parent's locks.
    pub(super) fn disown(&self) {
        self.locked(|_| ());
    }

    fn locked<R>(&self, body: impl FnOnce(&mut Vec<(u64, OwnedFd)>) -> R) -> R {
        let inherit = |parents: Option<&mut Vec<_>>| {
            // Closed, not unlocked: that would unlock the parent's.
            parents.map(Vec::clear);
            Vec::new()
        };
        self.held.locked(inherit, body)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let lock = self.0.locked(|held| {
            let at = held.iter().position(|(number, _)| *number == self.1)?;
            Some(held.swap_remove(at).1)
        });
        if let Some(lock) = lock {
            // Closing does not do while a child has a copy.
            let _ = flock(&lock, FlockOperation::Unlock);
        }
    }
}
