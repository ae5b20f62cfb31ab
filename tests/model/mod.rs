//! What callers may rely on, whoever runs when: slot, flight, event, publication and fork under shuttle, which tries
//! many orders, or all of them where they are few. `tests/mutants.rs` breaks the source and expects to hear of it here.
//!
//! ```sh
//! RUSTFLAGS="--cfg tokauth_shuttle" cargo test --lib --profile model --target-dir target/model model::
//! ```
//!
//! A failure prints its schedule; `shuttle::replay` runs it again. Seen are locks, events and atomics, as if each of
//! them were `SeqCst`, and no time but the models' own.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod fork;
mod world;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fork::Forking;
use shuttle::rand::Rng;
use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner, thread};
use world::{Act, Count, ModelClock, S, World, number};

use crate::cache::{Counter, Rejected};
use crate::clock::{Clock, Event};
use crate::cooldown::Pace;
use crate::error::{Error, ErrorKind};
use crate::expiry::Wishes;
use crate::process::Locked;
use crate::sync::checked::{be_process, found_locked};
use crate::sync::{AtomicU64, Ordering};
use crate::token::Token;

/// A failure must come again.
const SEED: u64 = 7;

fn run(scheduler: impl Scheduler + 'static, model: impl Fn() + Send + Sync + 'static) -> usize {
    let mut config = Config::new();
    config.stack_size = 0x20000; // without optimisation, a message takes some
    config.max_steps = MaxSteps::FailAfter(20_000); // the longest takes a hundredth of it; more is a livelock
    config.silence_warnings = true; // that every atomic is SeqCst
    Runner::new(scheduler, config).run(model)
}

/// In 20,000 orders drawn at random, and 5,000 drawn so that a few threads are held up for long.
fn check(model: fn()) {
    assert_eq!(run(RandomScheduler::new_from_seed(SEED, 20_000), model), 20_000);
    assert_eq!(run(PctScheduler::new_from_seed(SEED, 3, 5000), model), 5000);
}

/// As many, each of which forks and must come to the end.
fn check_forks(model: fn()) {
    let ended = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = || {
        let ended = ended.clone();
        move || {
            model();
            ended.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    };
    run(Forking(RandomScheduler::new_from_seed(SEED, 20_000)), counted());
    run(Forking(PctScheduler::new_from_seed(SEED, 3, 5000)), counted());
    let ended = ended.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(ended, 25_000, "the others wait for a thread that their process does not have");
}

/// In all orders there are.
fn exhaust(model: fn()) {
    let bound = 1_000_000;
    let orders = run(DfsScheduler::new(Some(bound), false), model);
    println!("{orders} orders");
    assert!((2..bound).contains(&orders), "too many orders to try them all, or one only: {orders}");
}

/// In all orders of the last steps, as far as these go.
fn search(model: fn()) {
    run(DfsScheduler::new(Some(20_000), false), model);
}

/// What all the threads return.
fn all<T: 'static>(threads: impl IntoIterator<Item = thread::JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn misses(callers: usize) {
    found_locked();
    let world = World::new([]);
    let threads: Vec<_> = (0..callers)
        .map(|_| {
            world.spawn(|world| {
                let token = world.token().unwrap();
                (number(&token), world.peek().map(|(_, token)| number(&token)))
            })
        })
        .collect();
    let outcomes = all(threads);
    let is_served = found_locked() == 0;
    for (token, published) in outcomes {
        assert_eq!((token, published.unwrap_or(1)), (1, 1));
        assert!(published.is_some() || !is_served, "whoever has the token finds it in service");
    }
    assert_eq!(world.provider.begun.get(), 1);
}

#[test]
fn concurrent_misses_send_one_request_and_share_its_token() {
    check(|| misses(3));
    search(|| misses(2));
}

#[test]
fn concurrent_misses_share_one_failure() {
    check(|| {
        let world = World::new([Act::Refuse]);
        for outcome in all((0..3).map(|_| world.spawn(World::token)).collect::<Vec<_>>()) {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Denied);
        }
        assert_eq!(world.provider.begun.get(), 1);
    });
}

