//! One HTTP POST: the port, and its implementation with ureq. With the middleware the only module that names ureq.

mod begin;
mod connect;
mod fault;
mod resolver;
#[cfg(feature = "redis")]
mod stream;
mod tls;

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use zeroize::Zeroizing;

use crate::clock::Deadline;
use crate::credential::read_limited;
use crate::error::{Error, ErrorKind, Step};
use crate::process::Locked;
use crate::request::Head;
use crate::response::Reply;
use crate::secret::Secret;

use connect::Connections;
use fault::{is_plain, lost, not_sound};
pub(crate) use resolver::{Places, Resolver};
#[cfg(feature = "redis")]
pub(crate) use stream::Line;

/// Sends a request and tells whether the provider may have acted on it.
pub trait Transport: Send + Sync + fmt::Debug {
    /// Connects, then calls `body` once, when the connection stands and nothing but the head has left. `body` gives
    /// exactly `head.content_length` bytes; an error from it ends the exchange as not sent.
    ///
    /// # Errors
    /// The provider cannot have issued a token.
    fn send(
        &self,
        head: &Head,
        deadline: Deadline,
        body: &mut dyn FnMut() -> Result<Secret, Error>,
    ) -> Result<Sent, Error>;
}

/// What became of a request whose body left.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums)] // a third outcome would be a new contract
pub enum Sent {
    /// A whole reply.
    Reply(Reply),
    /// No whole reply came; a token may exist.
    Lost(Error),
}

/// No reply is larger; RFC 6749 replies are under 10 KiB.
const BODY_MAX: u64 = 1024 * 1024;
/// No file of root certificates is larger; a system's has a quarter of a MiB.
const ROOTS_MAX: u64 = 16 * 1024 * 1024;
/// Servers and proxies commonly stop at 8 or 16 KiB.
const HEAD_MAX: usize = 32 * 1024;
/// Servers close kept connections after 2 to 5 s; a request on a stale one fails without telling whether it arrived.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// Siblings may ask at the same time.
const IDLE_CONNECTIONS: usize = 10;

/// HTTP/1.1 over rustls.
pub(crate) struct Http {
    config: ureq::config::Config,
    /// A child's own: the pool has locks, and its connections are the parent's, of which dropping closes no more than
    /// the child's descriptors. A thread that was changing the pool at the fork is an owner of it, and for ever: what
    /// is half changed is never dropped.
    agent: Locked<Option<ureq::Agent>>,
    resolver: Resolver,
    proxied: bool,
    own_roots: bool,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("proxied", &self.proxied).finish_non_exhaustive()
    }
}

impl Http {
    /// Reads `ca_file`; does not touch the network. `keeps`: connections may be used again.
    pub(crate) fn new(
        ca_file: Option<&str>,
        proxy: Option<&Secret>,
        user_agent: &str,
        keeps: bool,
        resolver: Resolver,
    ) -> Result<Http, Error> {
        begin::begin()?;
        let roots = match ca_file {
            None => RootCerts::WebPki,
            #[cfg(feature = "platform-verifier")]
            Some("system") => RootCerts::PlatformVerifier,
            #[cfg(not(feature = "platform-verifier"))]
            Some("system") => {
                return Err(Error::unsupported(
                    "ca_file=system needs the feature platform-verifier; build with it, or give a PEM file",
                ));
            }
            Some(path) => read_roots(path)?,
        };
        let proxy = proxy.map(read_proxy).transpose()?;
        let proxied = proxy.is_some();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .accept_encoding("")
            .user_agent(user_agent) // for CONNECT; the request has its own
            .proxy(proxy)
            .tls_config(
                TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(tls::cryptography()).build(),
            )
            .max_response_header_size(HEAD_MAX)
            // Just enough to see that a head is too large; ureq's own is four times that.
            .input_buffer_size(HEAD_MAX + 1)
            .max_idle_age(IDLE_MAX)
            .max_idle_connections(if proxied || !keeps { 0 } else { IDLE_CONNECTIONS })
            .build();
        Ok(Http { config, resolver, agent: Locked::default(), proxied, own_roots: ca_file.is_some() })
    }

    fn agent(&self) -> ureq::Agent {
        let make =
            || ureq::Agent::with_parts(self.config.clone(), Connections::new(self.proxied), self.resolver.clone());
        let inherit = |parents: Option<&mut Option<ureq::Agent>>| {
            drop(parents.and_then(Option::take));
            None
        };
        self.agent.locked(inherit, |agent| agent.get_or_insert_with(make).clone())
    }
}

