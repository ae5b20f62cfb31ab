//! Machine-to-machine access tokens from odd real providers: name a provider, give your credentials, ask for a token as
//! often as you like. It is asked for once, kept, renewed in time, and shared by all who need it.
//!
//! ```
//! # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
//! # let token_url = server::token_endpoint();
//! use tokauth::Client;
//!
//! let client = Client::builder()
//!     .provider("oauth2") // any server that follows RFC 6749; `tokauth::providers()` lists the others
//!     .token_url(token_url)
//!     .client_id("my-id")
//!     .client_secret("my-secret") // or client_secret_file("/run/secrets/my-provider")
//!     .build()?;
//!
//! let token = client.token()?; // blocks while the provider is asked
//! let token = client.token()?; // comes at once
//! for (name, value) in token.headers() {
//!     println!("{name} has {} characters", value.len()); // all headers that a call of the API needs
//! }
//! # assert_eq!(client.counter(tokauth::Counter::Requests), 1);
//! # Ok::<(), tokauth::Error>(())
//! ```
//!
//! A [`Client`] is one credential at one provider, with one scope. It is cheap to clone and may be used from any number
//! of threads: callers that come together send one request and share its outcome. So ask it for the token of each API
//! call instead of keeping one. Nothing here is async: a call that needs a request blocks, for at most `timeout_ms`.
//!
//! # Options
//!
//! An option is a text under a name; [`OPTIONS`] lists them, with what applies while they are not set. Each has a
//! method of [`Builder`]. What else a provider asks for is set by name; `src/providers/README.md` in the source tells
//! what that is. They may also come from JSON and from the environment, as in the other languages that this library is
//! for:
//!
//! ```
//! use tokauth::Client;
//!
//! let builder = Client::builder()
//!     .load_json(r#"{"provider": "event-temple", "client_id": "my-id", "scope": "crm_read"}"#)?
//!     .set("org_id", "org-4711") // an input of this provider
//!     .load_env(Some("MY_PROGRAM_"))?; // MY_PROGRAM_CLIENT_SECRET and so on, if they are set
//! # let client = builder.client_secret("my-secret").build()?;
//! # Ok::<(), tokauth::Error>(())
//! ```
//!
//! # Errors
//!
//! An [`Error`] is one line for the person who must act: the step, what happened, what to do, never a secret. A program
//! decides by its [`kind`](Error::kind). There is no need to count attempts or to wait between them: a call itself
//! tries again where that may help, and after a failure a pause begins in which calls get the same error at once. How
//! long it lasts is [`retry_after`](Error::retry_after).
//!
//! ```
//! # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
//! # let client = server::client_of(server::refusing_token_endpoint());
//! use tokauth::ErrorKind;
//!
//! match client.token() {
//!     Ok(token) => println!("serves until {}", token.expires_at()),
//!     Err(error) => {
//!         eprintln!("{error}"); // token: oauth2 refused the request (HTTP 401, code invalid_client); check …
//!         match error.kind() {
//!             ErrorKind::Config | ErrorKind::Denied => eprintln!("no use without a change"),
//!             _ => eprintln!("again in {:?}", error.retry_after().unwrap_or_default()),
//!         }
//!     }
//! }
//! # assert_eq!(client.token().unwrap_err().kind(), ErrorKind::Denied);
//! # Ok::<(), tokauth::Error>(())
//! ```
//!
//! # Other scopes
//!
//! [`Client::with`] makes a sibling that differs in one option and shares credential, connections and store: one for
//! each scope, or one that waits for less long.
//!
//! ```
//! # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
//! # let client = server::client();
//! let reports = client.with("scope", Some("reports:read"))?; // has a token of its own
//! let hurried = client.with("timeout_ms", Some("500"))?; // shares the token of `client`
//! # assert_eq!(hurried.token()?.value(), client.token()?.value());
//! # assert_ne!(reports.token()?.value(), client.token()?.value());
//! # Ok::<(), tokauth::Error>(())
//! ```
//!
//! # Rejected tokens
//!
//! When the API answers 401, tell the client which token that was about, and try once more. A token that another caller
//! has replaced by then is not asked for again, nor is one after the other where the API rejects them all.
//!
//! ```
//! # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
//! # let (client, api) = (server::client(), server::api_that_rejects_the_first_token());
//! # fn call(api: &str, token: &tokauth::Token) -> u16 {
//! #     use std::io::{Read, Write};
//! #     let mut stream = std::net::TcpStream::connect(&api["http://".len()..]).unwrap();
//! #     let request = format!("GET / HTTP/1.1\r\nauthorization: {}\r\n\r\n", token.authorization().unwrap());
//! #     stream.write_all(request.as_bytes()).unwrap();
//! #     let mut answer = String::new();
//! #     stream.read_to_string(&mut answer).unwrap();
//! #     answer["HTTP/1.1 ".len()..][..3].parse().unwrap()
//! # }
//! let mut token = client.token()?;
//! let mut status = call(&api, &token); // however your program does that
//! if status == 401 {
//!     client.invalidate(&token)?;
//!     token = client.token()?;
//!     status = call(&api, &token);
//! }
//! # assert_eq!(status, 200);
//! # Ok::<(), tokauth::Error>(())
//! ```
//!
//! The feature `middleware` does all this for agents of ureq: they are made by
//! `Agent::config_builder().middleware(tokauth::Middleware::new(client))`.
//!
//! # Sharing between processes and machines
//!
//! With the option `store` processes share tokens, failures and the budget. `file` is for those of one user on one
//! machine, `redis://user:password@host` for many machines (feature `redis`; `examples/fleet.md` in the source says
//! what the server must allow), and [`store`] for an engine of your own. What is kept there is sealed with the client
//! secret, which must be one that nobody guesses, or with the key in `store_key_file`.
//!
//! A budget, `quota`, needs such a store, since it must outlive the process. Requests are counted before they leave;
//! once it is spent, the last token serves to its end, and then the error is of kind [`Quota`](ErrorKind::Quota).
//! [`Client::budget`] tells what is left.
//!
//! ```
//! # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
//! # let token_url = server::token_endpoint();
//! # let directory = std::env::temp_dir().join(format!("tokauth-guide-{}", std::process::id()));
//! # let directory = directory.display();
//! use tokauth::Client;
//!
//! # let my_secret = "canary-secret-0123456789abcdef";
//! let builder = Client::builder().provider("oauth2").token_url(token_url).client_id("my-id").client_secret(my_secret);
//! let client = builder.store(format!("file:{directory}")).quota("31/month").build()?;
//! client.token()?;
//! if let Some(allowance) = client.budget()? {
//!     assert_eq!(allowance.requests, 30);
//! }
//! # std::fs::remove_dir_all(directory.to_string()).unwrap();
//! # Ok::<(), tokauth::Error>(())
//! ```
//!
//! # A provider of your own
//!
//! A provider is one JSON file: what its token request is like, and where the reply has the token. The option
//! `provider_file` names one; `CONTRIBUTING.md` in the source writes one in ten minutes, and explains all that may
//! stand there.
//!
//! ```
//! # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
//! # let token_url = server::token_endpoint();
//! # let path = std::env::temp_dir().join(format!("tokauth-guide-{}.json", std::process::id()));
//! let description = r#"{
//!     "name": "acme",
//!     "about": "Acme reports",
//!     "sources": ["https://docs.acme.example/login"],
//!     "request": {"body": "json", "fields": {"key": "{client_id}", "secret": "{client_secret}"}},
//!     "response": {"token": "/access_token"},
//!     "api": {"headers": {"X-Acme-Session": "{token}"}}
//! }"#;
//! # std::fs::write(&path, description).unwrap();
//! # let path = path.to_str().unwrap();
//! let builder = tokauth::Client::builder().provider_file(path).token_url(token_url);
//! let client = builder.client_id("my-id").client_secret("my-secret").build()?;
//! assert_eq!(client.token()?.headers().next(), Some(("X-Acme-Session", "token-1")));
//! # std::fs::remove_file(path).unwrap();
//! # Ok::<(), tokauth::Error>(())
//! ```
//!
//! # Log
//!
//! Lines go to the [`log`](https://docs.rs/log) facade under the target `tokauth`, and to a closure, if
//! [`Builder::log`] was given one: one at [`Warning`](LogLevel::Warning) or above is worth a look. They hold no secret
//! and no token. (At its level `Trace` the target `ureq_proto` shows both: filter it.)
//!
//! # Testing your program
//!
//! A token endpoint may be `http` on loopback, so a test can be the provider:
//!
//! ```
//! use std::io::{Read, Write};
//!
//! let provider = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let token_url = format!("http://{}/token", provider.local_addr()?);
//! std::thread::spawn(move || {
//!     let (mut stream, _) = provider.accept().unwrap();
//!     let _head = stream.read(&mut [0; 4096]).unwrap();
//!     let body = r#"{"access_token": "a-token", "token_type": "Bearer", "expires_in": 3600}"#;
//!     let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
//!     stream.write_all((head + body).as_bytes()).unwrap();
//!     std::io::copy(&mut stream, &mut std::io::sink()).unwrap(); // until the client is done with it
//! });
//!
//! let builder = tokauth::Client::builder().provider("oauth2").client_id("my-id").client_secret("my-secret");
//! let client = builder.token_url(token_url).build()?;
//! assert_eq!(client.token()?.authorization(), Some("Bearer a-token"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Clients of one process with equal options share one token: what two tests must not share needs another option, such
//! as the port of its own provider.
//!
//! # Features
//!
//! - `capi` (by default): the C functions of `tokauth.h`. A Rust program can do without: `default-features = false`.
//! - `redis`: `store=redis://` and `rediss://`.
//! - `platform-verifier`: `ca_file=system`, with which the platform judges certificates.
//! - `middleware`: `Middleware`, for agents of ureq 3. It adds no dependency; the program names `ureq = "3"` itself.
//!
//! No feature changes a default.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod account;
mod budget;
mod cache;
mod client;
mod clock;
mod config;
mod cooldown;
mod credential;
mod date;
mod document;
mod error;
mod exchange;
mod expiry;
mod hash;
mod judge;
mod lines;
mod log;
#[cfg(feature = "middleware")]
mod middleware;
mod options;
mod process;
mod provider;
mod quota;
mod registry;
mod request;
mod response;
mod seal;
mod secret;
mod settings;
mod share;
mod skew;
pub mod store;
mod sync;
mod token;
mod transport;

