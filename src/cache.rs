//! The slot: one token, one request at a time, shared by all who ask.
//!
//! A mutex guards every change; whoever finds a token that will do reads what was published of it, and waits for
//! nobody.

mod published;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Coarse, Deadline, Event, nanos};
use crate::cooldown::{Bound, Brake, Cooldown, Failure, Pace};
use crate::credential::Fingerprint;
use crate::error::{Error, ErrorKind, RetryClass, Step};
use crate::expiry::Wishes;
use crate::log::{Log, LogLevel};
use crate::process::Locked;
use crate::sync::{AtomicU64, Mutex, Ordering, PoisonError};
use crate::token::Token;

use published::Published;
pub(crate) use published::{Fetched, Snapshot};

/// Who refreshes ahead holds a valid token already, and waits no longer than this for the new one.
pub(crate) const AHEAD_MAX: Duration = Duration::from_secs(5);
/// After a failed refresh ahead the valid token stays in service; the next try comes no earlier than this.
const AHEAD_PAUSE: Duration = Duration::from_secs(30);

/// What a slot counts, since it began; slow path only.
#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; 5]);

/// What [`Client::counter`](crate::Client::counter) counts.
///
/// ```
/// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
/// # let client = server::client();
/// use tokauth::Counter;
///
/// client.token()?;
/// println!("{} requests, {} of them failed", client.counter(Counter::Requests), client.counter(Counter::Failures));
/// # assert_eq!((client.counter(Counter::Requests), client.counter(Counter::Failures)), (1, 0));
/// # Ok::<(), tokauth::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Counter {
    /// Token requests whose body left.
    Requests,
    /// Refreshes begun while the old token was still valid.
    RefreshesAhead,
    /// Requests, or attempts at one, that brought no token.
    Failures,
    /// Tokens that came from the store.
    StoreHits,
    /// Calls that waited for another caller's request.
    Waits,
}

impl Counters {
    pub(crate) fn add(&self, counter: Counter) {
        self.0[counter as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }
}

/// Whether a cached token will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Any,
    /// A token asked for after this call began.
    New,
}

/// Where a slot gets its tokens from.
pub(crate) trait Source {
    /// Runs without a lock, for as long as `deadline` allows. `knock`: one attempt, since the last ones failed.
    fn fetch(&self, need: Need, deadline: &Deadline, knock: bool) -> Result<Fetched, Failure>;

    /// Whether a token may be asked for at that time, so that it is worth the wait.
    fn may_ask_at(&self, _time: Duration) -> bool {
        true
    }

    /// Whether the credential is another one by now than the one that failed.
    fn has_changed(&self, failed: &Fingerprint) -> bool;
}

/// A call for a token.
pub(crate) struct Call<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) wishes: Wishes,
    pub(crate) pace: Pace,
    pub(crate) need: Need,
    pub(crate) deadline: Deadline,
    pub(crate) log: &'a Log,
    /// The provider's name, for the log.
    pub(crate) name: &'a str,
}

impl Call<'_> {
    fn line(&self, level: LogLevel, line: impl FnOnce() -> String) {
        self.log.line(level, || format!("{}: {}", self.name, line()));
    }
}

/// One cache key's token.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    state: Locked<State>,
    published: Published,
    /// How many tokens have been cached; the newest one's generation. Never the same twice, in a forked child either.
    generations: AtomicU64,
    /// How many flights have begun.
    flights: AtomicU64,
    pub(crate) counters: Counters,
}

#[derive(Debug, Default)]
struct State {
    cached: Option<Arc<Snapshot>>,
    flying: Option<Arc<Flight>>,
    /// Number and outcome of the latest flight that landed.
    landed: Option<(u64, Result<Token, Error>)>,
    cooldown: Cooldown,
    brake: Brake,
    /// The token that was rejected last: not to be taken from the store again.
    rejected: Option<Token>,
    /// How often all was forgotten: a token asked for before that is not cached after.
    cleared: u64,
}

