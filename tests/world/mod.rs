//! A world for tests: time that only the test moves, a provider that answers what the test says, a store in a map.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Duration;

use tokauth::seams::{
    Change, Clock, Deadline, Event, Head, Memory, Name, Registry, Reply, RetryClass, Seams, Secret, Sent, Store,
    Transport, Turn, failure,
};
use tokauth::{Builder, Client, Error, ErrorKind};

use crate::canary::{self, Lines, Watched};

pub const S: Duration = Duration::from_secs(1);
/// 2026-11-21 00:00:00 UTC.
pub const NOW: u64 = 1_795_219_200;

/// Boot and wall time, moved by hand.
#[derive(Debug)]
pub struct VirtualClock {
    times: Mutex<(Duration, Duration)>,
    waiting: Mutex<Vec<Weak<Event>>>,
    asleep: AtomicUsize,
    boot: AtomicU64,
    sleeps_really: AtomicBool,
}

impl VirtualClock {
    pub fn advance(&self, by: Duration) {
        self.pass(|_| by);
    }

    /// By what is told of the time since boot.
    fn pass(&self, by: impl FnOnce(Duration) -> Duration) {
        let mut times = self.times.lock().unwrap();
        let by = by(times.0);
        times.0 += by;
        times.1 += by;
        drop(times);
        self.asleep_changed();
    }

    /// From now on whoever sleeps does, as long as the clock then says: a thread that looks again and again whether
    /// another is done does not use up its time before that runs.
    pub fn sleeps_really(&self) {
        self.sleeps_really.store(true, Ordering::SeqCst);
    }

    /// Steps the wall clock only, as people and NTP do.
    pub fn set_wall(&self, since_epoch: Duration) {
        self.times.lock().unwrap().1 = since_epoch;
    }

    /// As after a reboot.
    pub fn set_boot(&self, since_boot: Duration) {
        self.boot.fetch_add(1, Ordering::SeqCst);
        self.times.lock().unwrap().0 = since_boot;
    }

    /// How many threads wait now.
    pub fn waiters(&self) -> usize {
        self.asleep.load(Ordering::SeqCst)
    }

    fn asleep_changed(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        waiting.iter().filter_map(Weak::upgrade).for_each(|event| event.poke());
    }
}

impl Clock for VirtualClock {
    fn since_boot(&self) -> Duration {
        self.times.lock().unwrap().0
    }

    fn since_epoch(&self) -> Duration {
        self.times.lock().unwrap().1
    }

    fn boot_id(&self) -> u64 {
        self.boot.load(Ordering::SeqCst)
    }

    fn wait(&self, event: &Arc<Event>, until: Duration) {
        self.asleep.fetch_add(1, Ordering::SeqCst);
        event.wait_while(|| {
            self.waiting.lock().unwrap().push(Arc::downgrade(event));
            self.since_boot() >= until
        });
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }

    /// Nobody else is there to move the time.
    fn sleep(&self, until: Duration) {
        if self.sleeps_really.load(Ordering::SeqCst) {
            std::thread::sleep(until.saturating_sub(self.since_boot()));
        }
        self.pass(|now| until.saturating_sub(now));
    }
}

/// What the scripted provider does with the next request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers.
    Reply(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Takes the body and never answers.
    Lose,
    /// Fails before it takes the body.
    Unsent(ErrorKind),
    /// Does not connect within the time that it has.
    RunOut,
    /// Takes the body, and does not answer within the time that it has.
    Late,
    /// Panics.
    Panic,
}

/// More than any call attempts.
const MANY: usize = 4;

