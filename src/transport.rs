//! One HTTP POST: the port, and its implementation with ureq. The only file that names ureq.

use std::fmt;
use std::io::{self, ErrorKind as IoKind, Read};
use std::time::Duration;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use zeroize::Zeroizing;

use crate::clock::Deadline;
use crate::credential::read_limited;
use crate::error::{Error, ErrorKind, Step};
use crate::request::Head;
use crate::response::Reply;
use crate::secret::Secret;

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
const HEAD_MAX: usize = 64 * 1024;
/// Servers close kept connections after 2 to 5 s; a request on a stale one fails without telling whether it arrived.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// HTTP/1.1 over rustls.
pub(crate) struct Http {
    agent: ureq::Agent,
    proxied: bool,
    own_roots: bool,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("proxied", &self.proxied).finish_non_exhaustive()
    }
}

impl Http {
    /// Reads `ca_file`; does not touch the network.
    pub(crate) fn new(ca_file: Option<&str>, proxy: Option<&Secret>, user_agent: &str) -> Result<Http, Error> {
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
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .max_response_header_size(HEAD_MAX)
            .max_idle_age(IDLE_MAX)
            .build();
        Ok(Http { agent: config.new_agent(), proxied, own_roots: ca_file.is_some() })
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
        let mut request = self.agent.post(&head.url).config().timeout_global(Some(timeout)).build();
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
            Err(e) => return Err(self.unsent(e, head, timeout)),
        };
        let headers = response
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let status = response.status().as_u16();
        let whole = |body| Ok(Sent::Reply(Reply { status, headers, body: Zeroizing::new(body) }));
        match response.body_mut().with_config().limit(BODY_MAX + 1).read_to_vec() {
            Ok(body) if body.len() as u64 <= BODY_MAX => whole(body),
            // A refusal is told by its status, whatever came with it.
            Ok(_) | Err(ureq::Error::BodyExceedsLimit(_)) if !(200..300).contains(&status) => whole(Vec::new()),
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

impl Http {
    /// Why nothing but, at most, the head has left.
    fn unsent(&self, error: ureq::Error, head: &Head, timeout: Duration) -> Error {
        let uri = head.url.parse::<http::Uri>().ok();
        let host = uri.as_ref().and_then(|uri| uri.authority()).map(|host| host.to_string()).unwrap_or_default();
        let peer = if self.proxied { "the proxy".to_owned() } else { host.clone() };
        let network = |step, message| Error::new(ErrorKind::Network, step, message);
        let tls = |reason: &str| {
            let advice = match (reason.contains("InvalidContentType"), self.own_roots) {
                (true, _) => "that port speaks no TLS; check the port, or write http if it is on this machine",
                (false, true) => "check the host, and that ca_file holds the root of its certificate",
                (false, false) => "check the host; for a private CA set ca_file",
            };
            Error::new(ErrorKind::Tls, Step::Tls, format!("no trusted connection to {host}: {reason}; {advice}"))
        };
        let proxy = |reason: &str| {
            let message = format!("the proxy does not lead to {host}: {reason}; check proxy");
            Error::new(ErrorKind::Network, Step::Connect, message)
        };
        match &error {
            ureq::Error::Timeout(_) => {
                let message = format!("no connection to {peer} within {} ms; is it reachable?", timeout.as_millis());
                Error::new(ErrorKind::Timeout, Step::Connect, message)
            }
            ureq::Error::HostNotFound => network(Step::Resolve, format!("no address for {peer}; check the name")),
            ureq::Error::ConnectProxyFailed(reason) => proxy(reason.split('/').next().unwrap_or_default()),
            ureq::Error::Protocol(e) if self.proxied => proxy(&e.to_string()),
            ureq::Error::Io(e) if self.proxied && is_closed(e) => proxy("the connection was closed"),
            ureq::Error::Tls(reason) => tls(reason),
            ureq::Error::Rustls(e) => tls(&e.to_string()),
            // rustls tells its errors as InvalidData; nothing else does before a reply.
            ureq::Error::Io(e) if e.kind() == IoKind::InvalidData => tls(&e.to_string()),
            // A handshake cut short; a TCP connect does not end like this.
            ureq::Error::Io(e) if is_closed(e) && head.url.starts_with("https:") => {
                tls("the peer closed during the handshake")
            }
            // getaddrinfo's errors have no number of the system's.
            ureq::Error::Io(e) if e.raw_os_error().is_none() && !is_closed(e) => {
                network(Step::Resolve, format!("no address for {peer}: {e}; check the name and the network"))
            }
            ureq::Error::Io(e) => {
                network(Step::Connect, format!("cannot reach {peer}: {e}; is it up and the address right?"))
            }
            other => network(Step::Request, format!("the request to {host} could not be sent: {other}")),
        }
    }
}

/// Whether the other side ended what stood already.
fn is_closed(error: &io::Error) -> bool {
    use IoKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Why no whole reply came.
fn lost(error: ureq::Error, timeout: Duration) -> Error {
    match &error {
        ureq::Error::Timeout(_) => {
            let message = format!("no whole reply within {} ms; ask again, or raise timeout_ms", timeout.as_millis());
            Error::new(ErrorKind::Timeout, Step::Reply, message)
        }
        // rustls again: an alert that comes after the handshake, such as for a client certificate that is missing.
        ureq::Error::Io(e) if e.kind() == IoKind::InvalidData => Error::new(
            ErrorKind::Tls,
            Step::Tls,
            format!("the connection was ended: {e}; ask the provider what it wants"),
        ),
        ureq::Error::Io(e) => {
            // The same server, where its alert is lost because the body was still on its way.
            let advice = match e.kind() {
                IoKind::BrokenPipe | IoKind::ConnectionReset => "; if it stays so, does it want a client certificate?",
                _ => "",
            };
            let message = format!("the connection broke before the reply was whole: {e}; ask again{advice}");
            Error::new(ErrorKind::Network, Step::Reply, message)
        }
        ureq::Error::LargeResponseHeader(..) => Error::new(
            ErrorKind::BadResponse,
            Step::Reply,
            format!("the head of the reply is larger than {} KiB", HEAD_MAX / 1024),
        ),
        other => Error::new(ErrorKind::BadResponse, Step::Reply, format!("the reply is not sound HTTP: {other}")),
    }
}
