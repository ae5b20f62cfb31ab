//! Documents in a Redis or a Valkey, for all machines that reach it.

mod address;
mod connection;
mod refusal;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, RedisError, RedisResult};

use super::{Change, DOCUMENT_MAX, Hold, Name, Store, Turn};
use crate::clock::{Clock, Deadline};
use crate::error::{Error, ErrorKind, RetryClass, Step};
use crate::hash::lower_hex;
use crate::response::quote;
use crate::transport::{Http, Resolver};
use address::Address;
use connection::Connection;
use refusal::Refusal;

const LOAD: &str = include_str!("redis/load.lua");
const CHANGE: &str = include_str!("redis/change.lua");
const TAKE: &str = include_str!("redis/take.lua");
const HOLD: &str = include_str!("redis/hold.lua");
const RELEASE: &str = include_str!("redis/release.lua");
const TIME: &str = include_str!("redis/time.lua");
const PROBE: &str = include_str!("redis/probe.lua");

/// So long one call waits for the server before its request, and as long again after; waiting for others is not that.
const PATIENCE: Duration = Duration::from_secs(3);
/// Even if the call's time is over: what is under way is to be written down, and a turn given back.
const LEAST: Duration = Duration::from_millis(250);
/// Who has the turn and dies before the request is sent keeps the others waiting for so long.
const LEASE: Duration = Duration::from_secs(5);
/// And who dies after that, for as long as the reply may take and so much more, in which it is written down.
const LEASE_AFTER: Duration = Duration::from_secs(15);
/// No call takes longer than ten minutes.
const LEASE_MAX: Duration = Duration::from_secs(615);
/// What nobody has changed for so long goes: a token nobody asks for, the names that a secret had before another.
const KEPT: Duration = Duration::from_secs(366 * 86_400);
/// A replica is to have a ledger in that time.
const REPLICATED: Duration = Duration::from_secs(1);
/// How often whoever waits for a turn asks for it.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));
/// The last byte that is looked at: the one that a document cannot have.
const LAST_BYTE: usize = DOCUMENT_MAX;

/// A server. The documents are strings, `PREFIX{NAME}`; beside one are, for a while, `PREFIX{NAME}:turn`, and
/// `PREFIX{NAME}:aside`. The braces keep the three together where keys are spread.
///
/// A turn is a lease, so that its holder may die. A holder that slept past its lease may send beside another: that is
/// one request too many, which the ledger counts. What it then wants to write, it decides anew by what it finds.
#[derive(Clone)]
pub struct RedisStore(Arc<Server>);

/// One call's dealings with it.
struct Caller(Arc<Visit>);

struct Visit {
    server: Arc<Server>,
    /// How long it waits for the server before its request, and again after.
    patience: Duration,
    /// When the call is to be over.
    ends: Option<Instant>,
    state: Mutex<State>,
}

struct Server {
    address: Address,
    http: Http,
    clock: Arc<dyn Clock>,
    random: fn(&mut [u8]) -> Result<(), Error>,
    /// By how many milliseconds the server's time since 1970 is more than this machine's since boot, as last seen.
    ahead: AtomicI64,
}

/// Of one call.
struct State {
    connection: Option<Connection>,
    /// How long it may still wait for the server.
    patience: Duration,
    /// What went wrong for good.
    broken: Option<Error>,
    /// How many commands were sent again, which the server may have obeyed the first time.
    repeated: u64,
}

/// Nobody has seen the server's time.
const UNSEEN: i64 = i64::MIN;

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.address.fmt(f)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.server.address.fmt(f)
    }
}

impl RedisStore {
    /// At `url`; connects to nothing yet.
    ///
    /// # Errors
    /// `Config`: the URL is not sound, or its `ca_file` (or else the client's) is no file of certificates.
    pub(crate) fn at(
        url: &str,
        ca_file: Option<&str>,
        resolver: Resolver,
        clock: Arc<dyn Clock>,
        random: fn(&mut [u8]) -> Result<(), Error>,
    ) -> Result<RedisStore, Error> {
        let address = Address::parse(url).map_err(|reason| {
            Error::config(format!("store {reason}; write it as redis://user:password@host:6379/0, or rediss for TLS"))
        })?;
        let ca_file = address.ca_file.as_deref().or(ca_file).filter(|_| address.tls);
        let http = Http::new(ca_file, None, "", false, resolver)?;
        let server = Arc::new(Server { address, http, clock, random, ahead: AtomicI64::new(UNSEEN) });
        Ok(RedisStore(server))
    }

