//! Time as an argument: the port, the system's clocks, and the wait that both kinds of time can end.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sync::{AtomicU64, Condvar, Mutex, MutexGuard, Ordering, PoisonError};

/// Two clocks and a way to wait. Tests bring a virtual one.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Time since the machine booted, suspend included; nobody can set it. All waiting and ageing goes by it.
    fn since_boot(&self) -> Duration;

    /// Time since 1970 by the wall clock, which people and programs set at will. Only for times that others read.
    fn since_epoch(&self) -> Duration;

    /// Which boot [`since_boot`](Clock::since_boot) counts from: another number after each. 0: nobody knows.
    fn boot_id(&self) -> u64 {
        0
    }

    /// Whether the times are those of this machine, of which the system has a cheaper clock too.
    fn is_the_systems(&self) -> bool {
        false
    }

    /// Returns when `event` has happened or [`since_boot`](Clock::since_boot) has reached `until`.
    fn wait(&self, event: &Arc<Event>, until: Duration);

    /// Returns when [`since_boot`](Clock::since_boot) has reached `until`.
    fn sleep(&self, until: Duration) {
        self.wait(&Arc::default(), until);
    }
}

/// A moment for other processes to read, and for later ones: by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) boot_id: u64,
    pub(crate) since_boot: Duration,
    pub(crate) since_epoch: Duration,
    /// By a clock that many machines go by: another boot may be another machine's.
    pub(crate) is_shared: bool,
}

impl Stamp {
    /// Now, which is `shared` for all who will read it, or what the wall clock says.
    pub(crate) fn now(clock: &dyn Clock, shared: Option<Duration>) -> Stamp {
        let since_epoch = shared.unwrap_or_else(|| clock.since_epoch());
        Stamp { boot_id: clock.boot_id(), since_boot: clock.since_boot(), since_epoch, is_shared: shared.is_some() }
    }

    /// The time from then to `now` by the clock that nobody sets, if both are of one boot.
    pub(crate) fn proven_age(&self, now: &Stamp) -> Option<Duration> {
        let is_one_boot = self.boot_id != 0 && self.boot_id == now.boot_id;
        now.since_boot.checked_sub(self.since_boot).filter(|_| is_one_boot)
    }

    /// The time from then to `now`: proven, or else what the wall clock claims, but not less than has passed since the
    /// boot, if that was another one of this machine then.
    pub(crate) fn age(&self, now: &Stamp) -> Duration {
        let is_another_boot = ![0, now.boot_id].contains(&self.boot_id) && now.boot_id != 0 && !now.is_shared;
        let least = if is_another_boot { now.since_boot } else { Duration::ZERO };
        self.proven_age(now).unwrap_or_else(|| now.since_epoch.saturating_sub(self.since_epoch).max(least))
    }
}

