//! What every store does, whatever it keeps documents in.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokauth::seams::{Change, Clock, DOCUMENT_MAX, Deadline, Event, Hold, Name, Seams, Store};
use tokauth::{Error, ErrorKind};

use crate::world::{NOW, S, World};

/// Gives handles on one store, each as another process would have it.
pub type Maker<'a> = &'a dyn Fn() -> Arc<dyn Store>;

type Behaviour = fn(Maker<'_>, &[Name; 2]);

/// Each with two names of its own.
const BEHAVIOURS: &[(&str, Behaviour)] = &[
    ("what was put is found by every handle, whole", what_was_put_is_found),
    ("a document is kept, removed or set aside as the change says", changes_do_what_they_say),
    ("concurrent changes lose nothing", concurrent_changes_lose_nothing),
    ("a reader sees no mixture and no gap", a_reader_sees_whole_documents),
    ("one caller has the turn at a time", turns_exclude),
    ("a turn ends with its drop", a_turn_ends_with_its_drop),
    ("a turn is its holder's while the request is under way", a_turn_lasts_for_its_request),
    ("who wants a turn while a document is as it was gets it then", a_turn_may_be_wanted_for_a_while),
    ("the wait for a turn ends at the deadline", the_wait_for_a_turn_ends),
    ("a turn and the wait for it keep nobody from loading and changing", a_turn_blocks_no_change),
    ("one name has nothing to do with another", names_are_independent),
    ("a change that panics leaves the document and no lock", a_panic_changes_nothing),
];

/// The store that `make` gives handles on, empty so far, does all that is written above.
pub fn conforms(make: Maker<'_>) {
    for (number, (what, behaviour)) in BEHAVIOURS.iter().enumerate() {
        println!("{what}");
        behaviour(make, &[number * 2, number * 2 + 1].map(name));
    }
}

pub fn name(number: usize) -> Name {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    Name::new("token", &hash)
}

/// Real time, more than any test takes.
pub fn enough() -> Deadline {
    within(S * 60)
}

/// Real time.
pub fn within(timeout: Duration) -> Deadline {
    Deadline::after(&Seams::system().unwrap().clock, timeout)
}

/// No time to wait: the first attempt, which may take its time, or perhaps a second.
pub fn at_once() -> Deadline {
    let clock: Arc<dyn Clock> = Arc::<Leaping>::default();
    Deadline::after(&clock, S * 90)
}

/// A clock on which a minute passes from one look to the next.
#[derive(Debug, Default)]
struct Leaping(AtomicU32);

impl Clock for Leaping {
    fn since_boot(&self) -> Duration {
        S * 60 * self.0.fetch_add(1, Ordering::SeqCst)
    }

    fn since_epoch(&self) -> Duration {
        S * NOW as u32
    }

    fn boot_id(&self) -> u64 {
        1
    }

    fn wait(&self, _: &Arc<Event>, _: Duration) {}
}

/// What `change` does with the document, and what the document was.
pub fn change(store: &dyn Store, name: &Name, deadline: &Deadline, to: Change) -> Result<Option<Vec<u8>>, Error> {
    let mut before = None;
    store.change(name, deadline, &mut |document| {
        before = document.map(<[u8]>::to_owned);
        to.clone()
    })?;
    Ok(before)
}

pub fn put(store: &dyn Store, name: &Name, document: &[u8]) -> Result<(), Error> {
    change(store, name, &enough(), Change::Put(document.to_owned())).map(drop)
}

#[track_caller]
pub fn assert_late<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().starts_with("store: "), "{error}");
}

fn what_was_put_is_found(make: Maker<'_>, [name, _]: &[Name; 2]) {
    let (one, other) = (make(), make());
    assert_eq!(one.load(name).unwrap(), None);
    let mut before = None;
    for length in [0, 1, 70_000, DOCUMENT_MAX, 3] {
        let document: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let seen = change(&*one, name, &enough(), Change::Put(document.clone())).unwrap();
        assert!(seen == before, "{length}: the change sees what was put before");
        before = Some(document);
        for handle in [&one, &other, &make()] {
            assert!(handle.load(name).unwrap() == before, "{length}");
        }
    }
}

