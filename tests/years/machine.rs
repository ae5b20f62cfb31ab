//! A machine in virtual time: the true time, a boot clock that drifts as quartz does, a wall clock that anybody sets,
//! a disk, and the moment at which a process on it dies.

use std::cell::Cell;
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokauth::seams::{Change, Clock, Deadline, Event, Memory, Name, RetryClass, Store, Turn, failure};
use tokauth::{Error, ErrorKind};

/// Splitmix64.
#[derive(Clone, Debug)]
pub struct Draw(pub u64);

impl Draw {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }

    pub fn chance(&mut self, chance: f64) -> bool {
        self.unit() < chance
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.unit())
    }
}

thread_local! {
    static RANDOM: Cell<u64> = const { Cell::new(1) };
}

/// The next random numbers of this thread follow from it.
pub fn seed_random(seed: u64) {
    RANDOM.set(seed);
}

/// The system's random numbers, the same in each run.
pub fn random(bytes: &mut [u8]) -> Result<(), Error> {
    let mut draw = Draw(RANDOM.get());
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&draw.next().to_le_bytes()[..chunk.len()]);
    }
    RANDOM.set(draw.0);
    Ok(())
}

#[derive(Clone, Copy, Debug)]
struct Times {
    truth: Duration,
    boot: Duration,
    boot_id: u64,
    wall: Duration,
}

#[derive(Debug)]
pub struct Machine {
    times: Mutex<Times>,
    /// The boot clock runs fast by so many millionths.
    fast: i32,
}

impl Machine {
    pub fn new(truth: Duration, fast: i32) -> Machine {
        let times = Times { truth, boot: Duration::from_secs(1000), boot_id: 1, wall: truth };
        Machine { times: Mutex::new(times), fast }
    }

    /// Since 1970, in truth.
    pub fn truth(&self) -> Duration {
        self.times.lock().unwrap().truth
    }

    pub fn pass(&self, truth: Duration) {
        let mut times = self.times.lock().unwrap();
        let shown = truth.mul_f64(self.rate());
        times.truth += truth;
        times.boot += shown;
        times.wall += truth; // which is kept in step from outside, until somebody sets it
    }

    fn rate(&self) -> f64 {
        1.0 + f64::from(self.fast) / 1e6
    }

    pub fn set_wall(&self, wall: Duration) {
        self.times.lock().unwrap().wall = wall;
    }

    pub fn reboot(&self, wall: Duration) {
        let mut times = self.times.lock().unwrap();
        *times = Times { boot: Duration::from_secs(20), boot_id: times.boot_id + 1, wall, ..*times };
    }
}

impl Clock for Machine {
    fn since_boot(&self) -> Duration {
        self.times.lock().unwrap().boot
    }

    fn since_epoch(&self) -> Duration {
        self.times.lock().unwrap().wall
    }

    fn boot_id(&self) -> u64 {
        self.times.lock().unwrap().boot_id
    }

    /// Nobody else is there for whom to wait.
    fn wait(&self, _event: &Arc<Event>, until: Duration) {
        let left = until.saturating_sub(self.since_boot());
        self.pass(left.div_f64(self.rate()));
        let mut times = self.times.lock().unwrap();
        times.boot = times.boot.max(until);
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

/// The disk, which outlives processes, and of which a test can make one that is full.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    documents: Memory,
    pub full: Arc<AtomicBool>,
    pub fuse: Fuse,
}

impl Disk {
    fn work(&self) -> Result<(), Error> {
        match self.full.load(Ordering::SeqCst) {
            true => Err(failure(ErrorKind::Store, RetryClass::NotSent)),
            false => Ok(()),
        }
    }
}

impl Store for Disk {
    fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        self.fuse.step();
        self.documents.load(name)
    }

    fn change(
        &self,
        name: &Name,
        deadline: &Deadline,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Error> {
        self.fuse.step();
        self.work()?;
        self.documents.change(name, deadline, change)?;
        self.fuse.step();
        Ok(())
    }

    fn turn(&self, name: &Name, deadline: &Deadline) -> Result<Box<dyn Turn>, Error> {
        self.fuse.step();
        self.work()?;
        self.documents.turn(name, deadline)
    }
}
