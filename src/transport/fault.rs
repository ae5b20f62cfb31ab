//! Why no reply came, told to who must act.

use std::io::{self, ErrorKind as IoKind};
use std::time::Duration;

use super::connect::{Failed, Leg};
use super::{HEAD_MAX, Http};
use crate::error::{Error, ErrorKind, RetryClass, Step};

/// How much of a TLS error is told, in characters.
const REASON_MAX: usize = 200;

impl Http {
    /// Why nothing but, at most, the head has left.
    pub(super) fn unsent(&self, error: ureq::Error, url: &str, timeout: Duration) -> Error {
        let uri = url.parse::<http::Uri>().ok();
        let host = uri.as_ref().and_then(|uri| uri.authority()).map(|host| host.to_string()).unwrap_or_default();
        let through_proxy = self.proxied && !is_plain(url);
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
            // Asked again with the same password it would say the same, and might lock an account.
            (Leg::Tunnel, ureq::Error::ConnectProxyFailed(reason)) if reason.contains("407") => {
                network(Step::Connect, no_tunnel(&host, &error)).with_class(RetryClass::Refused)
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

pub(super) fn is_plain(url: &str) -> bool {
    url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"))
}

/// Whether the other side ended what stood already.
pub(super) fn is_closed(error: &io::Error) -> bool {
    use IoKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Why no whole reply came.
pub(super) fn lost(error: ureq::Error, timeout: Duration) -> Error {
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

pub(super) fn not_sound(reason: &str) -> Error {
    Error::new(ErrorKind::BadResponse, Step::Reply, format!("the reply is not sound HTTP: {reason}"))
}
