#![doc = include_str!("../README.md")]

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
    pub use crate::clock::{Clock, Deadline, Event};
    pub use crate::error::RetryClass;
    pub use crate::registry::Registry;
    pub use crate::request::Head;
    pub use crate::response::Reply;
    pub use crate::secret::Secret;
    #[cfg(feature = "redis")]
    pub use crate::store::RedisStore;
    pub use crate::store::{Change, DOCUMENT_MAX, FileStore, Hold, Memory, Name, Store, Turn};
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
}

/// The names of the built-in providers, sorted.
pub fn providers() -> impl ExactSizeIterator<Item = &'static str> {
    provider::BUILT_IN.iter().map(|(name, _)| *name)
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Client>();
    shared::<Token>();
    shared::<Error>();
};
