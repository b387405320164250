//! Policies, names, addresses: small alphabets, so that they meet, and every nasty spelling that we know.

use caisson_egress::Policy;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::net::IpAddr;

/// A rule as it will be written.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) host: Host,
    pub(crate) ports: Vec<u16>,
    pub(crate) networks: Vec<&'static str>,
    pub(crate) tls: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Host {
    /// A name, `*.name` or an address.
    Written(String),
    /// `${config.host}` inside these.
    FromConfig(Vec<&'static str>),
    /// None: any address inside the rule's networks.
    Any,
}

/// What the connection's config says where a rule asks it.
pub(crate) const CONFIG_HOSTS: [&str; 5] = [
    "pg.db.example",
    "PG.db.Example.",
    "a.b.db.example",
    "10.20.1.1",
    "evil.example",
];

pub(crate) const PORTS: [u16; 4] = [443, 5432, 7070, 9443];

/// Networks that rules name.
pub(crate) const NETWORKS: [&str; 9] = [
    "10.0.0.0/8",
    "10.20.0.0/16",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "198.18.0.0/15",
    "fd00::/8",
    "64:ff9b::/96",
    "0.0.0.0/0",
    "::/0",
];

/// The file's text.
pub(crate) fn policy(rules: &[Rule]) -> String {
    let rules = rules.iter().map(|rule| {
        let protocol = if rule.tls { "tls" } else { "tcp" };
        let mut written = json!({"ports": rule.ports, "protocol": protocol});
        if !rule.networks.is_empty() {
            written["networks"] = json!(rule.networks);
        }
        match &rule.host {
            Host::Written(host) => written["host"] = json!(host),
            Host::FromConfig(within) => {
                written["host"] = json!("${config.host}");
                written["within"] = json!(within);
            }
            Host::Any => {}
        }
        written
    });
    json!({"format": 1, "connector": "shop", "egress": rules.collect::<Vec<Value>>()}).to_string()
}

fn label() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a",
        "b",
        "api",
        "db",
        "_x",
        "xn--mnchen-3ya",
        "a-b",
        "0x7f",
        "1",
    ])
}

/// A name of this alphabet, in some spelling.
fn plain_name() -> impl Strategy<Value = String> {
    let end = prop::sample::select(vec!["example", "example.com", "com", "localhost"]);
    let labels = prop::collection::vec(label(), 0..3);
    let name = (labels, end).prop_map(|(mut labels, end)| {
        labels.push(end);
        labels.join(".")
    });
    let known = prop::sample::select(vec![
        "localhost".to_owned(),
        "pg.db.example".to_owned(),
        "metadata.google.internal".to_owned(),
    ]);
    (prop_oneof![6 => name, 1 => known], any::<u8>())
        .prop_map(|(name, spelling)| spelled(&name, spelling))
}

/// Another spelling of the same name.
fn spelled(name: &str, spelling: u8) -> String {
    let mut name: String = name
        .chars()
        .enumerate()
        .map(|(index, c)| {
            if spelling >> (index % 6) & 1 == 1 {
                c.to_ascii_uppercase()
            } else {
                c
            }
        })
        .collect();
    if spelling & 0xc0 == 0xc0 {
        name.push('.');
    }
    name
}

/// What looks like a name and is none, or is one only to some parsers.
fn nasty_name() -> impl Strategy<Value = String> {
    let around = prop::sample::select(vec![
        ("", "."),
        (".", ""),
        ("", ".."),
        ("[", "]"),
        ("", "%lo"),
        ("", "%00"),
        ("", "\0"),
        ("evil.com\0.", ""),
        ("", "\r\nHost: evil.com"),
        ("", ":443"),
        ("user@", ""),
        ("http://", "/"),
        (" ", ""),
        ("", "\t"),
        ("-", ""),
        ("", "-"),
        ("*.", ""),
        ("*", ""),
        ("ａ.", ""),
        ("ſ", ""),
        ("\u{200d}", ""),
        ("münchen.", ""),
        ("a\u{3002}", ""),
        ("a。", ""),
        ("xn--\u{e9}.", ""),
        ("", ".0x1"),
        ("", ".1"),
    ]);
    let wrapped =
        (around, plain_name()).prop_map(|((before, after), name)| format!("{before}{name}{after}"));
    let long = (1usize..80, 1usize..6, plain_name()).prop_map(|(length, count, name)| {
        format!("{}.{name}", vec!["l".repeat(length); count].join("."))
    });
    let numbers = prop::sample::select(vec![
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "127.0.0.01",
        "0x7f.0x0.0x0.0x1",
        "169.254.43518",
        "2852039166",
        "0xa9fea9fe",
        "[127.0.0.1]",
        "[::1",
        "::1]",
        "[[::1]]",
        "::1%lo",
        "[fe80::1%25lo]",
        "[v1.a]",
        "1.2.3.4.5",
        "...",
        "",
        ".",
        "*",
        "[]",
    ]);
    prop_oneof![
        4 => wrapped,
        1 => long,
        2 => numbers.prop_map(str::to_owned),
    ]
}

