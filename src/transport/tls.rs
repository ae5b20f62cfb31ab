//! The cryptography of TLS: ring's, as rustls offers it, without the half that only signs.

use std::sync::Arc;

use rustls::Error;
use rustls::crypto::{CryptoProvider, KeyProvider, ring};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;

/// What the program has chosen for all of its TLS, if it has.
pub(super) fn cryptography() -> Arc<CryptoProvider> {
    let ours = || Arc::new(CryptoProvider { key_provider: &NoKeys, ..ring::default_provider() });
    CryptoProvider::get_default().cloned().unwrap_or_else(ours)
}

/// Clients show no certificates; the code to sign with their keys would be 47 KB of the shared library.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Err(Error::General("clients show no certificates".to_owned()))
    }
}
