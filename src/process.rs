//! What belongs to one process: a forked child makes it anew.

use std::fmt;
use std::process;

use once_cell::race::OnceBox;

use crate::sync::{Mutex, PoisonError, TryLockError};

/// Something with locks in it, or with connections. After `fork` a lock may be held by a thread that the child does not
/// have, and a connection is the parent's: the first call in the child puts something new behind it. Whoever asks here is
/// on the slow path; asking for the process id is a system call. Nothing here waits.
pub(crate) struct PerProcess<T>(Owned<T>);

/// What belongs to one process, and what to a child of it.
struct Owned<T> {
    process: u32,
    value: T,
    childs: OnceBox<Owned<T>>,
}

impl<T> Owned<T> {
    fn new(process: u32, value: T) -> Owned<T> {
        Owned { process, value, childs: OnceBox::new() }
    }
}

impl<T> PerProcess<T> {
    pub(crate) fn new(value: T) -> PerProcess<T> {
        PerProcess(Owned::new(process::id(), value))
    }

    /// This process's own; `renew` makes it from the parent's, of which no lock may be waited for. Threads that come
    /// together may each make one, and all get the same.
    pub(crate) fn get(&self, renew: impl FnOnce(&T) -> T) -> &T {
        self.of(process::id(), renew)
    }

    fn of(&self, process: u32, renew: impl FnOnce(&T) -> T) -> &T {
        let mut latest = &self.0;
        while let Some(childs) = latest.childs.get() {
            latest = childs;
        }
        if latest.process != process {
            latest = latest.childs.get_or_init(|| Box::new(Owned::new(process, renew(&latest.value))));
        }
        &latest.value
    }
}

impl<T> PerProcess<Mutex<T>> {
    /// Runs `body` under the lock. `inherit` makes a child's own from the parent's; `None`: the fork caught a thread that
    /// held the lock, so nobody knows in what state it left things.
    ///
    /// Every critical section leaves the state consistent at each step, so a poisoned lock is as good as a sound one.
    pub(crate) fn locked<R>(&self, inherit: impl FnOnce(Option<&mut T>) -> T, body: impl FnOnce(&mut T) -> R) -> R {
        let own = self.get(|parents| {
            Mutex::new(match parents.try_lock() {
                Ok(mut state) => inherit(Some(&mut state)),
                Err(TryLockError::Poisoned(state)) => inherit(Some(&mut state.into_inner())),
                Err(TryLockError::WouldBlock) => inherit(None),
            })
        });
        let mut state = own.lock().unwrap_or_else(PoisonError::into_inner);
        body(&mut state)
    }
}

impl<T: Default> Default for PerProcess<T> {
    fn default() -> PerProcess<T> {
        PerProcess::new(T::default())
    }
}

impl<T> fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerProcess").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B-02.
    #[test]
    fn a_child_gets_its_own_once_and_waits_for_no_lock_of_its_parent() {
        let shared = PerProcess::new(Mutex::new(1));
        let parents = shared.of(process::id(), |_| panic!("it is this process's own"));
        let held = parents.lock().unwrap();
        let child = process::id() + 1;
        let childs = shared.of(child, |parents| Mutex::new(parents.try_lock().map_or(2, |value| *value)));
        assert_eq!(*childs.lock().unwrap(), 2);
        *childs.lock().unwrap() = 3;
        let again = shared.of(child, |_| panic!("once"));
        assert_eq!(*again.lock().unwrap(), 3);
        drop(held);
        // By now the value is the child's, so to this process it is that of another.
        shared.locked(|childs| childs.map_or(0, |value| *value + 1), |value| assert_eq!(*value, 4));
    }

    /// B-02.
    #[test]
    fn a_lock_that_was_held_at_the_fork_leaves_nothing_to_inherit() {
        let shared = PerProcess(Owned::new(process::id() + 1, Mutex::new(1)));
        let _held = shared.0.value.lock().unwrap();
        shared.locked(|parents| parents.map_or(7, |value| *value), |value| assert_eq!(*value, 7));
    }
}
