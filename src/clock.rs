//! Time as an argument: the port, the system's clocks, and the wait that both kinds of time can end.

use std::fmt;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Two clocks and a way to wait. Tests bring a virtual one.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Time since the machine booted, suspend included; nobody can set it. All waiting and ageing goes by it.
    fn since_boot(&self) -> Duration;

    /// Time since 1970 by the wall clock, which people and programs set at will. Only for times that others read.
    fn since_epoch(&self) -> Duration;

    /// Nanoseconds that [`since_boot`](Clock::since_boot) has not passed yet, and is no more than two seconds short of.
    /// Cheaper: whoever is early even by this time need not ask more.
    fn not_after(&self) -> u64 {
        nanos(self.since_boot())
    }

    /// Returns when `event` has happened or [`since_boot`](Clock::since_boot) has reached `until`.
    fn wait(&self, event: &Arc<Event>, until: Duration);

    /// Returns when [`since_boot`](Clock::since_boot) has reached `until`.
    fn sleep(&self, until: Duration) {
        self.wait(&Arc::default(), until);
    }
}

/// 584 years fit.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The clocks of this machine.
#[derive(Debug, Default)]
pub(crate) struct SystemClock {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    seen: Seen,
}

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

    // CLOCK_BOOTTIME is most of what a cached token costs; the two coarse clocks together cost half of it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[inline]
    fn not_after(&self) -> u64 {
        let coarse = |id| {
            let now = rustix::time::clock_gettime(id);
            (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
        };
        let steady = coarse(rustix::time::ClockId::MonotonicCoarse);
        let wall = coarse(rustix::time::ClockId::RealtimeCoarse);
        self.seen.not_after(steady, wall).unwrap_or_else(|| {
            let boot = nanos(self.since_boot());
            self.seen.note(boot, steady, wall);
            boot
        })
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

/// What the three clocks said when the one that counts suspend was last asked. Suspend shows on the wall clock, which can
/// be set, and not on the steady one, which cannot: while both have moved by less than a second since, so has the third.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Debug, Default)]
struct Seen {
    /// Odd while the others are written; changed by each write.
    turn: AtomicU64,
    boot: AtomicU64,
    steady: AtomicU64,
    wall: AtomicU64,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Seen {
    const AGE_MAX: u64 = 1_000_000_000;
    /// Coarse clocks are behind by up to a tick, which lasts 10 ms at most.
    const COARSE: u64 = 20_000_000;

    #[inline]
    fn not_after(&self, steady: u64, wall: u64) -> Option<u64> {
        let turn = self.turn.load(Ordering::SeqCst);
        let boot = self.boot.load(Ordering::SeqCst);
        let (was_steady, was_wall) = (self.steady.load(Ordering::SeqCst), self.wall.load(Ordering::SeqCst));
        let sound = turn & 1 == 0 && self.turn.load(Ordering::SeqCst) == turn;
        // A clock that went back has moved by more than anything.
        let still = steady.wrapping_sub(was_steady) <= Seen::AGE_MAX && wall.wrapping_sub(was_wall) <= Seen::AGE_MAX;
        (sound && still).then(|| boot + (Seen::AGE_MAX + Seen::COARSE))
    }

    /// Whoever comes while another writes leaves it to that one.
    fn note(&self, boot: u64, steady: u64, wall: u64) {
        let turn = self.turn.load(Ordering::SeqCst) & !1;
        if self.turn.compare_exchange(turn, turn + 1, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return;
        }
        for (word, value) in [(&self.boot, boot), (&self.steady, steady), (&self.wall, wall)] {
            word.store(value, Ordering::SeqCst);
        }
        self.turn.store(turn + 2, Ordering::SeqCst);
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
    /// What it was from the beginning.
    pub(crate) timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl Deadline {
    /// `timeout` from now.
    pub fn after(clock: &Arc<dyn Clock>, timeout: Duration) -> Deadline {
        Deadline { at: clock.since_boot().saturating_add(timeout), timeout, clock: clock.clone() }
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
        let (clock, event) = (SystemClock::default(), Arc::<Event>::default());
        clock.wait(&event, clock.since_boot() + Duration::from_millis(1));
        event.set();
        clock.wait(&event, Duration::MAX);
    }
    #[test]
    fn the_cheap_time_is_never_behind_and_hardly_ahead() {
        let clock = SystemClock::default();
        for _ in 0..1000 {
            let before = nanos(clock.since_boot());
            let cheap = clock.not_after();
            assert!(before <= cheap && cheap <= nanos(clock.since_boot()) + 2_000_000_000);
        }
    }

    /// E24, E25: seconds by the steady and the wall clock since the third was asked.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn the_cheap_clocks_are_believed_for_a_second_in_which_both_have_moved_on() {
        const S: i64 = 1_000_000_000;
        let [boot, steady, wall] = [500 * S, 300 * S, 1_795_219_200 * S];
        for (what, steady_moved, wall_moved, believed) in [
            ("at once", 0, 0, true),
            ("a second", S, S, true),
            ("more than a second", S + 1, S, false),
            ("a suspend of two hours", 1, 7200 * S, false),
            ("the same, and the wall clock set back by as much but one second", 1, S + 1, false),
            ("the wall clock set back", S / 2, -1, false),
            ("forty days back", S / 2, -40 * 86_400 * S, false),
            ("forty days ahead", S / 2, 40 * 86_400 * S, false),
            ("the wall clock stands still", 2 * S, 0, false),
        ] {
            let seen = Seen::default();
            seen.note(boot as u64, steady as u64, wall as u64);
            let told = seen.not_after((steady + steady_moved) as u64, (wall + wall_moved) as u64);
            assert_eq!(told.is_some(), believed, "{what}");
            assert!(told.is_none_or(|told| told as i64 >= boot + steady_moved), "{what}");
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn what_is_half_written_is_not_believed() {
        let seen = Seen::default();
        seen.note(1, 1, 1);
        seen.turn.fetch_add(1, Ordering::SeqCst); // a writer that never came back
        assert_eq!(seen.not_after(1, 1), None);
        seen.note(2, 2, 2);
        assert_eq!(seen.not_after(2, 2), None, "nor for anybody after it, who asks the exact clock");
    }
}
