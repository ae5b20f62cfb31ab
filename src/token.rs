//! The token and the headers an API call needs, made once and shared from then on.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// An access token. Immutable and cheap to clone; may be shared between threads. `Debug` does not show it, and its
/// memory is wiped when the last clone is dropped.
///
/// ```
/// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
/// # let client = server::client();
/// let token = client.token()?;
/// assert_eq!(format!("{token:?}").matches("token-1").count(), 0);
/// for (name, value) in token.headers() {
///     println!("{name} has {} characters", value.len());
/// }
/// # Ok::<(), tokauth::Error>(())
/// ```
#[derive(Clone)]
pub struct Token(Arc<TokenData>);

/// What the clones of one token share; for C it is the handle itself.
pub(crate) struct TokenData {
    pub(crate) value: Text,
    pub(crate) token_type: Text,
    pub(crate) scope: Option<Text>,
    pub(crate) headers: Vec<(Text, Text)>,
    /// Which of the headers is `Authorization`.
    authorization: Option<usize>,
    pub(crate) expires_at: i64,
}

/// Text without NUL, followed by one: lent to C and to Rust without a copy.
pub(crate) struct Text(Zeroizing<String>);

impl Text {
    /// `None` if the text holds a NUL.
    fn new(text: &str) -> Option<Text> {
        if text.contains('\0') {
            return None;
        }
        let mut owned = String::with_capacity(text.len() + 1);
        owned.push_str(text);
        owned.push('\0');
        Some(Text(Zeroizing::new(owned)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0[..self.0.len() - 1]
    }

    #[cfg(feature = "capi")]
    pub(crate) fn with_nul(&self) -> &str {
        &self.0
    }
}

impl TokenData {
    pub(crate) fn authorization(&self) -> Option<&Text> {
        self.authorization.map(|index| &self.headers[index].1)
    }
}

impl Token {
    /// `None` if a text holds a NUL.
    pub(crate) fn new(
        value: &str,
        token_type: &str,
        scope: Option<&str>,
        headers: &[(String, Zeroizing<String>)],
        expires_at: i64,
    ) -> Option<Token> {
        let scope = match scope {
            Some(scope) => Some(Text::new(scope)?),
            None => None,
        };
        Some(Token(Arc::new(TokenData {
            value: Text::new(value)?,
            token_type: Text::new(token_type)?,
            scope,
            authorization: headers.iter().position(|(name, _)| name.eq_ignore_ascii_case("authorization")),
            headers: headers
                .iter()
                .map(|(name, value)| Some((Text::new(name)?, Text::new(value)?)))
                .collect::<Option<_>>()?,
            expires_at,
        })))
    }

    #[cfg(feature = "capi")]
    pub(crate) fn into_shared(self) -> Arc<TokenData> {
        self.0
    }

    #[cfg(feature = "capi")]
    pub(crate) fn from_shared(data: Arc<TokenData>) -> Token {
        Token(data)
    }

    #[cfg(feature = "capi")]
    pub(crate) fn authorization_with_nul(&self) -> Option<&str> {
        self.0.authorization().map(Text::with_nul)
    }

    /// The bare token, as the provider gave it: visible ASCII. An API call wants [`headers`](Token::headers).
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// let token = client.token()?;
    /// assert_eq!(token.value(), "token-1");
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    pub fn value(&self) -> &str {
        self.0.value.as_str()
    }

    /// The ready value of the `Authorization` header, with the scheme as the provider's API wants it (RFC 6750 says
    /// `Bearer`, not all do). `None` where the API takes no such header.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// let token = client.token()?;
    /// assert_eq!(token.authorization(), Some("Bearer token-1"));
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    pub fn authorization(&self) -> Option<&str> {
        self.0.authorization().map(Text::as_str)
    }

    /// All headers an API call needs, as name and value.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// let token = client.token()?;
    /// assert_eq!(token.headers().collect::<Vec<_>>(), [("Authorization", "Bearer token-1")]);
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The token type the server named; `Bearer` if it named none.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// let token = client.token()?;
    /// assert_eq!(token.token_type(), "Bearer");
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    pub fn token_type(&self) -> &str {
        self.0.token_type.as_str()
    }

    /// The scope the server granted, as it wrote it. `None` if it did not say (RFC 6749 section 5.1: then it is the
    /// scope that was asked for).
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// let token = client.token()?;
    /// assert_eq!(token.scope(), None);
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    pub fn scope(&self) -> Option<&str> {
        self.0.scope.as_ref().map(Text::as_str)
    }

    /// When the token ends, in Unix seconds by this machine's wall clock: for people to read, not to schedule on.
    /// [`Client::token`](crate::Client::token) renews it in time.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client();
    /// let token = client.token()?;
    /// let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    /// assert!(token.expires_at() > now as i64);
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    pub fn expires_at(&self) -> i64 {
        self.0.expires_at
    }

    /// Whether both are the same token to a provider.
    pub(crate) fn is_same(&self, other: &Token) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.value() == other.value()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("value", &format_args!("[redacted, {} bytes]", self.value().len()))
            .field("token_type", &self.token_type())
            .field("scope", &self.scope())
            .field("expires_at", &self.expires_at())
            .finish()
    }
}
