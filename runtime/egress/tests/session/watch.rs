//! Attempts that no listener takes.

use crate::harness::Setup;
use caisson_egress::EgressEvent;

const RULE: &str =
    "  - { host: '*.example.com', ports: [443], networks: [127.0.0.0/8], protocol: tcp }\n";

/// An IPv4 packet with a TCP SYN or a UDP header.
fn packet(protocol: u8, to: [u8; 4], port: u16) -> Vec<u8> {
    let mut packet = vec![
        0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, protocol, 0, 0, 127, 0, 0, 1,
    ];
    packet.extend(to);
    packet.extend(40_000u16.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x02, 0, 0, 0, 0, 0, 0]);
    packet
}

#[tokio::test]
async fn an_attempt_on_an_unlisted_port_is_told_with_its_name_and_the_rule_to_add() {
    let mut harness = Setup::new(RULE).open();
    let address = harness.look_up("api.example.com").await;
    for _ in 0..3 {
        harness
            .watch
            .send(&packet(6, address.octets(), 8443))
            .unwrap();
    }
    let EgressEvent::Refused { to, refusal, .. } = harness.event().await else {
        panic!("a refusal")
    };
    assert_eq!(
        (to.host.as_deref(), to.port, &*to.protocol),
        (Some("api.example.com"), Some(8443), "tcp")
    );
    assert_eq!(refusal.reason.as_str(), "port_not_allowed");
    assert!(refusal.rule_to_add.unwrap().contains("ports: [8443]"));
    harness.watch.send(&packet(17, [8, 8, 8, 8], 443)).unwrap();
    let EgressEvent::Refused { to, refusal, .. } = harness.event().await else {
        panic!("a refusal")
    };
    assert_eq!(
        (to.address, &*to.protocol),
        (Some("8.8.8.8".parse().unwrap()), "udp")
    );
    assert_eq!(refusal.reason.as_str(), "transport_not_allowed");
    assert_eq!(
        harness.session.totals().denied,
        4,
        "each packet counts, though equal ones are told once"
    );
}

#[tokio::test]
async fn an_allowed_port_without_a_listener_is_told_as_not_open_yet() {
    let mut harness = Setup::new(RULE).open();
    let address = harness.look_up("api.example.com").await;
    harness
        .watch
        .send(&packet(6, address.octets(), 443))
        .unwrap();
    assert_eq!(harness.reason().await, "port_not_open");
}

#[tokio::test]
async fn the_metadata_address_is_told_as_what_it_is() {
    let mut harness = Setup::new(RULE).open();
    harness
        .watch
        .send(&packet(6, [169, 254, 169, 254], 80))
        .unwrap();
    assert_eq!(harness.reason().await, "metadata");
}

#[tokio::test]
async fn after_a_flood_of_udp_a_tcp_and_a_dns_attempt_are_still_told() {
    let mut harness = Setup::new(RULE).open();
    harness.watch.set_nonblocking(false).unwrap();
    let sender = harness.watch.try_clone().unwrap();
    tokio::task::spawn_blocking(move || {
        for port in 1_001..=4_000 {
            sender.send(&packet(17, [8, 8, 8, 8], port)).unwrap();
        }
        sender.send(&packet(6, [8, 8, 4, 4], 25)).unwrap();
    })
    .await
    .unwrap();
    harness
        .ask("evil.com", hickory_proto::rr::RecordType::A)
        .await;
    let (mut tcp, mut dns) = (false, false);
    while !(tcp && dns) {
        if let EgressEvent::Refused { to, .. } = harness.event().await {
            tcp |= to.protocol == "tcp" && to.port == Some(25);
            dns |= to.host.as_deref() == Some("evil.com");
        }
    }
    assert_eq!(harness.session.totals().denied, 3_002);
    assert_eq!(harness.session.totals().lost, 0);
}
