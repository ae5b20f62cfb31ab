//! One HTTP POST: the port, and its implementation with ureq. The only module that names ureq.

mod resolver;

use std::fmt;
use std::io::{self, ErrorKind as IoKind, Read};
use std::time::{Duration, Instant};

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector,
    Transport as Stream, time,
};
use zeroize::Zeroizing;

use crate::clock::Deadline;
use crate::credential::read_limited;
use crate::error::{Error, ErrorKind, Step};
use crate::request::Head;
use crate::response::Reply;
use crate::secret::Secret;

pub(crate) use resolver::{Places, Resolver};

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
/// How much of a TLS error is told, in characters.
const REASON_MAX: usize = 200;
/// Servers close kept connections after 2 to 5 s; a request on a stale one fails without telling whether it arrived.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// Siblings may ask at the same time.
const IDLE_CONNECTIONS: usize = 10;

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
    pub(crate) fn new(
        ca_file: Option<&str>,
        proxy: Option<&Secret>,
        user_agent: &str,
        resolver: Resolver,
    ) -> Result<Http, Error> {
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
            // Just enough to see that a head is too large; ureq's own is four times that.
            .input_buffer_size(HEAD_MAX + 1)
            .max_idle_age(IDLE_MAX)
            .max_idle_connections(if proxied { 0 } else { IDLE_CONNECTIONS })
            .build();
        let agent = ureq::Agent::with_parts(config, Connections { proxied, ..Connections::default() }, resolver);
        Ok(Http { agent, proxied, own_roots: ca_file.is_some() })
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
        let mut request = self.agent.post(&head.url).config().timeout_global(Some(timeout));
        if is_plain(head) {
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
            Err(e) => return Err(self.unsent(e, head, timeout)),
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

/// How a connection comes about: through the proxy if one is set, TCP, TLS.
#[derive(Debug, Default)]
struct Connections {
    tunnel: ConnectProxyConnector,
    tcp: TcpConnector,
    tls: RustlsConnector,
    proxied: bool,
}

impl Connector for Connections {
    type Out = Connection;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Connection>, ureq::Error> {
        // The tunnel calls this again, without a proxy, to connect to the proxy itself.
        let to_proxy = self.proxied && details.config.proxy().is_none();
        let (tls, until) = if to_proxy { (Leg::ProxyTls, until(details)) } else { (Leg::Tls, None) };
        // It gives each of its steps the whole time.
        let details = &ConnectionDetails {
            uri: details.uri,
            addrs: details.addrs.clone(),
            resolver: details.resolver,
            config: details.config,
            request_level: details.request_level,
            now: (details.current_time)(),
            timeout: shortened(details.timeout, until).map_err(at(Leg::Tcp))?,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        let stream = self.tunnel.connect(details, None::<()>).map_err(at(Leg::Tunnel))?;
        let stream = self.tcp.connect(details, stream).map_err(at(Leg::Tcp))?;
        let stream = self.tls.connect(details, stream).map_err(at(tls))?;
        Ok(stream.map(|stream| Connection { stream: Box::new(stream), until }))
    }
}

/// When connecting must be over.
fn until(details: &ConnectionDetails) -> Option<Instant> {
    match (details.now, details.timeout.after) {
        (time::Instant::Exact(now), time::Duration::Exact(after)) => now.checked_add(after),
        _ => None,
    }
}

fn shortened(mut timeout: NextTimeout, until: Option<Instant>) -> Result<NextTimeout, ureq::Error> {
    if let Some(until) = until {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ureq::Error::Timeout(timeout.reason));
        }
        timeout.after = time::Duration::Exact(left.min(*timeout.after));
    }
    Ok(timeout)
}

/// A connection that tells a cut from an end.
#[derive(Debug)]
struct Connection {
    stream: Box<dyn Stream>,
    /// The end of the one call that a connection through a proxy serves.
    until: Option<Instant>,
}

impl Stream for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.stream.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        // Of a closed connection's errors ureq takes all but this one for the end of a body without a length.
        let cut = |reason| ureq::Error::Io(io::Error::new(IoKind::BrokenPipe, reason));
        self.stream.await_input(shortened(timeout, self.until)?).map_err(|error| match error {
            // rustls: the connection ended without a close_notify.
            ureq::Error::Io(e) if e.kind() == IoKind::UnexpectedEof => cut("it was cut off".to_owned()),
            ureq::Error::Io(e) if is_closed(&e) => cut(e.to_string()),
            other => other,
        })
    }

    fn is_open(&mut self) -> bool {
        self.stream.is_open()
    }

    fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }
}

/// What a connection needs, one after the other.
#[derive(Clone, Copy, Debug)]
enum Leg {
    Thread,
    Name,
    Tcp,
    ProxyTls,
    Tunnel,
    Tls,
}