fn changes_do_what_they_say(make: Maker<'_>, [name, _]: &[Name; 2]) {
    let store = make();
    for (what, keeps) in [(Change::Keep, true), (Change::Remove, false), (Change::SetAside, false)] {
        // Twice each: what was set aside makes way for what is.
        for document in [b"one", b"two"] {
            put(&*store, name, document).unwrap();
            assert_eq!(change(&*make(), name, &enough(), what.clone()).unwrap().as_deref(), Some(&document[..]));
            let expected = keeps.then_some(&document[..]);
            assert_eq!(store.load(name).unwrap().as_deref(), expected, "{what:?}");
        }
        change(&*store, name, &enough(), Change::Remove).unwrap();
        assert_eq!(change(&*store, name, &enough(), what.clone()).unwrap(), None, "{what:?} of none");
        assert_eq!(store.load(name).unwrap(), None, "{what:?} of none");
    }
}

fn concurrent_changes_lose_nothing(make: Maker<'_>, [name, _]: &[Name; 2]) {
    const ROUNDS: u32 = 50;
    let stores: Vec<_> = (0..4).map(|_| make()).collect();
    let number = |document: Option<&[u8]>| document.map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
    thread::scope(|scope| {
        // Two threads on each handle.
        for store in stores.iter().chain(&stores) {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let add = &mut |document: Option<&[u8]>| Change::Put((number(document) + 1).to_le_bytes().into());
                    store.change(name, &enough(), add).unwrap();
                }
            });
        }
    });
    assert_eq!(number(make().load(name).unwrap().as_deref()), 8 * ROUNDS);
}

fn a_reader_sees_whole_documents(make: Maker<'_>, [name, _]: &[Name; 2]) {
    reads_while_it_changes(make, name, 100);
}

/// Two readers, so many times each, while a writer puts one of two large documents after the other.
pub fn reads_while_it_changes(make: Maker<'_>, name: &Name, times: usize) {
    let documents = [vec![b'a'; 100_000], vec![b'b'; 60_000]];
    let (writer, readers) = (make(), [make(), make()]);
    let documents = &documents;
    put(&*writer, name, &documents[0]).unwrap();
    thread::scope(|scope| {
        let reads = |reader: &Arc<dyn Store>| {
            for _ in 0..times {
                let document = reader.load(name).unwrap().expect("it is always there");
                assert!(documents.contains(&document), "{} bytes", document.len());
            }
        };
        let reading = readers.each_ref().map(|reader| scope.spawn(move || reads(reader)));
        for document in documents.iter().cycle() {
            put(&*writer, name, document).unwrap();
            if reading.iter().all(|reader| reader.is_finished()) {
                break;
            }
        }
    });
}

