//! The TLS side of the server.

use super::certificates::{Authority, Flaw};
use super::{Shared, server};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring};
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

/// A server of this machine, with a certificate that is sound but for `flaw`.
pub(super) fn config(authority: &Authority, flaw: Option<Flaw>) -> Arc<ServerConfig> {
    let (certificate, key) = authority.certify(&["localhost", "127.0.0.1"], flaw);
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    Arc::new(config)
}

pub(super) fn serve(shared: &Shared, tcp: TcpStream, config: &Arc<ServerConfig>) {
    let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), &tcp);
    let announced = server::serve(shared, &mut stream, &tcp);
    if announced {
        // so that the client can tell an end from a cut
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
}