    /// For a call that may last for `timeout`.
    fn caller(&self, timeout: Duration) -> Caller {
        let (patience, ends) = ((timeout / 2).clamp(LEAST, PATIENCE), Instant::now().checked_add(timeout));
        let state = State { connection: None, patience, broken: None, repeated: 0 };
        Caller(Arc::new(Visit { server: self.0.clone(), patience, ends, state: Mutex::new(state) }))
    }

    /// For a call that is all by itself.
    fn alone(&self) -> Caller {
        self.caller(Duration::MAX)
    }

    /// Whether the server lets us in and do what we do, and can be trusted with a `budget`.
    ///
    /// # Errors
    /// `Store`. With the class `NotSent` it may pass by itself.
    pub(crate) fn probe(&self, budget: bool, timeout: Duration) -> Result<(), Error> {
        let Caller(visit) = self.caller(timeout);
        // With two names, as there are for a turn and what it is for: a cluster would not have both in one place.
        let keys = [Name::new("probe", &visit.random()?), Name::new("probe", &visit.random()?)];
        let keys = keys.map(|name| visit.key(&name, ""));
        visit.ask::<i64>(PATIENCE, script(PROBE).arg(keys.len()).arg(&keys).take())?;
        if budget && visit.replicas()? > 0 { visit.replicated() } else { Ok(()) }
    }
}

impl Visit {
    /// Sends a command and waits for its answer; once more, if that is lost with the connection. No `wait`: the call is
    /// over, and this is its last word.
    fn ask<T: FromRedisValue>(&self, wait: Duration, command: Cmd) -> Result<T, Error> {
        self.send(wait, &command, true)
    }

    /// The same for a command that means something else when it is repeated.
    fn ask_once<T: FromRedisValue>(&self, wait: Duration, command: Cmd) -> Result<T, Error> {
        self.send(wait, &command, false)
    }

    fn send<T: FromRedisValue>(&self, wait: Duration, command: &Cmd, repeats: bool) -> Result<T, Error> {
        let state = &mut *self.lock();
        if let Some(error) = &state.broken {
            return Err(error.clone());
        }
        let began = Instant::now();
        let left = self.ends.map_or(wait, |ends| ends.saturating_duration_since(began));
        let until = match wait.is_zero() {
            true => began + LEAST,
            false => began + wait.min(left).max(LEAST).min(state.patience),
        };
        let outcome = self.answer(state, until, command, repeats);
        state.patience = state.patience.saturating_sub(began.elapsed());
        outcome.inspect_err(|error| {
            if state.connection.is_none() {
                state.broken = Some(error.clone());
            }
        })
    }

    /// Leaves a connection behind if there is one that still works.
    fn answer<T: FromRedisValue>(
        &self,
        state: &mut State,
        until: Instant,
        command: &Cmd,
        repeats: bool,
    ) -> Result<T, Error> {
        if let Some(mut open) = state.connection.take() {
            open.until = until;
            let answer = command.query(&mut open);
            match answer {
                // A server that was restarted or replaced, perhaps.
                Err(error) if repeats && is_closed(&error) => state.repeated += 1,
                answer => {
                    state.connection = Some(open).filter(|_| is_whole(&answer));
                    return answer.map_err(|error| self.server.fault(&error));
                }
            }
        }
        let mut new = self.server.connect(until)?;
        let answer = command.query(&mut new);
        state.connection = Some(new).filter(|_| is_whole(&answer));
        answer.map_err(|error| self.server.fault(&error))
    }

    fn load(&self, name: &Name, wait: Duration) -> Result<Option<Vec<u8>>, Error> {
        self.ask(wait, script(LOAD).arg(1).arg(self.key(name, "")).arg(LAST_BYTE).take())
    }

