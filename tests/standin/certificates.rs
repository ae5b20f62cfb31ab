//! A certificate authority made for one run.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// What may be wrong with a certificate.
#[derive(Clone, Copy)]
pub enum Flaw {
    Expired,
    NotYetValid,
    OtherHost,
    SelfSigned,
    /// For clients, not for servers.
    OtherUse,
}

pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "tokauth test CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Authority { pem: ca.self_signed(&key).unwrap().pem(), issuer: Issuer::new(ca, key) }
    }

    /// A server's certificate for these names and addresses, sound but for `flaw`, and its key.
    pub fn certify(&self, names: &[&str], flaw: Option<Flaw>) -> (Certificate, KeyPair) {
        let names = if matches!(flaw, Some(Flaw::OtherHost)) { &["other.example"] } else { names };
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut server = CertificateParams::new(names).unwrap();
        server.use_authority_key_identifier_extension = true; // Python 3.13 insists on it
        server.extended_key_usages = vec![match flaw {
            Some(Flaw::OtherUse) => ExtendedKeyUsagePurpose::ClientAuth,
            _ => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        match flaw {
            Some(Flaw::Expired) => server.not_after = rcgen::date_time_ymd(2001, 1, 1),
            Some(Flaw::NotYetValid) => server.not_before = rcgen::date_time_ymd(3001, 1, 1),
            _ => {}
        }
        let key = KeyPair::generate().unwrap();
        let certificate = match flaw {
            Some(Flaw::SelfSigned) => server.self_signed(&key).unwrap(),
            _ => server.signed_by(&key, &self.issuer).unwrap(),
        };
        (certificate, key)
    }
}
