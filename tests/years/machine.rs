//! Machines in virtual time: the true time, boot clocks that drift as quartz does, wall clocks that anybody sets, and
//! the moment at which a process dies.

use std::panic;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokauth::seams::{Clock, Event};

/// The time that it is for everybody, whatever their clocks say.
pub struct Truth {
    now: Mutex<Duration>,
    /// Whose clocks are set from outside as it passes.
    watchers: Mutex<Vec<Watcher>>,
}

type Watcher = Box<dyn Fn(Duration) + Send + Sync>;

impl std::fmt::Debug for Truth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.now().fmt(f)
    }
}

impl Truth {
    pub fn new(now: Duration) -> Truth {
        Truth { now: Mutex::new(now), watchers: Mutex::default() }
    }

    /// Since 1970.
    pub fn now(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    pub fn pass(&self, time: Duration) {
        let now = {
            let mut now = self.now.lock().unwrap();
            *now += time;
            *now
        };
        self.watchers.lock().unwrap().iter().for_each(|watcher| watcher(now));
    }

    /// Tells the time now and whenever it passes.
    #[cfg(feature = "redis")]
    pub fn watch(&self, watcher: Watcher) {
        watcher(self.now());
        self.watchers.lock().unwrap().push(watcher);
    }
}

/// A clock that is off by so many nanoseconds.
pub fn off_by(truth: Duration, nanos: i128) -> Duration {
    let shown = (truth.as_nanos() as i128 + nanos).max(0) as u128;
    Duration::new((shown / 1_000_000_000) as u64, (shown % 1_000_000_000) as u32)
}

#[derive(Clone, Copy, Debug)]
struct Times {
    /// When its boot clock began, in truth.
    boot: Duration,
    boot_id: u64,
    /// By how many nanoseconds the wall clock is ahead.
    wall: i128,
}

#[derive(Debug)]
pub struct Machine {
    truth: Arc<Truth>,
    times: Mutex<Times>,
    /// The boot clock runs fast by so many millionths.
    fast: i32,
}

impl Machine {
    /// One that is up for so long.
    pub fn new(truth: Arc<Truth>, boot_id: u64, up: Duration, fast: i32) -> Machine {
        let times = Times { boot: truth.now() - up, boot_id, wall: 0 };
        Machine { truth, times: Mutex::new(times), fast }
    }

    pub fn set_wall(&self, wall: Duration) {
        self.times.lock().unwrap().wall = wall.as_nanos() as i128 - self.truth.now().as_nanos() as i128;
    }

    /// As another boot, which no machine has had.
    pub fn reboot(&self, boot_id: u64, wall: Duration) {
        let mut times = self.times.lock().unwrap();
        *times = Times { boot: self.truth.now() - Duration::from_secs(20), boot_id, ..*times };
        drop(times);
        self.set_wall(wall);
    }

    fn millionths(&self) -> u128 {
        (1_000_000 + i128::from(self.fast)) as u128
    }
}

impl Clock for Machine {
    fn since_boot(&self) -> Duration {
        let up = self.truth.now() - self.times.lock().unwrap().boot;
        let shown = up.as_nanos() * self.millionths() / 1_000_000;
        Duration::from_nanos(shown as u64)
    }

    fn since_epoch(&self) -> Duration {
        off_by(self.truth.now(), self.times.lock().unwrap().wall)
    }

    fn boot_id(&self) -> u64 {
        self.times.lock().unwrap().boot_id
    }

    /// Nobody else is there for whom to wait.
    fn wait(&self, _event: &Arc<Event>, until: Duration) {
        let left = until.saturating_sub(self.since_boot());
        let left = (left.as_nanos() * 1_000_000).div_ceil(self.millionths());
        self.truth.pass(Duration::from_nanos(left as u64));
    }
}

/// What `kill -9` leaves of a call: nothing.
#[derive(Debug)]
pub struct Killed;

/// Counts the steps that a process has left to live.
#[derive(Clone, Debug, Default)]
pub struct Fuse(Arc<AtomicI64>);

impl Fuse {
    /// It dies in the step after so many.
    pub fn light(&self, steps: u64) {
        self.0.store(1 + steps as i64, Ordering::SeqCst);
    }

    pub fn put_out(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    pub fn step(&self) {
        if self.0.load(Ordering::SeqCst) > 0 && self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            panic::resume_unwind(Box::new(Killed)); // which tells nobody, unlike panic!
        }
    }
}
