//! Where processes keep what they share: a disk or a server, each of which can be full, away, or replaced by an empty
//! one, and on which somebody dies.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokauth::seams::{Change, Deadline, Hold, Memory, Name, RetryClass, Store, Turn, failure};
use tokauth::{Error, ErrorKind};

use super::machine::{Fuse, Machine, Truth, off_by};

/// It outlives processes.
pub trait Server: Send + Sync {
    /// As it is seen from a machine.
    fn store(&self, machine: &Arc<Machine>) -> Arc<dyn Store>;

    /// Somebody sets its clock, which is then ahead of the truth by so many milliseconds.
    fn set_clock(&self, ahead: i64);

    /// It comes back empty.
    fn lose_all(&self);

    /// A turn whose holder has died.
    fn abandon(&self, turn: Box<dyn Turn>) {
        drop(turn); // as the system drops the lock of a file
    }
}

/// So many servers, of which no two know of each other.
pub type Servers = fn(&Arc<Truth>, u64) -> Vec<Arc<dyn Server>>;

/// In memory; with a clock of its own, which those who use it see as a server's, or without one, as a disk.
#[derive(Clone, Debug)]
struct Kept {
    documents: Arc<Mutex<Memory>>,
    clock: Option<(Arc<Truth>, Arc<AtomicI64>)>,
}

pub fn disks(_truth: &Arc<Truth>, count: u64) -> Vec<Arc<dyn Server>> {
    let disk = || -> Arc<dyn Server> { Arc::new(Kept { documents: Arc::default(), clock: None }) };
    (0..count).map(|_| disk()).collect()
}

pub fn servers(truth: &Arc<Truth>, count: u64) -> Vec<Arc<dyn Server>> {
    let clock = || Some((truth.clone(), Arc::default()));
    let server = || -> Arc<dyn Server> { Arc::new(Kept { documents: Arc::default(), clock: clock() }) };
    (0..count).map(|_| server()).collect()
}

impl Kept {
    fn documents(&self) -> Memory {
        self.documents.lock().unwrap().clone()
    }
}

impl Server for Kept {
    fn store(&self, _machine: &Arc<Machine>) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }

    fn set_clock(&self, ahead: i64) {
        self.clock.iter().for_each(|(_, clock)| clock.store(ahead, Ordering::SeqCst));
    }

    fn lose_all(&self) {
        *self.documents.lock().unwrap() = Memory::default();
    }
}

impl Store for Kept {
    fn since_epoch(&self) -> Option<Duration> {
        let (truth, ahead) = self.clock.as_ref()?;
        Some(off_by(truth.now(), i128::from(ahead.load(Ordering::SeqCst)) * 1_000_000))
    }

    fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        self.documents().load(name)
    }

    fn change(
        &self,
        name: &Name,
        deadline: &Deadline,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Error> {
        self.documents().change(name, deadline, change)
    }

    fn turn(&self, name: &Name, deadline: &Deadline) -> Result<Box<dyn Turn>, Error> {
        self.documents().turn(name, deadline)
    }
}

/// What may befall all stores at once.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Nothing can be written.
    pub full: Arc<AtomicBool>,
    /// Nothing can be reached.
    pub away: Arc<AtomicBool>,
    pub fuse: Fuse,
}

/// A process's way to one of the servers.
#[derive(Clone)]
pub struct Way {
    servers: Vec<(Arc<dyn Server>, Arc<dyn Store>)>,
    /// Which of them it talks to.
    pub side: Arc<AtomicUsize>,
    faults: Faults,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store().fmt(f)
    }
}

impl Way {
    pub fn new(servers: &[Arc<dyn Server>], machine: &Arc<Machine>, side: usize, faults: Faults) -> Way {
        let servers = servers.iter().map(|server| (server.clone(), server.store(machine))).collect();
        Way { servers, side: Arc::new(AtomicUsize::new(side)), faults }
    }

    fn store(&self) -> &dyn Store {
        &*self.servers[self.side.load(Ordering::SeqCst)].1
    }

    fn step(&self) -> Result<(), Error> {
        self.faults.fuse.step();
        fails(&self.faults.away)
    }
}

fn fails(fault: &AtomicBool) -> Result<(), Error> {
    match fault.load(Ordering::SeqCst) {
        true => Err(failure(ErrorKind::Store, RetryClass::NotSent)),
        false => Ok(()),
    }
}

impl Store for Way {
    fn visit(&self, timeout: Duration) -> Option<Box<dyn Store>> {
        let store = Arc::from(self.store().visit(timeout)?);
        let server = self.servers[self.side.load(Ordering::SeqCst)].0.clone();
        Some(Box::new(Way { servers: vec![(server, store)], side: Arc::default(), ..self.clone() }))
    }

    fn is_remote(&self) -> bool {
        self.store().is_remote()
    }

    fn since_epoch(&self) -> Option<Duration> {
        self.store().since_epoch()
    }

    fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        self.step()?;
        self.store().load(name)
    }

    fn change(
        &self,
        name: &Name,
        deadline: &Deadline,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Error> {
        self.step()?;
        fails(&self.faults.full)?;
        self.store().change(name, deadline, change)?;
        self.faults.fuse.step();
        Ok(())
    }

    fn turn(&self, name: &Name, deadline: &Deadline) -> Result<Box<dyn Turn>, Error> {
        self.step()?;
        fails(&self.faults.full)?;
        let turn = Some(self.store().turn(name, deadline)?);
        Ok(Box::new(WayTurn { way: self.clone(), turn }))
    }

    fn turn_unless_changed(
        &self,
        name: &Name,
        deadline: &Deadline,
        seen: (&Name, Option<&[u8]>),
    ) -> Result<Option<Box<dyn Turn>>, Error> {
        self.step()?;
        fails(&self.faults.full)?;
        let turn = self.store().turn_unless_changed(name, deadline, seen)?;
        Ok(turn.map(|turn| Box::new(WayTurn { way: self.clone(), turn: Some(turn) }) as Box<dyn Turn>))
    }
}

#[derive(Debug)]
struct WayTurn {
    way: Way,
    turn: Option<Box<dyn Turn>>,
}

impl Turn for WayTurn {
    fn hold(&self, deadline: &Deadline) -> Result<Hold, Error> {
        self.way.step()?;
        let held = self.turn.as_ref().unwrap().hold(deadline)?;
        self.way.faults.fuse.step();
        Ok(held)
    }
}

impl Drop for WayTurn {
    fn drop(&mut self) {
        if thread::panicking() {
            let side = self.way.side.load(Ordering::SeqCst);
            self.way.servers[side].0.abandon(self.turn.take().unwrap());
        }
    }
}
