//! A policy that changes while a call runs.

use crate::harness::{FIRST, PATIENCE, Setup, UPSTREAM, assert_reset, connect, upstream};
use caisson_egress::{EgressEvent, Ended};
use std::net::{Ipv4Addr, TcpListener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn rules(hosts: &str, ports: &str) -> String {
    format!("  - {{ host: '{hosts}', ports: [{ports}], networks: [127.0.0.0/8], protocol: tcp }}\n")
}

fn policy(hosts: &str, ports: &str) -> String {
    format!(
        "format: 1\nconnector: shop\negress:\n{}",
        rules(hosts, ports)
    )
}

#[tokio::test]
async fn a_saved_file_closes_what_it_no_longer_allows_and_keeps_the_rest() {
    let (listener, port) = upstream().await;
    let second = std::net::Ipv4Addr::new(127, 18, 1, 2);
    let mut harness = Setup::new(&rules("*.example.com", &port.to_string()))
        .listen(FIRST, port)
        .listen(second, port)
        .open();
    let mut kept = connect(harness.look_up("api.example.com").await, port).await;
    let (mut kept_far, _) = listener.accept().await.unwrap();
    let mut cut = connect(harness.look_up("db.example.com").await, port).await;
    let (mut cut_far, _) = listener.accept().await.unwrap();
    for _ in 0..2 {
        assert!(matches!(harness.event().await, EgressEvent::Allowed { .. }));
    }
    harness.write_policy("shop.yaml", &policy("api.example.com", &port.to_string()));
    assert_reset(&mut cut).await;
    assert_reset(&mut cut_far).await;
    let EgressEvent::Closed { to, ended, .. } = harness.event().await else {
        panic!("closed")
    };
    assert_eq!(
        (to.host.as_deref(), ended),
        (Some("db.example.com"), Ended::PolicyChanged)
    );
    kept.write_all(b"still here").await.unwrap();
    let mut buffer = [0; 10];
    kept_far.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"still here");
    assert_reset(&mut connect(second, port).await).await;
    assert_eq!(
        harness.reason().await,
        "name_not_allowed",
        "the old address of the name leads nowhere now"
    );
}

