//! `protocol: tls`: the ClientHello must name the host.

use crate::harness::{FIRST, Setup, assert_reset, connect, upstream};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn rule(port: u16) -> String {
    format!(
        "  - {{ host: api.example.com, ports: [{port}], networks: [127.0.0.0/8], protocol: tls }}\n"
    )
}

/// The first bytes that a client sends to `server`.
fn client_hello(server: &str) -> Vec<u8> {
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
    let server = ServerName::try_from(server.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), server).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn a_client_hello_for_the_name_is_relayed_as_it_came() {
    let (listener, port) = upstream().await;
    let harness = Setup::new(&rule(port)).listen(FIRST, port).open();
    let mut worker = connect(harness.look_up("api.example.com").await, port).await;
    let mut hello = client_hello("API.example.com");
    // In small pieces, as a hostile or unlucky client would.
    for piece in hello.chunks(7) {
        worker.write_all(piece).await.unwrap();
    }
    worker.write_all(b"more").await.unwrap();
    worker.shutdown().await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    let mut received = Vec::new();
    far.read_to_end(&mut received).await.unwrap();
    hello.extend(b"more");
    assert_eq!(received, hello);
}

#[tokio::test]
async fn another_name_no_name_and_no_tls_are_reset_before_anything_is_dialled() {
    let (listener, port) = upstream().await;
    let mut harness = Setup::new(&rule(port)).listen(FIRST, port).open();
    let address = harness.look_up("api.example.com").await;
    let attempts = [
        (client_hello("evil.example.com"), "sni_mismatch"),
        (client_hello("192.0.2.1"), "sni_missing"),
        (
            b"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n".to_vec(),
            "not_tls",
        ),
    ];
    for (bytes, reason) in attempts {
        let mut worker = connect(address, port).await;
        worker.write_all(&bytes).await.unwrap();
        assert_reset(&mut worker).await;
        assert_eq!(harness.reason().await, reason);
    }
    let nobody = tokio::time::timeout(std::time::Duration::ZERO, listener.accept()).await;
    assert!(nobody.is_err(), "the upstream heard of none of them");
    assert_eq!(harness.session.totals().allowed, 0);
}
