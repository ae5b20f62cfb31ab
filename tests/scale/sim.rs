//! Virtual time for many hosts: what happens next is the earliest thing that waits, and only one thread runs at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use tokauth::seams::{Clock, Event};

use super::draw::seed_random;

/// 2026-11-21 00:00:00 UTC: when it begins.
pub const EPOCH: Duration = Duration::from_secs(1_795_219_200);
/// What a host's thread is to do.
pub type Act = Box<dyn FnOnce() + Send>;

/// A call of the library needs far less; none of this is used before it is touched.
const STACK: usize = 256 * 1024;

/// What happens at a time.
enum Next {
    /// This host asks.
    Ask(usize),
    /// This thread slept until then.
    Wake(Arc<Sleeper>),
}

struct Sleeper {
    thread: Thread,
    wakes: AtomicBool,
}

#[derive(Default)]
pub struct Sim {
    now: AtomicU64,
    /// By time, and by the order in which they came.
    queue: Mutex<BinaryHeap<Reverse<(u64, u64, usize)>>>,
    items: Mutex<Items>,
    /// A thread of a host runs.
    runs: AtomicBool,
    main: OnceLock<Thread>,
}

#[derive(Default)]
struct Items {
    count: u64,
    sleepers: Vec<Option<Arc<Sleeper>>>,
    free: Vec<usize>,
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sim at {:?}", self.now())
    }
}

/// Numbers of sleepers begin here, those of hosts end.
const SLEEPERS: usize = 1 << 32;

impl Sim {
    /// Since it began.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.now.load(Ordering::SeqCst))
    }

    pub fn ask_at(&self, time: Duration, host: usize) {
        self.push(time, Next::Ask(host));
    }

    fn push(&self, time: Duration, next: Next) {
        let items = &mut *self.items.lock().unwrap();
        items.count += 1;
        let number = match next {
            Next::Ask(host) => host,
            Next::Wake(sleeper) => {
                let place = items.free.pop().unwrap_or_else(|| {
                    items.sleepers.push(None);
                    items.sleepers.len() - 1
                });
                items.sleepers[place] = Some(sleeper);
                SLEEPERS + place
            }
        };
        let time = (time.as_nanos() as u64).max(self.now.load(Ordering::SeqCst));
        self.queue.lock().unwrap().push(Reverse((time, items.count, number)));
    }

    fn pop(&self, end: Duration) -> Option<(Duration, Next)> {
        let queue = &mut *self.queue.lock().unwrap();
        let Reverse((time, ..)) = *queue.peek()?;
        let time = Duration::from_nanos(time);
        if time >= end {
            return None;
        }
        let Reverse((_, _, number)) = queue.pop()?;
        let next = match number.checked_sub(SLEEPERS) {
            None => Next::Ask(number),
            Some(place) => {
                let items = &mut *self.items.lock().unwrap();
                items.free.push(place);
                Next::Wake(items.sleepers[place].take().unwrap())
            }
        };
        Some((time, next))
    }

    /// Called by a host's thread, which runs on at that time.
    pub fn sleep_until(&self, until: Duration) {
        if until <= self.now() {
            return;
        }
        let sleeper = Arc::new(Sleeper { thread: thread::current(), wakes: AtomicBool::new(false) });
        self.push(until, Next::Wake(sleeper.clone()));
        self.rests();
        while !sleeper.wakes.load(Ordering::SeqCst) {
            thread::park();
        }
    }

    /// No host asks any more; call it when none of their threads sleeps.
    pub fn forget(&self) {
        self.queue.lock().unwrap().retain(|Reverse((_, _, number))| *number >= SLEEPERS);
    }

    pub fn sleep(&self, time: Duration) {
        self.sleep_until(self.now() + time);
    }

    fn rests(&self) {
        self.runs.store(false, Ordering::SeqCst);
        self.main.get().unwrap().unpark();
    }

    /// Lets all happen that happens before `end`. `moves` sees each time to which the time is about to move; `asks` is
    /// the host's turn: `Some` is what its thread is to do, with random numbers that follow from the seed.
    pub fn run(
        self: &Arc<Sim>,
        end: Duration,
        moves: &mut dyn FnMut(Duration),
        asks: &mut dyn FnMut(usize) -> Option<(u64, Act)>,
    ) {
        self.main.get_or_init(thread::current);
        while let Some((time, next)) = self.pop(end) {
            if time > self.now() {
                moves(time);
                self.now.store(time.as_nanos() as u64, Ordering::SeqCst);
            }
            match next {
                Next::Ask(host) => {
                    let Some((seed, work)) = asks(host) else { continue };
                    self.runs.store(true, Ordering::SeqCst);
                    let sim = self.clone();
                    let work = move || {
                        let _rests = Rests(sim);
                        seed_random(seed);
                        work();
                    };
                    let thread = thread::Builder::new().stack_size(STACK).spawn(work);
                    drop(thread.expect("the system allows too few threads; see ulimit -u and the cgroup's pids.max"));
                }
                Next::Wake(sleeper) => {
                    self.runs.store(true, Ordering::SeqCst);
                    sleeper.wakes.store(true, Ordering::SeqCst);
                    sleeper.thread.unpark();
                }
            }
            while self.runs.load(Ordering::SeqCst) {
                thread::park();
            }
        }
        moves(end);
        self.now.store(end.as_nanos() as u64, Ordering::SeqCst);
    }
}

/// A thread that ends, by a panic too.
struct Rests(Arc<Sim>);

impl Drop for Rests {
    fn drop(&mut self) {
        self.0.rests();
    }
}

/// The clocks of one machine: nobody else's boot, and a wall clock that is a little off.
#[derive(Debug)]
pub struct HostClock {
    pub sim: Arc<Sim>,
    pub boot_id: u64,
    /// How long it was up when all began.
    pub up: Duration,
    pub ahead: Duration,
}

impl Clock for HostClock {
    fn since_boot(&self) -> Duration {
        self.up + self.sim.now()
    }

    fn since_epoch(&self) -> Duration {
        EPOCH + self.ahead + self.sim.now()
    }

    fn boot_id(&self) -> u64 {
        self.boot_id
    }

    /// A host has one thread that asks: nobody is there for whom to wait.
    fn wait(&self, event: &Arc<Event>, until: Duration) {
        if !event.has_happened() {
            self.sim.sleep_until(until.saturating_sub(self.up));
        }
    }
}
