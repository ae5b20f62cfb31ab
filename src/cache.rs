//! The slot: one token, one request at a time, shared by all who ask.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Deadline, Event};
use crate::error::{Error, ErrorKind, Step};
use crate::expiry::{Lifetime, REFRESH_PAUSE, Wishes};
use crate::token::Token;

/// Who refreshes ahead holds a valid token already, and waits no longer than this for the new one.
const AHEAD_MAX: Duration = Duration::from_secs(5);

/// What a slot counts, since it began; slow path only.
#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; 5]);

/// A counter of a slot.
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

/// A token and its life, fresh from the provider or the store.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) token: Token,
    pub(crate) lifetime: Lifetime,
}

/// Whether a cached token will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Any,
    /// A token asked for after this call began.
    New,
}

/// One cache key's token.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    state: Mutex<State>,
    published: Published,
    pub(crate) counters: Counters,
}

#[derive(Debug, Default)]
struct State {
    cached: Option<Fetched>,
    flying: Option<Arc<Flight>>,
    /// Number and outcome of the latest flight that landed.
    landed: Option<(u64, Result<Token, Error>)>,
    /// How many flights have begun.
    flights: u64,
    /// How many tokens have been cached; the newest one's generation.
    generation: u64,
    /// No refresh ahead before this.
    pause_until: Duration,
    /// How often all was forgotten: a token asked for before that is not cached after.
    cleared: u64,
}

/// What a call is to do next.
enum Decision<'a> {
    Serve(Result<Token, Error>),
    Wait(Arc<Flight>),
    Fetch(Landing<'a>),
    /// By the time this caller may spend.
    RefreshAhead(Landing<'a>, Deadline),
}

/// A request under way, and its outcome for all who wait.
#[derive(Debug)]
struct Flight {
    number: u64,
    landed: Arc<Event>,
    outcome: Mutex<Option<Result<Token, Error>>>,
}

impl Flight {
    fn outcome(&self) -> Option<Result<Token, Error>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Slot {
    /// A token with the life that `wishes` ask for: the cached one, or another caller's, or by `fetch`, which runs
    /// without a lock and at most once, whatever the number of callers.
    pub(crate) fn token(
        &self,
        clock: &Arc<dyn Clock>,
        wishes: Wishes,
        need: Need,
        deadline: Deadline,
        fetch: impl FnOnce(Deadline) -> Result<Fetched, Error>,
    ) -> Result<Token, Error> {
        let begun_before = if need == Need::New { self.lock().flights } else { 0 };
        loop {
            match self.decide(clock, wishes, need, begun_before, &deadline) {
                Decision::Serve(outcome) => return outcome,
                Decision::Wait(flight) => {
                    self.counters.add(Counter::Waits);
                    clock.wait(&flight.landed, deadline.at);
                    match flight.outcome() {
                        None => return Err(waited_in_vain()),
                        Some(outcome) if need == Need::Any || flight.number > begun_before => return outcome,
                        Some(_) => {} // begun before this call: no answer to one that wants a new token
                    }
                }
                Decision::Fetch(landing) => return landing.land(fetch(deadline), clock),
                Decision::RefreshAhead(landing, deadline) => {
                    let outcome = landing.land(fetch(deadline), clock);
                    // A failure leaves the old token cached, and mostly it is still good.
                    return outcome.or_else(|error| self.cached(clock.since_boot(), wishes).ok_or(error));
                }
            }
        }
    }

    fn decide(
        &self,
        clock: &Arc<dyn Clock>,
        wishes: Wishes,
        need: Need,
        begun_before: u64,
        deadline: &Deadline,
    ) -> Decision<'_> {
        let mut state = self.lock();
        let now = clock.since_boot();
        match (need, &state.cached, &state.landed) {
            (Need::New, _, Some((number, outcome))) if *number > begun_before => {
                return Decision::Serve(outcome.clone());
            }
            (Need::Any, Some(cached), _) if now < cached.lifetime.fresh_until(wishes) => {
                let due = cached.lifetime.refresh_from(wishes).max(state.pause_until);
                if state.flying.is_some() || now < due {
                    return Decision::Serve(Ok(cached.token.clone()));
                }
                self.counters.add(Counter::RefreshesAhead);
                let shorter = Deadline::after(clock, AHEAD_MAX.min(deadline.remaining() / 2));
                state.pause_until = shorter.at;
                self.published.write(&state);
                return Decision::RefreshAhead(Landing::take_off(self, &mut state), shorter);
            }
            _ => {}
        }
        match &state.flying {
            Some(flight) => Decision::Wait(flight.clone()),
            None => Decision::Fetch(Landing::take_off(self, &mut state)),
        }
    }

    /// The cached token, if it has the life that `wishes` ask for.
    pub(crate) fn cached(&self, now: Duration, wishes: Wishes) -> Option<Token> {
        let state = self.lock();
        let cached = state.cached.as_ref()?;
        (now < cached.lifetime.fresh_until(wishes)).then(|| cached.token.clone())
    }

    /// Puts a token there that nobody had to ask for, unless a longer one is there.
    pub(crate) fn adopt(&self, fetched: Fetched) {
        let mut state = self.lock();
        if state.cached.as_ref().is_none_or(|cached| cached.lifetime.over() < fetched.lifetime.over()) {
            state.put(fetched, &self.published);
        }
    }

    /// Drops the cached token if it is this one, and tells whether it was.
    pub(crate) fn reject(&self, token: &Token) -> bool {
        let mut state = self.lock();
        let is_cached = state.cached.as_ref().is_some_and(|cached| cached.token.is_same(token));
        if is_cached {
            state.drop_token(&self.published);
        }
        is_cached
    }

    /// Drops the cached token, and for all who come from now on the one under way.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.cleared += 1;
        state.flying = None;
        state.drop_token(&self.published);
    }

    /// The generation of the cached token if [`token`](Slot::token) would return it at once, else 0. No lock.
    pub(crate) fn generation(&self, now: Duration, wishes: Wishes) -> u64 {
        match self.published.read() {
            Some((generation, lifetime, pause_until))
                if now < lifetime.fresh_until(wishes) && now < lifetime.refresh_from(wishes).max(pause_until) =>
            {
                generation
            }
            _ => 0,
        }
    }

    /// Whether a client that comes later could use what is here.
    pub(crate) fn is_alive(&self, now: Duration) -> bool {
        let state = self.lock();
        state.flying.is_some() || state.cached.as_ref().is_some_and(|cached| now < cached.lifetime.over())
    }

    /// Every critical section leaves the state consistent at each step, so a poisoned lock is as good as a sound one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, fetched: Fetched, published: &Published) {
        self.cached = Some(fetched);
        self.generation += 1;
        self.pause_until = Duration::ZERO;
        published.write(self);
    }

    fn drop_token(&mut self, published: &Published) {
        self.cached = None;
        self.landed = None;
        published.write(self);
    }
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
    landed: bool,
}

