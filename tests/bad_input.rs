//! What can go wrong on the way to a token: each its status, its step and its advice, nothing cached, the client usable.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod hosts;
mod standin;

use std::time::{Duration, Instant};

use hosts::{Host, through_both_apis};
use standin::{Fault, Standin};

through_both_apis!(
    each_fault_is_told_and_leaves_the_client_usable,
    a_redirect_sends_nothing_to_where_it_points,
    a_root_that_signed_nothing_here_is_told,
    a_proxy_that_fails_is_told_as_such,
);

/// What is wrong, and what is told of it.
struct Case {
    what: &'static str,
    fault: Option<Fault>,
    options: Vec<(String, String)>,
    status: i32,
    words: &'static str,
}

fn with(mut options: Vec<(String, String)>, name: &str, value: &str) -> Vec<(String, String)> {
    options.retain(|(known, _)| known != name);
    options.push((name.to_owned(), value.to_owned()));
    options
}

fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Option<Fault> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Some(Fault::Reply { status, headers, body: body.as_bytes().to_vec() })
}

/// An address where nothing listens.
fn nobody() -> String {
    // The port is free again at once, but the stand-ins of other tests listen on 127.0.0.1.
    let listener = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn cases(standin: &Standin) -> Vec<Case> {
    let plain = || standin.options("oauth2");
    let hasty = || with(plain(), "timeout_ms", "300");
    let tls = || standin.options_tls("oauth2");
    let case = |what, fault, options, status, words| Case { what, fault, options, status, words };
    let token = "{\"access_token\": \"canary-token\", \"expires_in\": 60}";
    vec![
        case(
            "server down",
            None,
            with(plain(), "token_url", &format!("http://{}/", nobody())),
            hosts::NETWORK,
            "connect: cannot reach 127.0.0.2:",
        ),
        case(
            "no such host",
            None,
            with(plain(), "token_url", &format!("https://{}.invalid/token", "x".repeat(64))),
            hosts::NETWORK,
            "resolve: no address for xxx",
        ),
        case(
            "unknown CA",
            None,
            tls().into_iter().filter(|(name, _)| name != "ca_file").collect(),
            hosts::TLS,
            "TLS: no trusted connection to localhost:",
        ),
        #[cfg(feature = "platform-verifier")]
        case("unknown to the system", None, with(tls(), "ca_file", "system"), hosts::TLS, "TLS: no trusted connection"),
        case(
            "TLS to a plain port",
            None,
            with(plain(), "token_url", &standin.http().replace("http:", "https:")),
            hosts::TLS,
            "TLS: no trusted connection to 127.0.0.1:",
        ),
        case(
            "a proxy that refuses",
            None,
            with(tls(), "proxy", &standin.refusing_proxy()),
            hosts::NETWORK,
            "connect: the proxy does not lead to localhost:",
        ),
        case(
            "a proxy that is down",
            None,
            with(tls(), "proxy", &format!("http://{}", nobody())),
            hosts::NETWORK,
            "connect: cannot reach the proxy",
        ),
        case(
            "a redirect",
            reply(307, &[("Location", "https://evil.example/steal")], ""),
            plain(),
            hosts::BAD_RESPONSE,
            "reply: oauth2 answered HTTP 307, a redirect to https://evil.example, and a secret is never sent after one; set token_url",
        ),
        case(
            "malformed JSON",
            reply(200, &[("Content-Type", "application/json")], "{\"access_token\": \"canary"),
            plain(),
            hosts::BAD_RESPONSE,
            "application/json that is no JSON",
        ),
        case(
            "a page",
            reply(200, &[("Content-Type", "text/html")], "<html>canary</html>"),
            plain(),
            hosts::BAD_RESPONSE,
            "text/html that is no JSON; is token_url the token endpoint?",
        ),
        case("no body", reply(200, &[], ""), plain(), hosts::BAD_RESPONSE, "an empty body"),
        case(
            "a gateway's error",
            reply(502, &[], "<html>canary</html>"),
            plain(),
            hosts::SERVER,
            "reply: oauth2 failed (HTTP 502); ask again later",
        ),
        case(
            "too much",
            reply(200, &[], &" ".repeat(1024 * 1024 + 1)),
            plain(),
            hosts::BAD_RESPONSE,
            "reply: the reply is larger than 1 MiB",
        ),
        case(
            "too much, and a refusal",
            reply(401, &[], &" ".repeat(1024 * 1024 + 1)),
            plain(),
            hosts::DENIED,
            "(HTTP 401)",
        ),
        case(
            "a wait",
            reply(429, &[("Retry-After", "30")], ""),
            plain(),
            hosts::RATE_LIMITED,
            "reply: oauth2 asks to wait (HTTP 429); ask again in 30 s",
        ),
        case(
            "a closed connection",
            Some(Fault::Close),
            plain(),
            hosts::NETWORK,
            "reply: the connection broke before the reply was whole",
        ),
        case(
            "a cut body",
            Some(Fault::Raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{token}").into())),
            plain(),
            hosts::NETWORK,
            "reply: the connection broke before the reply was whole",
        ),
        case(
            "no HTTP",
            Some(Fault::Raw(b"SSH-2.0-canary\r\n\r\n".to_vec())),
            plain(),
            hosts::BAD_RESPONSE,
            "reply: the reply is not sound HTTP",
        ),
        case("a stalled reply", Some(Fault::Stall), hasty(), hosts::TIMEOUT, "reply: no whole reply within"),
        case("a dripping reply", Some(Fault::Drip), hasty(), hosts::TIMEOUT, "reply: no whole reply within"),
    ]
}

fn each_fault_is_told_and_leaves_the_client_usable<H: Host>() {
    let standin = Standin::start();
    for case in cases(&standin) {
        let what = case.what;
        let faulty = case.fault.is_some();
        if let Some(fault) = case.fault {
            standin.next("oauth2", fault);
        }
        let client = H::client(&case.options).unwrap_or_else(|failure| panic!("{what}: {}", failure.message));
        let began = Instant::now();
        let failure = client.token().expect_err(what);
        assert_eq!(failure.status, case.status, "{what}: {}", failure.message);
        assert!(failure.message.contains(case.words), "{what}: {}\n  lacks {}", failure.message, case.words);
        assert_eq!(failure.message.lines().count(), 1, "{what}");
        assert!(!failure.message.contains("canary"), "{what}: {}", failure.message);
        assert!(began.elapsed() < Duration::from_secs(5), "{what} took {:?}", began.elapsed());
        assert_eq!(client.cached().unwrap_err().status, hosts::NOT_CACHED, "{what}");
        if faulty {
            let patient = H::client(&with(case.options, "timeout_ms", "10000")).unwrap();
            assert!(patient.token().is_ok(), "{what}: the next request is answered");
            client.clear(); // the next case has the same options, and so the same slot
        } else {
            assert_eq!(client.token().unwrap_err().status, case.status, "{what}: and so is the next");
        }
    }
    assert_eq!(standin.violations(), [""; 0]);
}

fn a_root_that_signed_nothing_here_is_told<H: Host>() {
    let (standin, other) = (Standin::start(), Standin::start());
    let options = with(standin.options_tls("oauth2"), "ca_file", other.ca_file().to_str().unwrap());
    let failure = H::client(&options).unwrap().token().unwrap_err();
    assert_eq!(failure.status, hosts::TLS);
    assert!(
        failure.message.ends_with("check the host, and that ca_file holds the root of its certificate"),
        "{}",
        failure.message
    );
}

/// Answers one CONNECT with these bytes and closes.
fn proxy_that_says(answer: &'static [u8]) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(answer);
    });
    url
}

