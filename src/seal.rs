//! What makes a document unreadable to all but those who hold the client's secret, or the store's key. Pure.
//!
//! A document has a key of its own, derived by HKDF-SHA256 (RFC 5869) from the secret and a random salt, so the nonce
//! can be zero (RFC 8439 wants no pair of both twice). ChaCha20-Poly1305 opens with more than one key if somebody
//! arranges it; the commitment rules that out, since it is checked first. Bound into the seal are the whole header and
//! the document's name, so that no document passes for another.

use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::{Error, Step};
use crate::hash::hmac_sha256;

/// Opens a document; the last byte is the version of all that follows.
const MAGIC: &[u8; 8] = b"tokauth\x01";
const SALT: usize = 32;
const COMMITMENT: usize = 16;
const HEADER: usize = MAGIC.len() + SALT + COMMITMENT;

/// A secret with less is guessed, and a document would tell whoever has it whether a guess is right (RFC 5869 section
/// 4): so many characters, so many of them different.
const MIN_LENGTH: usize = 22;
const MIN_DISTINCT: usize = 12;

/// Whether a secret is too easy to guess for documents to be sealed with it.
pub(crate) fn is_weak(secret: &str) -> bool {
    let mut seen: Vec<char> = secret.chars().collect();
    seen.sort_unstable();
    seen.dedup();
    secret.chars().count() < MIN_LENGTH || seen.len() < MIN_DISTINCT
}

/// Seals and opens documents, and makes names for them.
pub(crate) struct Sealer {
    secret: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    pub(crate) fn new(secret: &[u8]) -> Sealer {
        Sealer { secret: Zeroizing::new(secret.to_vec()) }
    }

    /// A hash of `content` that only who has the secret can make: another secret, other names.
    pub(crate) fn hash(&self, content: &[u8]) -> [u8; 32] {
        hmac_sha256(&*self.derive(&[0; SALT], b"tokauth v1 name"), content)
    }

    /// `random` fills the salt.
    pub(crate) fn seal(
        &self,
        name: &str,
        text: &str,
        random: &dyn Fn(&mut [u8]) -> Result<(), Error>,
    ) -> Result<Vec<u8>, Error> {
        let mut salt = [0; SALT];
        random(&mut salt)?;
        let mut document = [MAGIC.as_slice(), &salt].concat();
        let commitment = hmac_sha256(&*self.derive(&salt, b"tokauth v1 commit"), &document);
        document.extend_from_slice(&commitment[..COMMITMENT]);
        let bound = Aad::from([&document, name.as_bytes()].concat());
        let mut body = text.as_bytes().to_vec(); // becomes the ciphertext in place
        self.cipher(&salt)
            .and_then(|cipher| cipher.seal_in_place_append_tag(zero(), bound, &mut body).ok())
            .ok_or_else(|| Error::bug(Step::Store, "a document cannot be sealed"))?;
        document.extend_from_slice(&body);
        Ok(document)
    }

    /// `None`: it is not what was sealed with this secret under this name.
    pub(crate) fn open(&self, name: &str, document: &[u8]) -> Option<Zeroizing<String>> {
        let (header, body) = document.split_at_checked(HEADER)?;
        let (head, commitment) = header.split_at(HEADER - COMMITMENT);
        let salt = head.strip_prefix(MAGIC.as_slice())?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.derive(salt, b"tokauth v1 commit")).ok()?;
        mac.update(head);
        mac.verify_truncated_left(commitment).ok()?;
        let bound = Aad::from([header, name.as_bytes()].concat());
        let mut body = Zeroizing::new(body.to_vec());
        let length = self.cipher(salt)?.open_in_place(zero(), bound, &mut body).ok()?.len();
        body.truncate(length);
        std::str::from_utf8(&body).ok().map(|text| Zeroizing::new(text.to_owned()))
    }

    fn cipher(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let key = self.derive(salt, b"tokauth v1 seal");
        UnboundKey::new(&CHACHA20_POLY1305, &*key).ok().map(LessSafeKey::new)
    }

    /// HKDF: extract, then the first block of expand.
    fn derive(&self, salt: &[u8], label: &[u8]) -> Zeroizing<[u8; 32]> {
        let extracted = Zeroizing::new(hmac_sha256(salt, &self.secret));
        Zeroizing::new(hmac_sha256(&*extracted, &[label, &[1]].concat()))
    }
}

fn zero() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"canary-secret-0123456789abcdef";
    const TEXT: &str = "canary-token-1\nBearer";

    fn name(byte: u8) -> String {
        format!("token-{byte}")
    }

    fn seal(text: &str) -> Vec<u8> {
        Sealer::new(SECRET)
            .seal(&name(1), text, &|bytes| {
                bytes.fill(7);
                Ok(())
            })
            .unwrap()
    }

    fn opened(secret: &[u8], name: &str, document: &[u8]) -> Option<String> {
        Sealer::new(secret).open(name, document).map(|text| text.to_string())
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_secret_and_name_only() {
        for text in ["", TEXT, &"x".repeat(20_000)] {
            let document = seal(text);
            assert_eq!(opened(SECRET, &name(1), &document).as_deref(), Some(text));
            assert_eq!(opened(SECRET, &name(2), &document), None, "under another name");
            assert_eq!(opened(b"canary-secret-0123456789abcdeg", &name(1), &document), None, "with another secret");
        }
    }

    /// F-05.
    #[test]
    fn a_document_with_any_bit_flipped_or_any_end_cut_off_does_not_open() {
        let document = seal(TEXT);
        for bit in 0..document.len() * 8 {
            let mut flipped = document.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opened(SECRET, &name(1), &flipped), None, "bit {bit}");
        }
        for length in 0..document.len() {
            assert_eq!(opened(SECRET, &name(1), &document[..length]), None, "{length} bytes");
        }
        assert_eq!(opened(SECRET, &name(1), &[document.as_slice(), b"x"].concat()), None, "longer");
    }

    /// I-12.
    #[test]
    fn nothing_of_the_text_or_the_secret_is_seen() {
        let document = String::from_utf8_lossy(&seal(TEXT)).into_owned();
        assert!(!document.contains("canary") && !document.contains("Bearer"), "{document}");
    }

    /// RFC 5869, A.3, where the salt is empty, which is as 32 zeros, and so is the label.
    #[test]
    fn keys_are_derived_as_hkdf_does() {
        let hex = |bytes: &[u8]| crate::hash::lower_hex(bytes);
        assert_eq!(
            hex(&hmac_sha256(&[0; 32], &[0x0b; 22])),
            "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04"
        );
        assert_eq!(
            hex(&*Sealer::new(&[0x0b; 22]).derive(&[0; 32], b"")),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
        );
    }

    /// I-11.
    #[test]
    fn a_secret_that_can_be_guessed_is_weak() {
        for (secret, weak) in [
            ("", true),
            ("hunter2", true),
            ("abcdefghijklmnopqrstu", true),                 // 21
            ("abcdefghijklmnopqrstuv", false),               // 22
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true), // one
            ("abababababcdcdcdcdcdefefefghgh", true),        // eight
            ("aaaaaaaaaaabcdefghijkl", false),               // twelve
            ("aaaaaaaaaaabcdefghijkk", true),                // eleven
        ] {
            assert_eq!(is_weak(secret), weak, "{secret}");
        }
    }
}
