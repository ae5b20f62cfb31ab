//! An offline stand-in for every built-in provider, on loopback over http and https.
//!
//! It checks requests as the provider does, answers as the provider does, and can misbehave on demand.
#![allow(dead_code)] // each test program uses its own part
#![allow(unreachable_pub)] // pub marks what those programs may use
#![allow(clippy::unwrap_used, clippy::expect_used)] // for the quickstart; tests say so themselves

mod certificates;
mod checks;
mod clients;
mod peer;
mod providers;
mod server;
mod tls;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The organization that Event Temple's API asks for.
pub const ORG_ID: &str = "org-4711";

/// Every client secret starts with this.
pub const SECRET_WORD: &str = "canary-secret";

/// Every token has this in it.
pub const TOKEN_WORD: &str = "canary-token";

pub use certificates::Flaw;
pub use clients::{PROVIDERS, client_id, client_secret};
pub use peer::{Manner, Peer};

/// The running servers. Dropping it closes every connection and joins every thread.
pub struct Standin {
    shared: Arc<Shared>,
    listeners: Mutex<Vec<server::Listener>>,
    /// Listeners that do not accept, each with what fills its backlog.
    deaf: Mutex<Vec<(TcpListener, TcpStream)>>,
    http: String,
    https: String,
    proxy: String,
    authority: certificates::Authority,
    dir: PathBuf,
    ca_file: PathBuf,
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What a token request gets instead of the provider's answer.
#[derive(Clone)]
pub enum Fault {
    /// A complete reply; Content-Length is added, and Date if it is not there.
    Reply { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// These bytes, and the connection stays open.
    Open(Vec<u8>),
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// These bytes, then the end of the connection; over TLS unannounced.
    Cut(Vec<u8>),
    /// These bytes, then a reset.
    Reset(Vec<u8>),
    /// The end of the connection without a byte of reply.
    Close,
    /// The first bytes, then a byte of the others now and then until the client goes away.
    Drip(&'static str, &'static str),
    /// The first bytes, then the others again and again until the client goes away, or a GiB has left.
    Flood(&'static str, &'static str),
    /// Nothing, until the stand-in is dropped.
    Stall,
}

/// While it lives, token requests of one provider are not answered.
pub struct Hold {
    shared: Arc<Shared>,
    provider: String,
    requests_before: usize,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: bool,
    connections: HashMap<usize, TcpStream>,
    last_id: usize,
    endpoints: [Endpoint; PROVIDERS.len()],
    tokens: HashMap<String, Issued>,
    seen_random: HashSet<String>,
    wrong_secrets: usize,
    violations: Vec<String>,
    clock_offset: i64,
    token_life: i64,
    user_agent: Option<String>,
    authvia_without_exp: bool,
    flooded: Option<u64>,
    accepted: usize,
}

#[derive(Default)]
struct Endpoint {
    requests: usize,
    issued: usize,
    last: Option<Recorded>,
    faults: VecDeque<Fault>,
    holds: usize,
    extra_fields: Vec<String>,
}

struct Issued {
    provider: String,
    expires_at: i64,
    region: Option<String>,
}

impl Standin {
    pub fn start() -> Standin {
        let state = Mutex::new(State { token_life: 3600, ..State::default() });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let authority = certificates::Authority::new();
        let tls = tls::config(&authority, None);
        let dir = private_dir();
        let ca_file = dir.join("ca.pem");
        std::fs::write(&ca_file, &authority.pem).unwrap();

        let http = server::Listener::start(&shared, server::serve_http);
        let https = server::Listener::start(&shared, move |shared, tcp| tls::serve(shared, tcp, &tls));
        let proxy = server::Listener::start(&shared, server::refuse_as_proxy);
        Standin {
            http: format!("http://127.0.0.1:{}", http.port()),
            https: format!("https://localhost:{}", https.port()),
            proxy: format!("http://127.0.0.1:{}", proxy.port()),
            listeners: Mutex::new(vec![http, https, proxy]),
            deaf: Mutex::default(),
            authority,
            shared,
            dir,
            ca_file,
        }
    }

    /// `http://127.0.0.1:PORT`
    pub fn http(&self) -> &str {
        &self.http
    }

    /// `https://localhost:PORT`; the certificate also names 127.0.0.1.
    pub fn https(&self) -> &str {
        &self.https
    }

    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// A proxy that answers 407 to every request.
    pub fn refusing_proxy(&self) -> String {
        self.proxy.clone()
    }

    /// `https://localhost:PORT` again, at another port and with a certificate that is not to be trusted.
    pub fn https_with(&self, flaw: Flaw) -> String {
        let config = tls::config(&self.authority, Some(flaw));
        let listener = server::Listener::start(&self.shared, move |shared, tcp| tls::serve(shared, tcp, &config));
        let port = listener.port();
        self.listeners.lock().unwrap().push(listener);
        format!("https://localhost:{port}")
    }

    pub fn peer(&self, manner: Manner) -> Peer {
        Peer::start(self, manner)
    }

    /// A port where connections are neither accepted nor refused.
    fn hold_a_full_backlog(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let first = TcpStream::connect(address).unwrap();
        self.deaf.lock().unwrap().push((listener, first));
        address.port()
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.shared.lock().accepted
    }

    /// How much of a flood left, once it is over.
    pub fn flooded(&self) -> u64 {
        let none_yet = |state: &mut State| state.flooded.is_none();
        let limit = Duration::from_secs(60);
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), limit, none_yet).unwrap().0;
        waited.flooded.expect("the flood ends within a minute")
    }