#[test]
fn a_panic_in_the_flight_releases_the_waiters() {
    check(|| {
        let world = World::new([Act::Panic]);
        let call = |world: &World| catch_unwind(AssertUnwindSafe(|| world.token()));
        let outcomes = all((0..3).map(|_| world.spawn(call)).collect::<Vec<_>>());
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1, "it reaches its own caller");
        for outcome in outcomes.into_iter().flatten() {
            match outcome {
                Ok(token) => assert_eq!(number(&token), 2, "of a caller that came later"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Internal),
            }
        }
        assert_eq!(number(&world.token().unwrap()), 2, "the next call asks, and asks once");
    });
}

#[test]
fn a_waiter_leaves_at_its_deadline_while_the_flight_goes_on() {
    check(|| {
        let world = World::new([Act::Gate]);
        let leader = world.spawn(World::token);
        world.provider.begun.wait_for(1);
        let waiter = world.spawn(|world| world.token_within(S));
        world.clock.asleep.wait_for(1);
        world.clock.advance(S);
        // Nothing but its deadline can release it: the gate is closed.
        assert_eq!(waiter.join().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
        assert!(world.peek().is_none());
        world.provider.gate.add();
        assert_eq!(number(&leader.join().unwrap().unwrap()), 1);
        assert_eq!(number(&world.peek().unwrap().1), 1);
        assert_eq!(world.provider.begun.get(), 1);
    });
}

#[test]
fn a_waiter_whose_deadline_meets_the_landing_has_the_token_or_leaves_and_sends_nothing() {
    check(|| {
        let world = World::new([Act::Gate]);
        let leader = world.spawn(World::token);
        world.provider.begun.wait_for(1);
        let waiter = world.spawn(|world| world.token_within(S));
        let timer = world.spawn(|world| world.clock.advance(S));
        world.provider.gate.add();
        match waiter.join().unwrap() {
            Ok(token) => assert_eq!(number(&token), 1),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Timeout),
        }
        assert_eq!(number(&leader.join().unwrap().unwrap()), 1);
        timer.join().unwrap();
        assert_eq!(world.provider.begun.get(), 1);
    });
}

/// Whoever ran out of time still has the token that another got meanwhile.
fn ran_out_or_is_saved(outcome: Result<Token, Error>) {
    match outcome {
        Ok(token) => assert_eq!(number(&token), 2),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Timeout),
    }
}

/// The waiters came later, so that they have time left; a cool-down would bind them, were they not told to go on.
#[test]
fn one_waiter_takes_over_from_a_caller_that_ran_out_of_time_with_nothing_sent() {
    check(|| {
        let world = World::new([Act::RunOut]);
        let leader = world.spawn(World::token);
        world.clock.asleep.wait_for(1);
        world.clock.advance(S);
        let waiters: Vec<_> = (0..2).map(|_| world.spawn(World::token)).collect();
        world.clock.asleep.wait_for(3);
        world.clock.advance(World::TIMEOUT - S);
        ran_out_or_is_saved(leader.join().unwrap());
        for outcome in all(waiters) {
            assert_eq!(number(&outcome.unwrap()), 2);
        }
        assert_eq!(world.provider.begun.get(), 2);
    });
}

#[test]
fn whoever_has_more_time_than_a_caller_that_ran_out_of_it_gets_a_token() {
    check(|| {
        let world = World::new([Act::RunOut]);
        let leader = world.spawn(|world| world.token_within(S));
        world.clock.asleep.wait_for(1);
        let others: Vec<_> = (0..2).map(|_| world.spawn(World::token)).collect();
        world.clock.advance(S);
        ran_out_or_is_saved(leader.join().unwrap());
        for outcome in all(others) {
            assert_eq!(number(&outcome.unwrap()), 2);
        }
        assert_eq!(world.provider.begun.get(), 2);
    });
}