#[test]
fn a_sibling_with_another_proxy_or_other_roots_uses_them() {
    let (standin, other) = (Standin::start(), Standin::start());
    let options = standin.options_tls("oauth2");
    let builder = options.iter().fold(tokauth::Client::builder(), |builder, (name, value)| builder.set(name, value));
    let client = builder.build().unwrap();
    client.token().unwrap();
    let failure = |name, value: &str| client.with(name, Some(value)).unwrap().token().unwrap_err().kind();
    assert_eq!(failure("proxy", &standin.refusing_proxy()), tokauth::ErrorKind::Network);
    assert_eq!(failure("ca_file", other.ca_file().to_str().unwrap()), tokauth::ErrorKind::Tls);
}

fn a_proxy_that_fails_is_told_as_such<H: Host>() {
    let standin = Standin::start();
    for answer in [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), b"", b"garbage\r\n\r\n"] {
        let client = H::client(&with(standin.options_tls("oauth2"), "proxy", &proxy_that_says(answer))).unwrap();
        let failure = client.token().unwrap_err();
        assert_eq!(failure.status, hosts::NETWORK, "{answer:?}: {}", failure.message);
        assert!(failure.message.contains("the proxy does not lead to localhost:"), "{answer:?}: {}", failure.message);
    }
}

fn a_redirect_sends_nothing_to_where_it_points<H: Host>() {
    let (standin, other) = (Standin::start(), Standin::start());
    for status in [301, 302, 303, 307, 308] {
        let location = format!("{}/oauth2/token", other.http());
        standin.next("oauth2", reply(status, &[("Location", &location)], "").unwrap());
        let failure = H::client(&standin.options("oauth2")).unwrap().token().unwrap_err();
        assert!(failure.message.contains(other.http()), "{}", failure.message);
    }
    assert_eq!(other.token_requests("oauth2"), 0);
}

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
    assert!(child.status().unwrap().success());
    assert_eq!(standin.token_requests("calven"), 1);
}

#[test]
fn child_of_the_proxy_test() {
    let Ok(url) = std::env::var("LIBTOKAUTH_TEST_URL") else { return };
    let client = tokauth::Client::builder()
        .provider("calven")
        .client_id(standin::client_id("calven"))
        .client_secret(standin::client_secret("calven"))
        .token_url(format!("{url}/calven/v1/auth/token"));
    client.build().unwrap().token().unwrap();
}
