//! Processes of one machine or several that ask for tokens for years, and all that befalls them.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokauth::seams::{Registry, Seams};
use tokauth::{Client, Error, Token};

use super::draw::{Draw, random, seed_random};
use super::machine::{Machine, Truth};
use super::provider::{CAP, DAY, Habits, Line, Provider, Trouble, month_of, next_month};
use super::store::{Faults, Server, Servers, Way};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
pub const YEAR: Duration = Duration::from_secs(31_556_952);

/// What happens to whoever asks. Shares are of calls, unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Of all machines together.
    pub processes: u64,
    pub machines: u64,
    /// Servers that do not know of each other, each with its share of the machines.
    pub sides: u64,
    /// A process talks to another server from then on.
    pub moves: f64,
    /// Scopes and audiences that tokens are asked for with, each with a token of its own.
    pub scopes: u64,
    /// A process forgets all that it knew.
    pub restarts: f64,
    /// It dies in the midst of the call.
    pub kills: f64,
    /// The disk is full, or becomes so while a request is under way.
    pub full_disks: f64,
    /// The store cannot be reached, for some calls on end.
    pub away: f64,
    /// It comes back empty.
    pub losses: f64,
    /// Somebody sets the server's clock: by so much at most, or right.
    pub server_steps: f64,
    pub server_off: Duration,
    /// Troubles in a year, each of minutes to days.
    pub troubles: f64,
    /// Replies without a `Date`.
    pub undated: f64,
    /// Somebody sets the wall clock: by minutes or by 40 days, or right.
    pub steps: f64,
    /// The wall clocks are apart by so much from the beginning.
    pub apart: Duration,
    pub reboots: f64,
    /// After a reboot the wall clock may be ahead of the true time.
    pub ahead: bool,
    /// The most by which the boot clock is fast or slow, in millionths.
    pub drift: i32,
    /// The API rejects a sound token.
    pub rejections: f64,
    /// A person forces a refresh, or clears.
    pub persons: f64,
    /// The secret is rotated.
    pub rotations: f64,
}

pub const CALM: Life = Life {
    processes: 1,
    machines: 1,
    sides: 1,
    moves: 0.0,
    scopes: 1,
    restarts: 0.0,
    kills: 0.0,
    full_disks: 0.0,
    away: 0.0,
    losses: 0.0,
    server_steps: 0.0,
    server_off: Duration::ZERO,
    troubles: 0.0,
    undated: 0.0,
    steps: 0.0,
    apart: Duration::ZERO,
    reboots: 0.0,
    ahead: false,
    drift: 0,
    rejections: 0.0,
    persons: 0.0,
    rotations: 0.0,
};

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub years: f64,
    pub tokens: u64,
    pub worst_month: u32,
    /// The most that one process got in a month.
    pub worst_process: u32,
    pub months: u64,
    pub months_over: u64,
    /// In which nobody had a token that the API takes, per scope.
    pub gap: Duration,
    pub longest_gap: Duration,
    /// How long a call took that got one.
    pub longest_wait: Duration,
}

impl Outcome {
    pub fn add(&mut self, other: &Outcome) {
        self.years += other.years;
        self.tokens += other.tokens;
        self.worst_month = self.worst_month.max(other.worst_month);
        self.worst_process = self.worst_process.max(other.worst_process);
        self.months += other.months;
        self.months_over += other.months_over;
        self.gap += other.gap;
        self.longest_gap = self.longest_gap.max(other.longest_gap);
        self.longest_wait = self.longest_wait.max(other.longest_wait);
    }
}

struct Process {
    registry: Arc<Registry>,
    /// By scope and secret.
    clients: HashMap<(u64, u64), Client>,
    way: Way,
    line: Line,
}

struct Host {
    machine: Arc<Machine>,
    wall_is_wrong_until: Duration,
    /// Replies that had told it the time before its last boot.
    dated_before: u64,
}

struct Fleet<'a> {
    life: &'a Life,
    draw: Draw,
    truth: Arc<Truth>,
    hosts: Vec<Host>,
    servers: Vec<Arc<dyn Server>>,
    faults: Faults,
    provider: Arc<Provider>,
    processes: Vec<Process>,
    /// How many processes and boots there have been.
    count: u64,
    secret: u64,
    /// Somebody is always waiting for the next token.
    is_busy: bool,
    /// When each scope is asked for next, and since when nobody has had its token.
    plans: Vec<Duration>,
    gaps: Vec<Option<Duration>>,
    /// The next trouble, and its end.
    trouble: (Duration, Duration),
    outcome: Outcome,
}

