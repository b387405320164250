//! Check, explain, DNS and the relay give one answer, and it is the one that the rules say.

use crate::generate::{Attempted, CONFIG_HOSTS, PORTS, address_text, attempted, rules};
use crate::oracle::{Meaning, allows, allows_name, meaning};
use crate::paths::{Enforcement, config, guard, read};
use caisson_egress::{Attempt, Policy, Target, Transport, Verdict, decide, explain};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::net::IpAddr;
use std::sync::Arc;

/// `host:port` as people write it.
fn written(host: &str, port: u16) -> String {
    match host.parse::<std::net::Ipv6Addr>() {
        Ok(_) => format!("[{host}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// A host either passes in explain, DNS and relay alike, or in none; and in all of them exactly where a second reading
    /// of the rules lets it pass.
    #[test]
    fn every_way_of_asking_gives_the_answer_of_the_rules(
        Attempted { rules, host: text, port, resolved } in attempted(),
        config_host in prop::sample::select(CONFIG_HOSTS.to_vec()),
    ) {
        let (policy, config) = (read(&rules), config(config_host));
        let target = meaning(&text);
        let expected = target.as_ref().is_some_and(|target| {
            allows(&rules, config_host, target, Some(port), &resolved)
        });

        let explained = explain(Some(&policy), &config, &guard(), &written(&text, port), Some(&resolved));
        prop_assert_eq!(explained.is_ok(), target.is_some(), "whether it is a host at all");
        let explained = explained.is_ok_and(|explained| explained.allowed);
        prop_assert_eq!(explained, expected, "explain");

        let spelled = match &target {
            Some(Meaning::Name(name)) => name.clone(),
            _ => String::new(),
        };
        let enforcement = Enforcement::of(&policy, &config, &[&text, &spelled], &resolved);
        prop_assert_eq!(enforcement.reaches(&text, port), expected, "enforcement");

        // As `policy explain` asks of a daemon: the name alone, before anybody looks it up.
        let unresolved = explain(Some(&policy), &config, &guard(), &written(&text, port), None);
        if let (Some(target @ Meaning::Name(_)), Ok(unresolved)) = (&target, unresolved) {
            prop_assert_eq!(unresolved.allowed, allows_name(&rules, config_host, target, port));
            prop_assert!(unresolved.allowed || !expected, "what passes, explain has let pass");
        }
    }

    /// Rules may stand in any order: who wins changes, whether anybody does not.
    #[test]
    fn the_order_of_rules_changes_no_verdict(
        Attempted { rules, host: text, port, resolved } in attempted(),
        turn in any::<prop::sample::Index>(),
        reverse in any::<bool>(),
    ) {
        let mut turned = rules.clone();
        if !turned.is_empty() {
            let by = turn.index(turned.len());
            turned.rotate_left(by);
        }
        if reverse {
            turned.reverse();
        }
        let Ok(target) = Target::parse(&text) else { return Ok(()) };
        let (policy, turned) = (read(&rules), read(&turned));
        let config = config("pg.db.example");
        for port in [None, Some(port)] {
            for addresses in [None, Some(&resolved[..])] {
                let attempt = Attempt { target: &target, port, transport: Transport::Tcp, addresses };
                let passes = |policy: &Arc<Policy>| {
                    matches!(decide(Some(&policy.bind(&config)), &guard(), &attempt), Verdict::Allow(_))
                };
                prop_assert_eq!(passes(&policy), passes(&turned));
            }
        }
    }

    /// An IPv4 address and its mapped form are one address, whoever asks and whichever of the two a rule names.
    #[test]
    fn a_mapped_address_is_judged_as_the_address(
        rules in rules(),
        text in address_text(),
        port in prop::sample::select(PORTS.to_vec()),
    ) {
        let address: IpAddr = text.parse().unwrap();
        let IpAddr::V4(v4) = address.to_canonical() else { return Ok(()) };
        let policy = read(&rules);
        let mapped = IpAddr::V6(v4.to_ipv6_mapped());
        let config = config("pg.db.example");
        let enforcement = Enforcement::of(&policy, &config, &[], &[]);
        let asked = [v4.to_string(), mapped.to_string(), format!("[{mapped}]")];
        let reached = asked.clone().map(|text| enforcement.reaches(&text, port));
        let explained = asked.map(|text| {
            let to = written(&text, port);
            explain(Some(&policy), &config, &guard(), &to, None).unwrap().allowed
        });
        prop_assert_eq!(reached, explained);
        prop_assert_eq!(reached, [reached[0]; 3]);
        let target = Target::parse("api.example").unwrap();
        let names = format!("{{\"format\":1,\"connector\":\"shop\",\"egress\":[{{\"host\":\"api.example\",\"ports\":[{port}],\"protocol\":\"tcp\"}}]}}");
        let names = Arc::new(Policy::parse("n.json", &names).unwrap()).bind(&config);
        let behind = [IpAddr::V4(v4), mapped].map(|address| {
            let addresses = [address];
            let attempt = Attempt { target: &target, port: Some(port), transport: Transport::Tcp, addresses: Some(&addresses) };
            matches!(decide(Some(&names), &guard(), &attempt), Verdict::Allow(_))
        });
        prop_assert_eq!(behind[0], behind[1], "behind a name");
    }
}

/// Properties that never see an allowed attempt would hold for a gateway that refuses everything.
#[test]
fn the_generators_meet_often_enough_to_mean_something() {
    let mut runner = TestRunner::deterministic();
    let (mut names, mut addresses, mut no_host) = (0, 0, 0);
    for _ in 0..2_000 {
        let Attempted {
            rules,
            host,
            port,
            resolved,
        } = attempted().new_tree(&mut runner).unwrap().current();
        match meaning(&host) {
            None => no_host += 1,
            Some(target) => {
                let passes = allows(&rules, "pg.db.example", &target, Some(port), &resolved);
                match target {
                    Meaning::Name(_) => names += usize::from(passes),
                    Meaning::Address(_) => addresses += usize::from(passes),
                }
            }
        }
    }
    assert!(
        names >= 200 && addresses >= 100 && no_host >= 200,
        "of 2000 attempts {names} names and {addresses} addresses passed, {no_host} were no host"
    );
}