    /// Changes a document that is still as it was `before`; `false`: it is not.
    fn replace(
        &self,
        name: &Name,
        before: Option<&[u8]>,
        change: &Change,
        (wait, repeats): (Duration, bool),
    ) -> Result<bool, Error> {
        let (what, document): (_, &[u8]) = match change {
            Change::Keep => return Ok(true),
            Change::Put(document) => ("put", document),
            Change::Remove => ("remove", &[]),
            Change::SetAside => ("aside", &[]),
        };
        let seen = before.map_or_else(|| b"-".to_vec(), |before| [b"+", before].concat());
        let kept = if name.lasts() { 0 } else { KEPT.as_millis() as u64 };
        let command = script(CHANGE)
            .arg(2)
            .arg(&[self.key(name, ""), self.key(name, ":aside")])
            .arg(LAST_BYTE)
            .arg(seen)
            .arg(what)
            .arg(kept)
            .arg(document)
            .take();
        self.send(wait, &command, repeats).map(|changed: i64| changed == 1)
    }

    /// How many replicas the server has, which must keep what is told it.
    fn replicas(&self) -> Result<u32, Error> {
        let info: String = self.ask(PATIENCE, redis::cmd("INFO"))?;
        let told = |name: &str| {
            info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':')).unwrap_or_default()
        };
        let policy = told("maxmemory_policy");
        let address = &self.server.address;
        if policy.starts_with("allkeys") {
            let message = "is a cache, which may drop a token budget's ledger (maxmemory-policy allkeys); set it to \
                           noeviction, or give another store";
            return Err(refused(format!("{address} {message}")));
        }
        if policy.is_empty() {
            let message = "does not tell its maxmemory_policy in INFO, so nobody knows whether it may drop a token \
                           budget's ledger; give another store";
            return Err(refused(format!("{address} {message}")));
        }
        Ok(told("connected_slaves").parse().unwrap_or(0))
    }

    /// Waits until a replica has all that was written: a server that is cut off from its own writes for nobody.
    fn replicated(&self) -> Result<(), Error> {
        // Its answer must come in time, so that the change can be taken back.
        let ms = REPLICATED.min(self.lock().patience / 2).as_millis() as u64;
        let acknowledged: i64 = self.ask_once(PATIENCE, redis::cmd("WAIT").arg(&[1, ms.max(1)]).take())?;
        if acknowledged >= 1 {
            return Ok(());
        }
        let address = &self.server.address;
        Err(Error::store(format!(
            "no replica of {address} took the token budget's ledger within {ms} ms; is one cut off?"
        )))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: the document is not as it was `seen`.
    fn wait_for_turn(
        self: &Arc<Visit>,
        name: &Name,
        deadline: &Deadline,
        seen: Option<(&Name, Option<&[u8]>)>,
    ) -> Result<Option<Box<dyn Turn>>, Error> {
        let document = self.key(seen.map_or(name, |(document, _)| document), "");
        let ends = seen.map_or_else(Vec::new, |(_, seen)| match seen {
            None => b"-".to_vec(),
            Some(seen) => [b"+", &seen[seen.len().saturating_sub(16)..]].concat(),
        });
        let (key, holder) = (self.key(name, ":turn"), lower_hex(&self.random::<16>()?));
        let [lease, most] = [LEASE, LEASE_MAX].map(|lease| lease.as_millis() as u64);
        let take = script(TAKE).arg(2).arg(&[&key, &document]).arg(&holder).arg(&[lease, most]).arg(ends).take();
        loop {
            let patience = self.lock().patience;
            let left: i64 = self.send(deadline.remaining(), &take, true)?;
            match left {
                0 => return Ok(Some(Box::new(RedisTurn { visit: self.clone(), key, holder }))),
                ..0 => return Ok(None),
                _ => self.lock().patience = patience, // it is others who are waited for
            }
            if deadline.remaining().is_zero() {
                return Err(self.late("others had their turn for all of this call's time; ask again"));
            }
            deadline.pause(self.between(PAUSE).min(Duration::from_millis(left.unsigned_abs())));
        }
    }

    fn key(&self, name: &Name, suffix: &str) -> String {
        [&self.server.address.prefix, "{", name.as_str(), "}", suffix].concat()
    }

    fn random<const N: usize>(&self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        (self.server.random)(&mut bytes)?;
        Ok(bytes)
    }

    /// Some time between the two.
    fn between(&self, (least, most): (Duration, Duration)) -> Duration {
        let [byte] = self.random().unwrap_or([128]);
        least + (most - least) * u32::from(byte) / 255
    }

    fn late(&self, what: &str) -> Error {
        Error::store_timeout(format!("{}: {what}", self.server.address))
    }
}

