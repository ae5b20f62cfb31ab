//! What went wrong, for the person who must act.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::lines::{Reader, Writer};

/// The family of an [`Error`]: what a program can decide on.
///
/// ```
/// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
/// # let client = server::client_of(server::refusing_token_endpoint());
/// use tokauth::ErrorKind;
///
/// let advice = match client.token().unwrap_err().kind() {
///     ErrorKind::Config | ErrorKind::Unsupported | ErrorKind::Denied => "no use without a change",
///     ErrorKind::RateLimited | ErrorKind::Quota => "wait as long as retry_after says",
///     ErrorKind::Network | ErrorKind::Timeout | ErrorKind::Server => "try again later",
///     _ => "have somebody look at it",
/// };
/// assert_eq!(advice, "no use without a change");
/// # Ok::<(), tokauth::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option is missing, unknown, malformed or contradicts another.
    Config,
    /// This build or version does not offer what was asked for.
    Unsupported,
    /// Only a cached token was asked for, and there is none.
    NotCached,
    /// No answer: name lookup, connection or proxy failed, or the connection broke.
    Network,
    /// The call's time ran out.
    Timeout,
    /// The server's certificate or the TLS handshake was not acceptable.
    Tls,
    /// The provider refused the request; asking again unchanged is pointless.
    Denied,
    /// The provider asks to wait; see [`Error::retry_after`].
    RateLimited,
    /// The provider failed.
    Server,
    /// The reply cannot be understood, or holds no usable token.
    BadResponse,
    /// The token budget is spent; see [`Error::retry_after`].
    Quota,
    /// The store cannot be used, or holds a ledger that cannot be read, and the call cannot do without.
    Store,
    /// A bug in this library.
    Internal,
}

/// Whether a token may have been issued all the same: what decides about asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // a fourth answer would be a new policy
pub enum RetryClass {
    /// Nothing left that could bring a token, or the provider asks to send it again.
    NotSent,
    /// The provider, or the proxy before it, answered, and certainly issued none.
    Refused,
    /// A token may have been issued and lost.
    Ambiguous,
}

/// Where on the way to a token it happened; opens every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Config,
    Store,
    Budget,
    Resolve,
    Connect,
    Tls,
    Request,
    Reply,
    Token,
}

/// Documents hold the place in these lists: new ones go to the end.
const STEPS: [Step; 9] = [
    Step::Config,
    Step::Resolve,
    Step::Connect,
    Step::Tls,
    Step::Request,
    Step::Reply,
    Step::Token,
    Step::Store,
    Step::Budget,
];
const CLASSES: [RetryClass; 3] = [RetryClass::NotSent, RetryClass::Refused, RetryClass::Ambiguous];
const KINDS: [ErrorKind; 13] = [
    ErrorKind::Config,
    ErrorKind::Unsupported,
    ErrorKind::NotCached,
    ErrorKind::Network,
    ErrorKind::Timeout,
    ErrorKind::Tls,
    ErrorKind::Denied,
    ErrorKind::RateLimited,
    ErrorKind::Server,
    ErrorKind::BadResponse,
    ErrorKind::Internal,
    ErrorKind::Quota,
    ErrorKind::Store,
];

fn place<T: PartialEq>(list: &[T], item: &T) -> u64 {
    list.iter().position(|known| known == item).unwrap_or(list.len()) as u64
}

fn at<T: Copy>(list: &[T], place: u64) -> Option<T> {
    list.get(usize::try_from(place).ok()?).copied()
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Config => "config",
            Step::Store => "store",
            Step::Budget => "budget",
            Step::Resolve => "resolve",
            Step::Connect => "connect",
            Step::Tls => "TLS",
            Step::Request => "request",
            Step::Reply => "reply",
            Step::Token => "token",
        })
    }
}