#[test]
fn one_caller_refreshes_ahead_while_the_others_have_the_old_token_without_waiting() {
    check(|| {
        let world = World::with_token([Act::Gate]);
        world.clock.advance(85 * S);
        let served = Arc::new(Count::default());
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let served = served.clone();
                world.spawn(move |world| {
                    let token = number(&world.token().unwrap());
                    served.add();
                    token
                })
            })
            .collect();
        // The gate is closed: who waits for the new token is not among the two.
        served.wait_for(2);
        world.provider.gate.add();
        let mut tokens = all(callers);
        tokens.sort_unstable();
        assert_eq!(tokens, [0, 0, 1]);
        assert_eq!(world.provider.begun.get(), 1);
        assert_eq!(world.slot.counters.get(Counter::RefreshesAhead), 1);
        assert_eq!(number(&world.token().unwrap()), 1);
    });
}

#[test]
fn a_token_that_several_reject_is_dropped_once_and_replaced_once() {
    check(|| {
        let world = World::with_token([]);
        let (_, old) = world.peek().unwrap();
        let rejecters: Vec<_> = (0..3)
            .map(|_| {
                let old = old.clone();
                world.spawn(move |world| {
                    let outcome = world.slot.reject(&old, Pace::USUAL, world.clock.since_boot());
                    assert_eq!(number(&world.token().unwrap()), 1, "not the one it has rejected");
                    outcome
                })
            })
            .collect();
        let reader = world.spawn(|world| (0..3).map(|_| number(&world.token().unwrap())).collect::<Vec<_>>());
        let outcomes = all(rejecters);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Rejected::Dropped).count(), 1);
        let read = reader.join().unwrap();
        assert!(read.is_sorted(), "a dropped token came back: {read:?}");
        assert_eq!(world.provider.begun.get(), 1);
    });
}

#[test]
fn a_token_asked_for_before_all_was_forgotten_is_not_served_after() {
    check(|| {
        let world = World::new([Act::Gate]);
        let before = world.spawn(World::token);
        world.provider.begun.wait_for(1);
        let gate = world.spawn(|world| world.provider.gate.add());
        let after = world.spawn(|world| {
            world.slot.clear();
            number(&world.token().unwrap())
        });
        assert_eq!(number(&before.join().unwrap().unwrap()), 1, "its own caller has it");
        assert_eq!(after.join().unwrap(), 2);
        gate.join().unwrap();
        assert_eq!(number(&world.peek().unwrap().1), 2);
        assert_eq!(world.provider.begun.get(), 2);
    });
}

#[test]
fn a_generation_belongs_to_one_token_and_only_grows() {
    check(|| {
        let world = World::with_token([]);
        let writers = [
            world.spawn(|world| drop((world.refresh().unwrap(), world.refresh().unwrap()))),
            world.spawn(|world| {
                if let Some((_, token)) = world.peek() {
                    world.slot.reject(&token, Pace::USUAL, world.clock.since_boot());
                }
            }),
            world.spawn(|world| world.slot.clear()),
        ];
        let readers: Vec<_> =
            (0..2).map(|_| world.spawn(|world| (0..3).filter_map(|_| world.peek()).collect::<Vec<_>>())).collect();
        let mut tokens = HashMap::new();
        for read in all(readers) {
            assert!(read.is_sorted_by_key(|(generation, _)| *generation));
            for (generation, token) in read {
                let number = number(&token);
                assert_eq!(*tokens.entry(generation).or_insert(number), number, "of generation {generation}");
            }
        }
        all(writers);
    });
}

#[test]
fn a_refresh_never_brings_a_token_that_was_asked_for_before_it() {
    check(|| {
        let world = World::new([]);
        let callers: Vec<_> = [World::refresh, World::token, World::refresh, World::refresh]
            .into_iter()
            .enumerate()
            .map(|(caller, call)| {
                world.spawn(move |world| {
                    let begun = world.provider.begun.get();
                    let token = number(&call(world).unwrap());
                    assert!(caller == 1 || token > begun, "{token} came, and {begun} had been asked for");
                })
            })
            .collect();
        all(callers);
        assert!(world.provider.begun.get() <= 4);
    });
}

