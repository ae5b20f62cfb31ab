//! What the options amount to, and the cache key that they make.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::credential::{Credential, CredentialId, fingerprint};
use crate::expiry::Wishes;
use crate::log::Log;
use crate::provider::{Auth, Piece, Provider, Template};
use crate::secret::Secret;

/// What the options amount to.
pub(crate) struct Settings {
    pub(crate) provider: Arc<Provider>,
    pub(crate) client_id: String,
    pub(crate) credential: Credential,
    pub(crate) auth: Option<Auth>,
    pub(crate) token_url: String,
    /// The option that says where the token endpoint is, for errors.
    pub(crate) endpoint: String,
    pub(crate) inputs: BTreeMap<String, String>,
    pub(crate) params: Vec<(String, Secret)>,
    pub(crate) headers: Vec<(String, Secret)>,
    pub(crate) wishes: Wishes,
    pub(crate) timeout: Duration,
    pub(crate) default_ttl: Duration,
    pub(crate) max_ttl: Duration,
    pub(crate) ca_file: Option<String>,
    pub(crate) proxy: Option<Secret>,
    pub(crate) user_agent: String,
    pub(crate) log: Log,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("provider", &self.provider.name)
            .field("token_url", &without_query(&self.token_url))
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// The value of a provider's input.
    pub(crate) fn input(&self, name: &str) -> Option<&str> {
        self.inputs.get(name).map(String::as_str)
    }

    /// Whether both reach the provider over the same kind of connection.
    pub(crate) fn connects_like(&self, other: &Settings) -> bool {
        let same_proxy = self.proxy.as_ref().map(Secret::expose) == other.proxy.as_ref().map(Secret::expose);
        self.ca_file == other.ca_file && self.user_agent == other.user_agent && same_proxy
    }
}

/// What tells one token from another: everything that changes the answer. Compared field by field; fingerprints stand for
/// what may be secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    description: Cow<'static, str>,
    credential: CredentialId,
    auth: Option<Auth>,
    token_url: String,
    inputs: BTreeMap<String, String>,
    params: BTreeMap<String, [u8; 32]>,
    headers: BTreeMap<String, [u8; 32]>,
    default_ttl: Duration,
    max_ttl: Duration,
    ca_file: Option<String>,
    proxy: Option<[u8; 32]>,
}

impl Key {
    pub(crate) fn new(settings: &Settings, fingerprint_key: &[u8; 32]) -> Key {
        let print = |value: &Secret| fingerprint(fingerprint_key, value);
        let prints =
            |values: &[(String, Secret)]| values.iter().map(|(name, value)| (name.clone(), print(value))).collect();
        let mut inputs = settings.inputs.clone();
        if let Some(scope) = inputs.get_mut("scope") {
            // A set (RFC 6749 section 3.3), however it is written.
            let set: BTreeSet<&str> = scope.split_whitespace().collect();
            *scope = set.into_iter().collect::<Vec<_>>().join(" ");
        }
        Key {
            description: settings.provider.source.clone(),
            credential: settings.credential.id(fingerprint_key),
            auth: settings.auth,
            token_url: settings.token_url.clone(),
            inputs,
            params: prints(&settings.params),
            headers: prints(&settings.headers),
            default_ttl: settings.default_ttl,
            max_ttl: settings.max_ttl,
            ca_file: settings.ca_file.clone(),
            proxy: settings.proxy.as_ref().map(print),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("token_url", &without_query(&self.token_url)).finish_non_exhaustive()
    }
}

/// A query may hold anything.
pub(crate) fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

/// A template that holds inputs only; `None` if one is absent.
pub(crate) fn fill(template: &Template, inputs: &BTreeMap<String, String>) -> Option<String> {
    let pieces = template.pieces().iter().map(|piece| match piece {
        Piece::Literal(literal) => Some(literal.as_str()),
        Piece::Name(name) => inputs.get(name).map(String::as_str),
    });
    pieces.collect()
}