impl<'a> Landing<'a> {
    fn take_off(slot: &'a Slot, state: &mut State) -> Landing<'a> {
        state.flights += 1;
        let flight = Arc::new(Flight { number: state.flights, landed: Arc::default(), outcome: Mutex::new(None) });
        state.flying = Some(flight.clone());
        Landing { slot, flight, cleared: state.cleared, landed: false }
    }

    fn land(mut self, fetched: Result<Fetched, Error>, clock: &Arc<dyn Clock>) -> Result<Token, Error> {
        let outcome = fetched.as_ref().map(|fetched| fetched.token.clone()).map_err(Error::clone);
        let now = clock.since_boot();
        self.end(&outcome, |state, published| match fetched {
            Ok(fetched) => state.put(fetched, published),
            Err(_) => {
                state.pause_until = now.saturating_add(REFRESH_PAUSE);
                published.write(state);
            }
        });
        outcome
    }

    /// State first, then the waiters.
    fn end(&mut self, outcome: &Result<Token, Error>, settle: impl FnOnce(&mut State, &Published)) {
        self.landed = true;
        if outcome.is_err() {
            self.slot.counters.add(Counter::Failures);
        }
        let mut state = self.slot.lock();
        if state.cleared == self.cleared {
            state.flying = None;
            state.landed = Some((self.flight.number, outcome.clone()));
            settle(&mut state, &self.slot.published);
        }
        drop(state);
        *self.flight.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome.clone());
        self.flight.landed.set();
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        if !self.landed {
            self.end(&Err(Error::bug(Step::Request, "the request panicked")), |_, _| {});
        }
    }
}

/// What a reader without the lock needs, written under it. A token's words change only with its generation, which never
/// comes again; the pause alone may change under the same one, and each of its values holds by itself.
#[derive(Debug, Default)]
struct Published {
    /// 0: nothing cached, or being written.
    generation: AtomicU64,
    /// Nanoseconds since boot: sent, received, life, pause; and the jitter.
    words: [AtomicU64; 5],
}

impl Published {
    fn write(&self, state: &State) {
        self.generation.store(0, Ordering::SeqCst);
        let Some(cached) = &state.cached else { return };
        let Lifetime { sent, received, life, jitter } = cached.lifetime;
        let words = [nanos(sent), nanos(received), nanos(life), nanos(state.pause_until), u64::from(jitter)];
        for (place, word) in self.words.iter().zip(words) {
            place.store(word, Ordering::SeqCst);
        }
        self.generation.store(state.generation, Ordering::SeqCst);
    }

    fn read(&self) -> Option<(u64, Lifetime, Duration)> {
        let generation = self.generation.load(Ordering::SeqCst);
        let [sent, received, life, pause, jitter] = std::array::from_fn(|i| self.words[i].load(Ordering::SeqCst));
        if generation == 0 || self.generation.load(Ordering::SeqCst) != generation {
            return None;
        }
        let lifetime = Lifetime {
            sent: Duration::from_nanos(sent),
            received: Duration::from_nanos(received),
            life: Duration::from_nanos(life),
            jitter: jitter as u8,
        };
        Some((generation, lifetime, Duration::from_nanos(pause)))
    }
}

/// 584 years fit.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
