//! The decision table: attempts against one policy, with verdict, reason and rule, as one reviewed snapshot; and that
//! check, explain and enforcement cannot differ.

use caisson_egress::{Attempt, Guard, Name, Policy, Target, Transport, Verdict, decide, explain};
use proptest::prelude::*;
use serde_json::json;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

const POLICY: &str = r#"
format: 1
connector: shop
egress:
  - { host: api.example.com, ports: [443], protocol: tls }
  - { host: "*.example.com", ports: [443, 8443], protocol: tcp }
  - host: ${config.host}
    within: ["*.db.example", 10.20.0.0/16]
    ports: ["${config.port}"]
    within_ports: [5432-5439]
    networks: [10.20.0.0/16, "fd00:20::/32"]
    protocol: tcp
  - { host: 10.1.2.3, ports: [22], networks: [10.1.2.3/32], protocol: tcp }
  - { networks: [10.30.0.0/16], ports: [9092], protocol: tcp }
  - { host: localhost, ports: [8080, 7070], networks: [127.0.0.0/8], protocol: tcp }
  - { host: "${config.evil}", within: [good.example], ports: [443], protocol: tls }
  - { host: wide.example, ports: [80], networks: [0.0.0.0/0, "::/0"], protocol: tcp }
"#;

fn policy() -> Arc<Policy> {
    Arc::new(Policy::parse("shop.yaml", POLICY).unwrap())
}

fn config() -> serde_json::Value {
    json!({"host": "pg.db.example", "port": 5433, "evil": "evil.example"})
}

fn guard() -> Guard {
    Guard::new(
        vec![
            "127.0.0.1:7070".parse().unwrap(),
            "[::]:9443".parse().unwrap(),
        ],
        vec!["203.0.113.7".parse().unwrap()],
    )
}