    /// What a client must be told to get a token here over http.
    pub fn options(&self, provider: &str) -> Vec<(String, String)> {
        self.with_store(options_at(&self.http, provider, "basic"))
    }

    /// The same over https.
    pub fn options_tls(&self, provider: &str) -> Vec<(String, String)> {
        let mut options = self.with_store(options_at(&self.https, provider, "basic"));
        options.push(("ca_file".into(), self.ca_file.to_str().unwrap().into()));
        options
    }

    /// Where tokens are scarce they are kept beside the certificate, not in the home of whoever runs this.
    fn with_store(&self, mut options: Vec<(String, String)>) -> Vec<(String, String)> {
        if options[0].1 == "calenso" {
            options.push(("store".into(), format!("file:{}", self.ca_file.with_file_name("store").to_str().unwrap())));
        }
        options
    }

    /// As `options("oauth2")`, for the client that must use `auth`: `post`, `basic` or `basic_raw`.
    pub fn oauth2_options(&self, auth: &str) -> Vec<(String, String)> {
        options_at(&self.http, "oauth2", auth)
    }

    pub fn api_url(&self, provider: &str) -> String {
        format!("{}/{provider}/api", self.http)
    }

    /// Every request that reached the token endpoint.
    pub fn token_requests(&self, provider: &str) -> usize {
        self.shared.lock().endpoint(provider).requests
    }

    pub fn tokens_issued(&self, provider: &str) -> usize {
        self.shared.lock().endpoint(provider).issued
    }

    /// The latest request at the token endpoint.
    pub fn last_request(&self, provider: &str) -> Recorded {
        self.shared.lock().endpoint(provider).last.clone().expect("no token request yet")
    }

    /// What a provider might not notice in a token request, but no client of ours may do.
    pub fn violations(&self) -> Vec<String> {
        self.shared.lock().violations.clone()
    }

    /// The next token request gets this; several are used in order.
    pub fn next(&self, provider: &str, fault: Fault) {
        self.shared.lock().endpoint(provider).faults.push_back(fault);
    }

    pub fn hold(&self, provider: &str) -> Hold {
        let mut state = self.shared.lock();
        let endpoint = state.endpoint(provider);
        endpoint.holds += 1;
        let requests_before = endpoint.requests;
        Hold { shared: self.shared.clone(), provider: provider.into(), requests_before }
    }

    /// The provider's clock against this machine's.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.shared.lock().clock_offset = seconds;
    }

    /// The life of tokens issued from now on.
    pub fn set_token_life(&self, seconds: i64) {
        self.shared.lock().token_life = seconds;
    }

    pub fn authvia_without_exp(&self, without: bool) {
        self.shared.lock().authvia_without_exp = without;
    }

    /// Token requests must name exactly this user agent.
    pub fn expect_user_agent(&self, user_agent: String) {
        self.shared.lock().user_agent = Some(user_agent);
    }

    /// The body may hold this field too, as after an option `param.NAME`.
    pub fn expect_field(&self, provider: &str, name: &str) {
        self.shared.lock().endpoint(provider).extra_fields.push(name.into());
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.shared.stop();
        let listeners = self.listeners.get_mut().unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.drain(..) {
            listener.join();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Recorded {
    /// The value of the first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Hold {
    /// Waits until a request has arrived since the hold began.
    pub fn wait_for_request(&self) {
        let none_yet = |state: &mut State| state.endpoint(&self.provider).requests == self.requests_before;
        let limit = Duration::from_secs(60);
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), limit, none_yet);
        assert!(!waited.unwrap().1.timed_out(), "no token request of {} within a minute", self.provider);
    }

    /// Lets the held requests go on, as dropping does.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.lock().endpoint(&self.provider).holds -= 1;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // a test that fails while it holds the lock must still be able to drop the stand-in
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        for connection in state.connections.values() {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        self.changed.notify_all();
    }
}

impl State {
    fn endpoint(&mut self, provider: &str) -> &mut Endpoint {
        let index = PROVIDERS.iter().position(|name| *name == provider);
        &mut self.endpoints[index.unwrap_or_else(|| panic!("the stand-in has no provider {provider}"))]
    }

    fn next_id(&mut self) -> usize {
        self.last_id += 1;
        self.last_id
    }

    /// Unix seconds by the provider's clock.
    fn now(&self) -> i64 {
        let host = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(host.as_secs()).unwrap() + self.clock_offset
    }
}

fn options_at(origin: &str, provider: &str, auth: &str) -> Vec<(String, String)> {
    let id = if provider == "oauth2" { clients::oauth2_client_id(auth) } else { client_id(provider) };
    let mut options = vec![("provider", provider), ("client_id", id), ("client_secret", client_secret(provider))];
    let token_url = format!("{origin}/{provider}/{}", clients::token_path(provider));
    let base_url = format!("{origin}/{provider}");
    match provider {
        "eventhos" | "feishu" => options.push(("base_url", &base_url)),
        _ => options.push(("token_url", &token_url)),
    }
    match provider {
        "event-temple" => options.push(("org_id", ORG_ID)),
        "oauth2" => options.push(("auth", auth)),
        _ => {}
    }
    options.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A new directory that only this user can enter.
fn private_dir() -> PathBuf {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    (0..100)
        .map(|n| std::env::temp_dir().join(format!("tokauth-standin-{}-{nanos}-{n}", std::process::id())))
        .find(|dir| std::fs::DirBuilder::new().mode(0o700).create(dir).is_ok())
        .expect("no temporary directory")
}
