//! `fork()` as a model sees it: of all threads only the one that called it goes on, in another process; the others
//! stand still for ever wherever they are, with the locks that they hold.

use std::cell::Cell;

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

use crate::sync::checked::be_process;

// The checker and all threads of a model run on one thread of the system.
thread_local! {
    static NEWEST: Cell<usize> = const { Cell::new(0) };
    /// Who forked, and the newest thread there was then.
    static FORKED: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

/// Not in the first step after a thread was spawned.
pub(super) fn fork() {
    let caller = shuttle::current::me().into();
    FORKED.set(Some((caller, NEWEST.get())));
    be_process(2);
}

/// Another scheduler, which is not asked about threads that stand still.
pub(super) struct Forking<S>(pub(super) S);

impl<S: Scheduler> Scheduler for Forking<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        NEWEST.set(0);
        FORKED.set(None);
        be_process(1);
        self.0.new_execution()
    }

    /// Where none is left that could go on, the order ends early, which the models count.
    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        let number = |task: &&Task| usize::from(task.id());
        NEWEST.set(runnable.iter().map(number).fold(NEWEST.get(), usize::max));
        let goes_on =
            |task: &&Task| FORKED.get().is_none_or(|(caller, newest)| number(task) == caller || number(task) > newest);
        let left: Vec<&Task> = runnable.iter().copied().filter(goes_on).collect();
        if left.is_empty() { None } else { self.0.next_task(&left, current, is_yielding) }
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}
