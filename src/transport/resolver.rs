//! Name lookups with a deadline: each on a thread of its own, for only that gives getaddrinfo one.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::unversioned::resolver::{self, ResolvedSocketAddrs};
use ureq::unversioned::transport::NextTimeout;

use super::connect::{Leg, failed_on};
use crate::process::PerProcess;

/// A name server that hangs is not to fill the process with threads.
const RUNNING_MAX: usize = 4;
/// Each gets its share of the time, so more would leave too little to any.
const ADDRESSES_MAX: usize = 8;
/// glibc puts buffers of up to 64 KiB on the stack and calls modules that an administrator chose (nsswitch.conf).
/// What is not touched costs no memory.
const STACK: usize = 256 * 1024;

/// The lookups that run in this process; one that hangs may outlive its call, and keeps its place.
#[derive(Debug, Default)]
pub(crate) struct Places(PerProcess<Arc<Running>>);

#[derive(Default)]
struct Running {
    count: Mutex<usize>,
    fewer: Condvar,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// Waits for a place, but no longer than `wait`.
    fn take(&self, wait: Duration) -> Option<Place> {
        let running = self.0.get(Arc::default); // a child has none of its parent's threads
        let full = |count: &mut usize| *count == RUNNING_MAX;
        let waited = running.fewer.wait_timeout_while(running.lock(), wait, full);
        let mut count = waited.unwrap_or_else(PoisonError::into_inner).0;
        if *count == RUNNING_MAX {
            return None;
        }
        *count += 1;
        drop(count);
        Some(Place(running.clone()))
    }
}

/// One running lookup.
struct Place(Arc<Running>);

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.fewer.notify_one();
    }
}

/// What a lookup found, when it comes.
#[derive(Default)]
struct Answer {
    found: Mutex<Option<io::Result<Vec<SocketAddr>>>>,
    came: Condvar,
}

impl Answer {
    fn lock(&self) -> MutexGuard<'_, Option<io::Result<Vec<SocketAddr>>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Looks up the names of one client.
#[derive(Clone)]
pub(crate) struct Resolver {
    places: Arc<Places>,
    lookup: Arc<Lookup>,
    stack: usize,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// As the system does it.
    pub(crate) fn new(places: Arc<Places>) -> Resolver {
        Resolver { places, lookup: Arc::new(|host, port| Ok((host, port).to_socket_addrs()?.collect())), stack: STACK }
    }

    fn addresses(&self, host: &str, port: u16, timeout: NextTimeout) -> Result<Vec<SocketAddr>, ureq::Error> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let began = Instant::now();
        let late = || failed_on(Leg::Name)(ureq::Error::Timeout(timeout.reason));
        let place = self.places.take(*timeout.after).ok_or_else(late)?;
        let (lookup, name, answer) = (self.lookup.clone(), host.to_owned(), Arc::<Answer>::default());
        let theirs = answer.clone();
        let run = move || {
            let found = lookup(&name, port);
            drop(place); // before the answer: who has it may count on the place
            *theirs.lock() = Some(found);
            theirs.came.notify_one();
        };
        let thread = thread::Builder::new().name("tokauth-lookup".to_owned()).stack_size(self.stack);
        thread.spawn(run).map_err(|e| failed_on(Leg::Thread)(ureq::Error::Io(e)))?;
        let left = timeout.after.saturating_sub(began.elapsed());
        let waited = answer.came.wait_timeout_while(answer.lock(), left, |found| found.is_none());
        let found = waited.unwrap_or_else(PoisonError::into_inner).0.take();
        found.ok_or_else(late)?.map_err(|e| failed_on(Leg::Name)(ureq::Error::Io(e)))
    }
}

impl resolver::Resolver for Resolver {
    fn resolve(&self, uri: &http::Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let mut found = self.addresses(host, port, timeout)?;
        if host.eq_ignore_ascii_case("localhost") {
            // A secret may go there in clear, so it must be here, whatever a name server says (RFC 6761 section 6.3).
            found.retain(|address| address.ip().is_loopback());
        }
        let mut addresses = self.empty();
        for address in interleave(found).take(ADDRESSES_MAX) {
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(failed_on(Leg::Name)(ureq::Error::HostNotFound));
        }
        Ok(addresses)
    }
}

