//! What can go wrong on the wire: each fault with its status, step and advice, nothing cached, the client usable. The
//! numbers go on with those of `quirks.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod hosts;
mod port;
mod standin;
mod temp;

use std::fs::{self, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use canary::Watched;
use hosts::{
    BAD_RESPONSE, CONFIG, DENIED, Host, NETWORK, RATE_LIMITED, SERVER, STORE, TIMEOUT, TLS, UNSUPPORTED,
    through_both_apis,
};
use standin::{Fault, Flaw, Manner, Peer, Standin};
use temp::TempDir;
use tokauth::seams::RetryClass;
use tokauth::{Client, ErrorKind};

through_both_apis!(
    each_fault_is_told_and_leaves_the_client_usable,
    what_a_reply_may_have_too_much_does_no_harm,
    a_redirect_sends_nothing_to_where_it_points,
    a_root_that_signed_nothing_here_is_told,
    an_outage_is_asked_about_once_in_each_pause,
    a_store_or_a_budget_that_will_not_do_makes_no_client,
    a_store_that_fails_later_costs_a_token_only_where_requests_are_counted,
);

type Options = Vec<(String, String)>;

/// What is wrong, and what is told of it. The numbers group what belongs together.
struct Case {
    what: &'static str,
    /// Of each token request that arrives; else none must arrive.
    fault: Option<Fault>,
    options: fn(&Standin) -> Options,
    status: i32,
    words: &'static str,
    class: RetryClass,
    /// It takes all the time there is.
    waits: bool,
}

fn client(options: &Options) -> Watched {
    let builder = options.iter().fold(Client::builder(), |builder, (name, value)| builder.set(name, value));
    canary::build(&builder).unwrap()
}

fn with(mut options: Options, name: &str, value: &str) -> Options {
    options.retain(|(known, _)| known != name);
    options.push((name.to_owned(), value.to_owned()));
    options
}

fn plain(standin: &Standin) -> Options {
    with(standin.options("oauth2"), "scope", &unique())
}

fn tls(standin: &Standin) -> Options {
    with(standin.options_tls("oauth2"), "scope", &unique())
}

/// For a slot of its own: a port may have been that of another test's stand-in.
fn unique() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed).to_string()
}

/// Over TLS, to someone else.
fn tls_to(standin: &Standin, manner: Manner) -> Options {
    with(tls(standin), "token_url", &format!("https://{}/token", standin.peer(manner).address()))
}

fn through(standin: &Standin, manner: Manner) -> Options {
    with(tls(standin), "proxy", &standin.peer(manner).as_proxy())
}

fn flawed(standin: &Standin, flaw: Flaw) -> Options {
    with(tls(standin), "token_url", &format!("{}/oauth2/token", standin.https_with(flaw)))
}

