//! What a ureq agent with our middleware sends, on the wire.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod standin;
mod temp;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use standin::{Fault, PROVIDERS, SECRET_WORD, Standin, TOKEN_WORD};
use tokauth::{Client, Error, ErrorKind, Middleware};
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Request, Response};
use ureq::middleware::MiddlewareNext;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, SendBody, Timeout};

/// A request as an API got it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    line: String,
    /// In lower case, sorted.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What must be the same when it is sent again.
    fn but_the_token(mut self) -> Seen {
        self.headers.retain(|(name, _)| name != "authorization");
        self
    }
}

/// An API that keeps what it gets, and answers by a function of its own.
struct Api {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Api {
    /// `answer` gives the status and further headers; no status: 200, whose body does not come while the client waits,
    /// for a minute at most.
    fn start(answer: impl Fn(&Seen) -> (Option<u16>, String) + Send + 'static) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let kept = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let request = read(&mut stream);
                let (status, headers) = answer(&request);
                kept.lock().unwrap().push(request);
                match status {
                    None => {
                        stream.get_mut().write_all(b"HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\n").unwrap();
                        stream.get_ref().set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                        let _ = stream.read(&mut [0]);
                    }
                    Some(status) => {
                        let head = format!("HTTP/1.1 {status} \r\n{headers}Content-Length: 0\r\nConnection: close\r\n");
                        stream.get_mut().write_all((head + "\r\n").as_bytes()).unwrap();
                    }
                }
            }
        });
        Api { url, seen }
    }

    /// One that rejects so many tokens, those that it sees first.
    fn rejecting(tokens: usize) -> Api {
        let known = Mutex::new(Vec::new());
        Api::start(move |request| {
            let mut known = known.lock().unwrap();
            let token = request.header("authorization").unwrap_or_default().to_owned();
            if !known.contains(&token) {
                known.push(token.clone());
            }
            let place = known.iter().position(|known| *known == token).unwrap();
            (Some(if place < tokens { 401 } else { 200 }), String::new())
        })
    }

    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> Seen {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let first = line();
    let mut headers: Vec<(String, String)> = std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty()))
        .map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())).unwrap())
        .collect();
    headers.sort();
    let mut seen = Seen { line: first, headers, body: Vec::new() };
    if let Some(length) = seen.header("content-length").map(|length| length.parse().unwrap()) {
        stream.take(length).read_to_end(&mut seen.body).unwrap();
    } else if seen.header("transfer-encoding") == Some("chunked") {
        while !seen.body.ends_with(b"0\r\n\r\n") {
            stream.read_until(b'\n', &mut seen.body).unwrap();
        }
    }
    seen
}

/// One whose token no other has: a port may be given out again, and with it would go what became of tokens there.
fn client(options: &[(String, String)]) -> Client {
    static CLIENTS: AtomicUsize = AtomicUsize::new(0);
    let builder = Client::builder().set("header.X-Client", CLIENTS.fetch_add(1, Ordering::Relaxed).to_string());
    options.iter().fold(builder, |builder, (name, value)| builder.set(name, value)).build().unwrap()
}

fn agent(middleware: Middleware) -> Agent {
    Agent::config_builder().timeout_global(Some(Duration::from_secs(60))).middleware(middleware).build().into()
}

fn status(outcome: Result<Response<Body>, ureq::Error>) -> u16 {
    match outcome {
        Ok(response) => response.status().as_u16(),
        Err(ureq::Error::StatusCode(status)) => status,
        Err(error) => panic!("{error}"),
    }
}

fn told(outcome: Result<Response<Body>, ureq::Error>) -> Error {
    match outcome {
        Err(ureq::Error::Other(error)) => *error.downcast::<Error>().unwrap(),
        outcome => panic!("{outcome:?}"),
    }
}

#[test]
fn each_request_has_all_headers_that_the_api_needs() {
    let standin = Standin::start();
    for provider in PROVIDERS {
        let client = client(&standin.options(provider));
        let agent = agent(Middleware::new(client.clone()));
        let api = Api::start(|_| (Some(200), String::new()));
        for _ in 0..2 {
            assert_eq!(status(agent.get(&api.url).header("Authorization", "other").call()), 200, "{provider}");
            let token = client.cached().unwrap();
            for (name, value) in token.headers() {
                let seen = api.seen.lock().unwrap();
                assert_eq!(seen.last().unwrap().header(&name.to_lowercase()), Some(value), "{provider}");
            }
        }
        assert_eq!(standin.token_requests(provider), 1);
        if provider != "feishu" {
            assert_eq!(status(agent.get(standin.api_url(provider)).call()), 200, "{provider}'s own API");
        }
    }
}