/// What a person may ask for, or a worker look up.
pub(crate) fn host_text() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => plain_name(),
        3 => nasty_name(),
        3 => address_text(),
        1 => "\\PC{0,12}",
    ]
}

/// Addresses of every class, in every form that carries one.
pub(crate) fn address_text() -> impl Strategy<Value = String> {
    let v4 = prop::sample::select(vec![
        "93.184.215.14",
        "10.20.1.1",
        "10.1.2.3",
        "127.0.0.1",
        "127.0.0.9",
        "169.254.169.254",
        "169.254.1.1",
        "100.100.100.200",
        "198.18.1.1",
        "198.19.255.254",
        "203.0.113.7",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
    ]);
    let carriers =
        prop::sample::select(vec!["", "", "", "::ffff:", "::", "::ffff:0:", "64:ff9b::"]);
    let v6 = prop::sample::select(vec![
        "::1",
        "::",
        "2606:4700::1111",
        "fd00:20::7",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
        "2002:a9fe:a9fe::1",
        "2002:0a14:0101::1",
        "2001:db8::7",
    ]);
    prop_oneof![
        4 => (carriers, v4).prop_map(|(carrier, v4)| format!("{carrier}{v4}")),
        1 => v6.prop_map(str::to_owned),
    ]
}

pub(crate) fn rule() -> impl Strategy<Value = Rule> {
    let pattern = (any::<bool>(), plain_name())
        .prop_map(|(star, name)| if star { format!("*.{name}") } else { name });
    let within =
        prop::sample::subsequence(vec!["*.db.example", "PG.DB.example", "10.20.0.0/16"], 1..3);
    let host = prop_oneof![
        5 => pattern.prop_map(Host::Written),
        2 => address_text().prop_map(Host::Written),
        1 => within.prop_map(Host::FromConfig),
        2 => Just(Host::Any),
    ];
    let ports = prop::sample::subsequence(PORTS.to_vec(), 1..=3);
    let networks = prop::sample::subsequence(NETWORKS.to_vec(), 0..4);
    (host, ports, networks, any::<[bool; 2]>()).prop_map(
        |(host, ports, mut networks, [tls, wide])| {
            let nameless = match &host {
                Host::Written(host) => host.parse::<IpAddr>().is_ok(),
                Host::FromConfig(_) => false,
                Host::Any => true,
            };
            if nameless && wide {
                networks = vec!["0.0.0.0/0", "::/0"];
            }
            Rule {
                host,
                ports,
                networks,
                tls: tls && !nameless,
            }
        },
    )
}

/// Rules that the reader takes: it refuses, for example, an address that no network of its rule holds.
pub(crate) fn rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(rule(), 0..8).prop_map(|mut rules| {
        rules
            .retain(|rule| Policy::parse("rule.json", &policy(std::slice::from_ref(rule))).is_ok());
        rules
    })
}

/// What the name stands for; never empty.
pub(crate) fn resolved() -> impl Strategy<Value = Vec<IpAddr>> {
    let address = prop_oneof![
        1 => Just("93.184.215.14".to_owned()),
        2 => address_text(),
    ];
    prop::collection::vec(address.prop_map(|text| text.parse().unwrap()), 1..4)
}

/// Somebody's attempt under some rules.
#[derive(Debug, Clone)]
pub(crate) struct Attempted {
    pub(crate) rules: Vec<Rule>,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) resolved: Vec<IpAddr>,
}

/// Attempts of which about half aim at one of the rules: at its host, one label more or one less, on one of its ports.
pub(crate) fn attempted() -> impl Strategy<Value = Attempted> {
    let elsewhere = (host_text(), prop::sample::select(PORTS.to_vec()));
    let aim = (
        any::<prop::sample::Index>(),
        any::<u8>(),
        0u8..8,
        address_text(),
    );
    (rules(), elsewhere, resolved(), aim).prop_map(
        |(rules, (mut host, mut port), resolved, (at, spelling, how, address))| {
            if how < 5 && !rules.is_empty() {
                let rule = &rules[at.index(rules.len())];
                port = rule.ports[usize::from(spelling) % rule.ports.len()];
                let written = match &rule.host {
                    Host::Written(host) => host.clone(),
                    Host::FromConfig(_) => "pg.db.example".to_owned(),
                    Host::Any => address,
                };
                let plain = written.trim_start_matches("*.");
                let is_address = plain.parse::<IpAddr>().is_ok();
                host = match how {
                    0 | 1 if written.starts_with('*') => format!("a.{plain}"),
                    2 if !is_address => format!("a.b.{plain}"),
                    _ => plain.to_owned(),
                };
                if !is_address {
                    host = spelled(&host, spelling);
                }
            }
            Attempted {
                rules,
                host,
                port,
                resolved,
            }
        },
    )
}
