//! What happens to a worker's connections.

use crate::harness::{
    FIRST, PATIENCE, Setup, UPSTREAM, assert_reset, closed_port, connect, upstream,
};
use caisson_egress::{EgressEvent, Ended};
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn rule(port: u16) -> String {
    format!(
        "  - {{ host: '*.example.com', ports: [{port}], networks: [127.0.0.0/8], protocol: tcp }}\n"
    )
}

/// Bytes that differ at every place, made from a seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()
    };
    std::iter::repeat_with(next)
        .flat_map(|bytes| bytes[4..].to_vec())
        .take(length)
        .collect()
}

#[tokio::test]
async fn sixty_four_mebibytes_arrive_byte_exact_and_the_other_way_still_works_after_a_half_close() {
    let (listener, port) = upstream().await;
    let mut harness = Setup::new(&rule(port)).listen(FIRST, port).open();
    let upload = noise(1, 64 << 20);
    let download = noise(2, 8 << 20);
    let answer = download.clone();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                length => hash.update(&buffer[..length]),
            }
        }
        stream.write_all(&answer).await.unwrap();
        hash.finalize()
    });
    let mut worker = connect(harness.look_up("api.example.com").await, port).await;
    worker.write_all(&upload).await.unwrap();
    worker.shutdown().await.unwrap();
    let mut received = Vec::new();
    tokio::time::timeout(PATIENCE, worker.read_to_end(&mut received))
        .await
        .expect("an end")
        .unwrap();
    assert_eq!(server.await.unwrap(), Sha256::digest(&upload));
    assert!(received == download, "the answer is byte-exact");
    assert!(matches!(harness.event().await, EgressEvent::Allowed { .. }));
    let EgressEvent::Closed {
        to,
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
        (64 << 20, 8 << 20, Ended::Finished)
    );
    assert_eq!(to.address, Some(UPSTREAM.into()));
    let totals = harness.session.close().await;
    assert_eq!(
        (
            totals.allowed,
            totals.denied,
            totals.bytes_up,
            totals.bytes_down
        ),
        (1, 0, 64 << 20, 8 << 20)
    );
}

#[tokio::test]
async fn a_slow_upstream_stops_the_worker_instead_of_filling_memory() {
    let (listener, port) = upstream().await;
    let harness = Setup::new(&rule(port)).listen(FIRST, port).open();
    let mut worker = connect(harness.look_up("api.example.com").await, port).await;
    let (held, _) = listener.accept().await.unwrap();
    let chunk = vec![0; 1 << 20];
    let flood = async {
        for _ in 0..256 {
            worker.write_all(&chunk).await.unwrap();
        }
    };
    // The far side reads nothing, so a write must come to wait; how much the kernel's buffers took is bounded.
    assert!(
        tokio::time::timeout(Duration::from_secs(1), flood)
            .await
            .is_err()
    );
    assert!(harness.session.totals().bytes_up < 64 << 20);
    drop(held);
}

/// So few connections that a worker's part of the pipes is none.
const WITHOUT_PIPES: usize = 16;

/// Says the first of each pair from the worker's side, then the second from the upstream's, and so on.
async fn converse(turns: &[(usize, usize)], connections: usize) {
    let (listener, port) = upstream().await;
    let mut setup = Setup::new(&rule(port)).listen(FIRST, port);
    setup.gateway.connections = connections;
    let mut harness = setup.open();
    let mut worker = connect(harness.look_up("api.example.com").await, port).await;
    let (mut far, _) = listener.accept().await.unwrap();
    for (seed, &(up, down)) in (1..).zip(turns) {
        say(&mut worker, &mut far, &noise(seed, up)).await;
        say(&mut far, &mut worker, &noise(!seed, down)).await;
    }
    drop((worker, far));
    assert!(matches!(harness.event().await, EgressEvent::Allowed { .. }));
    let EgressEvent::Closed {
        bytes_up,
        bytes_down,
        ..
    } = harness.event().await
    else {
        panic!("closed")
    };
    let (up, down): (Vec<_>, Vec<_>) = turns.iter().copied().unzip();
    assert_eq!(bytes_up, up.iter().sum::<usize>() as u64);
    assert_eq!(bytes_down, down.iter().sum::<usize>() as u64);
}

async fn say(from: &mut TcpStream, to: &mut TcpStream, what: &[u8]) {
    let mut heard = vec![0; what.len()];
    let said = async { tokio::try_join!(from.write_all(what), to.read_exact(&mut heard)) };
    let said = tokio::time::timeout(PATIENCE, said).await;
    said.expect("all of it").unwrap();
    assert!(heard == what, "{} bytes are what was said", what.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_conversation_is_relayed_alike_through_pipes_and_through_buffers(
        turns in vec((length(), length()), 1..12)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for connections in [1_024, WITHOUT_PIPES] {
            runtime.block_on(converse(&turns, connections));
        }
    }
}

/// Messages, and what is too long for a buffer or a pipe.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        0_usize..4,
        16_380_usize..16_390,
        65_530_usize..65_540,
        0_usize..400_000
    ]
}

