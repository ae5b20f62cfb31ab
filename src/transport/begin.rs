//! What ureq does once in a process, done where it can be waited for.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::connect::Connections;
use crate::clock::{Clock, Event, SystemClock};
use crate::error::Error;

/// ureq makes a global value with its first request, and whoever comes meanwhile waits for it: for ever, in a child
/// that was forked then. So the first client of a process makes it, and this tells by whom: 0, a process id, or `DONE`.
static BEGUN: AtomicU32 = AtomicU32::new(0);
const DONE: u32 = u32::MAX;
/// It takes microseconds.
const LONG: Duration = Duration::from_secs(2);

/// Done before the first request.
pub(super) fn begin() -> Result<(), Error> {
    begin_as(&BEGUN, process::id(), make, LONG)
}

fn begin_as(begun: &AtomicU32, own: u32, make: fn(), long: Duration) -> Result<(), Error> {
    match begun.compare_exchange(0, own, Ordering::SeqCst, Ordering::SeqCst) {
        Err(DONE) => return Ok(()),
        // Whoever else makes it is a thread of this process.
        Ok(_) => make(),
        Err(by) if by == own => make(),
        // The parent was about to. Mostly the fork came before or after it, but nobody can know.
        Err(_) => {
            let made = Arc::<Event>::default();
            let theirs = made.clone();
            let try_it = thread::Builder::new().name("tokauth-begin".to_owned()).spawn(move || {
                make();
                theirs.set();
            });
            if try_it.is_ok() {
                SystemClock.wait(&made, SystemClock.since_boot().saturating_add(long));
            }
            if !made.has_happened() {
                return Err(Error::unsupported(
                    "this process was forked while its parent's first client was being made by another thread, which \
                     left things half done; fork after that, or exec",
                ));
            }
        }
    }
    begun.store(DONE, Ordering::SeqCst);
    Ok(())
}

/// ureq makes it on the way of any request, even of one that leads nowhere.
fn make() {
    let agent = ureq::Agent::with_parts(Config::default(), Connections::new(false), Nowhere);
    drop(agent.get("http://nowhere.invalid/").call());
}

/// Nothing is looked up.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(&self, _: &http::Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Err(ureq::Error::HostNotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_was_forked_in_between_is_told_and_does_not_hang() {
        const SHORT: Duration = Duration::from_millis(20);
        for (before, own, make, long, works) in [
            (0, 7, (|| ()) as fn(), SHORT, true),
            (7, 7, || (), SHORT, true),
            (DONE, 7, || panic!("it is done"), SHORT, true),
            (7, 8, || (), LONG * 30, true),
            (7, 8, || thread::park(), SHORT, false),
        ] {
            let begun = AtomicU32::new(before);
            assert_eq!(begin_as(&begun, own, make, long).is_ok(), works, "{before} {own}");
            assert_eq!(begun.load(Ordering::SeqCst) == DONE, works);
        }
    }
}