/// Lives on for so long from `start`.
pub fn live(life: &Life, servers: Servers, seed: u64, start: Duration, length: Duration) -> Outcome {
    let mut draw = Draw(seed);
    seed_random(seed);
    let truth = Arc::new(Truth::new(start));
    let way = draw.up_to(Duration::from_millis(300));
    // Where more than the cap may be asked for, it is issued: that tells how many.
    let cap = if life.losses > 0.0 { u32::MAX } else { CAP * life.sides as u32 };
    let habits = Habits { cap, way, undated: life.undated, fills: life.full_disks };
    let faults = Faults::default();
    let mut fleet = Fleet {
        life,
        is_busy: draw.chance(0.5),
        draw,
        hosts: Vec::new(),
        servers: servers(&truth, life.sides),
        provider: Arc::new(Provider::new(truth.clone(), faults.clone(), seed, habits)),
        truth,
        faults,
        processes: Vec::new(),
        count: 0,
        secret: 0,
        plans: vec![start; life.scopes as usize],
        gaps: vec![None; life.scopes as usize],
        trouble: (Duration::ZERO, Duration::ZERO),
        outcome: Outcome::default(),
    };
    fleet.begin();
    fleet.run(start + length);
    let mut outcome = fleet.outcome;
    outcome.years = length.as_secs_f64() / YEAR.as_secs_f64();
    let books = fleet.provider.books.lock().unwrap();
    for issued in books.issued.values() {
        outcome.tokens += u64::from(*issued);
        outcome.worst_month = outcome.worst_month.max(*issued);
        outcome.months_over += u64::from(*issued > CAP);
    }
    outcome.worst_process = books.issued_to.values().copied().max().unwrap_or(0);
    outcome.months = (month_of(start + length) - month_of(start)) as u64 + 1;
    outcome
}