/// Sends until nobody takes any more, and says what.
async fn flood(stream: &mut TcpStream) -> Vec<u8> {
    let all = noise(3, 64 << 20);
    let mut sent = 0;
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(300), stream.write(&all[sent..])).await
    {
        sent += written.unwrap();
    }
    all[..sent].to_vec()
}

#[tokio::test]
async fn what_waited_for_a_slow_upstream_arrives_before_the_end_does() {
    let (listener, port) = upstream().await;
    let mut harness = Setup::new(&rule(port)).listen(FIRST, port).open();
    let mut worker = connect(harness.look_up("api.example.com").await, port).await;
    let (mut far, _) = listener.accept().await.unwrap();
    let sent = flood(&mut worker).await;
    let waiting = harness.session.totals().bytes_up;
    assert!(waiting < sent.len() as u64, "what waits is not counted");
    worker.shutdown().await.unwrap();
    let mut received = Vec::new();
    far.read_to_end(&mut received).await.unwrap();
    assert!(received == sent);
    drop(far);
    assert!(matches!(harness.event().await, EgressEvent::Allowed { .. }));
    let EgressEvent::Closed { bytes_up, .. } = harness.event().await else {
        panic!("closed")
    };
    assert_eq!(bytes_up, sent.len() as u64);
}

#[tokio::test]
async fn what_waited_for_an_upstream_that_broke_off_is_in_no_other_connection() {
    let (listener, port) = upstream().await;
    let mut setup = Setup::new(&rule(port)).listen(FIRST, port);
    // The worker's part is one pipe.
    setup.gateway.connections = 32;
    let harness = setup.open();
    let address = harness.look_up("api.example.com").await;
    for _ in 0..3 {
        let mut worker = connect(address, port).await;
        let (far, _) = listener.accept().await.unwrap();
        flood(&mut worker).await;
        far.set_zero_linger().unwrap();
        drop(far);
        assert_reset(&mut worker).await;
        let mut worker = connect(address, port).await;
        let (mut far, _) = listener.accept().await.unwrap();
        say(&mut worker, &mut far, &noise(4, 1 << 20)).await;
    }
}

#[tokio::test]
async fn a_dial_that_fails_resets_the_worker_and_tells_the_true_cause() {
    let port = closed_port().await;
    let mut harness = Setup::new(&rule(port)).listen(FIRST, port).open();
    let mut worker = connect(harness.look_up("api.example.com").await, port).await;
    assert_reset(&mut worker).await;
    let EgressEvent::Failed { to, reason, detail } = harness.event().await else {
        panic!("a failure")
    };
    assert_eq!(reason.as_str(), "dial_refused");
    assert_eq!(to.address, Some(UPSTREAM.into()));
    assert!(detail.contains("refused"), "{detail}");
    assert_eq!(harness.session.totals().allowed, 0);
}

#[tokio::test]
async fn an_upstream_that_resets_resets_the_worker() {
    let (listener, port) = upstream().await;
    let harness = Setup::new(&rule(port)).listen(FIRST, port).open();
    let mut worker = connect(harness.look_up("api.example.com").await, port).await;
    let (stream, _) = listener.accept().await.unwrap();
    stream.set_zero_linger().unwrap();
    drop(stream);
    assert_reset(&mut worker).await;
}

#[tokio::test]
async fn before_the_call_starts_and_for_strange_addresses_every_connection_is_reset() {
    let (_listener, port) = upstream().await;
    let stranger = Ipv4Addr::new(127, 18, 7, 7);
    let literal = Ipv4Addr::new(127, 0, 0, 9);
    let setup = Setup::new(&rule(port))
        .listen(FIRST, port)
        .listen(stranger, port)
        .listen(literal, port);
    let mut harness = setup.attach();
    assert_reset(&mut connect(literal, port).await).await;
    assert_eq!(harness.reason().await, "not_started");
    harness.session.open();
    assert_reset(&mut connect(stranger, port).await).await;
    assert_eq!(harness.reason().await, "unknown_address");
    assert_reset(&mut connect(literal, port).await).await;
    assert_eq!(harness.reason().await, "address_not_allowed");
}

