//! How a connection comes about, leg by leg, each within the one deadline, and what of it ureq would not tell.

use std::fmt;
use std::io::{self, ErrorKind as IoKind};
use std::time::Instant;

use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector,
    Transport as Stream, time,
};

use super::fault::is_closed;

/// How a connection comes about: through the proxy if one is set, TCP, TLS.
#[derive(Debug, Default)]
pub(super) struct Connections {
    tunnel: ConnectProxyConnector,
    tcp: TcpConnector,
    tls: RustlsConnector,
    proxied: bool,
}

impl Connections {
    pub(super) fn new(proxied: bool) -> Connections {
        Connections { proxied, ..Connections::default() }
    }
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
            timeout: shortened(details.timeout, until).map_err(failed_on(Leg::Tcp))?,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        let stream = self.tunnel.connect(details, None::<()>).map_err(failed_on(Leg::Tunnel))?;
        let stream = self.tcp.connect(details, stream).map_err(failed_on(Leg::Tcp))?;
        let stream = self.tls.connect(details, stream).map_err(failed_on(tls))?;
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
pub(super) struct Connection {
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
pub(super) enum Leg {
    Thread,
    Name,
    Tcp,
    ProxyTls,
    Tunnel,
    Tls,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) leg: Leg,
    pub(super) error: ureq::Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Failed {}

/// Notes where it failed; the innermost leg counts.
pub(super) fn failed_on(leg: Leg) -> impl Fn(ureq::Error) -> ureq::Error {
    move |error| match error {
        ureq::Error::Other(_) => error,
        error => ureq::Error::Other(Box::new(Failed { leg, error })),
    }
}