/// An error: one line that names the step, what happened and what to do. It never holds a secret or a token.
///
/// Cheap to clone: all callers that waited for one request share its failure. [`source`](std::error::Error::source) is
/// that of the system, if a file cannot be read.
///
/// ```
/// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
/// # let client = server::client_of(server::refusing_token_endpoint());
/// let error = client.token().unwrap_err();
/// let refusal = "token: oauth2 refused the request (HTTP 401, code invalid_client)";
/// assert_eq!(error.to_string(), format!("{refusal}; check client_id, client_secret and auth"));
/// # Ok::<(), tokauth::Error>(())
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    step: Step,
    class: RetryClass,
    message: String,
    provider_code: Option<String>,
    http_status: Option<u16>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, step: Step, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner {
            kind,
            step,
            class: RetryClass::NotSent,
            message: one_line(message.into()),
            provider_code: None,
            http_status: None,
            retry_after: None,
            source: None,
        }))
    }

    pub(crate) fn config(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Config, Step::Config, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unsupported, Step::Config, message)
    }

    /// One that a [`Store`](crate::store::Store) gives when it cannot be used: what happened, and what to do.
    ///
    /// ```
    /// let error = tokauth::Error::store("the disk is full; make room on it");
    /// assert_eq!(error.to_string(), "store: the disk is full; make room on it");
    /// assert_eq!(error.kind(), tokauth::ErrorKind::Store);
    /// ```
    pub fn store(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Store, Step::Store, message)
    }

    /// One that a [`Store`](crate::store::Store) gives when others did not let go of something in time.
    ///
    /// ```
    /// let error = tokauth::Error::store_timeout("another process has had the lock for all of this call's time");
    /// assert_eq!(error.kind(), tokauth::ErrorKind::Timeout);
    /// ```
    pub fn store_timeout(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Timeout, Step::Store, message)
    }

    pub(crate) fn bug(step: Step, what: &str) -> Error {
        Error::new(ErrorKind::Internal, step, format!("{what}: a bug in libtokauth, please report it"))
    }

    pub(crate) fn with_reply(mut self, http_status: u16, provider_code: Option<String>) -> Error {
        let inner = Arc::make_mut(&mut self.0);
        inner.http_status = Some(http_status);
        inner.provider_code = provider_code;
        self
    }

    pub(crate) fn with_class(mut self, class: RetryClass) -> Error {
        Arc::make_mut(&mut self.0).class = class;
        self
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Error {
        Arc::make_mut(&mut self.0).retry_after = retry_after;
        self
    }

    pub(crate) fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Arc::make_mut(&mut self.0).source = Some(Arc::new(source));
        self
    }

    /// For another process to read.
    pub(crate) fn write(&self, to: &mut Writer) {
        let inner = &*self.0;
        to.number(place(&KINDS, &inner.kind));
        to.number(place(&CLASSES, &inner.class));
        to.number(place(&STEPS, &inner.step));
        to.number(inner.http_status.map_or(0, u64::from));
        to.text(inner.provider_code.as_deref());
        to.text(Some(&inner.message));
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Error> {
        let (kind, class, step) = (from.number()?, from.number()?, from.number()?);
        let (status, code) = (u16::try_from(from.number()?).ok()?, from.text()?);
        let error = Error::new(at(&KINDS, kind)?, at(&STEPS, step)?, from.text()??).with_class(at(&CLASSES, class)?);
        Some(if status == 0 { error } else { error.with_reply(status, code.map(str::to_owned)) })
    }

    /// Whether it is about what processes share, and nothing was tried.
    pub(crate) fn is_about_store(&self) -> bool {
        self.0.step == Step::Store
    }

    /// Whether a reply was read and it is its token that is wrong.
    pub(crate) fn is_about_token(&self) -> bool {
        self.0.step == Step::Token
    }

    /// The family this error belongs to.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client_of(server::refusing_token_endpoint());
    /// assert_eq!(client.token().unwrap_err().kind(), tokauth::ErrorKind::Denied);
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether a token may have been issued all the same.
    #[doc(hidden)]
    pub fn retry_class(&self) -> RetryClass {
        self.0.class
    }

    /// The provider's own code: `invalid_client`, `401003`. `None` if it gave none.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client_of(server::refusing_token_endpoint());
    /// assert_eq!(client.token().unwrap_err().provider_code(), Some("invalid_client"));
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    pub fn provider_code(&self) -> Option<&str> {
        self.0.provider_code.as_deref()
    }

    /// The HTTP status of the reply; `None` if there was no reply.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client_of(server::refusing_token_endpoint());
    /// assert_eq!(client.token().unwrap_err().http_status(), Some(401));
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    pub fn http_status(&self) -> Option<u16> {
        self.0.http_status
    }

    /// How long to wait before asking again: what is left of the cool-down that the failure began, in which a call that
    /// has no valid token gets this error at once and sends nothing (after a timeout that holds for calls with the
    /// same `timeout_ms` or less). `None` if none began.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let client = server::client_of(server::refusing_token_endpoint());
    /// use std::time::Duration;
    ///
    /// let wait = client.token().unwrap_err().retry_after();
    /// assert!(wait.is_some_and(|wait| wait > Duration::ZERO && wait <= Duration::from_secs(60)));
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.step, self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("retry_class", &self.0.class)
            .field("message", &self.to_string())
            .field("provider_code", &self.0.provider_code)
            .field("http_status", &self.0.http_status)
            .field("retry_after", &self.0.retry_after)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Control characters would let a foreign text forge log lines, and NUL would end a C string early.
pub(crate) fn one_line(mut text: String) -> String {
    if text.contains(char::is_control) {
        text = text.replace(char::is_control, " ");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_wide_and_can_be_shared() {
        const fn shared<T: Send + Sync + Clone>() {}
        const { shared::<Error>() };
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    /// A kind, class or step that is in no list could be written and not read.
    #[test]
    fn every_error_can_be_read_by_another_process() {
        // The last of each, as they are declared.
        let all = (Step::Token as usize, ErrorKind::Internal as usize, RetryClass::Ambiguous as usize);
        assert_eq!((STEPS.len() - 1, KINDS.len() - 1, CLASSES.len() - 1), all);
        for kind in KINDS {
            for class in CLASSES {
                for step in STEPS {
                    let error = Error::new(kind, step, "it failed").with_class(class);
                    let told = error.with_reply(403, Some("no".into()));
                    let mut to = Writer::new(100);
                    told.write(&mut to);
                    let text = to.done();
                    let read = Error::read(&mut Reader::new(&text)).unwrap();
                    assert_eq!(format!("{read:?}"), format!("{told:?}"));
                }
            }
        }
    }

    #[test]
    fn a_message_is_one_line_and_opens_with_the_step() {
        let error = Error::new(ErrorKind::Network, Step::Connect, "cannot\r\nreach\0it");
        assert_eq!(error.to_string(), "connect: cannot  reach it");
    }
}