#[test]
fn refreshes_that_come_during_a_flight_share_the_next_one() {
    check(|| {
        let world = World::new([Act::Gate]);
        let first = world.spawn(World::token);
        world.provider.begun.wait_for(1);
        let refreshes: Vec<_> = (0..3).map(|_| world.spawn(World::refresh)).collect();
        world.clock.asleep.wait_for(3);
        world.provider.gate.add();
        assert_eq!(number(&first.join().unwrap().unwrap()), 1);
        for outcome in all(refreshes) {
            assert_eq!(number(&outcome.unwrap()), 2);
        }
        assert_eq!(world.provider.begun.get(), 2);
    });
}

#[test]
fn an_event_is_not_missed() {
    exhaust(|| {
        let event = Arc::<Event>::default();
        let waiter = thread::spawn({
            let event = event.clone();
            move || event.wait_while(|| false)
        });
        event.set();
        waiter.join().unwrap();
    });
}

#[test]
fn a_deadline_is_not_missed() {
    exhaust(|| {
        let clock = Arc::new(ModelClock::default());
        let waiter = thread::spawn({
            let clock = clock.clone();
            move || clock.wait(&Arc::default(), S)
        });
        clock.advance(S);
        waiter.join().unwrap();
    });
}

/// A reader may find its place locked, or may have locked it itself when a token was to be put there: only then does it
/// find nothing.
#[test]
fn a_renewal_sends_no_reader_away_whose_place_was_free() {
    check(|| {
        found_locked();
        let world = World::with_token([]);
        let writer = world.spawn(|world| drop((world.refresh().unwrap(), world.refresh().unwrap())));
        let readers = [(), ()].map(|()| world.spawn(|world| [world.peek(), world.peek(), world.peek()]));
        let read = all(readers).concat();
        writer.join().unwrap();
        assert!(found_locked() > 0 || read.iter().all(Option::is_some), "{read:?}");
    });
}

#[test]
fn who_has_a_new_token_never_reads_the_one_before() {
    check(|| {
        let world = World::with_token([]);
        let readers = [(), (), ()].map(|()| world.spawn(|world| drop((world.peek(), world.peek()))));
        let token = number(&world.refresh().unwrap());
        let read = [world.peek(), world.spawn(World::peek).join().unwrap()];
        assert!(read.iter().flatten().all(|(_, read)| number(read) == token), "{read:?}");
        all(readers);
    });
}

#[test]
fn whose_place_was_locked_finds_the_token_again_after_one_call() {
    check(|| {
        let world = World::with_token([]);
        let reader = world.spawn(|world| {
            world.peek();
            world.peek();
        });
        world.refresh().unwrap();
        reader.join().unwrap();
        // Nobody else is there, and the places are as the reader left them.
        let others = (0..2).map(|_| {
            let token = |world: &World| (world.token().unwrap(), world.peek()).1.map(|(_, token)| number(&token));
            world.spawn(token).join().unwrap()
        });
        assert_eq!(others.collect::<Vec<_>>(), [Some(1), Some(1)]);
        assert_eq!(world.provider.begun.get(), 1);
    });
}

#[test]
fn who_has_dropped_a_token_never_reads_it_again() {
    check(|| {
        let world = World::with_token([]);
        let readers = [(), ()].map(|()| world.spawn(|world| drop((world.peek(), world.peek()))));
        let (_, old) = world.peek().unwrap();
        let droppers = [
            world.spawn({
                let old = old.clone();
                move |world| {
                    world.slot.reject(&old, Pace::USUAL, world.clock.since_boot());
                    [world.peek(), world.peek()]
                }
            }),
            world.spawn(|world| {
                world.slot.clear();
                let picky = Wishes { min_valid: Some(1), ..Wishes::NONE };
                [world.peek(), world.peek_as(&picky)]
            }),
        ];
        assert!(all(droppers).concat().iter().all(Option::is_none));
        all(readers);
        assert!(world.peek().is_none());
    });
}