impl Fleet<'_> {
    fn begin(&mut self) {
        let (life, now) = (self.life, self.now());
        for _ in 0..life.machines {
            let fast = life.drift - self.draw.below(2 * life.drift as u64 + 1) as i32;
            let up = SECOND * 1000 + self.draw.up_to(DAY * 100);
            let machine = Machine::new(self.truth.clone(), self.next(), up, fast);
            machine.set_wall(now - life.apart / 2 + self.draw.up_to(life.apart));
            let host = Host { machine: Arc::new(machine), wall_is_wrong_until: Duration::MAX, dated_before: 0 };
            self.hosts.push(host);
        }
        for process in 0..life.processes {
            let process = self.process(process as usize % self.hosts.len());
            self.processes.push(process);
        }
        self.trouble = self.next_trouble(now);
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn process(&mut self, machine: usize) -> Process {
        let side = machine % self.servers.len();
        let way = Way::new(&self.servers, &self.hosts[machine].machine, side, self.faults.clone());
        let line = Line { provider: self.provider.clone(), machine, process: self.next() };
        Process { registry: Registry::new([7; 32]), clients: HashMap::new(), way, line }
    }

    fn restart(&mut self, process: usize) {
        self.processes[process] = self.process(self.processes[process].line.machine);
    }

    fn run(&mut self, end: Duration) {
        loop {
            let scope = (0..self.plans.len()).min_by_key(|scope| self.plans[*scope]).unwrap();
            let at = self.plans[scope];
            if at >= end {
                break;
            }
            self.truth.pass(at.saturating_sub(self.now()));
            self.befall();
            self.plans[scope] = match self.work(scope) {
                Ok(token) => self.after(&token),
                Err(error) => self.again(error.as_ref()),
            };
        }
        for scope in 0..self.gaps.len() {
            self.note(scope, self.now(), true);
        }
    }

    fn now(&self) -> Duration {
        self.truth.now()
    }

    /// When a token is wanted next, by the end of the one there is: at any time, above all in its last moments and
    /// right after them, and where a month turns.
    fn after(&mut self, token: &Token) -> Duration {
        let (now, end) = (self.now(), self.provider.end_of(token.value()));
        let last = Duration::from_millis(2500);
        let mut next = match self.draw.below(6) {
            _ if now + last >= end => now + self.draw.up_to(SECOND),
            0..=2 => now + self.draw.up_to(end - now),
            3 if !self.is_busy => end + self.draw.up_to(SECOND * 20),
            _ => end - self.draw.up_to(last),
        };
        let turn = next_month(now);
        if next > turn && turn > now + SECOND * 2 && self.draw.chance(0.5) {
            next = turn - SECOND * 2 + self.draw.up_to(SECOND * 4);
        }
        next + Duration::from_millis(1)
    }

    /// When it is tried again, after that error or a death.
    fn again(&mut self, error: Option<&Error>) -> Duration {
        // The next process comes soon; a token that is dead, and that the library takes for alive, stays for long.
        let unknown = if self.draw.chance(0.5) { SECOND * 5 } else { HOUR };
        let told = error.and_then(Error::retry_after).unwrap_or(unknown);
        // In a trouble of days nobody asks every second.
        let is_trouble = self.now() >= self.trouble.0 && self.now() < self.trouble.1;
        let (least, most) = if is_trouble { (HOUR / 4, HOUR / 2) } else { (SECOND * 60, HOUR * 3) };
        let patience = if self.draw.chance(0.5) { self.draw.up_to(most) } else { self.draw.up_to(least) };
        let told = if is_trouble { told.max(patience) } else { told.min(patience) };
        self.now() + told + Duration::from_millis(1)
    }

    fn befall(&mut self) {
        let (life, now) = (*self.life, self.now());
        if now >= self.trouble.1 {
            self.trouble = self.next_trouble(now);
        }
        let kinds = [Trouble::Refused, Trouble::Lost, Trouble::Errors];
        let kind = kinds[(self.trouble.0.as_secs() % 3) as usize];
        self.provider.books.lock().unwrap().trouble = (now >= self.trouble.0).then_some(kind);
        for (fault, chance) in [(&self.faults.full, life.full_disks), (&self.faults.away, life.away)] {
            let stays = self.draw.chance(0.8);
            let is_there = fault.load(Ordering::SeqCst);
            fault.store(if is_there { stays } else { self.draw.chance(chance) }, Ordering::SeqCst);
        }
        if self.draw.chance(life.losses) {
            self.servers.iter().for_each(|server| server.lose_all());
        }
        if self.draw.chance(life.server_steps) {
            let off = self.draw.up_to(life.server_off).as_millis() as i64;
            let ahead = [off, -off, 0][self.draw.below(3) as usize];
            self.servers.iter().for_each(|server| server.set_clock(ahead));
        }
        let host = self.draw.below(life.machines) as usize;
        let dated = self.provider.books.lock().unwrap().dated.get(&host).copied().unwrap_or(0);
        if self.draw.chance(life.reboots) {
            let its = |process: &usize| self.processes[*process].line.machine == host;
            let its: Vec<_> = (0..self.processes.len()).filter(its).collect();
            its.into_iter().for_each(|process| self.restart(process));
            let off = self.some_offset();
            let late = life.steps > 0.0 && self.draw.chance(0.3);
            let wall = match (late, life.ahead) {
                (true, true) => now + off,
                (true, false) => now.saturating_sub(off),
                _ => now,
            };
            let boot_id = self.next();
            let wrong_for = self.draw.up_to(HOUR * 6);
            let host = &mut self.hosts[host];
            host.machine.reboot(boot_id, wall);
            host.dated_before = dated;
            host.wall_is_wrong_until = if late { now + wrong_for } else { Duration::MAX };
        }
        for host in self.hosts.iter_mut().filter(|host| now >= host.wall_is_wrong_until) {
            host.machine.set_wall(now);
            host.wall_is_wrong_until = Duration::MAX;
        }
        if self.draw.chance(life.steps) {
            let off = self.some_offset();
            // Until the provider has told the time, the wall clock is all there is: it must not be ahead. (Not
            // each reply that told it was written down.)
            let is_known = dated >= self.hosts[host].dated_before + 5;
            let wall = match self.draw.below(3) {
                0 if is_known => now + off,
                1 => now.saturating_sub(off),
                _ => now,
            };
            self.hosts[host].machine.set_wall(wall);
        }
        if self.draw.chance(life.rotations) {
            self.secret += 1;
        }
    }

    fn some_offset(&mut self) -> Duration {
        match self.draw.below(4) {
            0 => DAY * 40,
            1 => self.draw.up_to(DAY * 400),
            2 => self.draw.up_to(HOUR),
            _ => self.draw.up_to(SECOND * 90),
        }
    }

    fn next_trouble(&mut self, from: Duration) -> (Duration, Duration) {
        if self.life.troubles == 0.0 {
            return (Duration::MAX, Duration::MAX);
        }
        let start = from + YEAR.mul_f64(-(1.0 - self.draw.unit()).ln() / self.life.troubles);
        // From a minute to four days, as many short ones as long ones.
        (start, start + (SECOND * 60).mul_f64(5760_f64.powf(self.draw.unit())))
    }

    /// Some process wants a token, and goes to the API with it.
    fn work(&mut self, scope: usize) -> Result<Token, Option<Error>> {
        let life = *self.life;
        let process = self.draw.below(life.processes) as usize;
        if self.draw.chance(life.restarts) {
            self.restart(process);
        }
        if self.draw.chance(life.moves) {
            let side = self.draw.below(life.sides) as usize;
            self.processes[process].way.side.store(side, Ordering::SeqCst);
        }
        let client = self.client(process, scope as u64);
        let began = self.now();
        let mut outcome = match self.draw.chance(life.persons) {
            true if self.draw.chance(0.5) => self.lives(process, || client.refresh()),
            true => self.lives(process, || client.clear().and_then(|()| client.token())),
            false => self.lives(process, || client.token()),
        };
        if let Ok(token) = &outcome {
            let is_dead = self.provider.end_of(token.value()) <= self.now();
            if is_dead || self.draw.chance(life.rejections) {
                let rejected = token.clone();
                outcome = self.lives(process, || {
                    let _ = client.invalidate(&rejected);
                    client.token()
                });
            }
        }
        let is_alive = outcome.as_ref().is_ok_and(|token| self.provider.end_of(token.value()) > self.now());
        self.note(scope, began, is_alive);
        if is_alive {
            self.outcome.longest_wait = self.outcome.longest_wait.max(self.now() - began);
        }
        match outcome {
            Ok(_) if !is_alive => Err(None),
            outcome => outcome,
        }
    }

    /// Unless the process dies on the way; then another takes its place.
    fn lives(&mut self, process: usize, call: impl Fn() -> Result<Token, Error>) -> Result<Token, Option<Error>> {
        if self.draw.chance(self.life.kills) {
            self.faults.fuse.light(self.draw.below(20));
        }
        let outcome = catch_unwind(AssertUnwindSafe(call));
        self.faults.fuse.put_out();
        outcome.map_or_else(
            |_| {
                self.restart(process);
                Err(None)
            },
            |outcome| outcome.map_err(Some),
        )
    }

    fn client(&mut self, process: usize, scope: u64) -> Client {
        let Process { registry, clients, way, line } = &mut self.processes[process];
        let client = clients.entry((scope, self.secret)).or_insert_with(|| {
            let mut seams = Seams::system().unwrap();
            seams.clock = self.hosts[line.machine].machine.clone();
            seams.store = Some(Arc::new(way.clone()));
            seams.transport = Some(Arc::new(line.clone()));
            seams.registry = registry.clone();
            seams.random = random;
            let builder = Client::builder().provider("calenso").client_id("me");
            let builder = builder.client_secret(format!("canary-secret-0123456789abcdef-{}", self.secret));
            let builder = match scope {
                0 => builder,
                odd if odd % 2 == 1 => builder.audience(format!("https://other.example/{odd}")),
                even => builder.param("scope", format!("scope-{even}")),
            };
            builder.build_over(seams).unwrap()
        });
        client.clone()
    }

    fn note(&mut self, scope: usize, began: Duration, is_alive: bool) {
        let now = self.now();
        match self.gaps[scope] {
            None if !is_alive => self.gaps[scope] = Some(began),
            Some(since) if is_alive => {
                self.outcome.gap += (now - since) / self.life.scopes as u32;
                self.outcome.longest_gap = self.outcome.longest_gap.max(now - since);
                self.gaps[scope] = None;
            }
            _ => {}
        }
    }
}