fn read_proxy(url: &Secret) -> Result<ureq::Proxy, Error> {
    let url = url.expose();
    let whole = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
    let proxy = ureq::Proxy::new(url).ok().filter(|_| whole);
    proxy.ok_or_else(|| Error::config("proxy is not the URL of an HTTP proxy; write it as http://host:port"))
}

fn read_roots(path: &str) -> Result<RootCerts, Error> {
    let fault = |reason: &str| Error::config(format!("ca_file {reason}; give a PEM file of root certificates"));
    let pem =
        read_limited(path.as_ref(), ROOTS_MAX).map_err(|e| fault(&format!("cannot be read: {e}")).with_source(e))?;
    let mut roots: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        match item {
            Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
            Ok(_) => {}
            Err(_) => return Err(fault("is not PEM")),
        }
    }
    if roots.is_empty() {
        return Err(fault("holds no certificate"));
    }
    Ok(RootCerts::from(roots.into_iter()))
}

impl Transport for Http {
    fn send(
        &self,
        head: &Head,
        deadline: Deadline,
        body: &mut dyn FnMut() -> Result<Secret, Error>,
    ) -> Result<Sent, Error> {
        let timeout = deadline.remaining();
        if timeout.is_zero() {
            return Err(Error::new(ErrorKind::Timeout, Step::Connect, "no time left to connect; raise timeout_ms"));
        }
        let mut request = self.agent().post(&head.url).config().timeout_global(Some(timeout));
        if is_plain(&head.url) {
            // It goes to this machine (a proxy's loopback is another), and a proxy would read the secret.
            request = request.proxy(None);
        }
        let mut request = request.build();
        for (name, value) in &head.headers {
            request = request.header(name, value.expose());
        }
        request = request.header("Content-Length", head.content_length.to_string());
        let mut source = Source { body, length: head.content_length, text: None, position: 0, failed: None };
        let outcome = request.send(ureq::SendBody::from_reader(&mut source));
        let asked = source.text.is_some();
        if let Some(error) = source.failed {
            return Err(error);
        }
        let mut response = match outcome {
            Ok(response) => response,
            Err(e) if asked => return Ok(Sent::Lost(lost(e, timeout))),
            Err(e) => return Err(self.unsent(e, &head.url, timeout)),
        };
        let status = response.status();
        if status.is_informational() {
            // 101: what follows is another protocol.
            let error = not_sound("it switches protocols, which was not asked for");
            return Ok(Sent::Lost(error.with_reply(status.as_u16(), None)));
        }
        let status = status.as_u16();
        let headers = response
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let whole = |body| Ok(Sent::Reply(Reply { status, headers, body: Zeroizing::new(body) }));
        match response.body_mut().with_config().limit(BODY_MAX + 1).read_to_vec() {
            Ok(body) if body.len() as u64 <= BODY_MAX => whole(body),
            // A refusal is told by its head, whatever became of the rest.
            _ if !(200..300).contains(&status) => whole(Vec::new()),
            Ok(_) | Err(ureq::Error::BodyExceedsLimit(_)) => Ok(Sent::Lost(
                Error::new(
                    ErrorKind::BadResponse,
                    Step::Reply,
                    "the reply is larger than 1 MiB; is this the token endpoint?",
                )
                .with_reply(status, None),
            )),
            Err(e) => Ok(Sent::Lost(lost(e, timeout).with_reply(status, None))),
        }
    }
}

/// Calls for the body when the first byte of it is due.
struct Source<'a> {
    body: &'a mut dyn FnMut() -> Result<Secret, Error>,
    length: usize,
    text: Option<Secret>,
    position: usize,
    failed: Option<Error>,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.text.is_none() {
            let text = (self.body)().and_then(|text| match text.expose().len() == self.length {
                true => Ok(text),
                false => Err(Error::bug(Step::Request, "the body has another length than the head says")),
            });
            match text {
                Ok(text) => self.text = Some(text),
                Err(error) => {
                    self.failed = Some(error);
                    return Err(io::Error::other("no body"));
                }
            }
        }
        let rest = self.text.as_ref().map_or(&[][..], |text| &text.expose().as_bytes()[self.position..]);
        let amount = rest.len().min(buffer.len());
        buffer[..amount].copy_from_slice(&rest[..amount]);
        self.position += amount;
        Ok(amount)
    }
}