#[test]
fn a_rejected_token_is_replaced_and_the_request_sent_again() {
    for is_error in [true, false] {
        let (standin, api) = (Standin::start(), Api::rejecting(1));
        let agent = agent(Middleware::new(client(&standin.options("oauth2"))));
        let request = agent.get(&api.url).header("X-Mine", "1").query("a", "b").config().http_status_as_error(is_error);
        assert_eq!(status(request.build().call()), 200);
        let [first, second] = &api.seen()[..] else { panic!() };
        assert_ne!(first.header("authorization"), second.header("authorization"));
        assert_eq!(first.clone().but_the_token(), second.clone().but_the_token());
        assert_eq!((first.line.as_str(), first.header("content-length")), ("GET /api?a=b HTTP/1.1", None));
        assert_eq!(standin.token_requests("oauth2"), 2);
    }
}

#[test]
fn a_second_401_is_the_outcome_and_then_the_token_that_stays_in_service_is_tried_once() {
    let (standin, api) = (Standin::start(), Api::rejecting(usize::MAX));
    let agent = agent(Middleware::new(client(&standin.options("oauth2"))));
    assert!(matches!(agent.get(&api.url).call(), Err(ureq::Error::StatusCode(401))));
    assert_eq!((api.seen().len(), standin.token_requests("oauth2")), (2, 2));
    let as_response = agent.get(&api.url).config().http_status_as_error(false).build().call();
    assert_eq!(as_response.unwrap().status(), 401);
    assert_eq!((api.seen().len(), standin.token_requests("oauth2")), (1, 2));
}

#[test]
fn other_statuses_are_not_about_the_token() {
    let standin = Standin::start();
    let agent = agent(Middleware::new(client(&standin.options("oauth2"))));
    for answer in [204, 400, 403, 407, 500, 503] {
        let api = Api::start(move |_| (Some(answer), String::new()));
        assert_eq!(status(agent.get(&api.url).call()), answer);
        assert_eq!(api.seen().len(), 1, "{answer}");
    }
    assert_eq!(standin.token_requests("oauth2"), 1);
}

/// ureq sends `access-key` and the like on to whatever host a redirect names, and `Authorization` where it is told to.
#[test]
fn no_redirect_is_followed_whoever_asks_for_it() {
    let standin = Standin::start();
    for provider in ["oauth2", "eventhos", "event-temple"] {
        for code in [301, 302, 303, 307, 308] {
            let elsewhere = Api::start(|_| (Some(200), String::new()));
            let location = format!("Location: {}\r\n", elsewhere.url.replace("127.0.0.1", "localhost"));
            let api = Api::start(move |_| (Some(code), location.clone()));
            let middleware = Middleware::new(client(&standin.options(provider)));
            let config = Agent::config_builder().redirect_auth_headers(RedirectAuthHeaders::SameHost);
            let agent: Agent = config.max_redirects(5).middleware(middleware).build().into();
            let asked = agent.get(&api.url).config().max_redirects(3).max_redirects_will_error(true).build();
            for outcome in [agent.get(&api.url).call(), asked.call(), agent.post(&api.url).send("canary")] {
                let response = outcome.unwrap();
                assert_eq!(response.status(), code);
                assert!(response.headers().contains_key("location"));
            }
            assert_eq!((api.seen().len(), elsewhere.seen().len()), (3, 0), "{provider} {code}");
        }
    }
}

#[test]
fn a_body_that_may_be_a_stream_is_sent_as_it_is_and_once() {
    type Send = fn(ureq::RequestBuilder<ureq::typestate::WithBody>) -> Result<Response<Body>, ureq::Error>;
    let table: [(Send, &str, &[u8]); 3] = [
        (|request| request.send("text"), "content-length", b"text"),
        (
            |request| request.send(SendBody::from_reader(&mut &b"stream"[..])),
            "transfer-encoding",
            b"6\r\nstream\r\n0\r\n\r\n",
        ),
        (|request| request.send_empty(), "content-length", b""),
    ];
    for (send, framing, body) in table {
        let (standin, api) = (Standin::start(), Api::rejecting(1));
        let agent = agent(Middleware::new(client(&standin.options("oauth2"))));
        for method in [Agent::post, Agent::put, Agent::patch] {
            let expected = if api.seen.lock().unwrap().is_empty() { 401 } else { 200 };
            assert_eq!(status(send(method(&agent, &api.url))), expected);
        }
        let seen = api.seen();
        assert_eq!((seen.len(), standin.token_requests("oauth2")), (3, 2));
        for seen in seen {
            assert!(seen.header(framing).is_some() && seen.body == body, "{seen:?}");
        }
    }
}

