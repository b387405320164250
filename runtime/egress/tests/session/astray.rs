//! A sealed secret's placeholder in bytes into which no value is put.

use crate::harness::{FIRST, Harness, PATIENCE, Setup, assert_reset, connect, upstream};
use base64::Engine;
use caisson_egress::{EgressEvent, Sealed};
use caisson_secrets::SecretValue;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PLACEHOLDER: &str = "sealed0123456789abcdef0123456789abcdef";

fn call(protocol: &str, port: u16) -> Harness {
    let rule = format!(
        "  - {{ host: '*.example.com', ports: [{port}], networks: [127.0.0.0/8], protocol: {protocol} }}\n"
    );
    let mut setup = Setup::new(&rule).listen(FIRST, port);
    setup.sealed = vec![Sealed {
        property: "/api_key".into(),
        placeholder: SecretValue::new(PLACEHOLDER),
        value: SecretValue::new("sk-live-123").into(),
        declared: vec![],
    }];
    setup.open()
}

/// What a worker sends piece by piece, each once the one before has arrived, and its last one.
async fn sends(pieces: &[&[u8]], last: &[u8]) -> (Harness, TcpStream, TcpStream) {
    let (listener, port) = upstream().await;
    let harness = call("tcp", port);
    let mut worker = connect(harness.look_up("api.example.com").await, port).await;
    let (mut far, _) = listener.accept().await.unwrap();
    for piece in pieces {
        worker.write_all(piece).await.unwrap();
        let mut arrived = vec![0; piece.len()];
        let read = tokio::time::timeout(PATIENCE, far.read_exact(&mut arrived)).await;
        read.expect("it arrives").unwrap();
        assert_eq!(arrived, *piece);
    }
    worker.write_all(last).await.unwrap();
    worker.shutdown().await.unwrap();
    (harness, worker, far)
}

#[tokio::test]
async fn in_a_relay_it_ends_the_connection_before_its_last_letter_arrives() {
    let (half, rest) = PLACEHOLDER.as_bytes().split_at(20);
    let encoded = base64::prelude::BASE64_STANDARD_NO_PAD.encode(PLACEHOLDER);
    let long = vec![b'x'; 1 << 20];
    let head: &[u8] = b"GET / HTTP/1.1\r\nAuthorization: Bearer ";
    let sent: [(&[&[u8]], &[u8]); 4] = [
        (&[head, half], rest),
        (&[], PLACEHOLDER.as_bytes()),
        (&[head], encoded.as_bytes()),
        (&[&long], PLACEHOLDER.as_bytes()),
    ];
    for (pieces, last) in sent {
        let (mut harness, mut worker, mut far) = sends(pieces, last).await;
        let mut arrived = Vec::new();
        let read = tokio::time::timeout(PATIENCE, far.read_to_end(&mut arrived)).await;
        assert!(read.expect("an end").is_err(), "cut, and not ended cleanly");
        assert!(arrived.is_empty(), "{arrived:?}");
        assert_reset(&mut worker).await;
        assert!(matches!(harness.event().await, EgressEvent::Allowed { .. }));
        assert_eq!(harness.reason().await, "secret_misplaced");
    }
}

#[tokio::test]
async fn what_is_none_is_relayed_whole() {
    let most = &PLACEHOLDER.as_bytes()[..PLACEHOLDER.len() - 1];
    let long = vec![b'x'; 1 << 20];
    let (_harness, _worker, mut far) = sends(&[most, b"-", &long], most).await;
    let mut arrived = Vec::new();
    let read = tokio::time::timeout(PATIENCE, far.read_to_end(&mut arrived)).await;
    read.expect("an end").unwrap();
    assert_eq!(arrived, most);
}

#[tokio::test]
async fn in_a_name_that_is_looked_up_it_is_refused() {
    for name in [
        format!("{PLACEHOLDER}.example.com"),
        format!("{PLACEHOLDER}.example.org"),
        format!("{}.example.com", PLACEHOLDER.to_ascii_uppercase()),
    ] {
        let (_listener, port) = upstream().await;
        let mut harness = call("tcp", port);
        let answer = harness.ask(&name, RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(harness.reason().await, "secret_misplaced");
    }
}
