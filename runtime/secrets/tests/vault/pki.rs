//! An authority, and what it signs.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

pub(crate) struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
    pem: String,
}

impl Pki {
    pub(crate) fn new() -> Pki {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pem = authority.pem();
        Pki { authority, pem }
    }

    pub(crate) fn authority(&self) -> &str {
        &self.pem
    }

    fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let signed = params.signed_by(&key, &self.authority).unwrap();
        (signed.pem(), key.serialize_pem())
    }

    pub(crate) fn client(&self, name: &str) -> (String, String) {
        self.sign(name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A TLS listener of OpenBao, as its configuration has it.
    pub(crate) fn listener(&self, dir: &Path, port: u16) -> String {
        let (certificate, key) = self.sign("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
        let (pem, key_pem) = (dir.join("server.pem"), dir.join("server.key"));
        std::fs::write(&pem, certificate).unwrap();
        std::fs::write(&key_pem, key).unwrap();
        format!(
            "listener \"tcp\" {{\n address = \"127.0.0.1:{port}\"\n cluster_address = \"127.0.0.1:0\"\n tls_cert_file = {pem:?}\n tls_key_file = {key_pem:?}\n}}\n"
        )
    }
}