#[test]
fn kept_bodies_are_sent_again() {
    type Send = fn(ureq::RequestBuilder<ureq::typestate::WithBody>) -> Result<Response<Body>, ureq::Error>;
    let table: [(Send, Option<&str>, &[u8]); 7] = [
        (|request| request.send("text"), None, b"text"),
        (|request| request.send(&b"\x00\xff"[..]), None, b"\x00\xff"),
        (|request| request.send(vec![b'a'; 300_000]), None, &[b'a'; 300_000]),
        (|request| request.send_form([("a", "b c")]), Some("application/x-www-form-urlencoded"), b"a=b+c"),
        (
            |request| request.content_type("application/json").send(r#"{"a": 1}"#),
            Some("application/json"),
            br#"{"a": 1}"#,
        ),
        (|request| request.send(SendBody::from_reader(&mut &b"stream"[..])), None, b"stream"),
        (|request| request.send_empty(), None, b""),
    ];
    for (send, content_type, body) in table {
        let (standin, api) = (Standin::start(), Api::rejecting(1));
        let agent = agent(Middleware::new(client(&standin.options("oauth2"))).keep_bodies());
        assert_eq!(status(send(agent.post(&api.url))), 200);
        let [first, second] = &api.seen()[..] else { panic!() };
        assert_eq!(first.clone().but_the_token(), second.clone().but_the_token());
        assert_eq!(second.header("content-type"), content_type);
        assert_eq!(second.header("content-length"), Some(body.len().to_string().as_str()));
        assert!(second.body == body && second.header("transfer-encoding").is_none());
    }
}

#[test]
fn a_body_where_none_is_usual_is_sent_again_too() {
    let (standin, api) = (Standin::start(), Api::rejecting(1));
    let agent = agent(Middleware::new(client(&standin.options("oauth2"))));
    assert_eq!(status(agent.delete(&api.url).force_send_body().send("only these")), 200);
    let [first, second] = &api.seen()[..] else { panic!() };
    assert_eq!(first.clone().but_the_token(), second.clone().but_the_token());
    assert_eq!((second.line.as_str(), &second.body[..]), ("DELETE /api HTTP/1.1", &b"only these"[..]));
    let request = Request::put(&api.url).header("Content-Length", "4").body("text").unwrap();
    assert_eq!(status(agent.run(request)), 200);
    assert_eq!(api.seen()[0].body, b"text");
}

#[test]
fn a_store_that_fails_keeps_no_answer_from_the_caller() {
    let (standin, folder) = (Standin::start(), temp::TempDir::new());
    let options = standin.options("oauth2");
    for method in ["GET", "POST"] {
        let (api, store) = (Api::rejecting(1), folder.join(method));
        let client = client(&[&options[..], &[("store".into(), format!("file:{store}"))]].concat());
        client.token().unwrap();
        std::fs::remove_dir_all(&store).unwrap();
        std::fs::write(&store, "in its place").unwrap();
        let agent = agent(Middleware::new(client));
        let request = || Request::builder().method(method).uri(&api.url);
        let first = status(agent.run(request().body("once").unwrap()));
        assert_eq!(first, if method == "GET" { 200 } else { 401 });
        assert_eq!(status(agent.run(request().body("once").unwrap())), 200);
    }
}

#[test]
fn a_request_s_own_settings_hold_for_the_second_too() {
    let standin = Standin::start();
    let asked = AtomicUsize::new(0);
    let api = Api::start(move |_| {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        (if first { Some(401) } else { None }, String::new())
    });
    let agent = agent(Middleware::new(client(&standin.options("oauth2"))));
    // For a body, which the first answer has not: the second comes however long it takes.
    let request = agent.get(&api.url).config().user_agent("mine").timeout_recv_body(Some(Duration::from_millis(50)));
    let body = request.build().call().unwrap().body_mut().read_to_string();
    assert!(matches!(body, Err(ureq::Error::Timeout(Timeout::RecvBody))), "{body:?}");
    let seen = api.seen();
    assert_eq!(seen.iter().map(|seen| seen.header("user-agent")).collect::<Vec<_>>(), [Some("mine"); 2]);
}

#[test]
fn the_second_request_trusts_the_roots_that_the_first_does() {
    let standin = Standin::start();
    let pem = std::fs::read(standin.ca_file()).unwrap();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[Certificate::from_pem(&pem).unwrap()]))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let middleware = Middleware::new(client(&standin.options_tls("oauth2")));
    let agent: Agent = Agent::config_builder().tls_config(tls.build()).middleware(middleware).build().into();
    let api = format!("{}/oauth2/api", standin.https());
    assert_eq!(status(agent.get(&api).call()), 200);
    standin.set_clock_offset(7200); // by which the token has ended
    assert_eq!(status(agent.get(&api).call()), 200);
    assert_eq!(standin.token_requests("oauth2"), 2);
}