impl Server {
    fn connect(&self, until: Instant) -> Result<Connection, Error> {
        let address = &self.address;
        let left = until.saturating_duration_since(Instant::now());
        let line = self.http.line(&address.authority, address.tls, left).map_err(|error| {
            let told = Error::store(format!("no connection to {address}: {error}"));
            // A certificate that is not trusted stays so.
            told.with_class(if error.kind() == ErrorKind::Tls { RetryClass::Refused } else { RetryClass::NotSent })
        })?;
        let mut connection = Connection { line, until, database: address.database };
        let mut greet = || -> RedisResult<i64> {
            if let Some(password) = &address.password {
                let command = redis::cmd("AUTH").arg(address.user.as_deref()).arg(password.expose()).take();
                command.query::<()>(&mut connection)?;
            }
            if address.database > 0 {
                redis::cmd("SELECT").arg(address.database).query::<()>(&mut connection)?;
            }
            script(TIME).query(&mut connection)
        };
        let time = greet().map_err(|error| self.fault(&error))?;
        let since_boot = i64::try_from(self.clock.since_boot().as_millis()).unwrap_or(i64::MAX);
        self.ahead.store(time.saturating_sub(since_boot), Ordering::Relaxed);
        Ok(connection)
    }

    fn fault(&self, error: &RedisError) -> Error {
        let address = &self.address;
        if error.is_timeout() {
            return Error::store(format!("{address} does not answer in time; is it overloaded, or stopped?"));
        }
        if is_closed(error) {
            let or = if address.tls { "or is it full?" } else { "is it full, or does that port want rediss://?" };
            return Error::store(format!("{address} closed the connection; was it restarted, {or}"));
        }
        let secrets: Vec<_> = address.password.iter().cloned().collect();
        let quoted = |words: &str| quote(words, &secrets).unwrap_or_else(|| "it repeats the password".to_owned());
        let Some(code) = error.code() else {
            let reason = quoted(&error.to_string());
            if reason.contains("CertificateRequired") {
                let message = "wants a certificate of its clients, and libtokauth has none; set tls-auth-clients to no";
                return refused(format!("{address} {message}"));
            }
            return refused(format!("what answers is no {address}: {reason}; check host and port of store"));
        };
        // "…, with args beginning with: …": a script.
        let detail = error.detail().unwrap_or_default().split(", with args").next().unwrap_or_default();
        let words = quoted(&format!("{code} {detail}"));
        let Refusal { advice, passes } = Refusal::read(code, detail);
        let told = Error::store(format!("{address} refuses: {words}; {advice}"));
        told.with_class(if passes { RetryClass::NotSent } else { RetryClass::Refused })
    }
}

/// It stays so until somebody does something.
fn refused(message: String) -> Error {
    Error::store(message).with_class(RetryClass::Refused)
}

/// Whether the connection ended, by which a command may have arrived or not.
fn is_closed(error: &RedisError) -> bool {
    error.is_connection_dropped()
}

/// Whether an answer came to its end, whatever it says.
fn is_whole<T>(answer: &RedisResult<T>) -> bool {
    answer.as_ref().map_or_else(|error| error.code().is_some(), |_| true)
}

/// Always whole: a server forgets scripts, and these are short.
fn script(text: &str) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text);
    if !text.contains("KEYS") {
        command.arg(0);
    }
    command
}

impl Store for RedisStore {
    fn visit(&self, timeout: Duration) -> Option<Box<dyn Store>> {
        Some(Box::new(self.caller(timeout)))
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn since_epoch(&self) -> Option<Duration> {
        let Server { ahead, clock, .. } = &*self.0;
        let ahead = Some(ahead.load(Ordering::Relaxed)).filter(|ahead| *ahead != UNSEEN)?;
        let now = i64::try_from(clock.since_boot().as_millis()).unwrap_or(i64::MAX);
        u64::try_from(now.saturating_add(ahead)).ok().map(Duration::from_millis)
    }

    fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        self.alone().load(name)
    }

