//! The token in service, for readers that wait for nobody.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::nanos;
use crate::expiry::{Lifetime, Wishes};
use crate::sync::{AtomicU64, Ordering, RwLock, stack_page};
use crate::token::Token;

/// A token and its life, fresh from the provider or the store.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) token: Token,
    pub(crate) lifetime: Lifetime,
}

/// A token in service: all that a reader without the lock needs.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) token: Token,
    pub(crate) generation: u64,
    pub(super) lifetime: Lifetime,
    /// No refresh ahead before this; nanoseconds since boot.
    pause_until: AtomicU64,
    /// What [`serves_until`](Snapshot::serves_until) is for whoever wishes for nothing in particular. 0: withdrawn.
    until: AtomicU64,
}

impl Snapshot {
    pub(super) fn new(fetched: Fetched, generation: u64) -> Snapshot {
        let Fetched { token, lifetime } = fetched;
        let (pause_until, until) = (AtomicU64::new(0), AtomicU64::new(1));
        let snapshot = Snapshot { token, generation, lifetime, pause_until, until };
        snapshot.pause(Duration::ZERO);
        snapshot
    }

    pub(super) fn pause(&self, until: Duration) {
        self.pause_until.fetch_max(nanos(until), Ordering::SeqCst);
        self.until.store(self.serves_as_wished(Wishes::NONE), Ordering::SeqCst);
    }

    pub(super) fn is_fresh(&self, now: Duration, wishes: Wishes) -> bool {
        nanos(now) < self.lifetime.fresh_until(wishes)
    }

    /// When whoever has such wishes is to renew it.
    pub(super) fn due(&self, wishes: Wishes) -> u64 {
        self.lifetime.refresh_from(wishes).max(self.pause_until.load(Ordering::SeqCst))
    }

    /// Until when it is served without a look at anything else.
    #[inline(always)]
    pub(super) fn serves_until(&self, wishes: &Wishes) -> u64 {
        match wishes {
            &Wishes::NONE => self.until.load(Ordering::SeqCst),
            wishes => self.serves_as_wished(*wishes),
        }
    }

    #[inline(never)]
    fn serves_as_wished(&self, wishes: Wishes) -> u64 {
        if self.is_withdrawn() { 0 } else { self.lifetime.fresh_until(wishes).min(self.due(wishes)) }
    }

    /// From now on nobody is served it, wherever it is.
    pub(super) fn withdraw(&self) {
        self.until.store(0, Ordering::SeqCst);
    }

    fn is_withdrawn(&self) -> bool {
        self.until.load(Ordering::SeqCst) == 0
    }

    /// Whether it may be handed out where no other is to be had: the default margin is a precaution, one that the host
    /// sets is a condition.
    pub(super) fn is_last_resort(&self, now: Duration, wishes: Wishes) -> bool {
        let until = if wishes.min_valid.is_some() { self.lifetime.fresh_until(wishes) } else { self.lifetime.over() };
        nanos(now) < until
    }
}

/// What readers see: nothing, or the token in service. Each thread reads from a place of its own, mostly, whose lock
/// only it and a writer touch, so that readers do not slow each other down. Nobody waits for a lock: who does not get
/// it at once, or finds a token that is withdrawn, goes the way of the slot's mutex. (So does who finds a lock that was
/// held when its process was forked.)
#[derive(Debug, Default)]
pub(super) struct Published([Place; PLACES]);

// Few under the checker, so that it sees threads that share a place, and tries that are in vain.
const PLACES: usize = if cfg!(tokauth_shuttle) { 2 } else { 8 };
const TRIES: usize = if cfg!(tokauth_shuttle) { 2 } else { 100 };

/// On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Place(RwLock<Option<Arc<Snapshot>>>);

impl Published {
    /// For this thread to read.
    #[inline(always)]
    pub(super) fn place(&self) -> &RwLock<Option<Arc<Snapshot>>> {
        &self.0[place_of_thread()].0
    }

    /// Under the slot's mutex.
    pub(super) fn put(&self, snapshot: Option<&Arc<Snapshot>>) {
        self.0.iter().for_each(|place| place.put(snapshot));
    }

    /// For a thread that found nothing there to serve: a writer may have found the place locked.
    pub(super) fn repair(&self, snapshot: &Arc<Snapshot>) {
        self.0[place_of_thread()].put(Some(snapshot));
    }

    /// For a child that was forked while a token was put here, or dropped: the newest in service, as far as anybody can
    /// see. The one before is withdrawn, as the parent was about to do.
    pub(super) fn inherit(&self) -> Option<Arc<Snapshot>> {
        let seen = || self.0.iter().filter_map(|place| place.0.try_read().ok()?.clone());
        let newest = seen().filter(|snapshot| !snapshot.is_withdrawn()).max_by_key(|snapshot| snapshot.generation)?;
        seen().filter(|snapshot| snapshot.generation < newest.generation).for_each(|before| before.withdraw());
        Some(newest)
    }
}

impl Place {
    /// Not where a reader is still there after many tries: it was preempted, or is of the parent process.
    fn put(&self, snapshot: Option<&Arc<Snapshot>>) {
        for _ in 0..TRIES {
            if let Ok(mut place) = self.0.try_write() {
                *place = snapshot.cloned();
                return;
            }
            std::hint::spin_loop();
        }
    }
}

/// Stacks are so many pages, a power of two, and a guard page, so that threads that do the same have places that follow
/// each other.
#[inline(always)]
fn place_of_thread() -> usize {
    stack_page() % PLACES
}
