//! A sealed secret's placeholder in bytes into which no value is put.

use crate::harness::{FIRST, Harness, PATIENCE, Setup, assert_reset, connect, upstream};
use caisson_egress::{EgressEvent, Sealed};
use caisson_secrets::SecretValue;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

/// What arrives of what a worker sends in pieces, and whether the worker's side was cut.
async fn arrives(protocol: &str, pieces: &[&[u8]]) -> (Vec<u8>, Option<&'static str>) {
    let (listener, port) = upstream().await;
    let mut harness = call(protocol, port);
    let mut worker = connect(harness.look_up("api.example.com").await, port).await;
    let (mut far, _) = listener.accept().await.unwrap();
    for piece in pieces {
        worker.write_all(piece).await.unwrap();
        // So that each is read on its own.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let _ = worker.shutdown().await;
    let mut arrived = Vec::new();
    let read = tokio::time::timeout(PATIENCE, far.read_to_end(&mut arrived)).await;
    let cut = read.expect("an end").is_err();
    if !cut {
        return (arrived, None);
    }
    assert_reset(&mut worker).await;
    assert!(matches!(harness.event().await, EgressEvent::Allowed { .. }));
    (arrived, Some(harness.reason().await))
}

#[tokio::test]
async fn in_a_relay_it_ends_the_connection_before_its_last_letter_arrives() {
    let (half, rest) = PLACEHOLDER.as_bytes().split_at(20);
    let head: &[u8] = b"GET / HTTP/1.1\r\nAuthorization: Bearer ";
    let (arrived, reason) = arrives("tcp", &[head, half, rest]).await;
    assert_eq!(reason, Some("secret_misplaced"));
    let arrived = String::from_utf8(arrived).unwrap();
    assert!(!arrived.contains(PLACEHOLDER), "{arrived}");
    let long = [&vec![b'x'; 1 << 20][..], PLACEHOLDER.as_bytes()].concat();
    assert_eq!(arrives("tcp", &[&long]).await.1, Some("secret_misplaced"));
}

#[tokio::test]
async fn what_is_none_is_relayed_whole() {
    let most = &PLACEHOLDER.as_bytes()[..PLACEHOLDER.len() - 1];
    let long = vec![b'x'; 1 << 20];
    let (arrived, reason) = arrives("tcp", &[most, b"-", &long, most]).await;
    assert_eq!(reason, None);
    assert!(arrived == [most, b"-", &long, most].concat());
}

#[tokio::test]
async fn in_a_name_that_is_looked_up_it_is_refused() {
    let mut harness = call("tcp", 5432);
    for name in [
        format!("{PLACEHOLDER}.example.com"),
        format!("{}.example.com", PLACEHOLDER.to_ascii_uppercase()),
    ] {
        let answer = harness.ask(&name, RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(harness.reason().await, "secret_misplaced");
    }
}