#[tokio::test]
async fn a_socket_of_the_daemon_is_reached_by_no_policy() {
    let (listener, port) = upstream().await;
    let mut setup = Setup::new(&rule(port)).listen(FIRST, port);
    setup.gateway.own_sockets = vec![listener.local_addr().unwrap()];
    let mut harness = setup.open();
    let address = harness.look_up("api.example.com").await;
    assert_reset(&mut connect(address, port).await).await;
    let EgressEvent::Refused { refusal, .. } = harness.event().await else {
        panic!("a refusal")
    };
    assert_eq!(
        (refusal.reason.as_str(), refusal.rule_to_add),
        ("own_socket", None)
    );
}

#[tokio::test]
async fn localhost_in_a_policy_is_the_daemons_host() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let policy = format!(
        "  - {{ host: localhost, ports: [{port}], networks: [127.0.0.0/8], protocol: tcp }}\n"
    );
    let mut harness = Setup::new(&policy).listen(FIRST, port).open();
    connect(harness.look_up("localhost").await, port).await;
    listener.accept().await.unwrap();
    let EgressEvent::Allowed { to, .. } = harness.event().await else {
        panic!("allowed")
    };
    assert_eq!(to.address, Some(Ipv4Addr::LOCALHOST.into()));
}

#[tokio::test]
async fn a_session_that_is_dropped_ends_its_connections_and_its_listeners() {
    let (listener, port) = upstream().await;
    let harness = Setup::new(&rule(port)).listen(FIRST, port).open();
    let address = harness.look_up("api.example.com").await;
    let mut worker = connect(address, port).await;
    let (mut far, _) = listener.accept().await.unwrap();
    drop(harness);
    assert_reset(&mut worker).await;
    assert_reset(&mut far).await;
    let refused = async {
        while TcpStream::connect((address, port)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused)
        .await
        .expect("the listener is gone");
}

#[tokio::test]
async fn what_a_severed_worker_sent_is_reset_and_not_ended() {
    let (listener, port) = upstream().await;
    let mut harness = Setup::new(&rule(port)).listen(FIRST, port).open();
    let address = harness.look_up("api.example.com").await;
    let mut worker = connect(address, port).await;
    let (mut far, _) = listener.accept().await.unwrap();
    worker.write_all(b"half of it").await.unwrap();
    assert!(matches!(harness.event().await, EgressEvent::Allowed { .. }));
    harness.session.sever();
    // As the kernel does for a process that is killed.
    drop(worker);
    let mut received = Vec::new();
    let end = tokio::time::timeout(PATIENCE, far.read_to_end(&mut received));
    let error = end.await.expect("an end").expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let totals = harness.session.close().await;
    assert_eq!((totals.allowed, totals.open), (1, 0));
}

#[tokio::test]
async fn a_worker_holds_a_part_of_the_daemons_connections_and_hears_of_it() {
    let (listener, port) = upstream().await;
    let mut setup = Setup::new(&rule(port)).listen(FIRST, port);
    setup.gateway.connections = 8;
    let mut harness = setup.open();
    let address = harness.look_up("api.example.com").await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let worker = connect(address, port).await;
        held.push((worker, listener.accept().await.unwrap()));
        assert!(matches!(harness.event().await, EgressEvent::Allowed { .. }));
    }
    assert_reset(&mut connect(address, port).await).await;
    let EgressEvent::Refused { refusal, .. } = harness.event().await else {
        panic!("a refusal")
    };
    assert_eq!(
        (refusal.reason.as_str(), &*refusal.detail),
        (
            "too_many_connections",
            "the worker holds 2 connections, the most it may"
        )
    );
}

#[tokio::test]
async fn the_audit_log_has_a_line_for_each_event() {
    let (listener, port) = upstream().await;
    let mut harness = Setup::new(&rule(port)).listen(FIRST, port).open();
    harness
        .ask("evil.com", hickory_proto::rr::RecordType::A)
        .await;
    let mut worker = connect(harness.look_up("api.example.com").await, port).await;
    let (mut far, _) = listener.accept().await.unwrap();
    worker.write_all(b"hello").await.unwrap();
    worker.shutdown().await.unwrap();
    let mut received = Vec::new();
    far.read_to_end(&mut received).await.unwrap();
    drop(far);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(harness.event().await);
    }
    let lines = harness.audit_lines();
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["refused", "allowed", "closed"]);
    assert_eq!(lines[0]["reason"], "name_not_allowed");
    assert_eq!(lines[0]["name"], "evil.com");
    let closed = &lines[2];
    assert_eq!(closed["connector"], "shop@1.4.2");
    assert_eq!(
        (&closed["bytes_up"], &closed["port"], &closed["worker"]),
        (&5.into(), &port.into(), &7.into())
    );
    assert!(
        closed["rule"].as_str().unwrap().ends_with("shop.yaml:4"),
        "{closed}"
    );
    assert!(chrono::DateTime::parse_from_rfc3339(closed["time"].as_str().unwrap()).is_ok());
}
