//! `protocol: postgres`: plain text from the worker, TLS to the server. A real server is met end to end; this one says what a
//! real one does not.

use crate::harness::{FIRST, Harness, PATIENCE, Setup, assert_reset, connect, upstream};
use crate::signer::{Issued, Signer, sealed};
use caisson_egress::{Authority, EgressEvent, Ended, Name, Reason, Sealed};
use caisson_secrets::SecretValue;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::danger::ClientCertVerifier;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const ASK_FOR_TLS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const SESSION: &[u8] = b"\0\0\0\x12\0\x03\0\0user\0ada\0\0";
const CANCEL: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x09";

struct Server {
    listener: TcpListener,
    port: u16,
    root: CertificateDer<'static>,
    acceptor: TlsAcceptor,
}

impl Server {
    async fn start(name: &str, verifier: Arc<dyn ClientCertVerifier>) -> Self {
        let authority = Authority::new().unwrap();
        let key = authority.leaf(&Name::parse(name).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
        let (listener, port) = upstream().await;
        let root = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap();
        Self {
            listener,
            port,
            root,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }

    /// A client that asked for TLS, not yet answered.
    async fn asked(&self) -> TcpStream {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut asked = [0; 8];
        stream.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked, ASK_FOR_TLS);
        stream
    }

    /// A client with which TLS began.
    async fn secured(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let mut stream = self.asked().await;
        stream.write_all(b"S").await?;
        self.acceptor.accept(stream).await
    }

    fn call(&self, issued: &Issued, secrets: &str) -> Harness {
        let mut setup = Setup::new(&rule(self.port)).listen(FIRST, self.port);
        setup.policy.push_str(secrets);
        setup.certificates = vec![issued.shown()];
        setup.gateway.upstream_authorities = vec![self.root.clone()];
        setup.open()
    }
}

fn rule(port: u16) -> String {
    format!(
        "  - {{ host: db.example.com, ports: [{port}], networks: [127.0.0.0/8], protocol: postgres }}\n"
    )
}

fn nobody() -> Arc<dyn ClientCertVerifier> {
    rustls::server::WebPkiClientVerifier::no_client_auth()
}

/// A worker that asked for TLS, was told that there is none, and began its session.
async fn worker(harness: &Harness, port: u16) -> TcpStream {
    let mut worker = connect(harness.look_up("db.example.com").await, port).await;
    worker.write_all(ASK_FOR_TLS).await.unwrap();
    assert_eq!(worker.read_u8().await.unwrap(), b'N');
    worker.write_all(SESSION).await.unwrap();
    worker
}

async fn got<const N: usize>(stream: &mut (impl AsyncReadExt + Unpin)) -> [u8; N] {
    let mut bytes = [0; N];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut bytes)).await;
    read.expect("an answer").unwrap();
    bytes
}