#[tokio::test]
async fn a_directory_that_never_rests_is_read_all_the_same() {
    let (listener, port) = upstream().await;
    let harness = Setup::new(&rules("*.example.com", &port.to_string()))
        .listen(FIRST, port)
        .open();
    let mut cut = connect(harness.look_up("api.example.com").await, port).await;
    let (_far, _) = listener.accept().await.unwrap();
    let other = harness.policies.join("other.yaml");
    let restless = tokio::spawn(async move {
        loop {
            tokio::fs::write(&other, "format: 1\nconnector: other\n")
                .await
                .unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    harness.write_policy("shop.yaml", &policy("db.example.com", &port.to_string()));
    assert_reset(&mut cut).await;
    assert!(!restless.is_finished());
    restless.abort();
}

#[tokio::test]
async fn a_bad_file_is_refused_whole_and_the_old_policies_stay() {
    let (listener, port) = upstream().await;
    let harness = Setup::new(&rules("api.example.com", &port.to_string()))
        .listen(FIRST, port)
        .open();
    let mut faults = harness.gateway.faults();
    harness.write_policy("other.yaml", "format: 1\nconnector: other\nspeed: fast\n");
    tokio::time::timeout(PATIENCE, faults.changed())
        .await
        .expect("noticed")
        .unwrap();
    let text = faults
        .borrow_and_update()
        .as_ref()
        .expect("faults")
        .to_string();
    assert!(text.contains("other.yaml:3:1"), "{text}");
    connect(harness.look_up("api.example.com").await, port).await;
    listener.accept().await.unwrap();
    std::fs::remove_file(harness.policies.join("other.yaml")).unwrap();
    tokio::time::timeout(PATIENCE, faults.changed())
        .await
        .expect("noticed")
        .unwrap();
    assert!(faults.borrow().is_none());
}

#[tokio::test]
async fn a_port_that_a_reload_brings_is_announced_and_served_once_it_listens() {
    let (_listener, port) = upstream().await;
    let (new_listener, new_port) = upstream().await;
    let harness = Setup::new(&rules("api.example.com", &port.to_string()))
        .listen(FIRST, port)
        .open();
    let mut missing = harness.session.missing_ports();
    assert!(missing.borrow_and_update().is_empty());
    harness.write_policy(
        "shop.yaml",
        &policy("api.example.com", &format!("{port}, {new_port}")),
    );
    harness.gateway.reload().unwrap();
    assert_eq!(
        missing
            .borrow_and_update()
            .iter()
            .copied()
            .collect::<Vec<_>>(),
        [new_port],
        "told before reload returns"
    );
    harness.session.add_listeners(vec![(
        new_port,
        TcpListener::bind((FIRST, new_port)).unwrap(),
    )]);
    assert!(missing.borrow_and_update().is_empty());
    connect(harness.look_up("api.example.com").await, new_port).await;
    new_listener.accept().await.unwrap();
}

#[tokio::test]
async fn a_removed_file_leaves_nothing_allowed() {
    let (listener, port) = upstream().await;
    let mut harness = Setup::new(&rules("api.example.com", &port.to_string()))
        .listen(FIRST, port)
        .open();
    let mut worker = connect(harness.look_up("api.example.com").await, port).await;
    listener.accept().await.unwrap();
    std::fs::remove_file(harness.policies.join("shop.yaml")).unwrap();
    harness.gateway.reload().unwrap();
    assert_reset(&mut worker).await;
    assert!(matches!(harness.event().await, EgressEvent::Allowed { .. }));
    assert!(matches!(
        harness.event().await,
        EgressEvent::Closed {
            ended: Ended::PolicyChanged,
            ..
        }
    ));
    harness
        .ask("api.example.com", hickory_proto::rr::RecordType::A)
        .await;
    assert_eq!(harness.reason().await, "no_policy");
}

#[tokio::test]
async fn a_reload_closes_exactly_the_connections_that_the_new_policy_refuses() {
    const HOSTS: [&str; 4] = ["a", "b", "c", "d"];
    let upstreams = [upstream().await, upstream().await];
    let ports = [upstreams[0].1, upstreams[1].1];
    // One bit for each host and port.
    let policy = |mask: u8| {
        let pairs = HOSTS.iter().flat_map(|host| ports.map(|port| (host, port)));
        let rules = pairs
            .enumerate()
            .filter(|(bit, _)| mask >> bit & 1 == 1)
            .map(|(_, (host, port))| rules(&format!("{host}.example.com"), &port.to_string()));
        format!(
            "format: 1\nconnector: shop\negress:{}\n{}",
            if mask == 0 { " []" } else { "" },
            rules.collect::<String>()
        )
    };
    let mut setup = Setup::new("");
    setup.policy = policy(0xff);
    for (index, host) in (1..).zip(HOSTS) {
        let name = caisson_egress::Name::parse(&format!("{host}.example.com")).unwrap();
        setup.gateway.hosts.insert(name, vec![UPSTREAM.into()]);
        for port in ports {
            setup = setup.listen(Ipv4Addr::new(127, 18, 1, index), port);
        }
    }
    let harness = setup.open();
    for mask in [0x00, 0xff, 0x55, 0x0f, 0x81, 0x7e] {
        harness.write_policy("shop.yaml", &policy(0xff));
        harness.gateway.reload().unwrap();
        let mut open = Vec::new();
        for host in HOSTS {
            let address = harness.look_up(&format!("{host}.example.com")).await;
            for (listener, port) in &upstreams {
                let near = connect(address, *port).await;
                open.push((near, listener.accept().await.unwrap().0));
            }
        }
        harness.write_policy("shop.yaml", &policy(mask));
        harness.gateway.reload().unwrap();
        for (bit, (near, far)) in open.iter_mut().enumerate() {
            if mask >> bit & 1 == 0 {
                assert_reset(near).await;
                assert_reset(far).await;
                continue;
            }
            let mut heard = [0; 2];
            near.write_all(b"up").await.unwrap();
            far.read_exact(&mut heard).await.unwrap();
            far.write_all(b"dn").await.unwrap();
            near.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"dn", "mask {mask:#x}, connection {bit}");
        }
    }
}