    fn change(
        &self,
        name: &Name,
        deadline: &Deadline,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Error> {
        self.alone().change(name, deadline, change)
    }

    fn turn(&self, name: &Name, deadline: &Deadline) -> Result<Box<dyn Turn>, Error> {
        self.alone().turn(name, deadline)
    }

    fn turn_unless_changed(
        &self,
        name: &Name,
        deadline: &Deadline,
        seen: (&Name, Option<&[u8]>),
    ) -> Result<Option<Box<dyn Turn>>, Error> {
        self.alone().turn_unless_changed(name, deadline, seen)
    }
}

impl Store for Caller {
    fn is_remote(&self) -> bool {
        true
    }

    fn since_epoch(&self) -> Option<Duration> {
        RedisStore(self.0.server.clone()).since_epoch()
    }

    fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        self.0.load(name, PATIENCE)
    }

    fn change(
        &self,
        name: &Name,
        deadline: &Deadline,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Error> {
        let visit = &self.0;
        let mut put = None;
        loop {
            let before = visit.load(name, deadline.remaining())?;
            if put.is_some() && before == put {
                return Ok(()); // the answer was lost, not the change
            }
            let change = change(before.as_deref());
            let does_nothing = match change {
                Change::Keep => true,
                Change::Remove | Change::SetAside => before.is_none(),
                Change::Put(_) => false,
            };
            if does_nothing {
                return Ok(());
            }
            // A replica vouches for what came by the connection on which it is asked.
            let replicas = if name.lasts() { visit.replicas()? } else { 0 };
            let repeated = visit.lock().repeated;
            if visit.replace(name, before.as_deref(), &change, (deadline.remaining(), replicas == 0))? {
                let Change::Put(new) = change else { return Ok(()) };
                let replicated = if replicas > 0 { visit.replicated() } else { Ok(()) };
                if replicated.is_err() {
                    // As it was, as far as that is in our hands: what was not promised need not count.
                    let back = before.map_or(Change::Remove, Change::Put);
                    let _ = visit.replace(name, Some(&new), &back, (Duration::ZERO, false));
                }
                return replicated;
            }
            put = match change {
                Change::Put(new) if visit.lock().repeated > repeated => Some(new),
                _ => None,
            };
            if deadline.remaining().is_zero() {
                return Err(visit.late("others changed a document for all of this call's time; ask again"));
            }
            deadline.pause(visit.between((Duration::ZERO, Duration::from_millis(10))));
        }
    }

    fn turn(&self, name: &Name, deadline: &Deadline) -> Result<Box<dyn Turn>, Error> {
        let turn = self.0.wait_for_turn(name, deadline, None)?;
        turn.ok_or_else(|| Error::bug(Step::Store, "a turn was not wanted any more"))
    }

    fn turn_unless_changed(
        &self,
        name: &Name,
        deadline: &Deadline,
        seen: (&Name, Option<&[u8]>),
    ) -> Result<Option<Box<dyn Turn>>, Error> {
        self.0.wait_for_turn(name, deadline, Some(seen))
    }
}

/// A turn of one holder, until its lease ends.
struct RedisTurn {
    visit: Arc<Visit>,
    key: String,
    holder: String,
}

impl RedisTurn {
    fn ask(&self, text: &str, wait: Duration, lease: Duration) -> Result<i64, Error> {
        let lease = lease.min(LEASE_MAX).as_millis() as u64;
        self.visit.ask(wait, script(text).arg(1).arg(&self.key).arg(&self.holder).arg(lease).take())
    }
}

impl fmt::Debug for RedisTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)
    }
}

impl Turn for RedisTurn {
    fn hold(&self, deadline: &Deadline) -> Result<Hold, Error> {
        let lease = deadline.remaining().saturating_add(LEASE_AFTER);
        let repeated = self.visit.lock().repeated;
        let held = self.ask(HOLD, deadline.remaining(), lease)?;
        let mut state = self.visit.lock();
        // What the request brings is to be written down, however slow the server was until now.
        state.patience = self.visit.patience;
        Ok(match held {
            // Of a command that was sent twice, the second finds what the first did.
            2 if state.repeated == repeated => Hold::Kept,
            1 | 2 => Hold::Regained,
            _ => Hold::Lost,
        })
    }
}

impl Drop for RedisTurn {
    fn drop(&mut self) {
        // Else it ends with its lease.
        let _ = self.ask(RELEASE, Duration::ZERO, Duration::ZERO);
    }
}
