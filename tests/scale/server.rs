//! A real server with virtual time, what it counts, and the way to it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::{AddAssign, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokauth::Error;
use tokauth::seams::{Change, Deadline, Hold, Name, Store, Turn};

use super::engine::Engine;
use super::sim::{EPOCH, Sim};

/// There and back.
pub const WAY: Duration = Duration::from_millis(1);

/// Raises what this process and its children may open.
pub fn allow_connections(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = count + 200;
    assert!(
        limit.maximum.is_none_or(|most| most >= wanted),
        "{count} hosts need {wanted} open files, and the system allows {:?}; raise the hard limit (ulimit -Hn)",
        limit.maximum
    );
    if limit.current.is_some_and(|now| now < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).unwrap();
    }
}

/// What the server was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub commands: i64,
    pub connections: i64,
    /// In and out.
    pub bytes: i64,
}

impl Sub for Load {
    type Output = Load;

    fn sub(self, other: Load) -> Load {
        Load {
            commands: self.commands - other.commands,
            connections: self.connections - other.connections,
            bytes: self.bytes - other.bytes,
        }
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Load) {
        *self = *self - (Load::default() - other);
    }
}

/// Asks the server what it counted, without counting itself.
pub struct Meter {
    line: TcpStream,
    own: Load,
}

impl Meter {
    pub fn of(engine: &Engine) -> Meter {
        let line = TcpStream::connect(("127.0.0.1", engine.port)).unwrap();
        Meter { line, own: Load { connections: 1, ..Load::default() } }
    }

    pub fn read(&mut self) -> Load {
        let command = "INFO stats commandstats\r\n";
        self.line.write_all(command.as_bytes()).unwrap();
        self.own.bytes += command.len() as i64;
        let mut told = Vec::new();
        let mut length = None;
        while length.is_none_or(|length| told.len() < length) {
            let mut part = [0; 16_384];
            let amount = self.line.read(&mut part).unwrap();
            assert!(amount > 0, "the server closed the meter's connection");
            told.extend_from_slice(&part[..amount]);
            let text = String::from_utf8_lossy(&told);
            length = text.split_once("\r\n").map(|(head, _)| head.len() + 4 + head[1..].parse::<usize>().unwrap());
        }
        let text = String::from_utf8(told).unwrap();
        let number = |line: &str, name: &str| -> Option<i64> {
            let rest = line.split_once(name)?.1;
            rest.split([',', '.', '\r']).next()?.parse().ok()
        };
        let mut all = Load::default();
        for line in text.lines() {
            // What a script calls is part of its command.
            if ["eval", "auth", "select", "info", "wait"]
                .iter()
                .any(|sent| line.starts_with(&format!("cmdstat_{sent}:")))
            {
                all.commands += number(line, "calls=").unwrap();
            }
            all.connections += number(line, "total_connections_received:").unwrap_or(0);
            all.bytes += number(line, "total_net_input_bytes:").unwrap_or(0);
            all.bytes += number(line, "total_net_output_bytes:").unwrap_or(0);
        }
        let load = all - self.own;
        // It counts a command, and its reply, when that is over.
        self.own.bytes += text.len() as i64;
        self.own.commands += 1;
        load
    }
}

/// The time that the server sees.
pub fn set_time(engine: &Engine, now: Duration) {
    engine.stop_clock_at(EPOCH + now);
}

/// How many visits there are, and were at once.
#[derive(Debug, Default)]
pub struct Visits {
    now: AtomicI64,
    most: AtomicI64,
    /// Somebody has asked the server for something, or may have.
    busy: AtomicBool,
}

impl Visits {
    /// Whether the server may have been asked for anything since this was asked for last.
    pub fn busy(&self) -> bool {
        self.busy.swap(self.now() > 0, Ordering::SeqCst)
    }

    pub fn now(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }

    /// The most at once, since this was asked for last.
    pub fn most(&self) -> i64 {
        self.most.swap(self.now.load(Ordering::SeqCst), Ordering::SeqCst)
    }
}

/// A store that is a way off. What a turn asks while it waits is not delayed: its pauses are far longer.
#[derive(Debug)]
pub struct Far {
    pub sim: Arc<Sim>,
    pub near: Box<dyn Store>,
    pub visits: Arc<Visits>,
    /// Trips until a connection stands, the first time.
    trips: AtomicI64,
    is_visit: bool,
}

impl Far {
    pub fn new(sim: Arc<Sim>, near: Box<dyn Store>, visits: Arc<Visits>) -> Far {
        Far { sim, near, visits, trips: AtomicI64::new(0), is_visit: false }
    }

    fn travel(&self, trips: u32) {
        let before = self.trips.swap(0, Ordering::SeqCst) as u32;
        self.sim.sleep(WAY * (before + trips));
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        if self.is_visit {
            self.visits.now.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Store for Far {
    fn visit(&self, timeout: Duration) -> Option<Box<dyn Store>> {
        let near = self.near.visit(timeout)?;
        let now = self.visits.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.visits.most.fetch_max(now, Ordering::SeqCst);
        self.visits.busy.store(true, Ordering::SeqCst);
        let (sim, visits) = (self.sim.clone(), self.visits.clone());
        // For TCP, and for the server's time.
        Some(Box::new(Far { sim, near, visits, trips: AtomicI64::new(2), is_visit: true }))
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn since_epoch(&self) -> Option<Duration> {
        self.near.since_epoch()
    }

    fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        self.travel(1);
        self.near.load(name)
    }

    fn change(
        &self,
        name: &Name,
        deadline: &Deadline,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Error> {
        self.travel(if name.lasts() { 3 } else { 2 });
        self.near.change(name, deadline, change)
    }

    fn turn(&self, name: &Name, deadline: &Deadline) -> Result<Box<dyn Turn>, Error> {
        self.travel(1);
        let near = self.near.turn(name, deadline)?;
        Ok(Box::new(FarTurn { sim: self.sim.clone(), near }))
    }

    fn turn_unless_changed(
        &self,
        name: &Name,
        deadline: &Deadline,
        seen: (&Name, Option<&[u8]>),
    ) -> Result<Option<Box<dyn Turn>>, Error> {
        self.travel(1);
        let near = self.near.turn_unless_changed(name, deadline, seen)?;
        Ok(near.map(|near| -> Box<dyn Turn> { Box::new(FarTurn { sim: self.sim.clone(), near }) }))
    }
}

#[derive(Debug)]
struct FarTurn {
    sim: Arc<Sim>,
    near: Box<dyn Turn>,
}

impl Turn for FarTurn {
    fn hold(&self, deadline: &Deadline) -> Result<Hold, Error> {
        self.sim.sleep(WAY);
        self.near.hold(deadline)
    }
}

impl Drop for FarTurn {
    fn drop(&mut self) {
        self.sim.sleep(WAY);
    }
}
