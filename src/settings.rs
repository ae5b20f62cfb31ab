//! What the options amount to, and the cache key that they make.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::cooldown::Pace;
use crate::credential::{Credential, CredentialId, fingerprint};
use crate::error::Error;
use crate::expiry::Wishes;
use crate::log::Log;
use crate::provider::{Auth, Piece, Provider, Template};
use crate::quota::Budget;
use crate::seal::{Sealer, is_weak};
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
    pub(crate) store: Place,
    /// What seals the store, besides the secret.
    pub(crate) store_key: Option<StoreKey>,
    pub(crate) budget: Option<Budget>,
    pub(crate) user_agent: String,
    pub(crate) log: Log,
}

/// Where tokens are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    /// In a store that the program brings, which is there in its memory.
    Given(usize),
    /// A directory; `None`: the usual one.
    File(Option<String>),
    /// A server's URL, which may hold a password.
    #[cfg(feature = "redis")]
    Redis(Secret),
}

/// A key file: its path, and what was in it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StoreKey {
    pub(crate) path: String,
    pub(crate) key: Zeroizing<Vec<u8>>,
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

    /// How long pauses are.
    pub(crate) fn pace(&self) -> Pace {
        self.budget.as_ref().map_or(Pace::USUAL, |budget| Pace::scarce(budget.fair_share(), budget.longest_window()))
    }

    /// What seals the documents of this client.
    ///
    /// # Errors
    /// `Config`: the secret is too weak for that, and there is no other key.
    pub(crate) fn sealer(&self, secret: &Secret) -> Result<Sealer, Error> {
        match &self.store_key {
            Some(StoreKey { key, .. }) => Ok(Sealer::new(key)),
            None if is_weak(secret.expose()) => Err(Error::config(format!(
                "the client secret is too easy to guess to seal a store with: it has fewer than 22 characters, or fewer \
                 than 12 different ones; give store_key_file, or set store=memory{}",
                self.budget.as_ref().map_or("", |_| " and quota=none"),
            ))),
            None => Ok(Sealer::new(secret.expose().as_bytes())),
        }
    }

    /// What tells this credential from others to all who hold it.
    pub(crate) fn shared_credential(&self, sealer: &Sealer, secret: &Secret) -> [u8; 32] {
        let mut content = Vec::new();
        for part in [&self.token_url, &self.client_id, secret.expose()] {
            part_of(&mut content, part.as_bytes());
        }
        sealer.hash(&Zeroizing::new(content))
    }

    /// The same of the cache key: another process may find the secret elsewhere, or have another version of what is
    /// built in, and what the budget is changes no token.
    pub(crate) fn shared_key(&self, sealer: &Sealer, credential: &[u8; 32]) -> [u8; 32] {
        let key = Key::new(self, &sealer.hash(b"fingerprints"));
        let description = if self.provider.is_own() { &*self.provider.source } else { &self.provider.name };
        let auth =
            key.auth.and_then(|auth| Auth::ALL.iter().find(|(_, known)| *known == auth)).map_or("", |(name, _)| *name);
        let mut content = credential.to_vec();
        for part in [description, auth, key.ca_file.as_deref().unwrap_or_default()] {
            part_of(&mut content, part.as_bytes());
        }
        for amount in [key.inputs.len(), key.params.len()] {
            content.extend_from_slice(&(amount as u64).to_le_bytes());
        }
        for (name, value) in &key.inputs {
            part_of(&mut content, name.as_bytes());
            part_of(&mut content, value.as_bytes());
        }
        for (name, print) in key.params.iter().chain(&key.headers) {
            part_of(&mut content, name.as_bytes());
            content.extend_from_slice(print);
        }
        content.extend_from_slice(&key.proxy.unwrap_or_default());
        for life in [key.default_ttl, key.max_ttl] {
            content.extend_from_slice(&life.as_secs().to_le_bytes());
        }
        sealer.hash(&content)
    }

    /// Whether both reach the provider over the same kind of connection.
    pub(crate) fn connects_like(&self, other: &Settings) -> bool {
        let same_proxy = self.proxy.as_ref().map(Secret::expose) == other.proxy.as_ref().map(Secret::expose);
        let keeps_alike = self.budget.is_some() == other.budget.is_some();
        self.ca_file == other.ca_file && self.user_agent == other.user_agent && same_proxy && keeps_alike
    }
}

/// What tells one token from another: everything that changes the answer. Compared field by field; fingerprints stand
/// for what may be secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key {
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
    store: Place,
    store_key: Option<StoreKey>,
    budget: Option<Budget>,
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
            store: settings.store.clone(),
            store_key: settings.store_key.clone(),
            budget: settings.budget.clone(),
        }
    }
}

/// Behind its length, so that no two lists of parts look alike.
pub(crate) fn part_of(content: &mut Vec<u8>, part: &[u8]) {
    content.extend_from_slice(&(part.len() as u64).to_le_bytes());
    content.extend_from_slice(part);
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
