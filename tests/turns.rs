//! A turn to ask may be over before its holder knows: it slept past its lease. Nothing of that is lost or sent twice.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod temp;
mod world;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use canary::Watched;
use serde_json::json;
use tokauth::seams::{Change, Deadline, Hold, Memory, Name, RetryClass, Store, Turn, failure};
use tokauth::{Builder, Client, Counter, Error, ErrorKind};
use world::{S, SECRET, World, oauth2};

type Act = Box<dyn FnOnce() + Send>;
type Outcome = (Act, Result<Hold, Error>);

/// A store whose turns nobody waits for, as if each before it had ended.
#[derive(Clone, Default)]
struct Leases {
    documents: Memory,
    /// What befalls a holder that is about to send, and whether its turn is still its own.
    holds: Arc<Mutex<VecDeque<Outcome>>>,
    /// What happens before that change.
    before: Arc<Mutex<Option<(usize, Act)>>>,
    changes: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leases")
    }
}

impl Leases {
    fn next_hold(&self, act: impl FnOnce() + Send + 'static, outcome: Result<Hold, Error>) {
        self.holds.lock().unwrap().push_back((Box::new(act), outcome));
    }

    /// Before the change that comes after so many others from now.
    fn before_change(&self, after: usize, act: impl FnOnce() + Send + 'static) {
        *self.before.lock().unwrap() = Some((self.changes.load(Ordering::SeqCst) + after, Box::new(act)));
    }
}

impl Store for Leases {
    fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        self.documents.load(name)
    }

    fn change(
        &self,
        name: &Name,
        deadline: &Deadline,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Error> {
        let number = self.changes.fetch_add(1, Ordering::SeqCst);
        let act = self.before.lock().unwrap().take_if(|(at, _)| *at == number);
        if let Some((_, act)) = act {
            act();
        }
        self.documents.change(name, deadline, change)
    }

    fn turn(&self, _: &Name, _: &Deadline) -> Result<Box<dyn Turn>, Error> {
        Ok(Box::new(Lease(self.clone())))
    }
}

#[derive(Debug)]
struct Lease(Leases);

impl Turn for Lease {
    fn hold(&self, _: &Deadline) -> Result<Hold, Error> {
        let next = self.0.holds.lock().unwrap().pop_front();
        next.map_or(Ok(Hold::Kept), |(act, outcome)| {
            act();
            outcome
        })
    }
}

fn worlds() -> (World, Leases) {
    let leases = Leases::default();
    (World::with_store(leases.clone()), leases)
}

fn calenso() -> Builder {
    Client::builder().provider("calenso").client_id("me").client_secret(SECRET)
}

fn value(client: &Watched) -> String {
    client.token().unwrap().value().to_owned()
}

/// Another process, which gets a token in the meantime.
fn another(world: &World, builder: &Builder) -> impl FnOnce() + Send + use<> {
    let client = world.sibling().client(builder);
    move || drop(client.token().unwrap())
}

/// G-06: connecting took too long.
#[test]
fn who_has_lost_the_turn_before_sending_sends_nothing_and_finds_the_other_token() {
    let fates =
        [(oauth2(), Hold::Lost), (calenso(), Hold::Lost), (oauth2(), Hold::Regained), (calenso(), Hold::Regained)];
    for (builder, fate) in fates {
        let (world, leases) = worlds();
        let client = world.client(&builder);
        leases.next_hold(another(&world, &builder), Ok(fate));
        assert_eq!(value(&client), "canary-token-1");
        assert_eq!(world.provider.count(), 1, "the other's");
        assert_eq!([client.counter(Counter::Failures), client.counter(Counter::StoreHits)], [0, 1]);
    }
}

#[test]
fn who_has_lost_the_turn_before_sending_takes_another_when_the_other_failed() {
    let (world, leases) = worlds();
    let client = world.client(&oauth2());
    leases.next_hold(|| (), Ok(Hold::Lost));
    leases.next_hold(|| (), Ok(Hold::Lost));
    // And sends at once if it has it again, and nothing came of the other's.
    leases.next_hold(|| (), Ok(Hold::Regained));
    assert_eq!(value(&client), "canary-token-1");
    assert_eq!([world.provider.count(), client.counter(Counter::Failures) as usize], [1, 0]);
}

