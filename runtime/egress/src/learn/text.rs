//! The policy's text: YAML, with comments that say what made each rule.

use super::{Asked, Where};
use crate::name::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

type Refused<'a> = BTreeMap<(String, &'a str), (u64, Option<&'a str>)>;

pub(super) fn policy(
    connector: &str,
    places: &BTreeMap<&Where, Asked>,
    refused: &Refused<'_>,
) -> String {
    let mut text = format!(
        "# Learned from what was seen. Read it before it is put in force: it allows that again, and nothing else.\n\
         format: 1\nconnector: {connector}\n# workspace: default   # a policy for a connector from a folder names its workspace\n"
    );
    if places.is_empty() {
        text.push_str("egress: []\n");
    } else {
        text.push_str("egress:\n");
        for (place, asked) in places {
            rules(&mut text, place, asked);
        }
    }
    if !refused.is_empty() {
        text.push_str("\n# What was refused, and stays so unless somebody decides otherwise:\n");
        for ((place, reason), (times, rule)) in refused {
            text.push_str(&format!("#\n# {place}: {reason}, {times} times\n"));
            match rule {
                Some(rule) => {
                    for line in rule.lines() {
                        text.push_str(&format!("#   {line}\n"));
                    }
                }
                None => text.push_str("#   no policy can allow it\n"),
            }
        }
    }
    text
}

fn rules(text: &mut String, place: &Where, asked: &Asked) {
    let what = if place.protocol == "https" {
        "requests"
    } else {
        "connections"
    };
    let calls = match asked.calls.len() {
        0 => String::new(),
        1 => " of 1 call".to_owned(),
        calls => format!(" of {calls} calls"),
    };
    let day = |time: &str| {
        time.get(..10)
            .unwrap_or("a day that is not told")
            .to_owned()
    };
    let (first, last) = (day(&asked.first), day(&asked.last));
    let when = if first == last {
        first
    } else {
        format!("{first} to {last}")
    };
    text.push_str(&format!("  # {} {what}{calls}, {when}\n", asked.count));
    if place.protocol != "https" {
        rule(text, place, asked, None);
        return;
    }
    // Patterns with the same methods share a rule: methods and paths of one rule are each combined with each.
    let mut by_methods: BTreeMap<&BTreeSet<String>, Vec<&str>> = BTreeMap::new();
    for (pattern, methods) in &asked.patterns {
        by_methods.entry(methods).or_default().push(pattern);
    }
    for (methods, patterns) in by_methods {
        if patterns.iter().any(|pattern| pattern.contains("**")) {
            text.push_str("  # there were too many paths to name: ** stands for what comes after the first part\n");
        }
        let methods: Vec<&str> = methods.iter().map(String::as_str).collect();
        let patterns: Vec<String> = patterns
            .iter()
            .map(|pattern| format!("\"{pattern}\""))
            .collect();
        let http = format!(
            "{{ methods: [{}], paths: [{}] }}",
            methods.join(", "),
            patterns.join(", ")
        );
        rule(text, place, asked, Some(http));
    }
    if !asked.odd.is_empty() {
        text.push_str("  # some paths are read in different ways by servers (//, ..), so this rule names none\n");
        let methods: Vec<&str> = asked.odd.iter().map(String::as_str).collect();
        rule(
            text,
            place,
            asked,
            Some(format!("{{ methods: [{}] }}", methods.join(", "))),
        );
    }
    if asked.peak > 0 {
        text.push_str(&format!(
            "    # rate: {{ per_second: {} }}   # at most {} requests in one second were seen\n",
            rounded(asked.peak),
            asked.peak
        ));
    }
}

fn rule(text: &mut String, place: &Where, asked: &Asked, http: Option<String>) {
    // An address has colons of its own; a name is plain in YAML, unless it is a number.
    let host = match (place.host.parse::<IpAddr>(), Name::parse(&place.host)) {
        (Err(_), Ok(name))
            if name
                .as_str()
                .contains(|letter: char| letter.is_ascii_alphabetic()) =>
        {
            name.to_string()
        }
        _ => format!("\"{}\"", place.host),
    };
    text.push_str(&format!("  - host: {host}\n"));
    if let Some(port) = place.port {
        text.push_str(&format!("    ports: [{port}]\n"));
    }
    if !asked.networks.is_empty() {
        let networks: Vec<String> = asked
            .networks
            .iter()
            .map(|network| format!("\"{network}\""))
            .collect();
        text.push_str(&format!("    networks: [{}]\n", networks.join(", ")));
    }
    text.push_str(&format!("    protocol: {}\n", place.protocol));
    if let Some(http) = http {
        text.push_str(&format!("    http: {http}\n"));
    }
}

/// Up to a number that people write: 1, 2, 5, 10, 20, 50, …
fn rounded(number: u64) -> u64 {
    let mut step = 1;
    loop {
        for factor in [1, 2, 5] {
            if factor * step >= number {
                return factor * step;
            }
        }
        step *= 10;
    }
}
