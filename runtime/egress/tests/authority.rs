//! The gateway's certificates under OpenSSL's strictest reading, as Python 3.13 has it by default: a real handshake with the
//! interpreter that workers run, and `openssl verify`.
#![allow(missing_docs)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use caisson_egress::{Authority, Target};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const CLIENT: &str = r#"
import socket, ssl, sys
file, host, port = sys.argv[1:]
context = ssl.create_default_context(cafile=file)
context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
with socket.create_connection(("127.0.0.1", int(port)), timeout=20) as plain:
    with context.wrap_socket(plain, server_hostname=host) as tls:
        tls.sendall(b"hello")
        assert tls.recv(5) == b"hello"
"#;

/// Answers one connection with what it said, under `key`.
fn serve(key: Arc<CertifiedKey>) -> (u16, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
    let serving = std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a client");
        let session = ServerConnection::new(Arc::new(config)).expect("a session");
        let mut tls = StreamOwned::new(session, socket);
        let mut said = [0; 5];
        // A client that does not trust the certificate says nothing.
        if tls.read_exact(&mut said).is_ok() {
            tls.write_all(&said).expect("an answer");
        }
    });
    (port, serving)
}

fn greet(roots: &Path, key: &Arc<CertifiedKey>, host: &str) -> Output {
    let (port, serving) = serve(Arc::clone(key));
    let python = std::env::var("WORKER_PYTHON").unwrap_or_else(|_| "/usr/bin/python3.11".into());
    let done = Command::new(python)
        .args(["-I", "-c", CLIENT])
        .arg(roots)
        .args([host, &port.to_string()])
        .output()
        .expect("the workers' interpreter");
    serving.join().expect("the server");
    done
}

fn said(done: &Output) -> String {
    String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)
}

#[test]
fn python_trusts_leaves_under_the_strict_flag_of_its_newer_versions() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new().expect("an authority");
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, authority.certificate_pem()).expect("roots");
    for host in [
        "api.example.com",
        "localhost",
        "127.0.0.1",
        "10.1.2.3",
        "2001:db8::1",
    ] {
        let target = Target::parse(host).expect("a host");
        let leaf = authority.leaf_of(&target).expect("a leaf");
        let done = greet(&roots, &leaf, host);
        assert!(done.status.success(), "{host}: {}", said(&done));
        let other = greet(&roots, &leaf, "other.example.com");
        assert!(
            said(&other).contains("CERTIFICATE_VERIFY_FAILED"),
            "{}",
            said(&other)
        );
    }
}

#[test]
fn openssl_verifies_leaves_by_rfc_5280_to_the_letter() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new().expect("an authority");
    let (roots, pem) = (
        folder.path().join("roots.pem"),
        folder.path().join("leaf.pem"),
    );
    std::fs::write(&roots, authority.certificate_pem()).expect("roots");
    let target = Target::parse("api.example.com").expect("a host");
    let leaf = authority.leaf_of(&target).expect("a leaf");
    let der = folder.path().join("leaf.der");
    std::fs::write(&der, leaf.end_entity_cert().expect("a leaf")).expect("a file");
    let openssl = |arguments: &[&str], files: &[&Path]| {
        let mut command = Command::new("openssl");
        let done = command
            .args(arguments)
            .args(files)
            .output()
            .expect("openssl");
        assert!(done.status.success(), "{}", said(&done));
        said(&done)
    };
    openssl(
        &["x509", "-inform", "DER", "-in"],
        &[&der, Path::new("-out"), &pem],
    );
    let hosts = [
        "-verify_hostname",
        "api.example.com",
        "-purpose",
        "sslserver",
        "-CAfile",
    ];
    let strict = [&["verify", "-x509_strict", "-check_ss_sig"], &hosts[..]].concat();
    openssl(&strict, &[&roots, &pem]);
    let text = |file: &Path| openssl(&["x509", "-noout", "-text", "-in"], &[file]);
    // Releases differ in the spaces around an equals sign.
    let squeezed = |text: String| {
        let words: Vec<_> = text.split_whitespace().collect();
        words.join(" ").replace(" = ", "=")
    };
    let own = squeezed(text(&roots));
    for expected in [
        "Subject: O=Caisson, CN=Caisson inspection",
        "Not After : Dec 31 23:59:59 9999 GMT",
        "X509v3 Basic Constraints: critical CA:TRUE, pathlen:0",
        "X509v3 Key Usage: critical Certificate Sign, CRL Sign",
        "X509v3 Subject Key Identifier:",
        "ASN1 OID: prime256v1",
    ] {
        assert!(own.contains(expected), "{expected}: {own}");
    }
    let leaf = squeezed(text(&pem));
    for expected in [
        "X509v3 Subject Alternative Name: DNS:api.example.com X509v3",
        "X509v3 Key Usage: critical Digital Signature X509v3",
        "X509v3 Extended Key Usage: TLS Web Server Authentication",
        "X509v3 Basic Constraints: critical CA:FALSE",
        "X509v3 Authority Key Identifier:",
        "X509v3 Subject Key Identifier:",
    ] {
        assert!(leaf.contains(expected), "{expected}: {leaf}");
    }
}