/// Both families in turn, so that one that leads nowhere does not use up all the tries (RFC 8305 section 4).
fn interleave(addresses: Vec<SocketAddr>) -> impl Iterator<Item = SocketAddr> {
    let six_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == six_first);
    let longest = preferred.len().max(other.len());
    (0..longest).flat_map(move |index| [preferred.get(index).copied(), other.get(index).copied()]).flatten()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ureq::unversioned::resolver::Resolver as _;
    use ureq::unversioned::transport::time;

    use super::super::connect::Failed;
    use super::super::{Http, Sent, Transport};
    use super::*;
    use crate::clock::{Clock, Deadline, SystemClock};
    use crate::error::{Error, ErrorKind};
    use crate::request::Head;
    use crate::secret::Secret;

    /// Long enough for what does happen, whatever else the machine does.
    const LONG: Duration = Duration::from_secs(60);
    /// For what does not.
    const SHORT: Duration = Duration::from_millis(20);

    fn resolver(lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Resolver {
        Resolver { places: Arc::default(), lookup: Arc::new(lookup), stack: STACK }
    }

    fn running(places: &Places) -> usize {
        *places.0.get(|| panic!("nothing forks here")).lock()
    }

    fn resolve(resolver: &Resolver, url: &str, time: Duration) -> Result<Vec<String>, Failed> {
        let timeout = NextTimeout { after: time::Duration::Exact(time), ..NextTimeout::default() };
        match resolver.resolve(&url.parse().unwrap(), &Config::default(), timeout) {
            Ok(addresses) => Ok(addresses.iter().map(SocketAddr::to_string).collect()),
            Err(ureq::Error::Other(error)) => Err(*error.downcast::<Failed>().unwrap()),
            Err(other) => panic!("{other} does not tell where it failed"),
        }
    }

    /// What the client is told of the fault, through all of ureq.
    fn told(resolver: Resolver, url: &str, time: Duration) -> Error {
        let http = Http::new(None, None, "test", true, resolver).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let head = Head { url: url.to_owned(), headers: Vec::new(), content_length: 1 };
        let sent = http.send(&head, Deadline::after(&clock, time), &mut || Ok(Secret::from("x")));
        match sent {
            Err(error) => error,
            Ok(sent) => panic!("{sent:?} went to {url}"),
        }
    }

    /// Lookups that hang until they are let go.
    struct Hanging {
        begun: Arc<AtomicUsize>,
        gate: Arc<(Mutex<bool>, Condvar)>,
    }

    impl Hanging {
        fn new() -> (Hanging, Resolver) {
            let (begun, gate) = (Arc::<AtomicUsize>::default(), Arc::<(Mutex<bool>, Condvar)>::default());
            let (count, closed) = (begun.clone(), gate.clone());
            let resolver = resolver(move |_, port| {
                count.fetch_add(1, Ordering::SeqCst);
                drop(closed.1.wait_while(closed.0.lock().unwrap(), |open| !*open));
                Ok(vec![SocketAddr::from(([192, 0, 2, 1], port))])
            });
            (Hanging { begun, gate }, resolver)
        }

        fn let_go(&self) {
            *self.gate.0.lock().unwrap() = true;
            self.gate.1.notify_all();
        }
    }

    /// C-01.
    #[test]
    fn a_hanging_lookup_ends_with_the_deadline_and_its_thread_with_the_lookup() {
        let (hanging, resolver) = Hanging::new();
        let failed = resolve(&resolver, "https://a.example/", SHORT).unwrap_err();
        assert!(matches!((failed.leg, failed.error), (Leg::Name, ureq::Error::Timeout(_))));
        assert_eq!(running(&resolver.places), 1, "it still hangs");
        hanging.let_go();
        let all: Vec<_> = (0..RUNNING_MAX).map(|_| resolver.places.take(LONG)).collect();
        assert!(all.iter().all(Option::is_some), "it gave its place back");
    }

    /// C-01.
    #[test]
    fn a_fifth_lookup_waits_for_a_place_and_gets_the_first_that_is_left() {
        let (hanging, resolver) = Hanging::new();
        for _ in 0..RUNNING_MAX + 3 {
            let failed = resolve(&resolver, "https://a.example/", SHORT).unwrap_err();
            assert!(matches!((failed.leg, failed.error), (Leg::Name, ureq::Error::Timeout(_))));
        }
        assert_eq!(running(&resolver.places), RUNNING_MAX);
        thread::scope(|scope| {
            let fifth = scope.spawn(|| resolve(&resolver, "https://a.example/", LONG));
            hanging.let_go();
            assert_eq!(fifth.join().unwrap().unwrap(), ["192.0.2.1:443"]);
        });
        let _all: Vec<_> = (0..RUNNING_MAX).map(|_| resolver.places.take(LONG).unwrap()).collect();
        assert_eq!(hanging.begun.load(Ordering::SeqCst), RUNNING_MAX + 1, "and the others never began");
    }

    /// C-01.
    #[test]
    fn the_wait_for_a_place_and_the_lookup_share_one_deadline() {
        let share = |seconds| {
            let time = Duration::from_secs(seconds);
            let (hanging, resolver) = Hanging::new();
            let mut taken: Vec<_> = (0..RUNNING_MAX).map(|_| resolver.places.take(LONG).unwrap()).collect();
            let began = Instant::now();
            thread::scope(|scope| {
                let fifth = scope.spawn(|| resolve(&resolver, "https://a.example/", time));
                thread::sleep(time / 2);
                taken.pop();
                let failed = fifth.join().unwrap().unwrap_err();
                assert!(matches!((failed.leg, failed.error), (Leg::Name, ureq::Error::Timeout(_))));
            });
            let took = began.elapsed();
            hanging.let_go();
            hanging.begun.load(Ordering::SeqCst) == 1 && took < time + time / 2
        };
        // A second is enough unless the machine is busy; a deadline of its own is too long in any case.
        assert!([1, 4, 16, 64].into_iter().any(share), "each had its own");
    }

    /// C-01.
    #[test]
    fn a_hanging_lookup_is_a_timeout_of_the_call() {
        let (hanging, resolver) = Hanging::new();
        let error = told(resolver, "https://a.example/token", Duration::from_millis(300));
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let message = error.to_string();
        assert!(message.starts_with("resolve: no address for a.example within "), "{message}");
        hanging.let_go();
    }

    #[test]
    fn each_failure_is_told_as_a_failed_lookup() {
        let not_found = || io::Error::other("failed to lookup address information: Name or service not known");
        let no_thread = Resolver { stack: usize::MAX / 4, ..resolver(|_, _| Ok(Vec::new())) };
        for (resolver, words) in [
            (resolver(move |_, _| Err(not_found())), "resolve: no address for a.example: failed to lookup"),
            (resolver(|_, _| Ok(Vec::new())), "resolve: no address for a.example; check the name"),
            (no_thread, "resolve: no thread to look a.example up: "),
        ] {
            let places = resolver.places.clone();
            let error = told(resolver, "https://a.example/token", LONG);
            assert_eq!(error.kind(), ErrorKind::Network, "{error}");
            assert!(error.to_string().starts_with(words), "{error}");
            assert_eq!(running(&places), 0, "{words}");
        }
    }

    #[test]
    fn an_ip_literal_needs_no_lookup() {
        let resolver = resolver(|_, _| panic!("a lookup"));
        for (url, address) in [
            ("https://192.0.2.1/", "192.0.2.1:443"),
            ("https://[2001:db8::1]/", "[2001:db8::1]:443"),
            ("http://[::1]:8080/", "[::1]:8080"),
            ("http://127.0.0.1/", "127.0.0.1:80"),
        ] {
            assert_eq!(resolve(&resolver, url, LONG).unwrap(), [address]);
        }
    }

    #[test]
    fn localhost_is_this_machine_whatever_a_name_server_says() {
        let [elsewhere, here] = [[192, 0, 2, 1], [127, 0, 0, 1]].map(|ip| SocketAddr::from((ip, 80)));
        let both = resolver(move |_, _| Ok(vec![elsewhere, here]));
        assert_eq!(resolve(&both, "http://LOCALHOST/", LONG).unwrap(), ["127.0.0.1:80"]);
        let wrong = resolver(move |_, _| Ok(vec![elsewhere]));
        let error = told(wrong, "http://localhost/token", LONG);
        assert!(error.to_string().starts_with("resolve: no address for localhost; check the name"), "{error}");
    }

    /// C-02.
    #[test]
    fn of_many_addresses_eight_are_tried_both_families_in_turn() {
        let six = |n: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 443));
        let four = |n: u8| SocketAddr::from(([192, 0, 2, n], 443));
        let texts = |addresses: &[SocketAddr]| addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>();
        for (found, tried) in [
            (vec![six(1), six(2), four(1), four(2)], texts(&[six(1), four(1), six(2), four(2)])),
            (vec![four(1), six(1), six(2)], texts(&[four(1), six(1), six(2)])),
            (vec![four(1)], texts(&[four(1)])),
            (
                (0..250).map(six).chain((0..250).map(four)).collect(),
                texts(&[six(0), four(0), six(1), four(1), six(2), four(2), six(3), four(3)]),
            ),
        ] {
            let resolver = resolver(move |_, _| Ok(found.clone()));
            assert_eq!(resolve(&resolver, "https://a.example/", LONG).unwrap(), tried);
        }
    }

    /// C-02, C-36.
    #[test]
    fn each_call_looks_the_name_up_anew_and_goes_on_to_an_address_that_answers() {
        use std::io::{Read, Write};
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        // Nothing listens there: the stand-ins of other tests are on 127.0.0.1.
        let dead = SocketAddr::from(([127, 0, 0, 2], here.port()));
        let count = Arc::new(AtomicUsize::new(0));
        let lookups = count.clone();
        let resolver = resolver(move |host, _| {
            assert_eq!(host, "a.example");
            lookups.fetch_add(1, Ordering::SeqCst);
            Ok(vec![dead, here])
        });
        let http = Http::new(None, None, "test", true, resolver).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let head = Head { url: "http://a.example/".to_owned(), headers: Vec::new(), content_length: 1 };
        thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..2 {
                    let mut stream = listener.accept().unwrap().0;
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\nx") {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        request.push(byte[0]);
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").unwrap();
                }
            });
            for lookups in 1..=2 {
                let sent = http.send(&head, Deadline::after(&clock, LONG), &mut || Ok(Secret::from("x")));
                assert!(matches!(sent, Ok(Sent::Reply(_))), "{sent:?}");
                assert_eq!(count.load(Ordering::SeqCst), lookups);
            }
        });
    }
}