#[cfg(all(test, tokauth_shuttle))]
#[path = "../tests/model/mod.rs"]
mod model;

pub use budget::Allowance;
pub use cache::Counter;
pub use client::Client;
pub use config::Builder;
pub use error::{Error, ErrorKind};
pub use log::LogLevel;
#[cfg(feature = "middleware")]
pub use middleware::Middleware;
pub use options::{OPTIONS, OptionInfo};
pub use token::Token;

#[cfg(feature = "capi")]
#[allow(unsafe_code, non_camel_case_types, missing_docs)] // the only place; C's names; the header has the comments
#[allow(clippy::missing_safety_doc)] // said in each comment, in C terms
#[doc(hidden)]
pub mod ffi;

/// The ports that tests plug their own time, network and store into. Not part of the promised API.
#[doc(hidden)]
pub mod seams {
    pub use crate::client::Seams;
    pub use crate::clock::{Clock, Event};
    pub use crate::error::RetryClass;
    pub use crate::registry::Registry;
    pub use crate::request::Head;
    pub use crate::response::Reply;
    pub use crate::secret::Secret;
    pub use crate::store::*;
    pub use crate::transport::{Sent, Transport};

    /// A store in Redis, as `store=redis://` makes one.
    ///
    /// # Errors
    /// `Config`: the URL is not sound.
    #[cfg(feature = "redis")]
    pub fn redis_store(url: &str, clock: std::sync::Arc<dyn Clock>) -> Result<RedisStore, crate::Error> {
        redis_store_over(url, &Seams { clock, ..Seams::system()? })
    }

