//! A policy file, as an operator writes it.
//!
//! Input: the text.

use crate::faults;
use caisson_document::Document;
use caisson_egress::{
    Attempt, Bound, BoundHost, Guard, Policy, Refusal, Target, Transport, Verdict, decide, explain,
};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;

/// Names and addresses that every policy is asked about, beside its own.
const STRANGERS: [&str; 9] = [
    "api.example.com",
    "localhost",
    "metadata.google.internal",
    "93.184.215.14",
    "127.0.0.1",
    "10.20.1.1",
    "::1",
    "198.18.1.1",
    "169.254.169.254",
];

/// What a name may stand for: ordinary, private, metadata, and metadata in disguise.
const ANSWERS: [&str; 5] = [
    "93.184.215.14",
    "10.20.1.1",
    "127.0.0.1",
    "169.254.169.254",
    "64:ff9b::a9fe:a9fe",
];

/// A refusal is well told. A policy that is taken says the same when it is written as JSON; explain says what enforcement
/// does; the order of its rules changes nothing; what no policy can allow stays refused; a name passes only where a
/// plain reading of its rules lets it; and the rule that a refusal offers does allow the attempt.
pub fn policy_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let policy = match Policy::parse("shop.yaml", &text) {
        Ok(policy) => Arc::new(policy),
        Err(faults) => return faults::are_well_told(&faults, &text),
    };
    let value = Document::parse("shop.yaml", &text)
        .expect("it was read before")
        .into_value();
    let again = Policy::parse("shop.json", &value.to_string())
        .unwrap_or_else(|faults| panic!("as JSON it is refused: {faults}\n{value}"));
    assert_eq!(content(&policy), content(&again), "{value}");

    let mut reversed = Policy::clone(&policy);
    reversed.egress.reverse();
    let asked = Asked {
        bound: policy.bind(&config()),
        reversed: Arc::new(reversed).bind(&config()),
        policy,
        guard: guard(),
        value,
    };
    for target in targets(&asked.bound) {
        for port in ports(&asked.bound) {
            asked.about(&target, port);
        }
    }
}

/// Everything that a policy says, without where it says it.
fn content(policy: &Policy) -> String {
    let egress = policy.egress.iter().map(|rule| {
        let fences = (&rule.within_ports, &rule.networks, rule.protocol);
        format!("{:?} {:?} {fences:?}", rule.host, rule.ports)
    });
    let files = policy
        .files
        .iter()
        .map(|rule| format!("{:?} {:?} {:?}", rule.dir, rule.within, rule.access));
    let rest = (&policy.selector, &policy.secrets, &policy.limits);
    format!(
        "{:?} {:?} {rest:?}",
        egress.collect::<Vec<_>>(),
        files.collect::<Vec<_>>()
    )
}

fn config() -> Value {
    json!({"host": "pg.db.example", "port": 5433, "shop": "acme", "address": "10.20.0.7", "dir": "/srv/lake/a"})
}

fn guard() -> Guard {
    let own = ["127.0.0.1:7070", "[::]:9443"].map(|text| text.parse().expect("a socket"));
    Guard::new(
        own.to_vec(),
        vec!["203.0.113.7".parse().expect("an address")],
    )
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    let parse = |text: &&str| text.parse().expect("an address");
    texts.iter().map(parse).collect()
}

/// What the policy names, what is next to it, and strangers.
fn targets(bound: &Bound) -> Vec<Target> {
    let own = bound.rules.iter().take(6).flat_map(|rule| {
        let name = match &rule.host {
            BoundHost::Names(pattern) => pattern.to_string(),
            BoundHost::Address(address) => address.to_string(),
            _ => String::new(),
        };
        let plain = name.trim_start_matches("*.").to_owned();
        let under = [format!("w.{plain}"), format!("v.w.{plain}")];
        let networks = rule.networks.iter().take(2);
        [name, plain]
            .into_iter()
            .chain(under)
            .chain(networks.map(|network| network.base().to_string()))
    });
    own.chain(STRANGERS.map(str::to_owned))
        .filter_map(|text| Target::parse(&text).ok())
        .collect()
}

fn ports(bound: &Bound) -> Vec<u16> {
    let own = bound
        .rules
        .iter()
        .flat_map(|rule| rule.ports.iter().take(2));
    own.copied().take(4).chain([443, 53, 7070]).collect()
}

struct Asked {
    policy: Arc<Policy>,
    bound: Bound,
    reversed: Bound,
    guard: Guard,
    value: Value,
}

