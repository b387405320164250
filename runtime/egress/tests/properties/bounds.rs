//! What no policy can open, and what a reload closes.

use crate::generate::{Attempted, PORTS, address_text, attempted, host_text, rules};
use crate::oracle::{allows, meaning};
use crate::paths::{Enforcement, config, guard, own_sockets, read};
use caisson_egress::address::{AddressClass, classify};
use caisson_egress::{Attempt, Policy, Protocol, Target, Transport, Verdict, decide};
use proptest::prelude::*;
use serde_json::json;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Every way in which a rule can name everything, on these ports.
fn everything(ports: &[u16], more: &[String]) -> Arc<Policy> {
    let all = ["0.0.0.0/0", "::/0"];
    let mut egress = vec![json!({"networks": all, "ports": ports, "protocol": "tcp"})];
    for host in [
        "wide.example",
        "*.example",
        "localhost",
        "*.google.internal",
    ] {
        egress.push(json!({"host": host, "networks": all, "ports": ports, "protocol": "tcp"}));
    }
    for host in more {
        egress.push(json!({"host": host, "networks": all, "ports": ports, "protocol": "tcp"}));
    }
    let text = json!({"format": 1, "connector": "shop", "egress": egress}).to_string();
    Arc::new(Policy::parse("wide.json", &text).unwrap())
}

/// IPv6 forms that a host or its network may deliver to an IPv4 address.
fn carriers(v4: std::net::Ipv4Addr) -> Vec<IpAddr> {
    let [a, b, c, d] = v4.octets().map(u16::from);
    let (high, low) = (a << 8 | b, c << 8 | d);
    let forms: [[u16; 8]; 6] = [
        [0, 0, 0, 0, 0, 0xffff, high, low],
        [0, 0, 0, 0, 0, 0, high, low],
        [0, 0, 0, 0, 0xffff, 0, high, low],
        [0x64, 0xff9b, 0, 0, 0, 0, high, low],
        [0x2002, high, low, 0, 0, 0, 0, 1],
        [0x64, 0xff9b, 1, 0, 0, 0, high, low],
    ];
    forms.map(|form| IpAddr::V6(Ipv6Addr::from(form))).to_vec()
}

const METADATA: [&str; 6] = [
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "169.254.42.42",
];

#[test]
fn metadata_is_out_of_reach_in_every_form_whatever_the_policy_names() {
    let policy = everything(&[80, 443], &[]);
    let config = config("x");
    for text in METADATA {
        let v4 = text.parse().unwrap();
        let mut forms = carriers(v4);
        forms.push(IpAddr::V4(v4));
        let enforcement = Enforcement::of(&policy, &config, &["wide.example", "localhost"], &forms);
        assert!(
            !enforcement.reaches("wide.example", 80),
            "behind a name: {text}"
        );
        for form in forms {
            assert!(
                !enforcement.reaches(&form.to_string(), 80),
                "{form} is {text}"
            );
        }
    }
    for text in [
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fe80::a9fe:a9fe",
    ] {
        let address = text.parse().unwrap();
        let enforcement = Enforcement::of(&policy, &config, &["wide.example"], &[address]);
        assert!(
            !enforcement.reaches("wide.example", 80) && !enforcement.reaches(text, 80),
            "{text}"
        );
    }
    for name in ["metadata.google.internal", "Metadata.Google.Internal."] {
        let enforcement = Enforcement::of(
            &policy,
            &config,
            &[name],
            &["93.184.215.14".parse().unwrap()],
        );
        assert!(!enforcement.reaches(name, 80), "{name}");
    }
    let enforcement = Enforcement::of(
        &policy,
        &config,
        &["wide.example"],
        &["93.184.215.14".parse().unwrap()],
    );
    assert!(
        enforcement.reaches("wide.example", 80),
        "the policy does open what may be opened"
    );
    assert!(enforcement.reaches("10.1.2.3", 80));
}

