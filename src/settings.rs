//! What the options amount to, and the cache key that they make.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
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
    /// The values of the provider's inputs, in the description's order.
    pub(crate) inputs: Inputs,
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

/// Names and values.
pub(crate) type Inputs = Vec<(String, String)>;

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
        input(&self.inputs, name)
    }

    /// Whether both reach the provider over the same kind of connection.
    pub(crate) fn connects_like(&self, other: &Settings) -> bool {
        let same_proxy = self.proxy.as_ref().map(Secret::expose) == other.proxy.as_ref().map(Secret::expose);
        self.ca_file == other.ca_file && self.user_agent == other.user_agent && same_proxy
    }
}

/// What tells one token from another: everything that changes the answer. Compared field by field; fingerprints stand
/// for what may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    description: Cow<'static, str>,
    credential: CredentialId,
    auth: Option<Auth>,
    token_url: String,
    inputs: Inputs,
    params: Vec<(String, [u8; 32])>,
    headers: Vec<(String, [u8; 32])>,
    default_ttl: Duration,
    max_ttl: Duration,
    ca_file: Option<String>,
    proxy: Option<[u8; 32]>,
}

impl Key {
    pub(crate) fn new(settings: &Settings, fingerprint_key: &[u8; 32]) -> Key {
        let print = |value: &Secret| fingerprint(fingerprint_key, value);
        // In whatever order they were set.
        let prints = |values: &[(String, Secret)]| {
            let mut prints: Vec<_> = values.iter().map(|(name, value)| (name.clone(), print(value))).collect();
            prints.sort_unstable();
            prints
        };
        let mut inputs = settings.inputs.clone();
        if let Some((_, scope)) = inputs.iter_mut().find(|(name, _)| name == "scope") {
            // A set (RFC 6749 section 3.3), however it is written.
            let mut words: Vec<&str> = scope.split_whitespace().collect();
            words.sort_unstable();
            words.dedup();
            *scope = words.join(" ");
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

/// Of what differs most often: a description is a page.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.credential, &self.token_url, &self.inputs, &self.params).hash(state);
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

/// The value of one of the inputs.
pub(crate) fn input<'a>(inputs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    inputs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// A template that holds inputs only; `None` if one is absent.
pub(crate) fn fill(template: &Template, inputs: &[(String, String)]) -> Option<String> {
    let pieces = template.pieces().iter().map(|piece| match piece {
        Piece::Literal(literal) => Some(literal.as_str()),
        Piece::Name(name) => input(inputs, name),
    });
    pieces.collect()
}
