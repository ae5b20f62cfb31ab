//! Hosts that ask for one token, each a machine of its own, with one server and one provider.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use tokauth::seams::{Deadline, Head, Registry, Reply, Seams, Secret, Sent, Transport, redis_store_over};
use tokauth::{Builder, Client, Error};

use super::draw::{Draw, random};
use super::engine::Engine;
use super::server::{Far, Load, Meter, Visits, allow_connections, set_time};
use super::sim::{EPOCH, HostClock, Sim};

const SECOND: Duration = Duration::from_secs(1);
/// How finely the server's load is looked at.
const STEP: Duration = Duration::from_millis(100);
/// The provider answers in 300 ms, a sixth of them for the connection.
const CONNECT: Duration = Duration::from_millis(50);
const REPLY: Duration = Duration::from_millis(250);

/// How a fleet lives.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub hosts: usize,
    /// Calenso: 31 tokens a month, each of a day. Else one of an hour, and as many as one likes.
    pub scarce: bool,
    /// How often a host asks.
    pub every: Duration,
    /// In that time all of them start.
    pub start: Duration,
}

impl Case {
    pub fn life(&self) -> Duration {
        if self.scarce { SECOND * 86_400 } else { SECOND * 3600 }
    }

    fn builder(&self) -> Builder {
        let builder = match self.scarce {
            true => Client::builder().provider("calenso"),
            false => Client::builder().provider("oauth2").token_url("https://auth.example/token"),
        };
        builder.client_id("me").client_secret("canary-secret-0123456789abcdef")
    }
}

/// What a while has cost.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub requests: usize,
    pub total: Load,
    /// In the second that had the most of each.
    pub peak: Load,
    /// Open at once.
    pub open: i64,
    /// Calls that found no token in the process that would do.
    pub calls: usize,
    /// How many of them began in one second.
    pub due: usize,
    pub failures: Vec<String>,
    /// How long these calls took, sorted.
    pub waits: Vec<Duration>,
}

impl Outcome {
    pub fn wait(&self, share: f64) -> Duration {
        let last = self.waits.len().saturating_sub(1);
        self.waits.get((last as f64 * share).ceil() as usize).copied().unwrap_or_default()
    }
}

/// Tokens as long as those of most are.
#[derive(Debug)]
struct Provider {
    sim: Arc<Sim>,
    life: Duration,
    requests: Mutex<usize>,
}

impl Transport for Provider {
    fn send(
        &self,
        _head: &Head,
        _deadline: Deadline,
        body: &mut dyn FnMut() -> Result<Secret, Error>,
    ) -> Result<Sent, Error> {
        self.sim.sleep(CONNECT);
        body()?;
        let number = {
            let mut requests = self.requests.lock().unwrap();
            *requests += 1;
            *requests
        };
        let date = httpdate::fmt_http_date(UNIX_EPOCH + EPOCH + self.sim.now());
        self.sim.sleep(REPLY);
        let token = format!("canary-token-{number}-{}", "x".repeat(800));
        let body =
            serde_json::json!({"access_token": token, "token_type": "Bearer", "expires_in": self.life.as_secs()});
        let body = body.to_string().into_bytes().into();
        Ok(Sent::Reply(Reply { status: 200, headers: vec![("date".to_owned(), date)], body }))
    }
}

#[derive(Debug, Default)]
struct Book {
    /// When each call began and how long it took.
    calls: Vec<(Duration, Duration)>,
    errors: Vec<String>,
}

pub struct Fleet {
    case: Case,
    engine: Engine,
    meter: Meter,
    sim: Arc<Sim>,
    provider: Arc<Provider>,
    visits: Arc<Visits>,
    clients: Vec<Client>,
    book: Arc<Mutex<Book>>,
    draw: Draw,
}

impl Fleet {
    pub fn new(case: Case) -> Fleet {
        allow_connections(case.hosts as u64);
        let maxclients = (case.hosts + 100).to_string();
        let engine = Engine::with(&["--maxclients", &maxclients, "--maxmemory-policy", "noeviction"]);
        let (sim, visits) = (Arc::<Sim>::default(), Arc::<Visits>::default());
        set_time(&engine, Duration::ZERO);
        let provider = Arc::new(Provider { sim: sim.clone(), life: case.life(), requests: Mutex::new(0) });
        let mut draw = Draw(case.hosts as u64);
        let clients = (0..case.hosts).map(|host| {
            let clock = Arc::new(HostClock {
                sim: sim.clone(),
                boot_id: host as u64 + 1,
                up: SECOND + draw.up_to(SECOND * 86_400 * 300),
                ahead: draw.up_to(SECOND * 2),
            });
            let mut seams = Seams::system().unwrap();
            seams.clock = clock;
            seams.transport = Some(provider.clone());
            seams.registry = Registry::new([7; 32]);
            seams.random = random;
            let near = Box::new(redis_store_over(&engine.url(), &seams).unwrap());
            seams.store = Some(Arc::new(Far::new(sim.clone(), near, visits.clone())));
            case.builder().build_over(seams).unwrap()
        });
        let clients = clients.collect();
        let meter = Meter::of(&engine);
        let mut fleet = Fleet { case, engine, meter, sim, provider, visits, clients, book: Arc::default(), draw };
        fleet.ask_from(Duration::ZERO, case.start);
        fleet
    }

