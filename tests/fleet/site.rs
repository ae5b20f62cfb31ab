//! Machines with clocks of their own, and the processes on them, around one server. Time stands still until the test
//! moves it, for the server too.
#![allow(dead_code, unreachable_pub)] // a part of one test program

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;
use tokauth::seams::{Deadline, Head, Registry, Secret, Sent, Transport, redis_store};
use tokauth::{Builder, Error};

use crate::canary::{self, Watched};
use crate::engine::Engine;
use crate::process::wait_until;
use crate::world::{NOW, S, VirtualClock, World, oauth2};

pub const DAY: u32 = 86_400;

/// One server, one provider, and what time it is.
pub struct Site {
    pub engine: Engine,
    url: String,
    first: World,
    machines: Mutex<Vec<Arc<VirtualClock>>>,
    /// Since 1970: the provider's time, and the server's unless a test says otherwise.
    time: Arc<Mutex<Duration>>,
}

/// A process, and how it reaches the provider.
#[derive(Clone)]
pub struct Process {
    pub world: World,
    way: Arc<Way>,
}

impl Site {
    pub fn new() -> Arc<Site> {
        let engine = Engine::start();
        let url = engine.url();
        Site::at(engine, url)
    }

    /// With a URL that leads to the server for now.
    pub fn at(engine: Engine, url: String) -> Arc<Site> {
        let mut first = World::new();
        first.seams.random = numbered;
        let time = Arc::new(Mutex::new(S * NOW as u32));
        let machines = Mutex::new(vec![first.clock.clone()]);
        let site = Site { engine, url, first, machines, time };
        site.tokens_live(3600);
        site.set_server(site.now());
        Arc::new(site)
    }

    /// Tokens issued from now on live for so many seconds; replies tell the time.
    pub fn tokens_live(&self, seconds: u32) {
        let time = self.time.clone();
        let issued = AtomicU64::new(self.requests() as u64 + 1);
        self.first.provider.judges(move |_| {
            let token = format!("canary-token-{}", issued.fetch_add(1, Ordering::SeqCst));
            let token = json!({"access_token": token, "token_type": "Bearer", "expires_in": seconds});
            (200, vec![("date", date(*time.lock().unwrap()))], token.to_string().into())
        });
    }

    /// The first machine, and the provider.
    pub fn world(&self) -> &World {
        &self.first
    }

    /// How many requests the provider got.
    pub fn requests(&self) -> usize {
        self.first.provider.count()
    }

    pub fn now(&self) -> Duration {
        *self.time.lock().unwrap()
    }

    /// Everywhere.
    pub fn advance(&self, by: Duration) {
        *self.time.lock().unwrap() += by;
        self.machines.lock().unwrap().iter().for_each(|clock| clock.advance(by));
        self.set_server(self.now());
    }

    /// The server's time of day, from which its leases end.
    pub fn set_server(&self, since_epoch: Duration) {
        self.engine.stop_clock_at(since_epoch);
    }

    /// Only the server's time goes on, as if who holds a turn slept and nobody else.
    pub fn server_passes(&self, by: Duration) {
        self.set_server(self.now() + by);
    }

    /// The first machine, whose wall clock is right.
    pub fn process(&self) -> Process {
        self.process_of(&self.first)
    }

    /// Another machine, whose wall clock says what it says; it has been up for so many seconds.
    pub fn machine(&self, wall: Duration, up: u32) -> World {
        let mut machine = World::new();
        machine.provider = self.first.provider.clone();
        machine.seams.random = numbered;
        let mut machines = self.machines.lock().unwrap();
        for _ in 0..machines.len() {
            machine.clock.set_boot(S * up);
        }
        machine.clock.set_wall(wall);
        machines.push(machine.clock.clone());
        machine
    }

    pub fn process_of(&self, machine: &World) -> Process {
        self.process_at(&self.url, machine)
    }

    /// With another URL.
    pub fn process_at(&self, url: &str, machine: &World) -> Process {
        let mut world = machine.sibling();
        let way = Arc::new(Way { provider: world.provider.clone(), before: Mutex::default(), after: Mutex::default() });
        world.seams.registry = Registry::new([9; 32]);
        world.seams.transport = Some(way.clone());
        world.seams.store = Some(Arc::new(redis_store(url, world.seams.clock.clone()).unwrap()));
        Process { world, way }
    }

    /// A new process of the first machine gets a token.
    pub fn token(&self, builder: &Builder) -> String {
        value(&self.process().client(builder))
    }