fn reply(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Fault {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Fault::Reply { status, headers, body: body.as_ref().to_vec() }
}

fn raw(bytes: impl AsRef<[u8]>) -> Fault {
    Fault::Raw(bytes.as_ref().to_vec())
}

/// A sound reply, but for these lines of its head.
fn head_with(lines: &str) -> Fault {
    raw(format!("HTTP/1.1 200 OK\r\n{lines}\r\n{TOKEN}"))
}

fn chunked(chunks: &str) -> Fault {
    raw(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"))
}

const BROKEN: &str = "reply: the connection broke before the reply was whole";
const UNSOUND: &str = "reply: the reply is not sound HTTP";
const LARGE_HEAD: &str = "reply: the head of the reply is larger than 32 KiB";
const TOO_LARGE: &str = "reply: the reply is larger than 1 MiB; is this the token endpoint?";
const NO_TUNNEL: &str = "connect: the proxy does not lead to localhost:";

/// 47 (hexadecimal 2f) bytes.
const TOKEN: &str = "{\"access_token\":\"canary-token\",\"expires_in\":60}";

/// What the system's buffers may take of a flood before the stand-in knows that nobody reads on.
const FLOOD_MAX: u64 = 64 * 1024 * 1024;

/// An address where nothing listens.
fn nobody() -> String {
    format!("127.0.0.1:{}", port::reserve())
}

/// A TLS record that ends the handshake: fatal, and why (RFC 8446 section 6).
fn alert(description: u8) -> Manner {
    Manner::Says(vec![0x15, 3, 1, 0, 2, 2, description])
}

fn cases() -> Vec<Case> {
    use RetryClass::{Ambiguous, NotSent, Refused};
    let unsent =
        |what, options, status, words| Case { what, fault: None, options, status, words, class: NotSent, waits: false };
    let answered = |what, fault, status, words, class| Case {
        what,
        fault: Some(fault),
        options: plain,
        status,
        words,
        class,
        waits: false,
    };
    let lost = |what, fault, status, words| answered(what, fault, status, words, Ambiguous);
    let waiting = |case| Case { waits: true, ..case };
    let stalled = |what, fault| waiting(lost(what, fault, TIMEOUT, "reply: no whole reply within"));
    let over_tls = |case| Case { options: tls, ..case };
    vec![
        unsent(
            "C-01 no such host",
            |s| with(plain(s), "token_url", &format!("https://{}.invalid/", "x".repeat(64))),
            NETWORK,
            "resolve: no address for xxx",
        ),
        unsent(
            "C-03 nobody listens",
            |s| with(plain(s), "token_url", &format!("http://{}/", nobody())),
            NETWORK,
            "connect: cannot reach 127.0.0.1:",
        ),
        unsent(
            "C-03 a reset in the handshake",
            |s| tls_to(s, Manner::Resets),
            TLS,
            "TLS: no trusted connection to 127.0.0.1:",
        ),
        waiting(unsent(
            "C-03 no answer to connect",
            |s| tls_to(s, Manner::Deaf),
            TIMEOUT,
            "connect: no connection to 127.0.0.1:",
        )),
        unsent("C-04 an expired certificate", |s| flawed(s, Flaw::Expired), TLS, "certificate expired"),
        unsent(
            "C-04 a certificate of the future",
            |s| flawed(s, Flaw::NotYetValid),
            TLS,
            "is this machine's clock right?",
        ),
        unsent(
            "C-04 a certificate of another host",
            |s| flawed(s, Flaw::OtherHost),
            TLS,
            "not valid for name \"localhost\"",
        ),
        unsent(
            "C-04 a self-signed certificate",
            |s| flawed(s, Flaw::SelfSigned),
            TLS,
            "UnknownIssuer; check the host, and that ca_file holds the root of its certificate",
        ),
        unsent(
            "C-04 a certificate for another use",
            |s| flawed(s, Flaw::OtherUse),
            TLS,
            "certificate does not allow extended key usage",
        ),
        unsent(
            "C-04 an unknown CA",
            |s| tls(s).into_iter().filter(|(name, _)| name != "ca_file").collect(),
            TLS,
            "UnknownIssuer; check the host; for a private CA set ca_file",
        ),
        #[cfg(feature = "platform-verifier")]
        unsent(
            "C-04 a CA unknown to the system",
            |s| with(tls(s), "ca_file", "system"),
            TLS,
            "TLS: no trusted connection to localhost:",
        ),
        unsent("C-05 TLS too old", |s| tls_to(s, alert(70)), TLS, "the peer must speak TLS 1.2 or 1.3"),
        unsent("C-05 no common cipher suite", |s| tls_to(s, alert(40)), TLS, "the peer must speak TLS 1.2 or 1.3"),
        unsent(
            "C-05 no TLS",
            |s| with(plain(s), "token_url", &s.http().replace("http:", "https:")),
            TLS,
            "the peer closed during the handshake",
        ),
        unsent(
            "C-05 HTTP on the port",
            |s| tls_to(s, Manner::Says(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
            TLS,
            "that port speaks no TLS; check the port, or write http",
        ),
        waiting(unsent(
            "C-06 a stalled handshake",
            |s| tls_to(s, Manner::Hangs),
            TIMEOUT,
            "TLS: no handshake with 127.0.0.1:",
        )),
        waiting(unsent(
            "C-06 a dripping handshake",
            |s| tls_to(s, Manner::Drips(&[0x16, 3, 3, 0x3f, 0xff, 2])),
            TIMEOUT,
            "TLS: no handshake with 127.0.0.1:",
        )),
        lost("C-07 closed without a byte", Fault::Close, NETWORK, BROKEN),
        over_tls(lost("C-07 the same over TLS", Fault::Close, NETWORK, BROKEN)),
        over_tls(lost("C-07 cut over TLS", Fault::Cut(Vec::new()), NETWORK, "whole: it was cut off; ask again")),
        lost("C-08 reset in the head", Fault::Reset(b"HTTP/1.1 200 OK\r\n".to_vec()), NETWORK, BROKEN),
        lost(
            "C-08 reset in the body",
            Fault::Reset(format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{TOKEN}").into()),
            NETWORK,
            BROKEN,
        ),
        lost(
            "C-08 reset in a body without length",
            Fault::Reset(format!("HTTP/1.1 200 OK\r\n\r\n{TOKEN}").into()),
            NETWORK,
            BROKEN,
        ),
        lost(
            "C-08 a short body",
            raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{TOKEN}")),
            NETWORK,
            BROKEN,
        ),
        lost("C-08 a short chunk", chunked(&format!("ff\r\n{TOKEN}")), NETWORK, BROKEN),
        over_tls(lost(
            "C-09 a cut body without length",
            Fault::Cut(format!("HTTP/1.1 200 OK\r\n\r\n{TOKEN}").into()),
            NETWORK,
            BROKEN,
        )),
        stalled("C-10 no reply", Fault::Stall),
        stalled("C-10 a dripping head", Fault::Drip("HTTP/1.1 200 OK\r\nX-Drip: ", "x")),
        stalled("C-10 a dripping body", Fault::Drip("HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", " ")),
        stalled(
            "C-10 dripping chunks",
            Fault::Drip("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"),
        ),
        over_tls(stalled("C-10 a dripping body over TLS", Fault::Drip("HTTP/1.1 200 OK\r\n\r\n", " "))),
        lost(
            "C-11 a head of 10 MiB",
            raw(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Canary: canary\r\n".repeat(10 * 1024 * 1024 / 18))),
            BAD_RESPONSE,
            UNSOUND,
        ),
        lost("C-11 10,000 header fields", head_with(&"A:\r\n".repeat(10_000)), BAD_RESPONSE, UNSOUND),
        lost(
            "C-11 a header line without end",
            Fault::Flood("HTTP/1.1 200 OK\r\nX-Flood: ", "canary"),
            BAD_RESPONSE,
            LARGE_HEAD,
        ),
        lost(
            "C-12 a GiB",
            Fault::Flood("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", " "),
            BAD_RESPONSE,
            TOO_LARGE,
        ),
        lost("C-12 a GiB without a length", Fault::Flood("HTTP/1.1 200 OK\r\n\r\n", " "), BAD_RESPONSE, TOO_LARGE),
        lost(
            "C-12 chunks without end",
            Fault::Flood("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "10\r\n0123456789abcdef\r\n"),
            BAD_RESPONSE,
            TOO_LARGE,
        ),
        lost("R11, C-12 one byte too many", reply(200, &[], " ".repeat(1024 * 1024 + 1)), BAD_RESPONSE, TOO_LARGE),
        answered(
            "C-12 too much, and a refusal",
            reply(401, &[], " ".repeat(1024 * 1024 + 1)),
            DENIED,
            "(HTTP 401)",
            Refused,
        ),
        answered(
            "C-08 a refusal cut short",
            raw("HTTP/1.1 401 Unauthorized\r\nContent-Length: 999\r\n\r\n{}"),
            DENIED,
            "(HTTP 401)",
            Refused,
        ),
        answered(
            "C-14 a refusal in bad chunks",
            raw("HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            DENIED,
            "(HTTP 401)",
            Refused,
        ),
        answered(
            "C-08 a wait cut short",
            raw("HTTP/1.1 429 Too Many\r\nRetry-After: 30\r\nContent-Length: 999\r\n\r\n{}"),
            RATE_LIMITED,
            "asks to wait (HTTP 429); ask again in 30 s",
            Refused,
        ),
        answered(
            "C-16 a redirect cut short",
            raw("HTTP/1.1 307 Moved\r\nLocation: https://evil.example/\r\nContent-Length: 999\r\n\r\n"),
            BAD_RESPONSE,
            "a redirect to https://evil.example,",
            Refused,
        ),
        lost("C-13 a negative length", head_with("Content-Length: -1\r\n"), BAD_RESPONSE, UNSOUND),
        lost("C-13 two lengths", head_with("Content-Length: 47\r\nContent-Length: 4\r\n"), BAD_RESPONSE, UNSOUND),
        lost("C-13 two lengths in one line", head_with("Content-Length: 47, 4\r\n"), BAD_RESPONSE, UNSOUND),
        lost("C-13 a length of 2^64", head_with("Content-Length: 18446744073709551616\r\n"), BAD_RESPONSE, UNSOUND),
        lost("C-13 a length of 2^64-1", head_with("Content-Length: 18446744073709551615\r\n"), NETWORK, BROKEN),
        lost(
            "C-13 a length and chunks that are none",
            head_with("Content-Length: 47\r\nTransfer-Encoding: chunked\r\n"),
            BAD_RESPONSE,
            UNSOUND,
        ),
        lost("C-14 a chunk size that is none", chunked("canary\r\n"), BAD_RESPONSE, UNSOUND),
        lost("C-14 a chunk size of 2^64", chunked("10000000000000000\r\n"), BAD_RESPONSE, UNSOUND),
        lost("C-14 a negative chunk size", chunked("-1\r\n"), BAD_RESPONSE, UNSOUND),
        lost(
            "C-14 a chunk extension of 1 MiB",
            chunked(&format!("2f;{}\r\n{TOKEN}\r\n0\r\n\r\n", "x".repeat(1024 * 1024))),
            BAD_RESPONSE,
            UNSOUND,
        ),
        lost(
            "C-14 a chunk that is longer than it says",
            chunked(&format!("4\r\n{TOKEN}\r\n0\r\n\r\n")),
            BAD_RESPONSE,
            UNSOUND,
        ),
        lost(
            "C-15 gzip",
            reply(200, &[("Content-Encoding", "gzip")], b"\x1f\x8b\x08\0canary"),
            BAD_RESPONSE,
            "a body in gzip, which was not asked for",
        ),
        lost(
            "C-15 br",
            reply(200, &[("Content-Encoding", "br")], b"\x8b\x01\x80canary"),
            BAD_RESPONSE,
            "a body in br, which was not asked for",
        ),
        lost(
            "C-15 an unknown coding",
            reply(200, &[("Content-Encoding", "x-own")], b"\x01canary"),
            BAD_RESPONSE,
            "a body in x-own, which was not asked for",
        ),
        lost(
            "C-15 a coding of the transfer",
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n6\r\ncanary\r\n0\r\n\r\n"),
            BAD_RESPONSE,
            "a body that is no JSON",
        ),
        answered(
            "C-16 a redirect",
            reply(307, &[("Location", "https://user:canary@evil.example/steal")], ""),
            BAD_RESPONSE,
            "reply: oauth2 answered HTTP 307, a redirect to https://evil.example, and a secret is never sent after \
             one; set token_url",
            Refused,
        ),
        answered(
            "C-16 a redirect to a file",
            reply(302, &[("Location", "file:///etc/canary")], ""),
            BAD_RESPONSE,
            "a redirect elsewhere",
            Refused,
        ),
        answered("C-16 a redirect to nowhere", reply(303, &[], ""), BAD_RESPONSE, "HTTP 303", Refused),
        lost(
            "C-17 100 Continue without end",
            Fault::Flood("", "HTTP/1.1 100 Continue\r\n\r\n"),
            BAD_RESPONSE,
            LARGE_HEAD,
        ),
        lost(
            "C-17 101 Switching Protocols",
            raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: canary\r\n\r\n"),
            BAD_RESPONSE,
            UNSOUND,
        ),
        lost("C-18 204", raw("HTTP/1.1 204 No Content\r\n\r\n"), BAD_RESPONSE, "an empty body"),
        lost(
            "C-18 204 with a body",
            raw(format!("HTTP/1.1 204 No Content\r\nContent-Length: 47\r\n\r\n{TOKEN}")),
            BAD_RESPONSE,
            "an empty body",
        ),
        lost("C-18 206 without a body", reply(206, &[], ""), BAD_RESPONSE, "an empty body"),
        answered("C-18 304", raw("HTTP/1.1 304 Not Modified\r\n\r\n"), BAD_RESPONSE, "HTTP 304", Refused),
        answered(
            "C-18 304 with a body",
            raw(format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 47\r\n\r\n{TOKEN}")),
            BAD_RESPONSE,
            "HTTP 304",
            Refused,
        ),
        lost(
            "C-19 a login page",
            reply(200, &[("Content-Type", "text/html")], "<html>canary</html>"),
            BAD_RESPONSE,
            "text/html that is no JSON; is token_url the token endpoint?",
        ),
        lost(
            "C-19 malformed JSON",
            reply(200, &[("Content-Type", "application/json")], "{\"access_token\": \"canary"),
            BAD_RESPONSE,
            "application/json that is no JSON",
        ),
        lost("C-19 an empty body", reply(200, &[], ""), BAD_RESPONSE, "an empty body"),
        lost(
            "C-25 a gateway's error",
            reply(502, &[], "<html>canary</html>"),
            SERVER,
            "reply: oauth2 failed (HTTP 502); ask again later",
        ),
        answered(
            "C-26 503 that asks to wait",
            reply(503, &[("Retry-After", "30")], ""),
            RATE_LIMITED,
            "reply: oauth2 asks to wait (HTTP 503); ask again in 30 s",
            Refused,
        ),
        unsent(
            "C-27 a proxy that is down",
            |s| with(tls(s), "proxy", &format!("http://{}", nobody())),
            NETWORK,
            "connect: cannot reach the proxy: ",
        ),
        unsent(
            "C-27 a proxy without an address",
            |s| with(tls(s), "proxy", &format!("http://{}.invalid", "x".repeat(64))),
            NETWORK,
            "resolve: no address for the proxy: ",
        ),
        unsent(
            "C-27 a proxy that refuses",
            |s| through(s, Manner::Says(b"HTTP/1.1 403 Forbidden\r\n\r\n".to_vec())),
            NETWORK,
            NO_TUNNEL,
        ),
        // It said no: more attempts with the same password might lock an account.
        Case {
            class: RetryClass::Refused,
            ..unsent(
                "C-27 a proxy that wants a password",
                |s| with(tls(s), "proxy", &s.refusing_proxy()),
                NETWORK,
                "it wants another user and password (HTTP 407)",
            )
        },
        unsent("C-27 a proxy that closes", |s| through(s, Manner::Says(Vec::new())), NETWORK, NO_TUNNEL),
        unsent(
            "C-27 a proxy that says yes and closes",
            |s| through(s, Manner::Says(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())),
            NETWORK,
            NO_TUNNEL,
        ),
        unsent(
            "C-27 a proxy that answers with a body",
            |s| through(s, Manner::Says(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncanary".to_vec())),
            NETWORK,
            NO_TUNNEL,
        ),
        unsent(
            "C-27 a proxy that speaks no HTTP",
            |s| through(s, Manner::Says(b"canary\r\n\r\n".to_vec())),
            NETWORK,
            NO_TUNNEL,
        ),
        unsent("C-27 a proxy that resets", |s| through(s, Manner::Resets), NETWORK, NO_TUNNEL),
        waiting(unsent("C-27 a proxy that hangs", |s| through(s, Manner::Hangs), TIMEOUT, NO_TUNNEL)),
        waiting(unsent(
            "C-27 a proxy that drips",
            |s| through(s, Manner::Drips(b"HTTP/1.1 200 OK\r\nX-Drip: a long time, and so on\r\n")),
            TIMEOUT,
            NO_TUNNEL,
        )),
        waiting(unsent(
            "C-27 a proxy that does not accept",
            |s| through(s, Manner::Deaf),
            TIMEOUT,
            "connect: no connection to the proxy within ",
        )),
        unsent(
            "C-27 an https proxy without TLS",
            |s| with(tls(s), "proxy", &s.http().replace("http:", "https:")),
            TLS,
            "TLS: no trusted connection to the proxy: ",
        ),
        lost("C-32 HTTP/0.9", raw(TOKEN), BAD_RESPONSE, UNSOUND),
        lost("C-32 another protocol", raw("SSH-2.0-canary\r\n\r\n"), BAD_RESPONSE, UNSOUND),
        lost("C-32 HTTP/2", raw(b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"), BAD_RESPONSE, UNSOUND),
        lost("C-32 HTTP/2 in words", raw(format!("HTTP/2 200\r\n\r\n{TOKEN}")), BAD_RESPONSE, UNSOUND),
        lost("C-32 status 000", raw(format!("HTTP/1.1 000 None\r\n\r\n{TOKEN}")), BAD_RESPONSE, UNSOUND),
        lost("C-32 status 999", raw(format!("HTTP/1.1 999 Canary\r\n\r\n{TOKEN}")), BAD_RESPONSE, "HTTP 999"),
        lost(
            "C-32 a reason of 3 MB",
            raw(format!("HTTP/1.1 200 {}\r\n\r\n{TOKEN}", "canary".repeat(500_000))),
            BAD_RESPONSE,
            LARGE_HEAD,
        ),
    ]
}

/// The time of a call that needs none of it, in milliseconds.
const PATIENT: &str = "120000";

/// So many at once: most rows wait for some moments before they ask again.
const WORKERS: usize = 16;

fn each_fault_is_told_and_leaves_the_client_usable<H: Host>() {
    let (waiting, others): (Vec<Case>, Vec<Case>) = cases().into_iter().partition(|case| case.waits);
    let others = Mutex::new(others.into_iter());
    std::thread::scope(|scope| {
        for case in waiting {
            scope.spawn(move || {
                // 300 ms are enough unless the machine is busy.
                let told = |timeout: &&str| is_told_and_leaves_the_client_usable::<H>(&case, timeout);
                assert!(["300", "1200", "4800", "60000"].iter().any(told), "{}: its time was over before", case.what);
            });
        }
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let next = || others.lock().unwrap().next();
                while let Some(case) = next() {
                    assert!(is_told_and_leaves_the_client_usable::<H>(&case, PATIENT));
                }
            });
        }
    });
}

/// False if the time was over before the fault could show.
fn is_told_and_leaves_the_client_usable<H: Host>(case: &Case, timeout: &str) -> bool {
    let (what, standin) = (case.what, Standin::start());
    let requests = match (&case.fault, case.class) {
        (None, _) => 0,
        // It may have been lost on the way: once more, if there is time.
        (Some(_), RetryClass::Ambiguous) if !case.waits => 2,
        (Some(_), _) => 1,
    };
    for fault in case.fault.iter().cycle().take(requests) {
        standin.next("oauth2", fault.clone());
    }
    let options = with((case.options)(&standin), "timeout_ms", timeout);
    let client = H::client(&options).unwrap_or_else(|failure| panic!("{what}: {}", failure.message));
    let began = Instant::now();
    let failure = client.token().expect_err(what);
    let took = began.elapsed();
    let limit = Duration::from_millis(timeout.parse().unwrap());
    let told = failure.message.contains(case.words);
    let reached = took < 2 * limit && told && standin.token_requests("oauth2") == requests;
    if case.waits && failure.status == TIMEOUT && !reached {
        return false;
    }
    assert_eq!(failure.status, case.status, "{what}: {}", failure.message);
    assert!(failure.message.contains(case.words), "{what}: {}\n  lacks {}", failure.message, case.words);
    assert_eq!(failure.message.lines().count(), 1, "{what}");
    assert!(!failure.message.contains("canary"), "{what}: {}", failure.message);
    assert!(failure.class.is_none_or(|class| class == case.class), "{what}: {:?}", failure.class);
    assert!(case.waits || took < limit, "{what} took {took:?}");
    if matches!(case.fault, Some(Fault::Flood(..))) {
        assert!(standin.flooded() < FLOOD_MAX, "{what}: the connection is closed at once");
    }
    assert_eq!(client.cached().unwrap_err().status, hosts::NOT_CACHED, "{what}");
    assert_eq!(standin.token_requests("oauth2"), requests, "{what}");
    let cool_down = match (case.status, case.class) {
        (RATE_LIMITED, _) => 30_000,
        (_, RetryClass::NotSent) => 1000,
        (_, RetryClass::Ambiguous) => 5000,
        (_, RetryClass::Refused) => 60_000,
    };
    assert_eq!(failure.retry_after_ms, cool_down, "{what}");
    let again = client.token();
    let stays = case.fault.is_none() && !case.waits;
    // A busy machine may take longer than the pause.
    if stays || began.elapsed() < Duration::from_millis(cool_down as u64) {
        let again = again.expect_err(what);
        assert_eq!((again.status, again.message), (failure.status, failure.message), "{what}: and so is the next");
        assert_eq!(standin.token_requests("oauth2"), requests, "{what}: which is told the same, and sends nothing");
    }
    if requests > 0 {
        // Who ran out of time holds nobody up who has more.
        let patient = H::client(&with(options, "timeout_ms", PATIENT)).unwrap();
        if !case.waits {
            patient.clear();
        }
        assert!(patient.token().is_ok(), "{what}: the next request is answered");
    }
    assert_eq!(standin.violations(), [""; 0]);
    true
}

/// What is odd and yet leaves no doubt about the token.
fn what_a_reply_may_have_too_much_does_no_harm<H: Host>() {
    let sound = |more: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 47\r\n\r\n{TOKEN}{more}");
    let whole = sound("");
    for (what, options, fault) in [
        ("C-09 no close_notify after a whole body", tls as fn(&Standin) -> Options, Fault::Cut(whole.clone().into())),
        ("C-09 a reset after a whole body", plain, Fault::Reset(whole.clone().into())),
        ("C-09 a body that ends with the connection", plain, head_with("")),
        ("C-09 the same over TLS", tls, head_with("")),
        ("C-11 a hundred header fields", plain, head_with(&"A: b\r\n".repeat(100))),
        ("C-13 the same length twice", plain, head_with("Content-Length: 47\r\nContent-Length: 47\r\n")),
        (
            "C-13 chunks and a length",
            plain,
            raw(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2f\r\n{TOKEN}\r\n0\r\n\r\n"
            )),
        ),
        ("C-14 a chunk extension", plain, chunked(&format!("2f;a=b\r\n{TOKEN}\r\n0\r\n\r\n"))),
        ("C-14 trailers", plain, chunked(&format!("2f\r\n{TOKEN}\r\n0\r\nX-Trailer: x\r\n\r\n"))),
        ("C-15 a coding that is not applied", plain, reply(200, &[("Content-Encoding", "gzip")], TOKEN)),
        (
            "C-17 interim replies",
            plain,
            raw(format!(
                "{}HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n{whole}",
                "HTTP/1.1 100 Continue\r\n\r\n".repeat(100)
            )),
        ),
        ("C-18 206 with a whole token", plain, reply(206, &[], TOKEN)),
        ("C-31 a second reply", plain, raw(sound("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))),
        ("C-31 garbage after the body", plain, raw(sound("canary"))),
        ("C-32 HTTP/1.0", plain, raw(whole.replace("HTTP/1.1", "HTTP/1.0"))),
        ("C-35 no Date", plain, head_with("")),
        ("C-35 a Date that is none", plain, head_with("Date: yesterday\r\n")),
        (
            "C-35 two Dates",
            plain,
            head_with("Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nDate: Fri, 31 Dec 9999 23:59:59 GMT\r\n"),
        ),
    ] {
        let standin = Standin::start();
        standin.next("oauth2", fault);
        let options = options(&standin);
        let token =
            H::client(&options).unwrap().token().unwrap_or_else(|failure| panic!("{what}: {}", failure.message));
        assert_eq!(token.value, "canary-token", "{what}");
    }
}

/// C-03, C-37.
fn an_outage_is_asked_about_once_in_each_pause<H: Host>() {
    let standin = Standin::start();
    let client = H::client(&through(&standin, Manner::Resets)).unwrap();
    let began = Instant::now();
    assert_eq!(client.token().unwrap_err().status, NETWORK);
    assert_eq!(standin.connections(), 3);
    for _ in 0..1000 {
        assert_eq!(client.token().unwrap_err().status, NETWORK);
    }
    // The pauses last 1 s, 2 s and so on, and these calls hardly any time, unless the machine is busy.
    let knocks = began.elapsed().as_secs() as usize;
    assert!(standin.connections() <= 3 + knocks, "{} connections, {knocks} s", standin.connections());
}

/// C-04.
fn a_root_that_signed_nothing_here_is_told<H: Host>() {
    let (standin, other) = (Standin::start(), Standin::start());
    let options = with(tls(&standin), "ca_file", other.ca_file().to_str().unwrap());
    let failure = H::client(&options).unwrap().token().unwrap_err();
    assert_eq!(failure.status, hosts::TLS);
    assert!(
        failure.message.ends_with("check the host, and that ca_file holds the root of its certificate"),
        "{}",
        failure.message
    );
}

/// F-09, F-12, F-19, F-27, F-28, H-12.
fn a_store_or_a_budget_that_will_not_do_makes_no_client<H: Host>() {
    let (standin, above) = (Standin::start(), TempDir::new());
    let make = |name: &str, mode| {
        fs::DirBuilder::new().mode(0o700).create(above.join(name)).map(|()| set_mode(&above.join(name), mode))
    };
    for (name, mode) in [("sound", 0o700), ("open", 0o777), ("readable", 0o755), ("read-only", 0o500)] {
        make(name, mode).unwrap();
    }
    make("open/store", 0o700).unwrap();
    symlink(above.join("sound"), above.join("link")).unwrap();
    fs::write(above.join("file"), "of somebody").unwrap();

    let of_others = "is not a directory of this user alone (mode 0700)";
    for quota in ["none", "31/month"] {
        for (name, words) in [
            ("missing/store", "missing/store cannot be opened: "),
            ("open", of_others),
            ("readable", of_others),
            ("read-only", of_others),
            ("link", of_others),
            ("file", of_others),
            ("open/store", "lies where anyone may write"),
        ] {
            let options = with(plain(&standin), "store", &format!("file:{}", above.join(name)));
            let failure = H::client(&with(options, "quota", quota)).err().expect(name);
            let text = &failure.message;
            assert_eq!((failure.status, text.lines().count()), (STORE, 1), "{name}: {text}");
            assert!(text.starts_with("store: ") && text.contains(&above.join(name)), "{name}: {text}");
            assert!(text.contains(words) && text.contains("store=file:/"), "{name}: {text}");
        }
    }
    let sound = format!("file:{}", above.join("sound"));
    let in_redis = match cfg!(feature = "redis") {
        true => (CONFIG, "store has no sound port; write it as redis://"),
        false => (UNSUPPORTED, "this build has no store in Redis; build with the feature redis, or set store=file"),
    };
    for (store, quota, status, words) in [
        ("memory", "31/month", CONFIG, "set store=file, or quota=none"),
        ("file:sound", "31/month", CONFIG, "takes the absolute path of a directory"),
        ("redis://:canary-secret@host:0", "31/month", in_redis.0, in_redis.1),
        (&sound, "31 a month", CONFIG, "quota has a part without a slash; write it as COUNT/WINDOW"),
        (&sound, "0/month", CONFIG, "quota has a count"),
        (&sound, "31/moon", CONFIG, "quota has a window"),
        (&sound, "10/hour,,50/day", CONFIG, "quota has a part without a slash"),
    ] {
        let options = with(with(plain(&standin), "store", store), "quota", quota);
        let failure = H::client(&options).err().expect(words);
        assert_eq!(failure.status, status, "{}", failure.message);
        assert!(failure.message.starts_with("config: ") && failure.message.contains(words), "{}", failure.message);
    }
    assert_eq!(standin.connections(), 0);
    assert_eq!(fs::read_to_string(above.join("file")).unwrap(), "of somebody");
    assert_eq!(fs::read_dir(above.join("sound")).unwrap().count(), 0, "nothing was made through the link");
}

/// Something that is done to a store, and undone.
type Harm = (&'static str, fn(&str), fn(&str));

/// F-09, F-12, F-23.
const HARMS: &[Harm] = &[
    ("others may enter it", |store| set_mode(store, 0o755), |store| set_mode(store, 0o700)),
    (
        "a link is in its place",
        |store| {
            fs::rename(store, format!("{store}.moved")).unwrap();
            symlink(format!("{store}.moved"), store).unwrap();
        },
        |store| {
            fs::remove_file(store).unwrap();
            fs::rename(format!("{store}.moved"), store).unwrap();
        },
    ),
    (
        "a file is in its place",
        |store| {
            fs::rename(store, format!("{store}.moved")).unwrap();
            fs::write(store, "").unwrap();
        },
        |store| {
            fs::remove_file(store).unwrap();
            fs::rename(format!("{store}.moved"), store).unwrap();
        },
    ),
    (
        "others may put another in its place",
        |store| set_mode(&above(store), 0o777),
        |store| set_mode(&above(store), 0o700),
    ),
    (
        "the directory above is gone",
        |store| fs::rename(above(store), format!("{}.moved", above(store))).unwrap(),
        |store| fs::rename(format!("{}.moved", above(store)), above(store)).unwrap(),
    ),
];

/// F-06, F-08: of these a token needs none.
const HARMS_OF_THE_LEDGER: &[Harm] = &[
    ("a later version wrote the ledger", |store| replace_ledger(store, b"tokauth ledger 2 new\n"), restore_ledger),
    ("the ledger is an image", |store| replace_ledger(store, b"\x89PNG"), restore_ledger),
    ("the ledger is empty", |store| replace_ledger(store, b""), restore_ledger),
];

fn above(store: &str) -> String {
    store.rsplit_once('/').unwrap().0.to_owned()
}

fn set_mode(path: &str, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn ledger(store: &str) -> String {
    let names = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let ledger = names.into_iter().find(|name| name.starts_with("ledger-") && !name.contains('.')).unwrap();
    format!("{store}/{ledger}")
}

fn replace_ledger(store: &str, document: &[u8]) {
    fs::copy(ledger(store), format!("{store}.copy")).unwrap();
    fs::write(ledger(store), document).unwrap();
}

fn restore_ledger(store: &str) {
    fs::copy(format!("{store}.copy"), ledger(store)).unwrap();
}

fn a_store_that_fails_later_costs_a_token_only_where_requests_are_counted<H: Host>() {
    let with_and_without = HARMS.iter().flat_map(|harm| [(harm, "none"), (harm, "31/month")]);
    for ((what, harm, heal), quota) in with_and_without.chain(HARMS_OF_THE_LEDGER.iter().map(|harm| (harm, "31/month")))
    {
        let (standin, home) = (Standin::start(), TempDir::new());
        let store = home.join("above/store");
        fs::create_dir(above(&store)).unwrap();
        let options = || with(with(plain(&standin), "store", &format!("file:{store}")), "quota", quota);
        let [client, other] = [options(), options()].map(|options| H::client(&options).unwrap());
        let token = client.token().unwrap();
        harm(&store);
        assert_eq!(client.token().unwrap(), token, "{what}: what is cached is served");
        match (other.token(), quota) {
            (outcome, "none") => drop(outcome.unwrap_or_else(|failure| panic!("{what}: {}", failure.message))),
            (outcome, _) => {
                let failure = outcome.expect_err(what);
                let text = &failure.message;
                assert_eq!((failure.status, text.lines().count()), (STORE, 1), "{what}: {text}");
                assert!(text.starts_with("store: "), "{what}: {text}");
                assert_eq!(standin.token_requests("oauth2"), 1, "{what}: nothing is sent that cannot be counted");
                heal(&store);
                other.token().unwrap_or_else(|failure| panic!("{what}, and healed: {}", failure.message));
            }
        }
        assert_eq!(standin.token_requests("oauth2"), 2, "{what}");
    }
}

#[test]
fn a_sibling_with_another_proxy_or_other_roots_uses_them() {
    let (standin, other) = (Standin::start(), Standin::start());
    let client = client(&tls(&standin));
    client.token().unwrap();
    let failure = |name, value: &str| client.with(name, Some(value)).unwrap().token().unwrap_err().kind();
    assert_eq!(failure("proxy", &standin.refusing_proxy()), ErrorKind::Network);
    assert_eq!(failure("ca_file", other.ca_file().to_str().unwrap()), ErrorKind::Tls);
}

/// C-16.
fn a_redirect_sends_nothing_to_where_it_points<H: Host>() {
    let (standin, other) = (Standin::start(), Standin::start());
    for status in [301, 302, 303, 307, 308] {
        let location = format!("{}/oauth2/token", other.http());
        standin.next("oauth2", reply(status, &[("Location", &location)], ""));
        let failure = H::client(&plain(&standin)).unwrap().token().unwrap_err();
        assert!(failure.message.contains(other.http()), "{}", failure.message);
    }
    assert_eq!(other.token_requests("oauth2"), 0);
}

/// C-28.
#[test]
fn a_proxy_in_the_environment_is_not_used() {
    // Child processes, since a program's own environment is not to be changed under running threads.
    let standin = Standin::start();
    let program = std::env::current_exe().unwrap();
    let mut child = std::process::Command::new(program);
    child.args(["--exact", "child_of_the_proxy_test", "--nocapture"]).env("LIBTOKAUTH_TEST_URL", standin.http());
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        child.env(name, standin.refusing_proxy());
    }
    child.env("NO_PROXY", "*").env("no_proxy", "*");
    assert!(child.status().unwrap().success());
    assert_eq!(standin.token_requests("calven"), 1);
}

#[test]
fn child_of_the_proxy_test() {
    let Ok(url) = std::env::var("LIBTOKAUTH_TEST_URL") else { return };
    canary::build(&calven_at(&url)).unwrap().token().unwrap();
    // Nor does it say what goes past a proxy that is set.
    let proxy = std::env::var("HTTPS_PROXY").unwrap();
    let error = canary::build(&calven_at("https://a.example").proxy(proxy)).unwrap().token().unwrap_err();
    assert!(error.to_string().contains("HTTP 407"), "{error}");
}

fn calven_at(url: &str) -> tokauth::Builder {
    Client::builder()
        .provider("calven")
        .client_id(standin::client_id("calven"))
        .client_secret(standin::client_secret("calven"))
        .token_url(format!("{url}/calven/v1/auth/token"))
}

/// C-31.
#[test]
fn what_is_left_over_on_a_connection_is_no_reply_to_the_next_request() {
    let sound = format!("HTTP/1.1 200 OK\r\nContent-Length: 47\r\n\r\n{TOKEN}");
    let chunks = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2f\r\n{TOKEN}\r\n0\r\n\r\n");
    for (reply, more, connections) in [
        (&sound, "", 1), // it is kept, or the rest would show nothing
        (&chunks, "", 1),
        (&sound, &*sound, 2),
        (&chunks, &sound, 2),
        (&sound, "canary", 2),
        (&sound, "\r\n", 2),
        (&chunks, "0\r\n\r\n", 2),
    ] {
        let standin = Standin::start();
        standin.next("oauth2", Fault::Open(format!("{reply}{more}").into()));
        let client = client(&plain(&standin));
        let sibling = client.with("scope", Some(&unique())).unwrap();
        let began = Instant::now();
        assert_eq!(client.token().unwrap().value(), "canary-token");
        assert_ne!(sibling.token().unwrap().value(), "canary-token", "{more:?}");
        // One that is kept is kept for a second.
        if connections > 1 || began.elapsed() < Duration::from_secs(1) {
            assert_eq!(standin.connections(), connections, "{reply:?} and {more:?}");
        }
    }
}

/// C-30.
#[test]
fn a_reply_that_comes_before_the_request_was_read_counts_if_it_is_whole() {
    let standin = Standin::start();
    let ask = |reply: String| {
        let early = standin.peer(Manner::Early(reply.into()));
        client(&with(plain(&standin), "token_url", &format!("http://{}/", early.address()))).token()
    };
    let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: 47\r\n\r\n{TOKEN}");
    assert_eq!(ask(whole.clone()).unwrap().value(), "canary-token");
    let error = ask(whole.replace("47", "48")).unwrap_err();
    assert_eq!((error.kind(), error.retry_class()), (ErrorKind::Network, RetryClass::Ambiguous), "{error}");
}

/// C-27.
#[test]
fn a_proxy_sees_that_we_want_to_connect_and_nothing_else() {
    let standin = Standin::start();
    let proxy = standin.peer(Manner::Tunnel { credentials: None, head: String::new() });
    let client = client(&with(tls(&standin), "proxy", &proxy.as_proxy()));
    client.token().unwrap();
    let requests = proxy.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].method, "CONNECT");
    assert_eq!(format!("https://{}", requests[0].path), standin.https());
    let mut names: Vec<_> = requests[0].headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    assert_eq!(names, ["host", "proxy-connection", "user-agent"]);
    assert!(!proxy.received().is_empty() && !contains_canary(&proxy.received()), "the rest is TLS");
    client.with("scope", Some("another")).unwrap().token().unwrap();
    assert_eq!(proxy.requests().len(), 2, "a tunnel serves one call, or it would end with that call's deadline");
    assert_eq!(standin.violations(), [""; 0]);
}

/// C-27.
#[test]
fn a_proxys_user_and_password_are_for_the_proxy_only() {
    let standin = Standin::start();
    let start = |credentials| standin.peer(Manner::Tunnel { credentials: Some(credentials), head: String::new() });
    let ask = |proxy: &Peer| {
        let url = proxy.as_proxy().replace("//", "//me:canary-secret%2Fproxy@");
        client(&with(tls(&standin), "proxy", &url)).token()
    };
    let right = start("me:canary-secret/proxy");
    ask(&right).unwrap();
    assert!(!contains_canary(&right.received()));
    assert_eq!(standin.last_request("oauth2").header("proxy-authorization"), None);

    let wrong = start("me:another");
    let error = ask(&wrong).unwrap_err();
    assert_eq!((error.kind(), error.retry_class()), (ErrorKind::Network, RetryClass::Refused));
    assert!(error.to_string().contains("it wants another user and password (HTTP 407)"), "{error}");
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    assert_eq!(standin.token_requests("oauth2"), 1);
}

/// C-27.
#[test]
fn a_proxys_date_says_nothing_of_the_providers_clock() {
    let standin = Standin::start();
    let date = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(3600));
    let proxy = standin.peer(Manner::Tunnel { credentials: None, head: format!("Date: {date}\r\n") });
    let refusal = |date: &[(&str, &str)]| reply(401, date, "");
    let ask = |options: &Options| client(options).token().unwrap_err().to_string();

    standin.next("authvia", refusal(&[]));
    let through = ask(&with(standin.options_tls("authvia"), "proxy", &proxy.as_proxy()));
    assert!(through.contains("HTTP 401") && !through.contains("this machine's clock is"), "{through}");
    assert_eq!(standin.token_requests("authvia"), 1);
    for _ in 0..2 {
        standin.next("authvia", refusal(&[("Date", &date)]));
    }
    ask(&standin.options_tls("authvia"));
    assert_eq!(standin.token_requests("authvia"), 3, "but the provider's does: it is signed anew");
}

#[test]
fn what_goes_to_this_machine_in_clear_goes_past_the_proxy() {
    let standin = Standin::start();
    let proxy = standin.peer(Manner::Tunnel { credentials: None, head: String::new() });
    for http in ["http:", "HTTP:"] {
        let options =
            with(plain(&standin), "token_url", &format!("{}/oauth2/token", standin.http().replace("http:", http)));
        client(&with(options, "proxy", &proxy.as_proxy())).token().unwrap();
        assert!(proxy.requests().is_empty(), "{http}");
    }
    // And what is told of it does not speak of the proxy.
    let nobody = with(plain(&standin), "token_url", &format!("http://{}/", nobody()));
    let error = client(&with(nobody, "proxy", &proxy.as_proxy())).token().unwrap_err();
    assert!(error.to_string().starts_with("connect: cannot reach 127.0.0.1:"), "{error}");
}

fn contains_canary(bytes: &[u8]) -> bool {
    bytes.windows(6).any(|window| window == b"canary")
}

/// C-29.
#[test]
fn a_request_on_the_wire() {
    let standin = Standin::start();
    let server = standin.peer(Manner::Says(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()));
    let url = format!("http://{}/a/../b//%00%7e;c?d=%20e&f='g'", server.address());
    client(&with(standin.options("oauth2"), "token_url", &url)).token().unwrap_err();
    let received = String::from_utf8(server.received()).unwrap();
    let mut lines: Vec<&str> = received.split_once("\r\n\r\n").unwrap().0.split("\r\n").collect();
    lines[1..].sort_by_key(|line| line.to_ascii_lowercase());
    let user_agent = format!("user-agent: libtokauth/{}", env!("CARGO_PKG_VERSION"));
    let host = format!("host: {}", server.address());
    assert_eq!(
        lines,
        [
            "POST /a/../b//%00%7e;c?d=%20e&f='g' HTTP/1.1",
            "accept: application/json",
            "authorization: Basic bTJtJTIwY2xpZW50JTJGMTpjYW5hcnktc2VjcmV0LW9hdXRoMi0lMkIlMkYlM0ElMjUlMjAlM0Ql\
             MjZ+JTI1NDEtTmQ3WWIzUWY=",
            "content-length: 29",
            "content-type: application/x-www-form-urlencoded",
            &host,
            &user_agent,
        ]
    );
}

/// C-12.
#[test]
fn a_gib_of_reply_costs_no_memory() {
    // In child processes, where nothing else takes any.
    let ask = |head: &str, body: String| {
        let standin = Standin::start();
        let first = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
        let flood = Fault::Flood(first.leak(), body.leak());
        standin.next("calven", flood.clone());
        standin.next("calven", flood);
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "child_of_the_memory_test", "--nocapture"]).env("LIBTOKAUTH_TEST_FLOOD", standin.http());
        assert!(child.status().unwrap().success());
        assert_eq!(standin.token_requests("calven"), 2);
        assert!((1..FLOOD_MAX).contains(&standin.flooded()), "the child asked, and closed the connection");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| ask("Content-Length: 1073741824\r\n", " ".to_owned()));
        scope.spawn(|| ask("", " ".to_owned()));
        scope.spawn(|| ask("Transfer-Encoding: chunked\r\n", format!("1000\r\n{}\r\n", " ".repeat(4096))));
    });
}

#[test]
fn child_of_the_memory_test() {
    let Ok(url) = std::env::var("LIBTOKAUTH_TEST_FLOOD") else { return };
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells a process's memory there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let client = canary::build(&calven_at(&url)).unwrap();
    let before = peak();
    let error = client.token().unwrap_err();
    assert!(error.to_string().starts_with(TOO_LARGE), "{error}");
    assert!(peak() - before < 8 * 1024, "{} KiB more than before", peak() - before);
}