    /// Each host begins to ask at some time within `spread`.
    fn ask_from(&mut self, from: Duration, spread: Duration) {
        for host in 0..self.clients.len() {
            self.sim.ask_at(from + self.draw.up_to(spread), host);
        }
    }

    /// From the start of all until each had a token.
    pub fn start(&mut self) -> Outcome {
        let end = self.case.start + self.case.every + SECOND * 40;
        self.live(end)
    }

    /// The next token takes the place of the one there is. Nobody asks before: it would cost nothing.
    pub fn turnover(&mut self) -> Outcome {
        let lead = if self.case.scarce { SECOND * 30 } else { SECOND * 400 };
        let from = self.case.life() - lead;
        // They ask no more; what is planned is what `live` has left.
        self.sim.forget();
        self.ask_from(from, self.case.every);
        self.live(from + lead + self.case.every + SECOND * 60)
    }

    fn live(&mut self, end: Duration) -> Outcome {
        let Fleet { case, engine, meter, sim, provider, visits, clients, book, draw } = self;
        *book.lock().unwrap() = Book::default();
        visits.most();
        let requests = *provider.requests.lock().unwrap();
        let (began, mut before) = (sim.now(), meter.read());
        let first = before;
        // What each step cost in which something was asked for.
        let mut steps: Vec<(u128, Load)> = Vec::new();
        let step_of = |time: Duration| time.as_nanos() / STEP.as_nanos();
        let mut moves = |time: Duration| {
            let now = sim.now();
            if step_of(time) != step_of(now) && visits.busy() {
                let after = meter.read();
                steps.push((step_of(now), after - before));
                before = after;
            }
            set_time(engine, time);
        };
        let mut asks = |host: usize| {
            let client = &clients[host];
            if client.generation() != 0 {
                sim.ask_at(sim.now() + case.every, host);
                return None;
            }
            let (client, sim, book, every) = (client.clone(), sim.clone(), book.clone(), case.every);
            let work: Box<dyn FnOnce() + Send> = Box::new(move || {
                let began = sim.now();
                let outcome = client.token();
                let took = sim.now() - began;
                let book = &mut *book.lock().unwrap();
                book.calls.push((began, took));
                book.errors.extend(outcome.err().map(|error| error.to_string()));
                // As it would have, had it not waited.
                let periods = took.as_nanos() / every.as_nanos() + 1;
                sim.ask_at(began + every * periods as u32, host);
            });
            Some((draw.next(), work))
        };
        sim.run(end, &mut moves, &mut asks);
        let after = meter.read();
        steps.push((step_of(end), after - before));
        assert!(sim.now() > began && visits.now() == 0, "some calls are not over");

        let Book { calls, errors } = std::mem::take(&mut *book.lock().unwrap());
        let mut waits: Vec<_> = calls.iter().map(|(_, took)| *took).collect();
        waits.sort();
        let mut peak = Load::default();
        for (at, _) in &steps {
            let second = steps.iter().filter(|(other, _)| (*at..at + 10).contains(other));
            let mut sum = Load::default();
            second.for_each(|(_, load)| sum += *load);
            peak = Load {
                commands: peak.commands.max(sum.commands),
                connections: peak.connections.max(sum.connections),
                bytes: peak.bytes.max(sum.bytes),
            };
        }
        let mut begins: Vec<_> = calls.iter().map(|(began, _)| *began).collect();
        begins.sort();
        let due = begins.iter().enumerate().map(|(index, at)| begins.partition_point(|t| *t < *at + SECOND) - index);
        Outcome {
            requests: *provider.requests.lock().unwrap() - requests,
            total: after - first,
            peak,
            open: visits.most(),
            calls: calls.len(),
            due: due.max().unwrap_or(0),
            failures: errors,
            waits,
        }
    }
}