#[test]
fn an_error_of_ours_says_what_it_is_and_nothing_reaches_the_api_without_a_token() {
    let (standin, api) = (Standin::start(), Api::rejecting(usize::MAX));
    let mut options = standin.options("oauth2");
    let agent = agent(Middleware::new(client(&options)));
    assert_eq!(status(agent.get(&api.url).call()), 401);
    options.iter_mut().find(|(name, _)| name == "client_secret").unwrap().1 = "canary-secret-that-is-wrong".into();
    let wrong = Middleware::new(client(&options));
    assert!(!format!("{wrong:?}").contains(SECRET_WORD));
    api.seen();
    let error = told(self::agent(wrong).get(&api.url).call());
    assert_eq!((error.kind(), error.http_status(), api.seen().len()), (ErrorKind::Denied, Some(401), 0));
    assert!(!error.to_string().contains("canary"), "{error}");
}

#[test]
fn an_error_of_the_renewal_is_the_outcome() {
    let (standin, api) = (Standin::start(), Api::rejecting(1));
    let client = client(&standin.options("oauth2"));
    client.token().unwrap();
    standin.next("oauth2", Fault::Reply { status: 403, headers: Vec::new(), body: Vec::new() });
    assert_eq!(told(agent(Middleware::new(client)).get(&api.url).call()).kind(), ErrorKind::Denied);
    assert_eq!(api.seen().len(), 1);
}

#[test]
fn threads_share_an_agent_and_a_new_token() {
    let (standin, api) = (Standin::start(), Api::rejecting(1));
    let agent = agent(Middleware::new(client(&standin.options("oauth2"))));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(status(agent.get(&api.url).call()), 200));
        }
    });
    assert_eq!(standin.token_requests("oauth2"), 2);
}

#[test]
fn the_second_request_goes_where_it_is_told_to_and_past_what_comes_after() {
    type Count = Arc<AtomicUsize>;
    let counting = |count: &Count| {
        let count = count.clone();
        move |request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
            count.fetch_add(1, Ordering::Relaxed);
            next.handle(request)
        }
    };
    let (before, after, again) = (Count::default(), Count::default(), Count::default());
    let (standin, api) = (Standin::start(), Api::rejecting(1));
    let through: Agent = Agent::config_builder().middleware(counting(&again)).build().into();
    let middleware = Middleware::new(client(&standin.options("oauth2"))).retry_through(through);
    let config = Agent::config_builder().middleware(counting(&before)).middleware(middleware);
    let agent: Agent = config.middleware(counting(&after)).build().into();
    assert_eq!(status(agent.get(&api.url).call()), 200);
    assert_eq!([before, after, again].map(|count| count.load(Ordering::Relaxed)), [1, 1, 1]);
    assert_eq!(api.seen().len(), 2);
}

/// Such a one has no settings of an agent, so that redirects would be followed.
#[test]
fn a_request_that_a_middleware_made_is_refused() {
    let (standin, api) = (Standin::start(), Api::rejecting(0));
    let making = |request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
        let made = Request::get(request.uri()).body(SendBody::none()).unwrap();
        next.handle(made)
    };
    let config = Agent::config_builder().middleware(making);
    let agent: Agent = config.middleware(Middleware::new(client(&standin.options("oauth2")))).build().into();
    let error = told(agent.get(&api.url).call());
    assert!(error.to_string().starts_with("config: a middleware before this one"), "{error}");
    assert_eq!(api.seen().len(), 0);
}

#[test]
fn ureq_shows_no_token() {
    let (standin, api) = (Standin::start(), Api::rejecting(1));
    let shown = Arc::<Mutex<String>>::default();
    let keeping = {
        let shown = shown.clone();
        move |request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
            *shown.lock().unwrap() = format!("{:?}", request.headers());
            next.handle(request)
        }
    };
    let config = Agent::config_builder().middleware(Middleware::new(client(&standin.options("oauth2"))));
    let agent: Agent = config.middleware(keeping).build().into();
    assert_eq!(status(agent.get(&api.url).call()), 200);
    let shown = shown.lock().unwrap();
    assert!(shown.contains("authorization") && !shown.contains(TOKEN_WORD), "{shown}");
}
