//! A connection that speaks another protocol than HTTP, made like all others: names looked up with a deadline, TLS with
//! the same roots.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::unversioned::resolver::Resolver as _;
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout, Transport as Stream, time};

use super::Http;
use super::connect::{Connection, Connections};
use crate::error::Error;

/// Bytes both ways, each call within a time of its own.
#[derive(Debug)]
pub(crate) struct Line(Connection);

impl Http {
    /// Connects to `authority`, through no proxy.
    pub(crate) fn line(&self, authority: &str, tls: bool, timeout: Duration) -> Result<Line, Error> {
        let url = [if tls { "https://" } else { "http://" }, authority].concat();
        let failed = |error| self.unsent(error, &url, timeout);
        let uri: http::Uri = url.parse().map_err(|_| failed(ureq::Error::HostNotFound))?;
        let began = Instant::now();
        let addrs = self.resolver.resolve(&uri, &self.config, within(timeout)).map_err(failed)?;
        let details = ConnectionDetails {
            uri: &uri,
            addrs,
            config: &self.config,
            request_level: false,
            resolver: &self.resolver,
            now: time::Instant::now(),
            timeout: within(timeout.saturating_sub(began.elapsed())),
            current_time: Arc::new(time::Instant::now),
            run_connector: Arc::new(|_| Err(ureq::Error::ConnectionFailed)), // for proxies
            register_shutdown: Arc::new(|_| Ok(())),
        };
        let connection = Connections::new(false).connect(&details, None).map_err(failed)?;
        connection.map(Line).ok_or_else(|| failed(ureq::Error::ConnectionFailed))
    }
}

impl Line {
    /// Sends all of it.
    pub(crate) fn send(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            let output = self.0.buffers().output();
            let (now, later) = bytes.split_at(bytes.len().min(output.len()));
            output[..now.len()].copy_from_slice(now);
            self.0.transmit_output(now.len(), left(until)?).map_err(fault)?;
            bytes = later;
        }
        Ok(())
    }

    /// Waits for some bytes; 0: the other side has closed.
    pub(crate) fn receive(&mut self, into: &mut [u8], until: Instant) -> io::Result<usize> {
        if self.0.buffers().input().is_empty() && !self.0.await_input(left(until)?).map_err(fault)? {
            return Ok(0);
        }
        let input = self.0.buffers().input();
        let amount = input.len().min(into.len());
        into[..amount].copy_from_slice(&input[..amount]);
        self.0.buffers().input_consume(amount);
        Ok(amount)
    }
}

fn within(timeout: Duration) -> NextTimeout {
    NextTimeout { after: time::Duration::Exact(timeout), ..NextTimeout::default() }
}

fn left(until: Instant) -> io::Result<NextTimeout> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(within(left)) }
}

fn fault(error: ureq::Error) -> io::Error {
    match error {
        ureq::Error::Timeout(_) => io::ErrorKind::TimedOut.into(),
        ureq::Error::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}
