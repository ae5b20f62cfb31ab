//! A certificate authority made for one run, and the TLS side of the server.

use super::{Shared, server};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring};
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

pub(super) struct Certificates {
    pub(super) ca_pem: String,
    pub(super) config: Arc<ServerConfig>,
}

pub(super) fn make_certificates() -> Certificates {
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "tokauth stand-in CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca_key = KeyPair::generate().unwrap();
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();

    let mut server = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = server.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();

    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    Certificates { ca_pem, config: Arc::new(config) }
}

pub(super) fn serve(shared: &Shared, tcp: TcpStream, config: &Arc<ServerConfig>) {
    let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), tcp);
    server::serve(shared, &mut stream);
    // so that the client can tell an end from a cut
    stream.conn.send_close_notify();
    let _ = stream.flush();
}