impl Asked {
    fn about(&self, target: &Target, port: u16) {
        let resolved = [
            None,
            Some(addresses(&ANSWERS)),
            Some(addresses(&ANSWERS[1..])),
            Some(addresses(&ANSWERS[3..])),
        ];
        for addresses in &resolved {
            let attempt = Attempt {
                target,
                port: Some(port),
                transport: Transport::Tcp,
                addresses: addresses.as_deref(),
            };
            self.judged(&attempt, port);
        }
    }

    fn judged(&self, attempt: &Attempt<'_>, port: u16) {
        let target = attempt.target;
        let verdict = decide(Some(&self.bound), &self.guard, attempt);
        let told = format!("{target} port {port} {:?}: {verdict:?}", attempt.addresses);
        let turned = decide(Some(&self.reversed), &self.guard, attempt);
        assert_eq!(is_allowed(&verdict), is_allowed(&turned), "order: {told}");

        let to = match target {
            Target::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            other => format!("{other}:{port}"),
        };
        let policy = Some(&self.policy);
        let explained = explain(policy, &config(), &self.guard, &to, attempt.addresses)
            .unwrap_or_else(|error| panic!("{error}: {told}"));
        assert_eq!(explained.allowed, is_allowed(&verdict), "explain: {told}");
        assert!(!explained.to_string().is_empty());

        match &verdict {
            Verdict::Allow(allowed) => {
                assert_eq!(explained.rule.as_ref(), Some(&allowed.rule));
                assert!(self.reads(target, port), "nothing says so: {told}");
                let forbidden = addresses(&["169.254.169.254", "64:ff9b::a9fe:a9fe", "198.18.1.1"]);
                assert!(
                    !allowed
                        .addresses
                        .iter()
                        .any(|dialled| forbidden.contains(dialled)),
                    "{told}"
                );
                let own = |address: &IpAddr| self.guard.is_own(*address, port);
                assert!(!allowed.addresses.iter().any(own), "{told}");
            }
            Verdict::Refuse(refusal) => {
                assert_eq!(explained.refusal.as_ref(), Some(refusal), "explain: {told}");
                self.offers(refusal, attempt, &told);
            }
        }
    }

    /// Whether any rule, read label by label, lets the target pass on the port.
    fn reads(&self, target: &Target, port: u16) -> bool {
        let lets = |host: &BoundHost| match (host, target) {
            (BoundHost::Names(pattern), Target::Name(name)) => {
                let (pattern, name) = (pattern.to_string(), name.to_string());
                let (pattern, name): (Vec<_>, Vec<_>) =
                    (pattern.split('.').collect(), name.split('.').collect());
                pattern.len() == name.len()
                    && pattern.iter().zip(&name).all(|(p, n)| p == &"*" || p == n)
            }
            (BoundHost::Names(pattern), Target::Address(address)) => {
                pattern.to_string() == "localhost" && address.is_loopback()
            }
            (BoundHost::Address(own), Target::Address(address)) => own == address,
            (BoundHost::AnyInNetworks, Target::Address(_)) => true,
            _ => false,
        };
        self.bound
            .rules
            .iter()
            .any(|rule| rule.ports.contains(&port) && lets(&rule.host))
    }

    /// The rule that a refusal offers, put at the end of the file, allows the attempt, unless the file is full.
    fn offers(&self, refusal: &Refusal, attempt: &Attempt<'_>, told: &str) {
        let Some(offered) = refusal.rule_to_add.as_deref() else {
            return;
        };
        if !offered.starts_with("- ") {
            return;
        }
        let rule = Document::parse("offered.yaml", offered)
            .unwrap_or_else(|faults| panic!("{faults}: {told}"));
        let mut value = self.value.clone();
        let rules = value["egress"].as_array().cloned().unwrap_or_default();
        if rules.len() >= 256 {
            return;
        }
        let added = rule.value()[0].clone();
        value["egress"] = rules.into_iter().chain([added]).collect();
        let policy = match Policy::parse("more.json", &value.to_string()) {
            Ok(policy) => Arc::new(policy),
            Err(faults) if faults.to_string().contains(" ports; each is a listener") => return,
            Err(faults) => panic!("{faults}: {told}"),
        };
        let verdict = decide(Some(&policy.bind(&config())), &self.guard, attempt);
        assert!(
            is_allowed(&verdict),
            "{offered} does not allow {told}: {verdict:?}"
        );
    }
}

fn is_allowed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Allow(_))
}