/// One request as it left.
#[derive(Clone, Debug)]
pub struct Request {
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Answers a request.
pub type Judge = dyn Fn(&Request) -> (u16, Vec<(&'static str, String)>, Vec<u8>) + Send;

/// A provider behind the transport's seam: answers what is queued, else a token `canary-token-N` that lives an hour.
#[derive(Default)]
pub struct Provider {
    acts: Mutex<VecDeque<Act>>,
    judge: Mutex<Option<Box<Judge>>>,
    pub requests: Mutex<Vec<Request>>,
    /// How often it was connected to in vain.
    pub attempts: Mutex<usize>,
    deadline: Mutex<Duration>,
    /// Passes before the connection stands, and before the reply is there.
    pub connect_time: Mutex<Duration>,
    pub reply_time: Mutex<Duration>,
    gate: Mutex<Gate>,
    gate_changed: Condvar,
    clock: Mutex<Option<Arc<VirtualClock>>>,
}

#[derive(Default)]
struct Gate {
    closed: bool,
    arrived: usize,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provider")
    }
}

impl Provider {
    pub fn next(&self, act: Act) {
        self.acts.lock().unwrap().push_back(act);
    }

    /// Where nothing is queued, `judge` answers.
    pub fn judges(&self, judge: impl Fn(&Request) -> (u16, Vec<(&'static str, String)>, Vec<u8>) + Send + 'static) {
        *self.judge.lock().unwrap() = Some(Box::new(judge));
    }

    pub fn next_json(&self, status: u16, body: serde_json::Value) {
        self.next(Act::Reply(status, vec![("content-type", "application/json".into())], body.to_string().into()));
    }

    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// Requests, and attempts at one.
    pub fn connections(&self) -> usize {
        self.count() + *self.attempts.lock().unwrap()
    }

    /// Every attempt of a call gets this.
    pub fn always(&self, act: Act) {
        *self.acts.lock().unwrap() = vec![act; MANY].into();
    }

    /// Takes back what is queued.
    pub fn forget(&self) {
        self.acts.lock().unwrap().clear();
    }

    /// A request and its repetition, both unanswered.
    pub fn lose(&self) {
        self.next(Act::Lose);
        self.next(Act::Lose);
    }

    pub fn last(&self) -> Request {
        self.requests.lock().unwrap().last().cloned().expect("a request was sent")
    }

    /// The time that the latest request was given.
    pub fn last_deadline(&self) -> Duration {
        *self.deadline.lock().unwrap()
    }

    /// Requests stop before their reply until [`open`](Provider::open).
    pub fn close(&self) {
        *self.gate.lock().unwrap() = Gate { closed: true, arrived: 0 };
    }

    pub fn open(&self) {
        self.gate.lock().unwrap().closed = false;
        self.gate_changed.notify_all();
    }

    /// Returns when a request stands before the closed gate.
    pub fn wait_for_arrival(&self) {
        let mut gate = self.gate.lock().unwrap();
        while gate.arrived == 0 {
            gate = self.gate_changed.wait(gate).unwrap();
        }
    }

    fn pass_gate(&self) {
        let mut gate = self.gate.lock().unwrap();
        gate.arrived += 1;
        self.gate_changed.notify_all();
        while gate.closed {
            gate = self.gate_changed.wait(gate).unwrap();
        }
    }

    fn pass_time(&self, time: &Mutex<Duration>) {
        let time = *time.lock().unwrap();
        self.pass(time);
    }

    fn pass(&self, time: Duration) {
        if let Some(clock) = &*self.clock.lock().unwrap() {
            clock.advance(time);
        }
    }
}

impl Transport for Provider {
    fn send(
        &self,
        head: &Head,
        deadline: Deadline,
        body: &mut dyn FnMut() -> Result<Secret, Error>,
    ) -> Result<Sent, Error> {
        let act = self.acts.lock().unwrap().pop_front();
        *self.deadline.lock().unwrap() = deadline.remaining();
        match act {
            Some(Act::Unsent(kind)) => {
                *self.attempts.lock().unwrap() += 1;
                return Err(failure(kind, RetryClass::NotSent));
            }
            Some(Act::RunOut) => {
                *self.attempts.lock().unwrap() += 1;
                self.pass_gate();
                self.pass(deadline.remaining());
                return Err(failure(ErrorKind::Timeout, RetryClass::NotSent));
            }
            _ => {}
        }
        self.pass_time(&self.connect_time);
        let body = body()?;
        assert_eq!(body.expose().len(), head.content_length, "the head tells the body's length");
        let headers = head.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        let request = Request { url: head.url.clone(), headers, body: body.expose().to_owned() };
        let judged = self.judge.lock().unwrap().as_ref().map(|judge| judge(&request));
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(request);
            requests.len()
        };
        self.pass_gate();
        self.pass_time(&self.reply_time);
        let (status, headers, body) = match act {
            None if judged.is_some() => judged.unwrap(),
            None => {
                let token = format!("canary-token-{number}");
                let token = serde_json::json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
                (200, vec![], token.to_string().into())
            }
            Some(Act::Reply(status, headers, body)) => (status, headers, body),
            Some(Act::Panic) => panic!("the transport broke"),
            Some(Act::Lose) => return Ok(Sent::Lost(failure(ErrorKind::Network, RetryClass::Ambiguous))),
            Some(Act::Late) => {
                self.pass(deadline.remaining());
                return Ok(Sent::Lost(failure(ErrorKind::Timeout, RetryClass::Ambiguous)));
            }
            Some(Act::Unsent(_) | Act::RunOut) => unreachable!("these end before the body"),
        };
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Sent::Reply(Reply { status, headers, body: body.into() }))
    }
}

/// A store that a test can break, and of which each world sees the same.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    pub documents: Memory,
    broken: Arc<AtomicBool>,
}

impl Shelf {
    /// From now on nothing can be written, nor be locked.
    pub fn break_it(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    /// Puts a document there by hand.
    pub fn put(&self, name: &str, document: &[u8]) {
        self.documents.put(name, document);
    }

    fn work(&self) -> Result<(), Error> {
        match self.broken.load(Ordering::SeqCst) {
            true => Err(failure(ErrorKind::Store, RetryClass::NotSent)),
            false => Ok(()),
        }
    }
}

impl Store for Shelf {
    fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        self.documents.load(name)
    }

