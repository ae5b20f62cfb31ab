//! What belongs to one process: a forked child makes it anew.

use std::{fmt, iter, ptr};

use once_cell::race::OnceBox;

use crate::sync::{Mutex, MutexGuard, PoisonError, TryLockError, process_id};

/// Something with locks in it, or with connections. After `fork` a lock may be held by a thread that the child does not
/// have, and a connection is the parent's: the first call in the child puts something new behind it. Who asks here is
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
        PerProcess(Owned::new(process_id(), value))
    }

    /// This process's own, by `new` if nobody has made it. Threads that come together may each make one, and all get
    /// the same.
    pub(crate) fn get(&self, new: impl FnOnce() -> T) -> &T {
        self.of(process_id(), new)
    }

    fn of(&self, process: u32, new: impl FnOnce() -> T) -> &T {
        let mut latest = &self.0;
        while let Some(childs) = latest.childs.get() {
            latest = childs;
        }
        if latest.process != process {
            latest = latest.childs.get_or_init(|| Box::new(Owned::new(process, new())));
        }
        &latest.value
    }

    /// Each process's, the first one's first.
    fn all(&self) -> impl Iterator<Item = &T> {
        iter::successors(Some(&self.0), |owned| owned.childs.get()).map(|owned| &owned.value)
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

/// What a lock guards, for each process its own, made of its parent's.
#[derive(Debug)]
pub(crate) struct Locked<T>(PerProcess<Mutex<Option<T>>>);

impl<T> Locked<T> {
    fn new(value: T) -> Locked<T> {
        Locked(PerProcess::new(Mutex::new(Some(value))))
    }

    /// Runs `body` under the lock. `inherit` makes a child's own from the parent's, once; `None`: the fork caught a
    /// thread that held the lock, so nobody knows in what state it left things.
    ///
    /// Every critical section leaves the state consistent at each step, so a poisoned lock is as good as a sound one.
    pub(crate) fn locked<R>(&self, inherit: impl Fn(Option<&mut T>) -> T, body: impl FnOnce(&mut T) -> R) -> R {
        let mut state = self.lock(&inherit);
        body(state.get_or_insert_with(|| inherit(None))) // it is there
    }

    /// Once for all that may be done under the lock.
    #[inline(never)]
    fn lock(&self, inherit: &dyn Fn(Option<&mut T>) -> T) -> MutexGuard<'_, Option<T>> {
        let own = self.0.get(|| Mutex::new(None));
        let mut state = own.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the child's lock, so that whoever holds the parent's is a thread that the child does not have.
        if state.is_none() {
            *state = Some(self.inherited(own, inherit));
        }
        state
    }

    /// From the parent; where that has not come to inherit anything itself, from the one before.
    fn inherited(&self, own: &Mutex<Option<T>>, inherit: &dyn Fn(Option<&mut T>) -> T) -> T {
        let mut parents = None;
        for before in self.0.all().take_while(|before| !ptr::eq(*before, own)) {
            match before.try_lock() {
                Ok(state) if state.is_none() => {}
                Ok(state) => parents = Some(state),
                Err(TryLockError::Poisoned(state)) => parents = Some(state.into_inner()),
                Err(TryLockError::WouldBlock) => parents = None,
            }
        }
        inherit(parents.as_mut().and_then(|state| state.as_mut()))
    }
}

impl<T: Default> Default for Locked<T> {
    fn default() -> Locked<T> {
        Locked::new(T::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherit(parents: Option<&mut u32>) -> u32 {
        parents.map_or(7, |value| *value + 1)
    }

    /// What `process` has: its own by now, or its parent's and one.
    fn of(shared: &Locked<u32>, process: u32) -> u32 {
        let own = shared.0.of(process, || Mutex::new(None));
        *own.lock().unwrap().get_or_insert_with(|| shared.inherited(own, &inherit))
    }

    /// B-02.
    #[test]
    fn a_child_inherits_once_and_waits_for_no_lock_of_its_parent() {
        let (shared, parent) = (Locked::new(1), process_id());
        let its_own = |_: Option<&mut u32>| panic!("it is this process's own");
        shared.locked(its_own, |_| assert_eq!(of(&shared, parent + 1), 7, "nobody knows what the parent left"));
        assert_eq!([of(&shared, parent + 1), of(&shared, parent + 2)], [7, 8]);
        // By now the value is the child's, so to this process it is that of another.
        shared.locked(inherit, |value| assert_eq!(*value, 9));
    }

    #[test]
    fn the_child_of_one_that_inherited_nothing_yet_has_what_came_before() {
        let (shared, parent) = (Locked::new(1), process_id());
        shared.0.of(parent + 1, || Mutex::new(None));
        assert_eq!(of(&shared, parent + 2), 2);
    }
}