    /// The same with the clock and the random numbers of `seams`.
    ///
    /// # Errors
    /// `Config`: the URL is not sound.
    #[cfg(feature = "redis")]
    pub fn redis_store_over(url: &str, seams: &Seams) -> Result<RedisStore, crate::Error> {
        let resolver = crate::transport::Resolver::new(std::sync::Arc::default());
        RedisStore::at(url, None, resolver, seams.clock.clone(), seams.random)
    }

    /// An error as a transport of a test's own gives it.
    pub fn failure(kind: crate::ErrorKind, class: RetryClass) -> crate::Error {
        crate::Error::new(kind, crate::error::Step::Request, "it failed").with_class(class)
    }

    /// Reads and checks a provider description, as `provider_file` does with its file's text.
    ///
    /// # Errors
    /// `Config`, naming the place in the description.
    pub fn check_description(text: &str) -> Result<(), crate::Error> {
        crate::provider::Provider::parse(text.to_owned().into()).map(drop)
    }

    /// Reads a ledger of requests and writes it again; `None`: it is none.
    pub fn read_ledger(document: &[u8]) -> Option<Vec<u8>> {
        crate::quota::Ledger::read(Some(document)).ok().map(|ledger| ledger.write())
    }

    /// Reads what a store keeps of a token, and of a credential, once its seal is open, and writes each again; `None`:
    /// it is no such text.
    pub fn read_records(text: &str) -> [Option<String>; 2] {
        use std::time::Duration;
        let (since_boot, since_epoch) = (Duration::from_secs(1_000_000), Duration::from_secs(1_795_219_200));
        let now = crate::clock::Stamp { boot_id: 7, since_boot, since_epoch, is_shared: false };
        let token = crate::share::Known::read(text, &now).map(|known| known.write(&now).to_string());
        let credential = crate::account::Met::read(text, &now).map(|met| met.write(&now).to_string());
        [token, credential]
    }

    /// Seals a text as a store keeps it, with a secret and a salt that everybody knows.
    pub fn seal_record(name: &Name, text: &str) -> Option<Vec<u8>> {
        let fill = |bytes: &mut [u8]| {
            bytes.fill(7);
            Ok(())
        };
        crate::seal::Sealer::new(OPEN_SECRET).seal(name.as_str(), text, &fill).ok()
    }

    /// Opens what was sealed so; `None`: it was not.
    pub fn open_record(name: &Name, document: &[u8]) -> Option<String> {
        crate::seal::Sealer::new(OPEN_SECRET).open(name.as_str(), document).map(|text| text.to_string())
    }

    const OPEN_SECRET: &[u8] = b"canary-secret-0123456789abcdef";
}

/// The names of the built-in providers, sorted.
///
/// ```
/// assert!(tokauth::providers().any(|name| name == "oauth2"));
/// ```
pub fn providers() -> impl ExactSizeIterator<Item = &'static str> {
    provider::BUILT_IN.iter().map(|(name, _)| *name)
}

/// The README's programs: the one in Rust compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Builder>();
    shared::<Client>();
    shared::<Token>();
    shared::<Error>();
};