/// What a child does that was forked at any moment of its parent's doing.
fn in_a_child(acts: &[fn(&World)], child: fn(World)) {
    let world = World::with_token([]);
    for &act in acts {
        world.spawn(act);
    }
    let steps = AtomicU64::new(0);
    for _ in 0..shuttle::rand::thread_rng().gen_range(1..40) {
        steps.load(Ordering::SeqCst); // a step, after which another may be next
    }
    child(world.fork());
}

fn refreshes(world: &World) {
    world.refresh().unwrap();
    world.refresh().unwrap();
}

fn reads(world: &World) {
    world.peek();
    world.peek();
}

fn rejects(world: &World) {
    let token = world.token().unwrap();
    world.slot.reject(&token, Pace::USUAL, world.clock.since_boot());
    world.token().unwrap();
}

/// A child's threads each reject what they are given, in the midst of others that do so.
#[test]
fn a_forked_child_never_reads_again_what_it_has_rejected() {
    check_forks(|| {
        in_a_child(&[refreshes, reads, rejects], |world| {
            let threads = [(), ()].map(|()| {
                world.spawn(|world| {
                    let token = world.token().unwrap();
                    let outcome = world.slot.reject(&token, Pace::USUAL, world.clock.since_boot());
                    let next = world.token().unwrap();
                    let kept = matches!(outcome, Rejected::Kept(_));
                    assert!(kept || number(&next) != number(&token), "{outcome:?}: {}", number(&token));
                })
            });
            all(threads);
        });
    });
}

#[test]
fn a_forked_child_never_reads_again_what_it_has_forgotten() {
    check_forks(|| {
        in_a_child(&[refreshes, reads, reads], |world| {
            let threads = [(), ()].map(|()| {
                world.spawn(|world| {
                    let token = world.token().unwrap();
                    world.slot.clear();
                    assert!(number(&world.token().unwrap()) > 100.max(number(&token)));
                })
            });
            all(threads);
        });
    });
}

#[test]
fn a_forked_childs_threads_have_the_token_that_the_parent_had_and_ask_for_none() {
    check_forks(|| {
        in_a_child(&[refreshes, reads], |world| {
            let tokens = all([(), (), ()].map(|()| world.spawn(|world| number(&world.token().unwrap()))));
            assert!(tokens.iter().all(|token| *token < 100), "{tokens:?}");
        });
    });
}

#[test]
fn threads_of_a_forked_child_inherit_what_the_parent_had_and_share_it() {
    exhaust(|| {
        be_process(1);
        let shared = Arc::new(Locked::default());
        shared.locked(|_| panic!("it is this process's own"), |names: &mut Vec<_>| names.push("parent's"));
        be_process(2);
        let adds = |name: &'static str| {
            let shared = shared.clone();
            let inherit = |parents: Option<&mut Vec<_>>| parents.map(std::mem::take).unwrap_or_default();
            move || shared.locked(inherit, |names| names.push(name))
        };
        let other = thread::spawn(adds("other's"));
        adds("own")();
        other.join().unwrap();
        shared.locked(
            |_| panic!("it is this process's own"),
            |names| {
                assert!(names[0] == "parent's" && names.len() == 3, "{names:?}");
            },
        );
    });
}

#[test]
fn the_models_themselves_can_fail() {
    // Two that look before they leap; and nobody who comes to the gate.
    let race = || {
        let world = World::new([]);
        let both = [(), ()].map(|()| {
            world.spawn(|world| {
                if world.peek().is_none() {
                    world.provider.ask();
                }
            })
        });
        all(both);
        assert_eq!(world.provider.begun.get(), 1);
    };
    let deadlock = || drop(World::new([Act::Gate]).token());
    for (model, told) in [(race as fn(), "left == right"), (deadlock as fn(), "deadlock")] {
        let panic = catch_unwind(|| check(model)).unwrap_err();
        let told_is = panic.downcast_ref::<String>().unwrap();
        assert!(told_is.contains(told), "{told_is}");
    }
}