fn turns_exclude(make: Maker<'_>, [name, _]: &[Name; 2]) {
    let stores = [make(), make()];
    let turn = stores[0].turn(name, &at_once()).unwrap();
    for store in &stores {
        assert_late(store.turn(name, &at_once()));
        thread::scope(|scope| scope.spawn(|| assert_late(store.turn(name, &at_once()))).join()).unwrap();
    }
    drop(turn);
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for store in stores.iter().chain(&stores) {
            let inside = &inside;
            scope.spawn(move || {
                for _ in 0..10 {
                    let _turn = store.turn(name, &enough()).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
}

fn a_turn_ends_with_its_drop(make: Maker<'_>, [name, _]: &[Name; 2]) {
    let (one, other) = (make(), make());
    for _ in 0..3 {
        drop(one.turn(name, &at_once()).unwrap());
        drop(other.turn(name, &at_once()).unwrap());
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _turn = one.turn(name, &at_once()).unwrap();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    // Dropped by another thread, and after its store.
    let turn = one.turn(name, &at_once()).unwrap();
    drop(one);
    thread::spawn(|| drop(turn)).join().unwrap();
    drop(other.turn(name, &at_once()).unwrap());
}

fn a_turn_lasts_for_its_request(make: Maker<'_>, [name, _]: &[Name; 2]) {
    let (one, other) = (make(), make());
    let turn = one.turn(name, &at_once()).unwrap();
    for _ in 0..2 {
        assert_eq!(turn.hold(&enough()).unwrap(), Hold::Kept);
        assert_late(other.turn(name, &at_once()));
    }
    drop(turn);
    drop(other.turn(name, &at_once()).unwrap());
}

fn a_turn_may_be_wanted_for_a_while(make: Maker<'_>, [name, document]: &[Name; 2]) {
    let (one, other) = (make(), make());
    for seen in [None, Some(&b"a document"[..])] {
        if let Some(seen) = seen {
            put(&*other, document, seen).unwrap();
        }
        let turn = one.turn_unless_changed(name, &at_once(), (document, seen)).unwrap();
        assert!(turn.is_some(), "it is as it was: {seen:?}");
        let waited = other.turn_unless_changed(name, &at_once(), (document, seen));
        assert_late(waited.map(drop));
        drop(turn);
        // Whether it is given or not, nobody has it afterwards.
        drop(one.turn_unless_changed(name, &at_once(), (document, Some(b"another"))).unwrap());
        drop(other.turn(name, &at_once()).unwrap());
    }
}

fn the_wait_for_a_turn_ends(make: Maker<'_>, [name, _]: &[Name; 2]) {
    let _turn = make().turn(name, &at_once()).unwrap();
    let clock = World::new().clock;
    let (before, shared): (_, Arc<dyn Clock>) = (clock.since_boot(), clock.clone());
    assert_late(make().turn(name, &Deadline::after(&shared, S * 30)));
    assert_eq!(clock.since_boot(), before + S * 30, "the time that it took");
}

fn a_turn_blocks_no_change(make: Maker<'_>, [name, _]: &[Name; 2]) {
    let (one, other) = (make(), make());
    let turn = one.turn(name, &at_once()).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let turn = other.turn(name, &enough()).unwrap();
            assert!(is_over.load(Ordering::SeqCst));
            drop(turn);
        });
        for store in [&one, &other, &make()] {
            change(&**store, name, &enough(), Change::Put(b"new".to_vec())).unwrap();
            assert_eq!(store.load(name).unwrap().as_deref(), Some(&b"new"[..]));
        }
        is_over.store(true, Ordering::SeqCst);
        drop(turn);
        waiting.join().unwrap();
    });
}

fn names_are_independent(make: Maker<'_>, [name, another]: &[Name; 2]) {
    let store = make();
    put(&*store, name, b"one").unwrap();
    put(&*store, another, b"another").unwrap();
    let _turn = store.turn(name, &at_once()).unwrap();
    drop(make().turn(another, &at_once()).unwrap());
    change(&*store, another, &enough(), Change::SetAside).unwrap();
    assert_eq!(store.load(name).unwrap().as_deref(), Some(&b"one"[..]));
    assert_eq!(store.load(another).unwrap(), None);
}

fn a_panic_changes_nothing(make: Maker<'_>, [name, _]: &[Name; 2]) {
    let store = make();
    put(&*store, name, b"old").unwrap();
    let panics = || store.change(name, &enough(), &mut |_| panic!("on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    for handle in [&store, &make()] {
        assert_eq!(handle.load(name).unwrap().as_deref(), Some(&b"old"[..]));
        assert_eq!(change(&**handle, name, &at_once(), Change::Keep).unwrap().as_deref(), Some(&b"old"[..]));
    }
}