#[test]
fn the_daemons_own_sockets_are_out_of_reach_in_every_form_whatever_the_policy_names() {
    let policy = everything(&[7070, 9443], &[]);
    let config = config("x");
    for (port, hosts) in [
        (7070, &["127.0.0.1"][..]),
        (9443, &["127.0.0.1", "127.8.9.10", "203.0.113.7"]),
    ] {
        for host in hosts {
            let v4 = host.parse().unwrap();
            let mut forms = carriers(v4);
            forms.truncate(5);
            forms.push(IpAddr::V4(v4));
            let enforcement =
                Enforcement::of(&policy, &config, &["wide.example", "localhost"], &forms);
            assert!(
                !enforcement.reaches("wide.example", port),
                "behind a name: {host}"
            );
            assert!(
                !enforcement.reaches("localhost", port),
                "behind localhost: {host}"
            );
            for form in forms {
                assert!(
                    !enforcement.reaches(&form.to_string(), port),
                    "{form} port {port}"
                );
            }
        }
    }
    let enforcement = Enforcement::of(&policy, &config, &[], &[]);
    assert!(
        !enforcement.reaches("::1", 9443),
        "[::] is reached through ::1"
    );
    assert!(
        enforcement.reaches("127.0.0.2", 7070),
        "a socket of one address is no socket of another"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever the rules are, nothing that is dialled is metadata, unreachable by nature, or the daemon's own.
    #[test]
    fn no_rules_open_what_no_policy_can_allow(
        Attempted { rules, host: text, port, resolved } in attempted(),
    ) {
        let Ok(target) = Target::parse(&text) else { return Ok(()) };
        let bound = read(&rules).bind(&config("pg.db.example"));
        for port in [None, Some(port)] {
            let attempt = Attempt { target: &target, port, transport: Transport::Tcp, addresses: Some(&resolved) };
            let Verdict::Allow(allowed) = decide(Some(&bound), &guard(), &attempt) else { continue };
            prop_assert!(!allowed.addresses.is_empty());
            for address in allowed.addresses {
                let class = classify(address);
                prop_assert!(!matches!(class, AddressClass::Metadata(_) | AddressClass::Never(_)), "{address}: {class:?}");
                if let Some(port) = port {
                    prop_assert!(!own_sockets().contains(&(address.to_canonical(), port).into()), "{address}");
                }
            }
        }
    }

    /// An address that carries another is never more reachable than what it carries.
    #[test]
    fn no_form_of_an_address_is_more_than_the_address(bits in any::<u32>()) {
        let v4 = std::net::Ipv4Addr::from(bits);
        let plain = classify(IpAddr::V4(v4));
        for form in carriers(v4) {
            let class = classify(form);
            match plain {
                AddressClass::Metadata(_) => prop_assert!(matches!(class, AddressClass::Metadata(_)), "{form}: {class:?}"),
                AddressClass::Global => {}
                _ => prop_assert!(class != AddressClass::Global, "{form}: {class:?}"),
            }
        }
    }

    /// A reload closes exactly the connections that the new rules refuse, or would carry after a ClientHello that this one
    /// never showed.
    #[test]
    fn a_reload_closes_what_the_new_rules_refuse_and_nothing_else(
        Attempted { rules: before, host, port, resolved } in attempted(),
        kept in any::<u8>(),
        mut after in rules(),
        mut hosts in prop::collection::vec(host_text(), 0..5),
    ) {
        hosts.push(host);
        // Some of the rules stay, so that some of the connections do.
        after.extend(before.iter().enumerate().filter(|(index, _)| kept >> index & 1 == 1).map(|(_, rule)| rule.clone()));
        let (policy, next) = (read(&before), read(&after));
        let config_host = "pg.db.example";
        let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let enforcement = Enforcement::of(&policy, &config(config_host), &names, &resolved);
        let open: Vec<_> = hosts.iter().filter_map(|host| enforcement.opens(host, port)).collect();
        enforcement.reload(&next);
        for (target, allowed) in open {
            for address in allowed.addresses {
                let kept = enforcement.keeps(&target, port, address, allowed.protocol);
                let said = meaning(&target.to_string()).unwrap();
                let passes = allows(&after, config_host, &said, Some(port), &[address]);
                prop_assert!(passes || !kept, "{target} at {address} was let live");
                // Only a rule that asks for a ClientHello closes what the rules still allow.
                let any_tls = after.iter().any(|rule| rule.tls);
                prop_assert!(kept || !passes || (any_tls && allowed.protocol == Protocol::Tcp), "{target} at {address} was cut");
            }
        }
    }

    /// Nothing is reachable for a number that stands for a name in nobody's table.
    #[test]
    fn an_address_of_the_gateways_range_means_nothing_before_a_name_was_looked_up(bits in any::<u32>(), port in prop::sample::select(PORTS.to_vec())) {
        let address = std::net::Ipv4Addr::from(u32::from_be_bytes([198, 18, 0, 0]) | bits & 0x1_ffff);
        let policy = everything(&PORTS, &[]);
        let enforcement = Enforcement::of(&policy, &config("x"), &[], &[]);
        prop_assert!(!enforcement.reaches(&address.to_string(), port));
    }

    /// What the wire calls an address is what the policy calls it.
    #[test]
    fn every_address_has_one_text(text in address_text()) {
        let target = Target::parse(&text).unwrap();
        let again = Target::parse(&target.to_string()).unwrap();
        prop_assert_eq!(&target, &again);
        prop_assert_eq!(Target::parse(&format!("[{text}]")).ok(), text.contains(':').then_some(target));
    }
}
