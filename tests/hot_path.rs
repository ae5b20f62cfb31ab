//! What a call costs that finds a valid token: no allocation, and no wait for another caller's renewal.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)] // this plays a C host, and an allocator

mod canary;
mod standin;
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use tokauth::ffi::*;
use tokauth::{Client, Counter};
use world::{S, World, oauth2};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread allocates in 100,000 calls after the first.
fn allocations(mut call: impl FnMut()) -> usize {
    call();
    let before = ALLOCATIONS.get();
    (0..100_000).for_each(|_| call());
    ALLOCATIONS.get() - before
}

#[test]
fn a_call_that_finds_a_valid_token_allocates_nothing() {
    let standin = standin::Standin::start();
    let options = standin.options("oauth2");
    let builder = options.iter().fold(Client::builder(), |builder, (name, value)| builder.set(name, value));
    let client = canary::build(&builder).unwrap().0;
    assert_eq!(allocations(|| drop(client.token().unwrap())), 0, "Rust, token()");
    assert_eq!(allocations(|| drop(client.cached().unwrap())), 0, "Rust, cached()");
    assert_eq!(allocations(|| assert_ne!(client.generation(), 0)), 0, "Rust, generation()");

    let config = tokauth_config_new();
    let (mut client, mut token, mut buffer, mut error) = (null_mut(), null_mut(), [0; 8192], null_mut());
    for (name, value) in options {
        let [name, value] = [name, value].map(|text| std::ffi::CString::new(text).unwrap());
        assert_eq!(unsafe { tokauth_config_set(config, name.as_ptr(), value.as_ptr(), null_mut()) }, TOKAUTH_OK);
    }
    assert_eq!(unsafe { tokauth_client_new(config, &raw mut client, null_mut()) }, TOKAUTH_OK);
    unsafe { tokauth_config_free(config) };
    let take_and_free = || {
        assert_eq!(unsafe { tokauth_client_token(client, 0, &raw mut token, &raw mut error) }, TOKAUTH_OK);
        unsafe { tokauth_token_free(token) };
    };
    assert_eq!(allocations(take_and_free), 0, "C, token and free");
    let copy = || {
        let (at, size) = (buffer.as_mut_ptr(), buffer.len());
        let status = unsafe { tokauth_client_copy_authorization(client, 0, at, size, null_mut(), &raw mut error) };
        assert_eq!(status, TOKAUTH_OK);
    };
    assert_eq!(allocations(copy), 0, "C, copy_authorization");
    assert_eq!(allocations(|| assert_ne!(unsafe { tokauth_client_generation(client) }, 0)), 0, "C, generation");
    unsafe { tokauth_client_free(client) };
}

#[test]
fn callers_that_never_pause_send_one_request_a_renewal_and_wait_for_none() {
    let world = World::new();
    let client = world.client(&oauth2());
    client.token().unwrap();
    let calls = [const { AtomicUsize::new(0) }; 8];
    let (stop, waits) = (AtomicBool::new(false), || client.counter(Counter::Waits));
    std::thread::scope(|scope| {
        for calls in &calls {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    client.token().unwrap();
                    calls.fetch_add(1, SeqCst);
                }
            });
        }
        for renewal in 1..=5 {
            world.provider.close();
            world.clock.advance(S * 3450);
            world.provider.wait_for_arrival();
            let before = calls.each_ref().map(|calls| calls.load(SeqCst));
            let went_on =
                || calls.iter().zip(before).filter(|(calls, before)| calls.load(SeqCst) > before + 50).count();
            while went_on() < 7 && waits() == 0 {
                std::thread::yield_now();
            }
            world.provider.open();
            let renewed = format!("canary-token-{}", renewal + 1);
            while client.cached().unwrap().value() != renewed && waits() == 0 {
                std::thread::yield_now();
            }
        }
        stop.store(true, SeqCst);
    });
    assert_eq!((waits(), client.counter(Counter::RefreshesAhead), world.provider.count()), (0, 5, 6));
}
