//! The locks that this process holds.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use crate::process::Locked;
use crate::sync::{AtomicU64, Ordering};

type Numbered = Vec<(u64, OwnedFd)>;

/// Each lock is an open file, of which a forked child has a copy: while that is open the lock outlives a parent that
/// died. So all are listed here, for the child to close.
#[derive(Default)]
pub(super) struct Locks {
    held: Locked<Numbered>,
    /// A child counts on, so that its numbers are not its parent's.
    next: AtomicU64,
}

/// A lock, unlocked when dropped. In a child it is nothing.
pub(super) struct Held(Arc<Locks>, u64);

impl Locks {
    pub(super) fn keep(locks: &Arc<Locks>, lock: OwnedFd) -> Held {
        let number = locks.next.fetch_add(1, Ordering::Relaxed);
        let mut lock = Some(lock);
        locks.locked(&mut |held| held.extend(lock.take().map(|lock| (number, lock))));
        Held(locks.clone(), number)
    }

    /// Lets go of what a child has of its parent's locks.
    pub(super) fn disown(&self) {
        self.locked(&mut |_| ());
    }

    fn locked(&self, body: &mut dyn FnMut(&mut Numbered)) {
        let inherit = |parents: Option<&mut Numbered>| {
            // Closed, not unlocked: that would unlock the parent's.
            parents.map(Vec::clear);
            Vec::new()
        };
        self.held.locked(inherit, body);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.locked(&mut |held| {
            held.retain(|(number, lock)| {
                let stays = *number != self.1;
                if !stays {
                    // Closing does not do while a child has a copy.
                    let _ = flock(lock, FlockOperation::Unlock);
                }
                stays
            });
        });
    }
}