/// Why there is no connection.
#[derive(Debug)]
struct Failed {
    leg: Leg,
    error: ureq::Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Failed {}

/// Notes where it failed; the innermost leg counts.
fn at(leg: Leg) -> impl Fn(ureq::Error) -> ureq::Error {
    move |error| match error {
        ureq::Error::Other(_) => error,
        error => ureq::Error::Other(Box::new(Failed { leg, error })),
    }
}

impl Http {
    /// Why nothing but, at most, the head has left.
    fn unsent(&self, error: ureq::Error, head: &Head, timeout: Duration) -> Error {
        let uri = head.url.parse::<http::Uri>().ok();
        let host = uri.as_ref().and_then(|uri| uri.authority()).map(|host| host.to_string()).unwrap_or_default();
        let through_proxy = self.proxied && !is_plain(head);
        // A proxy looks the host's name up itself.
        let first = if through_proxy { "the proxy" } else { &*host };
        let failed = match error {
            ureq::Error::Other(error) => error.downcast::<Failed>().map_err(ureq::Error::Other),
            error => Err(error),
        };
        let network = |step, message| Error::new(ErrorKind::Network, step, message);
        let ms = timeout.as_millis();
        let late = |step, message| Error::new(ErrorKind::Timeout, step, message);
        let Failed { leg, error } = match failed {
            Ok(failed) => *failed,
            Err(ureq::Error::Timeout(_)) => {
                return late(Step::Request, format!("no request to {host} within {ms} ms; raise timeout_ms"));
            }
            Err(error) => return network(Step::Request, format!("the request to {host} could not be sent: {error}")),
        };
        match (leg, &error) {
            (Leg::Thread, e) => {
                let message = format!("no thread to look {first} up: {}; are threads or memory limited?", reason(e));
                network(Step::Resolve, message)
            }
            (Leg::Name, ureq::Error::Timeout(_)) => {
                late(Step::Resolve, format!("no address for {first} within {ms} ms; does the name server answer?"))
            }
            (Leg::Name, ureq::Error::Io(e)) => {
                network(Step::Resolve, format!("no address for {first}: {e}; check the name and the network"))
            }
            (Leg::Name, _) => network(Step::Resolve, format!("no address for {first}; check the name")),
            (Leg::Tcp, ureq::Error::Timeout(_)) => {
                late(Step::Connect, format!("no connection to {first} within {ms} ms; is it reachable?"))
            }
            (Leg::Tcp, e) => {
                let message = format!("cannot reach {first}: {}; is it up and the address right?", reason(e));
                network(Step::Connect, message)
            }
            (Leg::Tunnel, ureq::Error::Timeout(_)) => {
                late(Step::Connect, format!("the proxy does not lead to {host} within {ms} ms; check proxy"))
            }
            (Leg::Tunnel, e) => network(Step::Connect, no_tunnel(&host, e)),
            // It promised a tunnel, and there is none.
            (Leg::Tls, ureq::Error::Io(e)) if through_proxy && (is_closed(e) || is_no_tls(&e.to_string())) => {
                network(Step::Connect, no_tunnel(&host, &error))
            }
            (Leg::ProxyTls, e) => self.no_tls("the proxy", e, ms),
            (Leg::Tls, e) => self.no_tls(&host, e, ms),
        }
    }

    fn no_tls(&self, peer: &str, error: &ureq::Error, ms: u128) -> Error {
        let reason = match error {
            ureq::Error::Timeout(_) => {
                let message = format!("no handshake with {peer} within {ms} ms; does that port speak TLS?");
                return Error::new(ErrorKind::Timeout, Step::Tls, message);
            }
            ureq::Error::Io(e) if is_closed(e) => "the peer closed during the handshake".to_owned(),
            // A certificate's own words may be many.
            e => reason(e).chars().take(REASON_MAX).collect(),
        };
        let tells = |words: &[&str]| words.iter().any(|word| reason.contains(word));
        let advice = if is_no_tls(&reason) {
            "that port speaks no TLS; check the port, or write http if it is on this machine"
        } else if tells(&["expired", "not valid yet"]) {
            "is this machine's clock right?"
        } else if tells(&["ProtocolVersion", "HandshakeFailure"]) {
            "the peer must speak TLS 1.2 or 1.3"
        } else if self.own_roots {
            "check the host, and that ca_file holds the root of its certificate"
        } else {
            "check the host; for a private CA set ca_file"
        };
        Error::new(ErrorKind::Tls, Step::Tls, format!("no trusted connection to {peer}: {reason}; {advice}"))
    }
}

/// As rustls tells it.
fn is_no_tls(reason: &str) -> bool {
    reason.contains("InvalidContentType")
}

/// Why the proxy gave no tunnel.
fn no_tunnel(host: &str, error: &ureq::Error) -> String {
    let reason = match error {
        // "proxy server responded 407/407"
        ureq::Error::ConnectProxyFailed(reason) if reason.contains("407") => {
            return format!(
                "the proxy does not lead to {host}: it wants another user and password (HTTP 407); \
                 write proxy as http://user:password@host:port"
            );
        }
        ureq::Error::ConnectProxyFailed(reason) => reason.split('/').next().unwrap_or_default().to_owned(),
        ureq::Error::Io(e) if is_closed(e) => "the connection was closed".to_owned(),
        e => reason(e),
    };
    format!("the proxy does not lead to {host}: {reason}; check proxy")
}

/// Without the family that ureq puts before it.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(e) => e.to_string(),
        ureq::Error::Rustls(e) => e.to_string(),
        ureq::Error::Protocol(e) => e.to_string(),
        e => e.to_string(),
    }
}

fn is_plain(head: &Head) -> bool {
    head.url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"))
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
        other => not_sound(&reason(other)),
    }
}

fn not_sound(reason: &str) -> Error {
    Error::new(ErrorKind::BadResponse, Step::Reply, format!("the reply is not sound HTTP: {reason}"))
}