    fn change(
        &self,
        name: &Name,
        deadline: &Deadline,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Error> {
        self.work()?;
        self.documents.change(name, deadline, change)
    }

    fn turn(&self, name: &Name, deadline: &Deadline) -> Result<Box<dyn Turn>, Error> {
        self.work()?;
        self.documents.turn(name, deadline)
    }
}

/// All of it together.
#[derive(Clone)]
pub struct World {
    pub clock: Arc<VirtualClock>,
    pub provider: Arc<Provider>,
    pub seams: Seams,
    /// What its clients logged.
    pub lines: Lines,
}

impl World {
    pub fn new() -> World {
        let clock = Arc::new(VirtualClock {
            times: Mutex::new((S * 100_000, S * NOW as u32)),
            waiting: Mutex::default(),
            asleep: AtomicUsize::new(0),
            boot: AtomicU64::new(1),
            sleeps_really: AtomicBool::new(false),
        });
        let provider = Arc::new(Provider::default());
        *provider.clock.lock().unwrap() = Some(clock.clone());
        let mut seams = Seams::system().unwrap();
        seams.clock = clock.clone();
        seams.transport = Some(provider.clone());
        seams.registry = Registry::new([7; 32]);
        // No jitter, and no wait between attempts.
        seams.random = |bytes| {
            bytes.fill(0);
            Ok(())
        };
        World { clock, provider, seams, lines: Lines::default() }
    }

    pub fn with_store(store: impl Store + 'static) -> World {
        let mut world = World::new();
        world.seams.store = Some(Arc::new(store));
        world
    }

    /// Another process of the same machine: it shares nothing but the clock, the provider and the store.
    pub fn sibling(&self) -> World {
        let mut world = self.clone();
        world.seams.registry = Registry::new([8; 32]);
        world.lines = Lines::default();
        world
    }

    pub fn client(&self, builder: &Builder) -> Watched {
        self.build(builder).unwrap()
    }

    pub fn build(&self, builder: &Builder) -> Result<Watched, Error> {
        canary::outcome(self.lines.of(builder).build_over(self.seams.clone())).map(Watched)
    }
}

/// Strong enough to seal a store with.
pub const SECRET: &str = "canary-secret-0123456789abcdef";

/// A sound client of the plain OAuth 2 provider.
pub fn oauth2() -> Builder {
    Client::builder().provider("oauth2").token_url("https://auth.example/token").client_id("me").client_secret(SECRET)
}