#[test]
fn who_had_lost_the_turn_asks_no_more_where_the_other_was_refused() {
    let (world, leases) = worlds();
    let client = world.client(&oauth2());
    let (other, provider) = (world.sibling().client(&oauth2()), world.provider.clone());
    let refused = move || {
        provider.next_json(401, json!({"error": "invalid_client"}));
        other.token().unwrap_err();
    };
    leases.next_hold(refused, Ok(Hold::Regained));
    assert_eq!(client.token().unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(world.provider.count(), 1, "the other's");
}

/// G-06: the reply took too long.
#[test]
fn who_has_lost_the_turn_after_sending_leaves_the_later_token_there_and_takes_it() {
    // Under a budget the reservation is the first change.
    for (builder, after) in [(oauth2(), 0), (calenso(), 1)] {
        let (world, leases) = worlds();
        let client = world.client(&builder);
        leases.before_change(after, another(&world, &builder));
        assert_eq!(value(&client), "canary-token-2", "which was asked for later");
        assert_eq!(value(&world.sibling().client(&builder)), "canary-token-2");
        assert_eq!(world.provider.count(), 2);
        let left = client.0.budget().unwrap().map(|left| left.requests);
        assert_eq!(left, (after == 1).then_some(29), "both count");
    }
}

/// One that is dead is no reason to throw another away.
#[test]
fn a_token_replaces_one_that_came_since_and_is_over() {
    let (world, leases) = worlds();
    let client = world.client(&oauth2());
    let (other, clock) = (another(&world, &oauth2()), world.clock.clone());
    leases.before_change(0, move || {
        other();
        clock.advance(S * 3600);
    });
    client.token().unwrap();
    let sibling = world.sibling().client(&oauth2());
    assert_eq!(value(&sibling), "canary-token-3", "the first, which has the age of its request, is over too");
}

/// G-01: the store fails between the turn and the request.
#[test]
fn a_turn_that_nobody_can_vouch_for_stops_only_requests_that_count() {
    let outage = || Err(failure(ErrorKind::Store, RetryClass::NotSent));
    let (world, leases) = worlds();
    leases.next_hold(|| (), outage());
    let client = world.client(&oauth2());
    assert_eq!(value(&client), "canary-token-1");
    let (world, leases) = worlds();
    (0..3).for_each(|_| leases.next_hold(|| (), outage()));
    let client = world.client(&calenso());
    assert_eq!(client.token().unwrap_err().kind(), ErrorKind::Store);
    assert_eq!(world.provider.count(), 0);
    leases.holds.lock().unwrap().clear();
    world.clock.advance(S * 60);
    assert_eq!(value(&client), "canary-token-1");
}

/// A store that has but one answer to whoever wants to ask.
#[derive(Clone, Debug)]
struct Stubborn {
    documents: Memory,
    /// That the turn was lost; else, that the document has changed.
    loses: bool,
    /// How often it said so.
    said: Arc<AtomicUsize>,
}

impl Stubborn {
    fn says_so(&self) {
        assert!(self.said.fetch_add(1, Ordering::SeqCst) < 1000, "this is a spin");
    }
}

impl Store for Stubborn {
    fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        self.documents.load(name)
    }

    fn change(
        &self,
        name: &Name,
        deadline: &Deadline,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Error> {
        self.documents.change(name, deadline, change)
    }

    fn turn(&self, _: &Name, _: &Deadline) -> Result<Box<dyn Turn>, Error> {
        Ok(Box::new(self.clone()))
    }

    fn turn_unless_changed(
        &self,
        name: &Name,
        deadline: &Deadline,
        _: (&Name, Option<&[u8]>),
    ) -> Result<Option<Box<dyn Turn>>, Error> {
        if self.loses {
            return self.turn(name, deadline).map(Some);
        }
        self.says_so();
        Ok(None)
    }
}

impl Turn for Stubborn {
    fn hold(&self, _: &Deadline) -> Result<Hold, Error> {
        if self.loses {
            self.says_so();
            return Ok(Hold::Lost);
        }
        Ok(Hold::Kept)
    }
}

fn stubborn(loses: bool) -> (World, Arc<AtomicUsize>) {
    let said = Arc::<AtomicUsize>::default();
    (World::with_store(Stubborn { documents: Memory::default(), loses, said: said.clone() }), said)
}

/// As one does whose loads lag behind its turns.
#[test]
fn a_store_that_always_says_that_a_document_has_changed_is_heard_once_a_request() {
    for builder in [oauth2(), calenso()] {
        let (world, said) = stubborn(false);
        let client = world.client(&builder);
        assert_eq!(value(&client), "canary-token-1");
        assert_eq!((world.provider.count(), said.load(Ordering::SeqCst)), (1, 1));
    }
}

#[test]
fn a_store_that_always_says_that_the_turn_is_lost_ends_the_call_at_its_deadline_and_not_in_a_spin() {
    for builder in [oauth2(), calenso()] {
        for timeout in [1000, 5000] {
            let (world, said) = stubborn(true);
            let client = world.client(&builder.clone().timeout_ms(timeout.to_string()));
            assert_eq!(client.token().unwrap_err().kind(), ErrorKind::Timeout);
            assert_eq!(world.provider.count(), 0);
            let (most, said) = (timeout / 50, said.load(Ordering::SeqCst));
            assert!((most / 2..=most + 1).contains(&said), "asked {said} times in {timeout} ms");
        }
    }
}
