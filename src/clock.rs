//! Time as an argument: the port, the system's clocks, and the wait that both kinds of time can end.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Two clocks and a way to wait. Tests bring a virtual one.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Time since the machine booted, suspend included; nobody can set it. All waiting and ageing goes by it.
    fn since_boot(&self) -> Duration;

    /// Time since 1970 by the wall clock, which people and programs set at will. Only for times that others read.
    fn since_epoch(&self) -> Duration;

    /// Returns when `event` has happened or [`since_boot`](Clock::since_boot) has reached `until`.
    fn wait(&self, event: &Arc<Event>, until: Duration);
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock;

// std's Instant does not count suspend on Linux: a laptop would serve a dead token after a night.
#[cfg(any(target_os = "linux", target_os = "android"))]
const BOOT_CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const BOOT_CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

impl Clock for SystemClock {
    fn since_boot(&self) -> Duration {
        let now = rustix::time::clock_gettime(BOOT_CLOCK);
        Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
    }

    fn since_epoch(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn wait(&self, event: &Arc<Event>, until: Duration) {
        let mut happened = event.lock();
        while !*happened {
            let left = until.saturating_sub(self.since_boot());
            if left.is_zero() {
                return;
            }
            happened = event.changed.wait_timeout(happened, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Something that happens once and that any number of threads wait for.
#[derive(Debug, Default)]
pub struct Event {
    happened: Mutex<bool>,
    changed: Condvar,
}

impl Event {
    /// Marks it as happened and wakes all that wait.
    pub fn set(&self) {
        *self.lock() = true;
        self.changed.notify_all();
    }

    /// Lets a virtual clock wait until the event happened or `passed` says that its time is over.
    pub fn wait_while(&self, passed: impl Fn() -> bool) {
        let mut happened = self.lock();
        while !*happened && !passed() {
            happened = self.changed.wait(happened).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Wakes all that wait, to look at their (virtual) clock again.
    pub fn poke(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.happened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The moment by which a call must be over.
#[derive(Clone, Debug)]
pub struct Deadline {
    /// By [`Clock::since_boot`].
    pub(crate) at: Duration,
    clock: Arc<dyn Clock>,
}

impl Deadline {
    /// `timeout` from now.
    pub fn after(clock: &Arc<dyn Clock>, timeout: Duration) -> Deadline {
        Deadline { at: clock.since_boot().saturating_add(timeout), clock: clock.clone() }
    }

    /// What is left; zero when it has passed.
    pub fn remaining(&self) -> Duration {
        self.at.saturating_sub(self.clock.since_boot())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_its_time_or_its_event() {
        let (clock, event) = (SystemClock, Arc::<Event>::default());
        clock.wait(&event, clock.since_boot() + Duration::from_millis(1));
        event.set();
        clock.wait(&event, Duration::MAX);
    }
}
