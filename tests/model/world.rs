//! A slot, a provider and a time for models: every step of theirs is one that the checker sees.

use std::sync::{Arc, Weak};
use std::time::Duration;

use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;

use super::fork::fork;
use crate::cache::{Call, Fetched, Need, Slot, Snapshot, Source};
use crate::clock::{Clock, Coarse, Deadline, Event};
use crate::cooldown::{Failure, Pace};
use crate::credential::Fingerprint;
use crate::error::{Error, ErrorKind, RetryClass, Step};
use crate::expiry::{Lifetime, Wishes};
use crate::log::Log;
use crate::token::Token;

pub(super) const S: Duration = Duration::from_secs(1);

/// How often something has happened; not made of what is checked here.
#[derive(Debug, Default)]
pub(super) struct Count {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Count {
    pub(super) fn add(&self) -> usize {
        let mut count = self.count.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *count += 1;
        self.changed.notify_all();
        *count
    }

    pub(super) fn get(&self) -> usize {
        *self.count.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn wait_for(&self, least: usize) {
        let mut count = self.count.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        while *count < least {
            count = self.changed.wait(count).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }
}

/// Time that only a thread of the model moves: the checker lets no wait end by itself.
#[derive(Debug, Default)]
pub(super) struct ModelClock {
    now: Mutex<Duration>,
    waiting: Mutex<Vec<Weak<Event>>>,
    /// How many waits have begun.
    pub(super) asleep: Count,
}

impl ModelClock {
    pub(super) fn advance(&self, by: Duration) {
        *self.now.lock().unwrap() += by;
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        waiting.iter().filter_map(Weak::upgrade).for_each(|event| event.poke());
    }
}

impl Clock for ModelClock {
    fn since_boot(&self) -> Duration {
        *self.now.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn since_epoch(&self) -> Duration {
        self.since_boot()
    }

    fn wait(&self, event: &Arc<Event>, until: Duration) {
        self.asleep.add();
        event.wait_while(|| {
            self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(Arc::downgrade(event));
            self.since_boot() >= until
        });
    }
}

/// What a provider does with a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// Answers when the gate is open.
    Gate,
    Refuse,
    Panic,
    /// Cannot be reached before the deadline.
    RunOut,
}

/// Answers the first requests as it is told to and all others with a token, at once.
#[derive(Debug)]
pub(super) struct Provider {
    acts: Vec<Act>,
    /// The number of the first token.
    first: usize,
    clock: Arc<ModelClock>,
    pub(super) begun: Count,
    pub(super) gate: Count,
}

impl Provider {
    pub(super) fn ask(&self) -> usize {
        self.begun.add()
    }
}

impl Source for Provider {
    fn fetch(&self, _: Need, deadline: &Deadline, _: bool) -> Result<Fetched, Failure> {
        let sent = self.clock.since_boot();
        let number = self.ask();
        let error = match self.acts.get(number - 1) {
            None => return Ok(granted(self.first - 1 + number, sent)),
            Some(Act::Gate) => {
                self.gate.wait_for(1);
                return Ok(granted(self.first - 1 + number, sent));
            }
            // The hook that would print it a thousand times does not hear of it.
            Some(Act::Panic) => std::panic::resume_unwind(Box::new("the request broke")),
            Some(Act::Refuse) => Error::new(ErrorKind::Denied, Step::Reply, "refused").with_class(RetryClass::Refused),
            Some(Act::RunOut) => {
                self.clock.sleep(deadline.at);
                Error::new(ErrorKind::Timeout, Step::Connect, "not reached").with_class(RetryClass::NotSent)
            }
        };
        Err(error.into())
    }

    fn has_changed(&self, _: &Fingerprint) -> bool {
        false
    }
}

/// Lives 100 s from `sent`, serves 90 of them, is refreshed ahead from 80 on.
fn granted(number: usize, sent: Duration) -> Fetched {
    let token = Token::new(&format!("canary-token-{number}"), "Bearer", None, &[], 0).unwrap();
    Fetched { token, lifetime: Lifetime::new(sent, sent, 100 * S, 0) }
}

/// Of the request that brought it; 0: it was there from the beginning.
pub(super) fn number(token: &Token) -> usize {
    token.value().rsplit('-').next().unwrap().parse().unwrap()
}

/// All that the threads of a model share.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) slot: Arc<Slot>,
    coarse: Arc<Coarse>,
    pub(super) clock: Arc<ModelClock>,
    pub(super) provider: Arc<Provider>,
}

impl World {
    pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

    pub(super) fn new<const N: usize>(acts: [Act; N]) -> World {
        World::around(Arc::default(), acts.into(), 1)
    }

    fn around(slot: Arc<Slot>, acts: Vec<Act>, first: usize) -> World {
        let clock = Arc::<ModelClock>::default();
        let (begun, gate) = (Count::default(), Count::default());
        let provider = Arc::new(Provider { acts, first, clock: clock.clone(), begun, gate });
        World { slot, coarse: Arc::new(Coarse::new(&*clock)), clock, provider }
    }

    /// Forks: of all that runs, only this thread goes on, and finds the slot as it is. The models' own things, which
    /// those that stand still may have locked, are new; the tokens are numbered from 101 on.
    pub(super) fn fork(&self) -> World {
        fork();
        World::around(self.slot.clone(), Vec::new(), 101)
    }

    /// Token 0 is in service.
    pub(super) fn with_token<const N: usize>(acts: [Act; N]) -> World {
        let world = World::new(acts);
        world.slot.adopt(granted(0, Duration::ZERO), Pace::USUAL, 0, Duration::ZERO);
        world
    }

    pub(super) fn spawn<T: Send + 'static>(
        &self,
        act: impl FnOnce(&World) -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let world = self.clone();
        thread::spawn(move || act(&world))
    }

    /// As the public call of this name.
    pub(super) fn token(&self) -> Result<Token, Error> {
        self.token_within(World::TIMEOUT)
    }

    pub(super) fn token_within(&self, timeout: Duration) -> Result<Token, Error> {
        match self.peek() {
            Some((_, token)) => Ok(token),
            None => self.ask(Need::Any, timeout),
        }
    }

    /// As the public call of this name.
    pub(super) fn refresh(&self) -> Result<Token, Error> {
        self.ask(Need::New, World::TIMEOUT)
    }

    fn ask(&self, need: Need, timeout: Duration) -> Result<Token, Error> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        self.slot.token(&Call {
            source: &*self.provider,
            clock: &clock,
            wishes: Wishes::NONE,
            pace: Pace::USUAL,
            need,
            deadline: Deadline::after(&clock, timeout),
            log: &Log::default(),
            name: "model",
        })
    }

    /// What is in service, with its generation.
    pub(super) fn peek(&self) -> Option<(u64, Token)> {
        self.peek_as(&Wishes::NONE)
    }

    pub(super) fn peek_as(&self, wishes: &Wishes) -> Option<(u64, Token)> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let read = |snapshot: &Snapshot| (snapshot.generation, snapshot.token.clone());
        self.slot.peek((&self.coarse, &clock), wishes, read)
    }
}