/// Target, port, what the name resolves to (empty: not resolved).
const ATTEMPTS: &[(&str, u16, &[&str])] = &[
    // Names.
    ("api.example.com", 443, &["93.184.215.14"]),
    ("API.Example.com.", 443, &["93.184.215.14"]),
    ("api.example.com", 8443, &[]),
    ("api.example.com", 80, &[]),
    ("a.b.example.com", 443, &[]),
    ("example.com", 443, &[]),
    ("evilexample.com", 443, &[]),
    ("example.com.evil.com", 443, &[]),
    ("xn--e1afmkfd.example.com", 443, &[]),
    // What names stand for.
    ("www.example.com", 443, &["10.0.0.1"]),
    ("www.example.com", 443, &["10.0.0.1", "93.184.215.14"]),
    ("www.example.com", 443, &["169.254.169.254"]),
    ("www.example.com", 443, &["::ffff:169.254.169.254"]),
    ("www.example.com", 443, &["64:ff9b::a9fe:a9fe"]),
    ("www.example.com", 443, &["2002:7f00:1::"]),
    ("www.example.com", 443, &["127.0.0.1"]),
    ("www.example.com", 443, &["100.64.0.1"]),
    ("www.example.com", 443, &["fe80::1"]),
    ("www.example.com", 443, &["fd12::1"]),
    ("www.example.com", 443, &["0.0.0.0"]),
    ("www.example.com", 443, &["224.0.0.1"]),
    ("www.example.com", 443, &["198.18.1.1"]),
    // From the connection.
    ("pg.db.example", 5433, &["10.20.1.1"]),
    ("pg.db.example", 5433, &["fd00:20::7"]),
    ("pg.db.example", 5433, &["10.21.1.1"]),
    ("pg.db.example", 5432, &[]),
    ("other.db.example", 5433, &[]),
    ("evil.example", 443, &[]),
    ("good.example", 443, &[]),
    // Addresses.
    ("10.1.2.3", 22, &[]),
    ("10.1.2.3", 23, &[]),
    ("::ffff:10.1.2.3", 22, &[]),
    ("10.30.4.5", 9092, &[]),
    ("10.20.1.1", 5433, &[]),
    ("93.184.215.14", 443, &[]),
    ("8.8.8.8", 53, &[]),
    ("2606:4700::1111", 443, &[]),
    ("169.254.169.254", 80, &[]),
    ("fd00:ec2::254", 80, &[]),
    ("metadata.google.internal", 80, &[]),
    // The daemon's host and its own sockets.
    ("localhost", 8080, &["127.0.0.1", "::1"]),
    ("127.0.0.1", 8080, &[]),
    ("127.0.0.1", 7070, &[]),
    ("localhost", 7070, &["127.0.0.1"]),
    ("::1", 8080, &[]),
    ("127.0.0.1", 9443, &[]),
    ("203.0.113.7", 9443, &[]),
    // A policy that names everything still cannot name these.
    ("wide.example", 80, &["10.9.9.9"]),
    ("wide.example", 80, &["169.254.169.254"]),
    ("wide.example", 80, &["255.255.255.255"]),
];

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn the_decision_table_is_as_reviewed() {
    let bound = policy().bind(&config());
    let guard = guard();
    let mut table = String::new();
    for (text, port, resolved) in ATTEMPTS {
        let target = Target::parse(text).unwrap();
        let resolved = addresses(resolved);
        let attempt = Attempt {
            target: &target,
            port: Some(*port),
            transport: Transport::Tcp,
            addresses: (!resolved.is_empty()).then_some(&resolved),
        };
        write!(table, "{text} {port} {resolved:?}\n    ").unwrap();
        match decide(Some(&bound), &guard, &attempt) {
            Verdict::Allow(allowed) => {
                writeln!(
                    table,
                    "allowed {} by {} dial {:?}",
                    allowed.protocol.as_str(),
                    allowed.rule,
                    allowed.addresses
                )
            }
            Verdict::Refuse(refusal) => {
                let add = refusal
                    .rule_to_add
                    .map(|rule| rule.trim_end().replace('\n', "\n        "));
                let add = add
                    .map(|rule| format!("\n      + {rule}"))
                    .unwrap_or_default();
                writeln!(table, "{}: {}{add}", refusal.reason, refusal.detail)
            }
        }
        .unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn without_a_policy_nothing_is_allowed() {
    for (text, port, _) in ATTEMPTS {
        let answer = explain(
            None,
            &json!({}),
            &guard(),
            &format!("[{text}]:{port}"),
            None,
        )
        .or_else(|_| explain(None, &json!({}), &guard(), &format!("{text}:{port}"), None))
        .unwrap();
        assert!(!answer.allowed, "{text}");
    }
}

#[test]
fn only_tcp_leaves_a_worker() {
    let bound = policy().bind(&config());
    let target = Target::parse("api.example.com").unwrap();
    for transport in [Transport::Udp, Transport::Icmp, Transport::Other(132)] {
        let attempt = Attempt {
            target: &target,
            port: Some(443),
            transport,
            addresses: None,
        };
        let Verdict::Refuse(refusal) = decide(Some(&bound), &guard(), &attempt) else {
            panic!("{transport}")
        };
        assert_eq!(refusal.reason.as_str(), "transport_not_allowed");
    }
}

#[test]
fn an_explanation_reads_well() {
    let say = |to: &str| {
        explain(Some(&policy()), &config(), &guard(), to, None)
            .unwrap()
            .to_string()
    };
    let mut said = String::new();
    for to in [
        "api.example.com:443",
        "api.example.com:80",
        "elsewhere.com:443",
        "evil.example:443",
        "169.254.169.254:80",
    ] {
        writeln!(said, "{}\n", say(to)).unwrap();
    }
    for to in [
        "api.example.com",
        "api.example.com:x",
        "2130706433:80",
        "evil\0.com:443",
    ] {
        writeln!(
            said,
            "{}",
            explain(None, &json!({}), &guard(), to, None).unwrap_err()
        )
        .unwrap();
    }
    insta::assert_snapshot!(said);
}

#[test]
fn an_explanation_says_with_whose_key_a_certificate_is_shown() {
    let text = "format: 1\nconnector: shop\negress:\n\
                \x20 - { host: db.example.com, ports: [5432, 5433], protocol: postgres }\n\
                \x20 - { host: tls.example.com, ports: [5432], protocol: tls }\n\
                secrets:\n\
                \x20 client_key: { from: ['file:key'], seal: { hosts: ['*.example.com'], ports: [5432], place: client_key } }\n";
    let policy = Arc::new(Policy::parse("shop.yaml", text).unwrap());
    let ask = |to| explain(Some(&policy), &json!({}), &guard(), to, None).unwrap();
    insta::assert_snapshot!(ask("db.example.com:5432"), @r"
    allowed: db.example.com port 5432
      by shop.yaml:4 (egress[0]), protocol postgres
      the gateway shows a client certificate, with the key of /client_key
      its addresses are judged when it is looked up
    ");
    for other in [
        "db.example.com:5433",
        "tls.example.com:5432",
        "evil.example.com:5432",
    ] {
        assert_eq!(ask(other).client_key, None, "{other}");
    }
}

#[test]
fn a_snippet_that_a_refusal_offers_does_allow_the_attempt() {
    let mut tried = 0;
    for (text, port, resolved) in ATTEMPTS {
        let target = Target::parse(text).unwrap();
        let resolved = addresses(resolved);
        let attempt = Attempt {
            target: &target,
            port: Some(*port),
            transport: Transport::Tcp,
            addresses: (!resolved.is_empty()).then_some(&resolved),
        };
        let Verdict::Refuse(refusal) = decide(Some(&policy().bind(&config())), &guard(), &attempt)
        else {
            continue;
        };
        let Some(rule) = refusal.rule_to_add.filter(|rule| rule.starts_with("- ")) else {
            continue;
        };
        let text = format!("format: 1\nconnector: shop\negress:\n{rule}");
        let policy = Arc::new(
            Policy::parse("added.yaml", &text).unwrap_or_else(|faults| panic!("{text}\n{faults}")),
        );
        let verdict = decide(Some(&policy.bind(&json!({}))), &guard(), &attempt);
        assert!(matches!(verdict, Verdict::Allow(_)), "{text}\n{verdict:?}");
        let indented: String = rule.lines().map(|line| format!("  {line}\n")).collect();
        let longer =
            Arc::new(Policy::parse("longer.yaml", &format!("{POLICY}{indented}")).unwrap());
        let verdict = decide(Some(&longer.bind(&config())), &guard(), &attempt);
        assert!(
            matches!(verdict, Verdict::Allow(_)),
            "also at the end of the file\n{text}\n{verdict:?}"
        );
        tried += 1;
    }
    assert!(tried > 15, "{tried}");
}

proptest! {
    /// DNS asks with no port, the relay with port and addresses, explain with text: whoever lets a name pass, the others do.
    #[test]
    fn check_explain_and_enforcement_agree_on_every_name(
        name in "([aA]|api|evil|b-c|_x)(\\.(a|db|example)){0,2}\\.(com|example|Example\\.com)\\.?",
        port in prop_oneof![Just(443u16), Just(8443), Just(5433), Just(80)],
    ) {
        let target = Target::Name(Name::parse(&name).unwrap());
        let bound = policy().bind(&config());
        let resolved = ["93.184.215.14".parse().unwrap()];
        let ask = |port, addresses| {
            let attempt = Attempt { target: &target, port, transport: Transport::Tcp, addresses };
            matches!(decide(Some(&bound), &guard(), &attempt), Verdict::Allow(_))
        };
        let relay = ask(Some(port), Some(&resolved[..]));
        let explained = explain(Some(&policy()), &config(), &guard(), &format!("{name}:{port}"), None).unwrap();
        prop_assert_eq!(relay, explained.allowed);
        prop_assert!(ask(None, None) || !relay, "what the relay lets pass, DNS has answered");
        let any_port = (1..=u16::MAX).step_by(1).filter(|port| [443, 8443, 5433, 80].contains(port)).any(|port| ask(Some(port), None));
        prop_assert_eq!(ask(None, None), any_port);
    }
}