/// What a call is to do next.
enum Decision<'a> {
    Serve(Result<Token, Error>),
    Wait(Arc<Flight>),
    /// Until the cached token is over, since none may be asked for before.
    WaitOut(Duration, Token),
    Hold(Bound),
    Fetch(Landing<'a>),
    /// By the time this caller may spend.
    RefreshAhead(Landing<'a>, Deadline),
}

/// A request under way, and its outcome for all who wait.
#[derive(Debug)]
struct Flight {
    number: u64,
    landed: Arc<Event>,
    outcome: Mutex<Option<Outcome>>,
}

#[derive(Clone, Debug)]
enum Outcome {
    Landed(Result<Token, Error>),
    /// Its caller ran out of time before anything was sent: another may go on.
    Abandoned,
}

impl Flight {
    fn outcome(&self) -> Option<Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Slot {
    /// Lets `read` see the cached token, if a call would return it at once. Waits for nobody, and asks the system for
    /// nothing.
    #[inline(always)]
    pub(crate) fn peek<T>(
        &self,
        (coarse, clock): (&Coarse, &Arc<dyn Clock>),
        wishes: &Wishes,
        read: impl FnOnce(&Snapshot) -> T,
    ) -> Option<T> {
        let Ok(published) = self.published.place().try_read() else { return None };
        let Some(snapshot) = &*published else { return None };
        coarse.is_before(clock, snapshot.serves_until(wishes)).then(|| read(snapshot))
    }

    /// A token as `call` wants it: the cached one, or another caller's, or from the source, which is asked without a
    /// lock and at most once at a time, whatever the number of callers.
    pub(crate) fn token(&self, call: &Call<'_>) -> Result<Token, Error> {
        let begun_before = self.flights.load(Ordering::SeqCst);
        let mut abandoned = None;
        loop {
            match self.decide(call, begun_before, abandoned) {
                Decision::Serve(outcome) => {
                    call.line(LogLevel::Debug, || match &outcome {
                        Ok(_) => "serves the cached token, which another caller renews or nobody may".to_owned(),
                        Err(error) => format!("another caller's request has just failed: {error}"),
                    });
                    return outcome;
                }
                Decision::Wait(flight) => {
                    self.counters.add(Counter::Waits);
                    call.line(LogLevel::Debug, || "waits for another caller's request".to_owned());
                    call.clock.wait(&flight.landed, call.deadline.at);
                    match flight.outcome() {
                        None => return self.last_resort(call, waited_in_vain()),
                        Some(Outcome::Landed(outcome)) if call.need == Need::Any || flight.number > begun_before => {
                            return outcome.or_else(|error| self.last_resort(call, error));
                        }
                        Some(Outcome::Landed(_)) => {} // begun before this call: no answer to one that wants a new token
                        Some(Outcome::Abandoned) if call.deadline.remaining().is_zero() => {
                            return self.last_resort(call, waited_in_vain());
                        }
                        Some(Outcome::Abandoned) => abandoned = Some(flight.number),
                    }
                }
                // With nothing left of the budget it is the last token, and serves to its end.
                Decision::WaitOut(end, token) if !call.source.may_ask_at(end) => return Ok(token),
                Decision::WaitOut(end, _) => {
                    call.line(LogLevel::Debug, || "waits for the end of the token that nearly is over".to_owned());
                    call.clock.sleep(end);
                }
                Decision::Hold(bound) if bound.credential.is_some_and(|failed| call.source.has_changed(&failed)) => {
                    call.line(LogLevel::Info, || "the credential is another one, which ends the cool-down".to_owned());
                    self.locked(|state| state.cooldown.end_of(bound.flight));
                }
                Decision::Hold(bound) => {
                    call.line(LogLevel::Debug, || held(&bound.error));
                    return self.last_resort(call, bound.error);
                }
                Decision::Fetch(landing) => {
                    if abandoned.is_some() {
                        call.line(LogLevel::Info, || "takes over from a caller that ran out of time".to_owned());
                    }
                    return self.fly(call, landing, &call.deadline).or_else(|error| self.last_resort(call, error));
                }
                Decision::RefreshAhead(landing, deadline) => {
                    self.counters.add(Counter::RefreshesAhead);
                    call.line(LogLevel::Debug, || "refreshes ahead".to_owned());
                    return self.fly(call, landing, &deadline).or_else(|error| self.last_resort(call, error));
                }
            }
        }
    }

    fn fly(&self, call: &Call<'_>, landing: Landing<'_>, deadline: &Deadline) -> Result<Token, Error> {
        let fetched = call.source.fetch(call.need, deadline, landing.knock);
        landing.land(fetched, call, deadline.timeout)
    }

    fn decide(&self, call: &Call<'_>, begun_before: u64, abandoned: Option<u64>) -> Decision<'_> {
        self.locked(|state| self.decide_by(state, call, begun_before, abandoned))
    }

    fn decide_by(&self, state: &mut State, call: &Call<'_>, begun_before: u64, abandoned: Option<u64>) -> Decision<'_> {
        let now = call.clock.since_boot();
        let fresh = state.cached.as_ref().filter(|cached| cached.is_fresh(now, call.wishes));
        match (call.need, fresh, &state.landed) {
            (Need::New, _, Some((number, outcome))) if *number > begun_before => {
                return Decision::Serve(outcome.clone());
            }
            // A rejected token was replaced just now: the next one would fare no better.
            (Need::New, Some(cached), _) if state.brake.is_closed(now) => {
                return Decision::Serve(Ok(cached.token.clone()));
            }
            (Need::Any, Some(cached), _) => {
                if state.flying.is_some() || nanos(now) < cached.due(call.wishes) {
                    self.published.repair(cached);
                    return Decision::Serve(Ok(cached.token.clone()));
                }
                let shorter = Deadline::after(call.clock, AHEAD_MAX.min(call.deadline.remaining() / 2));
                // The others see nothing of it.
                cached.pause(shorter.at);
                return Decision::RefreshAhead(Landing::take_off(self, state), shorter);
            }
            _ => {}
        }
        if let (Need::Any, Some(cached)) = (call.need, &state.cached) {
            match cached.lifetime.awaited_end(nanos(now)).map(Duration::from_nanos) {
                Some(end) if end + call.deadline.enough() <= call.deadline.at => {
                    return Decision::WaitOut(end, cached.token.clone());
                }
                Some(_) => return Decision::Serve(Ok(cached.token.clone())), // as it is
                None => {}
            }
        }
        if let Some(flight) = &state.flying {
            return Decision::Wait(flight.clone());
        }
        match state.cooldown.binds(now, call.deadline.timeout, abandoned) {
            Some(bound) => Decision::Hold(bound),
            None => Decision::Fetch(Landing::take_off(self, state)),
        }
    }

    /// The token in service instead of `error`, if it is one that lives yet.
    fn last_resort(&self, call: &Call<'_>, error: Error) -> Result<Token, Error> {
        let now = call.clock.since_boot();
        let cached = (call.need == Need::Any).then(|| self.locked(|state| state.cached.clone())).flatten();
        match cached.filter(|cached| cached.is_last_resort(now, call.wishes)) {
            None => Err(error),
            Some(cached) => {
                let left = Duration::from_nanos(cached.lifetime.over()).saturating_sub(now);
                call.line(LogLevel::Warning, || {
                    format!("the old token stays in service, for {} s at most: {error}", left.as_secs())
                });
                Ok(cached.token.clone())
            }
        }
    }

    /// The cached token, if it has the life that `wishes` ask for.
    pub(crate) fn cached(&self, now: Duration, wishes: Wishes) -> Option<Token> {
        let cached = self.locked(|state| state.cached.clone());
        cached.filter(|cached| cached.is_fresh(now, wishes)).map(|cached| cached.token.clone())
    }

    /// The token that was cached last and not dropped, dead or alive, and the one that was rejected last.
    pub(crate) fn had(&self) -> [Option<Token>; 2] {
        self.locked(|state| [state.cached.as_ref().map(|cached| cached.token.clone()), state.rejected.clone()])
    }

    /// Puts a token there that nobody had to ask for, unless a longer one is there or all was forgotten
    /// since then.
    pub(crate) fn adopt(&self, fetched: Fetched, pace: Pace, cleared: u64, now: Duration) {
        self.locked(|state| {
            let is_longer = |cached: &Arc<Snapshot>| cached.lifetime.over() < fetched.lifetime.over();
            if state.cleared == cleared && state.cached.as_ref().is_none_or(is_longer) {
                self.put(state, fetched, pace, now);
            }
        });
    }

    /// How often all was forgotten.
    pub(crate) fn cleared(&self) -> u64 {
        self.locked(|state| state.cleared)
    }

    /// The API rejected this token, which no other process has: what becomes of it.
    pub(crate) fn reject(&self, token: &Token, pace: Pace, now: Duration) -> Rejected {
        self.locked(|state| {
            let Some(cached) = state.cached.as_ref().filter(|cached| cached.token.is_same(token)) else {
                return Rejected::Unknown;
            };
            if state.brake.reject(cached.lifetime.has_served(nanos(now)), pace, now) {
                state.rejected = Some(token.clone());
                self.drop_token(state);
                return Rejected::Dropped;
            }
            Rejected::Kept(state.brake.closed_for(now))
        })
    }

    /// Drops the token, if it is still the cached one.
    pub(crate) fn drop_rejected(&self, token: &Token) {
        self.locked(|state| {
            state.rejected = Some(token.clone());
            if state.cached.as_ref().is_some_and(|cached| cached.token.is_same(token)) {
                self.drop_token(state);
            }
        });
    }

    /// Drops the cached token and the cool-down, and for all who come from now on the request under way.
    pub(crate) fn clear(&self) {
        self.locked(|state| {
            state.cleared += 1;
            state.flying = None;
            state.cooldown.end();
            self.drop_token(state);
        });
    }

    /// Until when a client that comes later could use what is here, or is to be held back by it.
    pub(crate) fn alive_until(&self) -> Duration {
        self.locked(|state| {
            let over = state.cached.as_ref().map_or(0, |cached| cached.lifetime.over());
            state.cooldown.remembered_until().max(state.brake.remembered_until()).max(Duration::from_nanos(over))
        })
    }

    fn put(&self, state: &mut State, fetched: Fetched, pace: Pace, now: Duration) {
        let served = state.cached.as_ref().is_some_and(|cached| cached.lifetime.has_served(nanos(now)));
        state.brake.replaced(served, pace, now);
        let snapshot = Arc::new(Snapshot::new(fetched, self.generations.fetch_add(1, Ordering::SeqCst) + 1));
        // The one before is valid until everybody has this one.
        self.published.put(Some(&snapshot));
        if let Some(before) = state.cached.replace(snapshot) {
            before.withdraw();
        }
    }

    fn drop_token(&self, state: &mut State) {
        state.landed = None;
        if let Some(cached) = state.cached.take() {
            cached.withdraw();
        }
        self.published.put(None);
    }

    /// A forked child has neither the parent's threads nor what they were about to do; what was published, it has.
    fn locked<T>(&self, body: impl FnOnce(&mut State) -> T) -> T {
        let inherit = |parents: Option<&mut State>| match parents {
            Some(parents) => State { flying: None, landed: None, ..std::mem::take(parents) },
            None => State { cached: self.published.inherit(), ..State::default() },
        };
        self.state.locked(inherit, body)
    }
}

/// What becomes of a rejected token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// Nobody has it.
    Unknown,
    /// Another process has a newer one.
    Replaced,
    Dropped,
    /// It stays in service, since it replaced a rejected one not long ago. No other rejection counts for so long.
    Kept(Duration),
}

fn held(error: &Error) -> String {
    format!("no request during a cool-down: {error}")
}

fn waited_in_vain() -> Error {
    let message = "another caller's request took longer than this call may; ask again, or raise timeout_ms";
    Error::new(ErrorKind::Timeout, Step::Request, message)
}

/// Ends a flight however the fetch ends: a panic releases the waiters too.
struct Landing<'a> {
    slot: &'a Slot,
    flight: Arc<Flight>,
    cleared: u64,
    knock: bool,
    landed: bool,
}

impl<'a> Landing<'a> {
    fn take_off(slot: &'a Slot, state: &mut State) -> Landing<'a> {
        let number = slot.flights.fetch_add(1, Ordering::SeqCst) + 1;
        let flight = Arc::new(Flight { number, landed: Arc::default(), outcome: Mutex::new(None) });
        state.flying = Some(flight.clone());
        Landing { slot, flight, cleared: state.cleared, knock: state.cooldown.is_streak(), landed: false }
    }

    fn land(mut self, fetched: Result<Fetched, Failure>, call: &Call<'_>, timeout: Duration) -> Result<Token, Error> {
        let now = call.clock.since_boot();
        let (slot, number) = (self.slot, self.flight.number);
        let failure = match fetched {
            Ok(fetched) => {
                let token = fetched.token.clone();
                self.end(|state| {
                    if let Some(state) = state {
                        state.cooldown.end();
                        // Another caller's 401 may have come since it was found in the store.
                        if state.rejected.as_ref().is_none_or(|rejected| !rejected.is_same(&token)) {
                            slot.put(state, fetched, call.pace, now);
                        }
                    }
                    Outcome::Landed(Ok(token.clone()))
                });
                return Ok(token);
            }
            Err(failure) => failure,
        };
        let ran_out = failure.error.kind() == ErrorKind::Timeout && failure.error.retry_class() == RetryClass::NotSent;
        let (mut error, mut wait) = (failure.error.clone(), None);
        self.end(|state| {
            if let Some(state) = state {
                // What is remembered elsewhere ends there.
                let until =
                    failure.held_until.or_else(|| state.cooldown.begin(&failure, number, timeout, call.pace, now));
                if let Some(cached) = &state.cached {
                    cached.pause(now.saturating_add(AHEAD_PAUSE).max(until.unwrap_or_default()));
                }
                if let Some(until) = until {
                    let left = until.saturating_sub(now);
                    error = error.clone().with_retry_after(Some(left));
                    wait = Some(left);
                }
            }
            if ran_out { Outcome::Abandoned } else { Outcome::Landed(Err(error.clone())) }
        });
        if let Some(wait) = wait.filter(|_| failure.held_until.is_none()) {
            let seconds = wait.as_millis().div_ceil(1000);
            call.line(LogLevel::Info, || format!("cools down: asks no more for {seconds} s"));
        }
        Err(error)
    }

    /// State first, then the waiters. `settle` gets the state unless all was forgotten in the meantime.
    fn end(&mut self, settle: impl FnOnce(Option<&mut State>) -> Outcome) {
        self.landed = true;
        let outcome = self.slot.locked(|state| {
            if state.cleared != self.cleared {
                return settle(None);
            }
            let outcome = settle(Some(state));
            state.flying = None;
            if let Outcome::Landed(outcome) = &outcome {
                state.landed = Some((self.flight.number, outcome.clone()));
            }
            outcome
        });
        *self.flight.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.flight.landed.set();
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        if !self.landed {
            self.slot.counters.add(Counter::Failures);
            self.end(|_| Outcome::Landed(Err(Error::bug(Step::Request, "the request panicked"))));
        }
    }
}