/// 584 years fit.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn since_boot(&self) -> Duration {
        since_boot()
    }

    fn boot_id(&self) -> u64 {
        boot_id()
    }

    fn is_the_systems(&self) -> bool {
        true
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

// std's Instant does not count suspend there: a laptop would serve a dead token after a night.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn since_boot() -> Duration {
    #[cfg(not(target_vendor = "apple"))]
    use rustix::time::ClockId::Boottime as CountsSuspend;
    #[cfg(target_vendor = "apple")]
    use rustix::time::ClockId::Monotonic as CountsSuspend;
    let now = rustix::time::clock_gettime(CountsSuspend);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
use both_clocks::since_boot;

/// Time since this process asked first, by what std has.
#[cfg(any(test, not(any(target_os = "linux", target_os = "android", target_vendor = "apple"))))]
mod both_clocks {
    use std::time::{Duration, Instant, SystemTime};

    use once_cell::race::OnceBox;

    use super::nanos;
    use crate::sync::{AtomicU64, Ordering};

    pub(super) struct Start {
        instant: Instant,
        wall: SystemTime,
        /// By how much the wall clock has been ahead of the other one, at most; nanoseconds.
        ahead: AtomicU64,
    }

    pub(super) fn since_boot() -> Duration {
        static START: OnceBox<Start> = OnceBox::new();
        let (now, wall) = (Instant::now(), SystemTime::now());
        let start = START.get_or_init(|| Box::new(Start::new(now, wall)));
        // Windows counts suspend (QueryPerformanceCounter), so the wall clock need not be asked.
        start.age(now, if cfg!(windows) { start.wall } else { wall })
    }

    impl Start {
        pub(super) fn new(instant: Instant, wall: SystemTime) -> Start {
            Start { instant, wall, ahead: AtomicU64::new(0) }
        }

        /// Suspend shows on the wall clock only. That can be set: ahead it makes all older, back it changes nothing.
        pub(super) fn age(&self, instant: Instant, wall: SystemTime) -> Duration {
            let age = instant.saturating_duration_since(self.instant);
            let by_wall = wall.duration_since(self.wall).unwrap_or_default();
            let ahead = nanos(by_wall.saturating_sub(age));
            age + Duration::from_nanos(self.ahead.fetch_max(ahead, Ordering::Relaxed).max(ahead))
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn boot_id() -> u64 {
    use std::io::Read as _;

    // Not kept: a process may have been carried to another machine since then.
    let mut id = [0; 36];
    let file = std::fs::File::open("/proc/sys/kernel/random/boot_id");
    match file.and_then(|mut file| file.read_exact(&mut id)) {
        Ok(()) => crate::hash::sha256(&id)[..8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        Err(_) => 0,
    }
}

/// Seconds since 1970, up to ten milliseconds late.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[inline(always)]
fn coarse_wall() -> Option<u32> {
    Some(rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse).tv_sec as u32)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use elsewhere::{boot_id, coarse_wall};

#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
mod elsewhere {
    /// Nobody knows.
    pub(super) fn boot_id() -> u64 {
        0
    }

    /// There is no cheaper clock.
    pub(super) fn coarse_wall() -> Option<u32> {
        None
    }
}

/// Tells early times apart from late ones without asking for the exact time, which would be most of what a cached token
/// costs.
///
/// One word has what the wall clock said when the one that counts suspend was asked last, and what that cannot have
/// reached yet: seconds, 32 bits of each. Suspend shows on the wall clock; while that shows the same second, a second
/// has passed at most. If it was set back within that second, it is two. What it cannot tell: that it was set back, by
/// days or by minutes, to the very second in which both were asked last. A second clock that is never set would, for
/// twice the price.
#[derive(Debug)]
pub(crate) struct Coarse {
    seen: AtomicU64,
    /// Not with a test's own time: then nothing is ever seen.
    is_used: bool,
}

impl Coarse {
    /// The rest of the second that the boot clock was in, and these two.
    const LATER: u64 = 3;

    pub(crate) fn new(clock: &dyn Clock) -> Coarse {
        Coarse { seen: AtomicU64::new(u64::MAX), is_used: clock.is_the_systems() }
    }

    /// Whether `until`, in nanoseconds since boot, is yet to come.
    #[inline(always)]
    pub(crate) fn is_before(&self, clock: &Arc<dyn Clock>, until: u64) -> bool {
        let is_surely = self.not_after(coarse_wall()).is_some_and(|not_after| not_after < until);
        is_surely || self.ask(clock, until)
    }

    /// Nanoseconds since boot that are not over yet; `None`: nobody knows.
    #[inline(always)]
    fn not_after(&self, wall: Option<u32>) -> Option<u64> {
        let (wall, seen) = (wall?, self.seen.load(Ordering::Relaxed));
        if seen >> 32 == u64::from(wall) {
            return Some((seen & 0xffff_ffff) * 1_000_000_000);
        }
        None
    }

    #[cold]
    #[inline(never)]
    fn ask(&self, clock: &Arc<dyn Clock>, until: u64) -> bool {
        let (wall, boot) = (coarse_wall(), clock.since_boot());
        if let (Some(wall), true) = (wall, self.is_used) {
            self.note(wall, boot);
        }
        nanos(boot) < until
    }

    fn note(&self, wall: u32, boot: Duration) {
        // 2^32 seconds are 136 years.
        let later = (boot.as_secs() + Coarse::LATER) & 0xffff_ffff;
        self.seen.store(u64::from(wall) << 32 | later, Ordering::Relaxed);
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

    /// Whether it has.
    pub fn has_happened(&self) -> bool {
        *self.lock()
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
///
/// ```
/// use std::time::Duration;
/// use tokauth::store::Deadline;
///
/// let deadline = Deadline::within(Duration::from_millis(20));
/// while !deadline.remaining().is_zero() {
///     deadline.pause(Duration::from_millis(5)); // and look again whether others have let go
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Deadline {
    /// By [`Clock::since_boot`].
    pub(crate) at: Duration,
    /// What it was from the beginning.
    pub(crate) timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl Deadline {
    /// `timeout` from now, in real time: for a test of a store.
    pub fn within(timeout: Duration) -> Deadline {
        Deadline::after(&(Arc::new(SystemClock) as Arc<dyn Clock>), timeout)
    }

    /// `timeout` from now.
    #[doc(hidden)]
    pub fn after(clock: &Arc<dyn Clock>, timeout: Duration) -> Deadline {
        Deadline { at: clock.since_boot().saturating_add(timeout), timeout, clock: clock.clone() }
    }

    /// So much must be left for a request that counts: else its reply would come too late for anybody.
    pub(crate) fn enough(&self) -> Duration {
        (self.timeout / 10).min(Duration::from_secs(1))
    }

    /// Later, if it is too near for what was learnt to be written down.
    pub(crate) fn to_write(&self) -> Deadline {
        let at = self.at.max(self.clock.since_boot().saturating_add(Duration::from_millis(100)));
        Deadline { at, ..self.clone() }
    }

    /// Sleeps for as long, but not past it.
    pub fn pause(&self, pause: Duration) {
        self.clock.sleep(self.clock.since_boot().saturating_add(pause).min(self.at));
    }

    /// What is left; zero when it has passed.
    pub fn remaining(&self) -> Duration {
        self.at.saturating_sub(self.clock.since_boot())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_wait_ends_with_its_time_or_its_event() {
        let (clock, event) = (SystemClock, Arc::<Event>::default());
        clock.wait(&event, clock.since_boot() + Duration::from_millis(1));
        event.set();
        clock.wait(&event, Duration::MAX);
    }

    #[test]
    fn what_was_before_a_boot_is_older_than_it_unless_it_was_on_another_machine() {
        let stamp = |boot_id, boot, epoch, is_shared| {
            let [since_boot, since_epoch] = [boot, epoch].map(Duration::from_secs);
            Stamp { boot_id, since_boot, since_epoch, is_shared }
        };
        let then = stamp(1, 5000, 1_000_000, false);
        for (what, now, age) in [
            ("one boot, whatever the wall clock says", stamp(1, 5007, 7, false), 7),
            ("one boot among machines", stamp(1, 5007, 7, true), 7),
            ("a later boot", stamp(2, 600, 1_000_900, false), 900),
            ("a later boot, by a wall clock that is late", stamp(2, 600, 1_000_007, false), 600),
            ("another machine, which has been up for long", stamp(2, 600, 1_000_007, true), 7),
            ("another machine, before that by the common clock", stamp(2, 600, 999_999, true), 0),
        ] {
            assert_eq!(then.age(&now), Duration::from_secs(age), "{what}");
        }
    }

    /// Seconds by which the clock of std, and then the wall clock, have moved since the start.
    #[test]
    fn where_no_clock_counts_suspend_time_is_what_either_clock_says() {
        let (instant, wall) = (Instant::now(), SystemTime::now());
        let start = both_clocks::Start::new(instant, wall);
        for (what, by_instant, by_wall, age) in [
            ("time passes", 5, 5, 5),
            ("suspended for two hours", 6, 7206, 7206),
            ("then time passes", 10, 7210, 7210),
            ("set back by a day", 20, -79_180, 7220),
            ("set right again", 30, 7230, 7230),
            ("set ahead by a minute", 40, 7300, 7300),
            ("set back", 50, 7250, 7310),
        ] {
            let moved = Duration::from_secs(i64::abs(by_wall).unsigned_abs());
            let wall = if by_wall < 0 { wall - moved } else { wall + moved };
            assert_eq!(start.age(instant + Duration::from_secs(by_instant), wall), Duration::from_secs(age), "{what}");
        }
        let (before, began) = (both_clocks::since_boot(), Instant::now());
        let passed = began.elapsed();
        assert!(both_clocks::since_boot() >= before + passed);
    }

    #[test]
    fn where_no_clock_is_cheaper_the_exact_one_is_asked() {
        let coarse = Coarse::new(&SystemClock);
        coarse.note(0, Duration::ZERO);
        assert_eq!(coarse.not_after(elsewhere::coarse_wall()), None);
    }

    #[test]
    fn where_boots_have_no_number_only_the_wall_clock_tells_the_age_of_what_others_wrote() {
        let then = Stamp { boot_id: elsewhere::boot_id(), ..Stamp::now(&SystemClock, None) };
        assert_eq!(then.proven_age(&then), None);
        let since_epoch = then.since_epoch + Duration::from_secs(7);
        assert_eq!(then.age(&Stamp { since_epoch, ..then }), Duration::from_secs(7));
    }

    #[test]
    fn the_coarse_clock_says_what_the_exact_one_says() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let coarse = Coarse::new(&*clock);
        for _ in 0..1000 {
            let now = nanos(clock.since_boot());
            assert!(!coarse.is_before(&clock, now));
            assert!(coarse.is_before(&clock, now + 60_000_000_000));
        }
    }

    /// E24, E25: what the wall clock has moved by since both clocks were asked.
    #[test]
    fn the_coarse_clock_is_believed_while_it_shows_the_second_that_it_showed() {
        let (boot, wall) = (Duration::from_millis(500_999), 1_795_219_200_i64);
        for (what, moved, believed) in [
            ("the same second", 0, true),
            ("the next", 1, false),
            ("a suspend of two hours", 7200, false),
            ("set back", -1, false),
            ("forty days back", -40 * 86_400, false),
            ("forty days ahead", 40 * 86_400, false),
        ] {
            let coarse = Coarse::new(&SystemClock);
            coarse.note(wall as u32, boot);
            let told = coarse.not_after(Some((wall + moved) as u32));
            assert_eq!(told.is_some(), believed, "{what}");
            // Set back within the second, it shows that second for nearly two.
            assert!(told.is_none_or(|told| told >= nanos(boot + Duration::from_secs(2))), "{what}");
        }
    }
}
