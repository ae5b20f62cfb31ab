//! The client secret, from a text or a file, and what is made of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::hash::{hmac_sha256, lower_hex};
use crate::options::MAX_TEXT;
use crate::provider::Encoding;
use crate::secret::Secret;

/// Where the client secret comes from.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    Text(Secret),
    /// Read before each request, so that a rotated secret needs no restart.
    File(PathBuf),
}

/// Tells secrets apart without holding them; means nothing outside this process.
pub(crate) type Fingerprint = [u8; 32];

/// What a cache key holds of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CredentialId {
    Fingerprint(Fingerprint),
    File(PathBuf),
}

impl Credential {
    /// The secret as of now.
    pub(crate) fn read(&self) -> Result<Secret, Error> {
        match self {
            Credential::Text(secret) => Ok(secret.clone()),
            Credential::File(path) => read_file(path),
        }
    }

    /// Identifies the credential without holding it; `key` is this process's own.
    pub(crate) fn id(&self, key: &[u8; 32]) -> CredentialId {
        match self {
            Credential::Text(secret) => CredentialId::Fingerprint(fingerprint(key, secret)),
            Credential::File(path) => CredentialId::File(path.clone()),
        }
    }
}

/// Tells secrets apart within one process, whose own `key` is.
pub(crate) fn fingerprint(key: &[u8; 32], secret: &Secret) -> Fingerprint {
    hmac_sha256(key, secret.expose().as_bytes())
}

/// A whole file that is no longer than `max` bytes.
pub(crate) fn read_bytes(path: &Path, max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("it holds more than {max} bytes")));
    }
    Ok(bytes)
}

/// The same of a text file.
pub(crate) fn read_limited(path: &Path, max: u64) -> io::Result<String> {
    let bytes = read_bytes(path, max)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(io::Error::other("it is not UTF-8")),
    }
}

/// One trailing line break is an editor's, not the secret's.
fn read_file(path: &Path) -> Result<Secret, Error> {
    let fault = |reason: String| Error::config(format!("client_secret_file {reason}"));
    let text = read_limited(path, MAX_TEXT as u64)
        .map_err(|e| fault(format!("cannot be read: {e}; give the path of a UTF-8 text file")).with_source(e))?;
    let text = Zeroizing::new(text);
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(fault("is empty; put the client secret into it".into()));
    }
    if secret.contains(['\r', '\n', '\0']) {
        return Err(fault("holds more than one line, or a NUL; put only the client secret into it".into()));
    }
    Ok(Secret::from(secret))
}

/// The signature of `message` with `secret` as key, as text.
pub(crate) fn sign(secret: &Secret, message: &str, encoding: Encoding) -> String {
    let digest = hmac_sha256(secret.expose().as_bytes(), message.as_bytes());
    match encoding {
        Encoding::Hex => lower_hex(&digest),
        Encoding::Base64 => STANDARD.encode(digest),
        Encoding::Base64url => URL_SAFE_NO_PAD.encode(digest),
    }
}

/// The value of an HTTP Basic `Authorization` header.
pub(crate) fn basic(client_id: &str, secret: &Secret) -> Secret {
    let pair = Zeroizing::new(format!("{client_id}:{}", secret.expose()));
    Secret::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_the_providers_publish() {
        // Authvia's own example: developer.authvia.com/reference/authentication.
        let value = "rMC%aeVO$&jH3oM4LkijKsz$MS533SZ7f%qLdHZyrB71!7xRQAq!2si&$nBV!Ypm";
        let message = format!("{value}.{}.1565870400", value.len());
        for (secret, message, encoding, signature) in [
            ("your-secret", message.as_str(), Encoding::Base64, "BJY6fZBoq84Fo5JKFoQh6XpeQgeKz1kVz2DrErIp6sU="),
            ("your-secret", &message, Encoding::Base64url, "BJY6fZBoq84Fo5JKFoQh6XpeQgeKz1kVz2DrErIp6sU"),
            ("libtokauth-example-secret", &message, Encoding::Base64, "5dh8Kezl48Jgny99eaaYuQAHpgFpp8XxJOg4lBH1Nuw="),
            (
                "libtokauth-example-secret",
                "55DE3799-6C65-43F3-9AFB-A4725358B4FD1683257792",
                Encoding::Hex,
                "01f976760a929f0a58ef0996afcfa37e640ec36bdd5c9e62dcc28b83e122ea9e",
            ),
        ] {
            assert_eq!(sign(&secret.into(), message, encoding), signature);
        }
    }

    #[test]
    fn a_secret_file_is_one_line() {
        let dir = std::env::temp_dir().join(format!("tokauth-secret-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("secret");
        for (content, read) in [
            (b"s3cret".as_slice(), Ok("s3cret")),
            (b"s3cret\n", Ok("s3cret")),
            (b"s3cret\r\n", Ok("s3cret")),
            (b" s3cret \n", Ok(" s3cret ")),
            (b"s3cret\n\n", Err("more than one line")),
            (b"a\nb", Err("more than one line")),
            (b"a\0b", Err("NUL")),
            (b"", Err("is empty")),
            (b"\n", Err("is empty")),
            (b"\xff\xfe", Err("cannot be read")),
            (&[b'x'; MAX_TEXT + 1], Err("more than 65536 bytes")),
        ] {
            std::fs::write(&path, content).unwrap();
            match (Credential::File(path.clone()).read(), read) {
                (Ok(secret), Ok(expected)) => assert_eq!(secret.expose(), expected),
                (Err(error), Err(reason)) => assert!(error.to_string().contains(reason), "{error}"),
                (got, expected) => panic!("{got:?} instead of {expected:?}"),
            }
        }
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(Credential::File(path).read().unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn a_fingerprint_tells_secrets_apart_and_is_this_process_s_own() {
        let id = |secret: &str, key: u8| Credential::Text(secret.into()).id(&[key; 32]);
        assert_eq!(id("a", 1), id("a", 1));
        assert_ne!(id("a", 1), id("b", 1));
        assert_ne!(id("a", 1), id("a", 2));
    }
}