async fn failure(harness: &mut Harness) -> (Reason, String) {
    loop {
        match harness.event().await {
            EgressEvent::Failed { reason, detail, .. } => return (reason, detail),
            EgressEvent::Refused { refusal, .. } => return (refusal.reason, refusal.detail),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_placeholder_in_the_startup_or_in_a_message_ends_the_connection() {
    const PLACEHOLDER: &str = "sealed0123456789abcdef0123456789abcdef";
    for place in ["startup", "message"] {
        let server = Server::start("db.example.com", nobody()).await;
        let mut setup = Setup::new(&rule(server.port)).listen(FIRST, server.port);
        setup.gateway.upstream_authorities = vec![server.root.clone()];
        setup.sealed = vec![Sealed {
            property: "/password".into(),
            placeholder: SecretValue::new(PLACEHOLDER),
            value: SecretValue::new("sk-live-123").into(),
            declared: vec![],
        }];
        let mut harness = setup.open();
        let named = format!("user\0{PLACEHOLDER}\0\0");
        let length = u32::try_from(8 + named.len()).unwrap().to_be_bytes();
        let named = [&length[..], b"\0\x03\0\0", named.as_bytes()].concat();
        let mut worker = connect(harness.look_up("db.example.com").await, server.port).await;
        worker.write_all(ASK_FOR_TLS).await.unwrap();
        assert_eq!(worker.read_u8().await.unwrap(), b'N');
        let is_startup = place == "startup";
        let startup = if is_startup { &named } else { SESSION };
        worker.write_all(startup).await.unwrap();
        if !is_startup {
            let mut far = server.secured().await.unwrap();
            got::<18>(&mut far).await;
            let message = format!("p\0\0\0\x2b{PLACEHOLDER}\0");
            worker.write_all(message.as_bytes()).await.unwrap();
            let mut arrived = Vec::new();
            let read = tokio::time::timeout(PATIENCE, far.read_to_end(&mut arrived)).await;
            assert!(read.expect("an end").is_err());
            assert_eq!(arrived, b"");
        }
        assert_eq!(
            failure(&mut harness).await.0,
            Reason::SecretMisplaced,
            "{place}"
        );
        assert_reset(&mut worker).await;
    }
}

#[tokio::test]
async fn the_worker_speaks_plainly_and_the_server_has_tls_and_the_certificate() {
    let signer = Signer::new();
    let own = signer.issue("client.example");
    let server = Server::start("db.example.com", signer.demand(false)).await;
    let mut harness = server.call(&own, &sealed("db.example.com", server.port));
    let mut worker = worker(&harness, server.port).await;
    let mut far = server.secured().await.unwrap();
    assert_eq!(
        far.get_ref().1.peer_certificates().unwrap()[0].as_ref(),
        own.der
    );
    assert_eq!(got(&mut far).await, *SESSION.first_chunk::<18>().unwrap());
    // What would bind to the server's TLS is left out of what the worker is offered.
    far.write_all(b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
        .await
        .unwrap();
    assert_eq!(
        &got::<24>(&mut worker).await,
        b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"
    );
    worker.write_all(b"anything at all").await.unwrap();
    assert_eq!(&got::<15>(&mut far).await, b"anything at all");
    worker.shutdown().await.unwrap();
    assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0);
    far.write_all(b"the rest").await.unwrap();
    far.shutdown().await.unwrap();
    let mut rest = Vec::new();
    worker.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"the rest");
    let EgressEvent::Allowed { to, .. } = harness.event().await else {
        panic!("allowed")
    };
    assert_eq!(
        (to.host.as_deref(), &*to.protocol),
        (Some("db.example.com"), "postgres")
    );
    let EgressEvent::Closed {
        bytes_up,
        bytes_down,
        ended,
        ..
    } = harness.event().await
    else {
        panic!("closed")
    };
    assert_eq!(
        (bytes_up, bytes_down, ended),
        (18 + 15, 24 + 8, Ended::Finished)
    );
}

#[tokio::test]
async fn a_request_to_cancel_goes_the_same_way() {
    let signer = Signer::new();
    let own = signer.issue("client.example");
    let server = Server::start("db.example.com", signer.demand(false)).await;
    let harness = server.call(&own, &sealed("db.example.com", server.port));
    let mut worker = connect(harness.look_up("db.example.com").await, server.port).await;
    worker.write_all(CANCEL).await.unwrap();
    let mut far = server.secured().await.unwrap();
    assert_eq!(got(&mut far).await, *CANCEL.first_chunk::<16>().unwrap());
    far.shutdown().await.unwrap();
    drop(far);
    assert_eq!(worker.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_server_without_tls_gets_nothing() {
    let own = Signer::new().issue("client.example");
    for (says, expected) in [
        (&b"N"[..], "speaks no TLS"),
        (b"E\0\0\0\x05\0", "does not answer as PostgreSQL"),
        (
            b"HTTP/1.1 400 Bad Request\r\n",
            "does not answer as PostgreSQL",
        ),
        // What a thief of connections would send before TLS begins (CVE-2021-23222).
        (b"SR\0\0\0\x08\0\0\0\0", "TLS with db.example.com"),
    ] {
        let server = Server::start("db.example.com", nobody()).await;
        let mut harness = server.call(&own, "");
        let mut worker = worker(&harness, server.port).await;
        let mut far = server.asked().await;
        far.write_all(says).await.unwrap();
        let (reason, detail) = failure(&mut harness).await;
        assert_eq!(reason, Reason::TlsFailed);
        assert!(detail.contains(expected), "{detail}");
        let mut more = Vec::new();
        // A ClientHello at most, and never the session.
        let _ = far.read_to_end(&mut more).await;
        assert!(!more.windows(4).any(|window| window == b"user"), "{says:?}");
        assert_reset(&mut worker).await;
    }
}

#[tokio::test]
async fn a_server_of_another_name_or_authority_gets_nothing() {
    let own = Signer::new().issue("client.example");
    let misnamed = Server::start("other.example.com", nobody()).await;
    let mut untrusted = Server::start("db.example.com", nobody()).await;
    untrusted.root = misnamed.root.clone();
    for server in [misnamed, untrusted] {
        let mut harness = server.call(&own, "");
        let mut worker = worker(&harness, server.port).await;
        let (_, failed) = tokio::join!(server.secured(), failure(&mut harness));
        assert_eq!(failed.0, Reason::TlsFailed);
        assert!(failed.1.contains("certificate"), "{}", failed.1);
        assert_reset(&mut worker).await;
    }
}

#[tokio::test]
async fn a_certificate_that_the_server_does_not_take_is_a_failure_of_tls() {
    let own = Signer::new().issue("client.example");
    let server = Server::start("db.example.com", Signer::new().demand(false)).await;
    let mut harness = server.call(&own, &sealed("db.example.com", server.port));
    let mut worker = worker(&harness, server.port).await;
    let (_, failed) = tokio::join!(server.secured(), failure(&mut harness));
    assert_eq!(failed.0, Reason::TlsFailed, "{}", failed.1);
    assert_reset(&mut worker).await;
}

#[tokio::test]
async fn who_insists_on_tls_or_speaks_something_else_is_told_before_anybody_is_dialled() {
    let own = Signer::new().issue("client.example");
    let server = Server::start("db.example.com", nobody()).await;
    let mut harness = server.call(&own, "");
    let address = harness.look_up("db.example.com").await;
    let mut required = connect(address, server.port).await;
    required.write_all(ASK_FOR_TLS).await.unwrap();
    assert_eq!(required.read_u8().await.unwrap(), b'N');
    drop(required);
    let (reason, detail) = failure(&mut harness).await;
    assert_eq!(reason, Reason::TlsInsisted);
    assert!(detail.contains("sslmode=disable or prefer"), "{detail}");
    let mut other = connect(address, server.port).await;
    other.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(failure(&mut harness).await.0, Reason::NotPostgres);
    assert_reset(&mut other).await;
    let dialled = tokio::time::timeout(std::time::Duration::ZERO, server.listener.accept()).await;
    assert!(dialled.is_err(), "nobody is dialled");
}

#[tokio::test]
async fn a_seal_that_is_taken_out_of_the_policy_ends_what_showed_its_certificate() {
    let signer = Signer::new();
    let own = signer.issue("client.example");
    let server = Server::start("db.example.com", signer.demand(true)).await;
    let mut harness = server.call(&own, &sealed("db.example.com", server.port));
    let mut first = worker(&harness, server.port).await;
    let mut far = server.secured().await.unwrap();
    assert_eq!(got(&mut far).await, *SESSION.first_chunk::<18>().unwrap());
    let policy = format!("format: 1\nconnector: shop\negress:\n{}", rule(server.port));
    harness.write_policy("shop.yaml", &policy);
    harness.gateway.reload().unwrap();
    assert_reset(&mut first).await;
    assert!(matches!(harness.event().await, EgressEvent::Allowed { .. }));
    let EgressEvent::Closed { ended, .. } = harness.event().await else {
        panic!("closed")
    };
    assert_eq!(ended, Ended::PolicyChanged);
    let _second = worker(&harness, server.port).await;
    let far = server.secured().await.unwrap();
    assert!(far.get_ref().1.peer_certificates().is_none());
}