    /// The keys with that word in their names, sorted.
    pub fn keys(&self, word: &str) -> Vec<String> {
        let mut keys: Vec<String> = self.engine.tell(&format!("KEYS *{word}*"));
        keys.sort();
        keys
    }

    /// The only one.
    #[track_caller]
    pub fn key(&self, word: &str) -> String {
        let keys = self.keys(word);
        assert_eq!(keys.len(), 1, "{keys:?}");
        keys[0].clone()
    }

    /// What the ledger looks like, if there is one.
    pub fn ledger(&self) -> Option<Vec<u8>> {
        let key = self.keys("{ledger-").pop()?;
        Some(self.engine.tell(&format!("GET {key}")))
    }
}

impl Process {
    pub fn client(&self, builder: &Builder) -> Watched {
        self.world.client(builder)
    }

    /// Once, before the body of its next request is made: when the connection stands.
    pub fn before_it_sends(&self, act: impl FnOnce() + Send + 'static) {
        *self.way.before.lock().unwrap() = Some(Box::new(act));
    }

    /// Once, when the reply to its next request has come and nobody else knows of it.
    pub fn before_it_publishes(&self, act: impl FnOnce() + Send + 'static) {
        *self.way.after.lock().unwrap() = Some(Box::new(act));
    }
}

type Act = Mutex<Option<Box<dyn FnOnce() + Send>>>;

/// The way to the provider, on which a process may be stopped while others go on.
struct Way {
    provider: Arc<dyn Transport>,
    before: Act,
    after: Act,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Way")
    }
}

fn happens(act: &Act) {
    let act = act.lock().unwrap().take();
    act.into_iter().for_each(|act| act());
}

impl Transport for Way {
    fn send(
        &self,
        head: &Head,
        deadline: Deadline,
        body: &mut dyn FnMut() -> Result<Secret, Error>,
    ) -> Result<Sent, Error> {
        happens(&self.before);
        let sent = self.provider.send(head, deadline, body)?;
        happens(&self.after);
        Ok(sent)
    }
}

/// No two requests have the same number; and no jitter.
fn numbered(bytes: &mut [u8]) -> Result<(), Error> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    bytes.fill(0);
    if let Some(number) = bytes.first_chunk_mut() {
        *number = NEXT.fetch_add(1, Ordering::SeqCst).to_le_bytes();
    }
    Ok(())
}

fn date(since_epoch: Duration) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + since_epoch)
}

#[track_caller]
pub fn value(client: &Watched) -> String {
    client.token().unwrap_or_else(|error| panic!("{error}")).value().to_owned()
}

/// A client that has a budget, of a provider that has none of its own.
pub fn budgeted(quota: &str) -> Builder {
    oauth2().set("quota", quota)
}

/// The same client id for something else: a token of its own, the same budget.
pub fn audience(quota: &str, number: usize) -> Builder {
    budgeted(quota).audience(format!("https://{number}.example"))
}

/// The plain client, or the same with a budget.
pub fn plain(quota: Option<&str>) -> Builder {
    quota.map_or_else(oauth2, budgeted)
}

/// How many requests are left, if they are counted.
pub fn left(client: &Watched) -> Option<u32> {
    canary::outcome(client.0.budget()).unwrap().map(|allowance| allowance.requests)
}

/// A primary and a replica that has all of it.
pub fn pair() -> (Engine, Engine) {
    let patient = ["--repl-timeout", "1000000000"]; // however the tests move their clocks
    let primary = Engine::with(&[&patient[..], &["--repl-diskless-sync-delay", "0"]].concat());
    let of_primary = ["--replicaof", "127.0.0.1", &primary.port.to_string()];
    let replica = Engine::with(&[&patient[..], &of_primary].concat());
    wait_until("the replica has what the primary has", || {
        replica.tell::<String>("INFO replication").contains("master_link_status:up")
            && primary.tell::<String>("INFO replication").contains("state=online")
    });
    // It is told of what is written only once it has asked for it, which takes it up to a second.
    let mut own = primary.connection();
    redis::cmd("SET").arg(&["known", "?", "PX", "1"]).exec(&mut own).unwrap();
    assert_eq!(redis::cmd("WAIT").arg(&[1, 0]).query(&mut own), Ok(1));
    redis::cmd("DEL").arg("known").exec(&mut own).unwrap();
    (primary, replica)
}
