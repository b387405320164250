//! The policy's text: YAML, with comments that say what made each rule.

use super::quote::{comment, quoted};
use super::{Asked, Where};
use crate::name::Name;
use crate::policy::Policy;
use crate::throttle::MOST;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Refused attempts that are named; a policy is to be read by people.
const REFUSED: usize = 200;

/// Requests per second of a learned rate, at least.
const SLOWEST: u64 = 10;

type Refused<'a> = BTreeMap<(String, &'a str), (u64, Option<&'a str>)>;

/// Whose policy it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) connector: &'a str,
    /// Where it was seen, if the files say it.
    pub(super) workspace: Option<&'a str>,
    /// Requests, or lines of a log, that were counted and not told.
    pub(super) untold: u64,
}

/// Whether policies can name the method.
pub(super) fn is_method(text: &str) -> bool {
    let mut letters = text.bytes();
    text.len() <= 32
        && letters
            .next()
            .is_some_and(|first| first.is_ascii_uppercase())
        && letters.all(|letter| letter.is_ascii_uppercase() || letter == b'-')
        && !matches!(text, "CONNECT" | "TRACE")
}

pub(super) fn policy(
    of: Of<'_>,
    places: &BTreeMap<&Where, Asked>,
    refused: &Refused<'_>,
) -> String {
    let mut text = format!(
        "# Learned from what was seen. Read it before it is put in force: it allows that again, and nothing else.\n\
         format: 1\nconnector: {}\n# workspace: {}   # a policy for a connector from a folder names its workspace\n",
        scalar(of.connector),
        comment(of.workspace.unwrap_or("default")),
    );
    if of.untold > 0 {
        text.push_str(&format!(
            "# {} lines of the log are missing, since there were too many at once: what only they told of is not in here.\n",
            of.untold
        ));
    }
    let mut allowed = String::new();
    for (place, asked) in places {
        rules(&mut allowed, of, place, asked);
    }
    // Comments alone are no list.
    if allowed
        .lines()
        .all(|line| line.trim_start().starts_with('#'))
    {
        text.push_str("egress: []\n");
    } else {
        text.push_str("egress:\n");
    }
    text.push_str(&allowed);
    if !refused.is_empty() {
        text.push_str("\n# What was refused, and stays so unless somebody decides otherwise:\n");
        for ((place, reason), (times, rule)) in refused.iter().take(REFUSED) {
            let (place, reason) = (comment(place), comment(reason));
            text.push_str(&format!("#\n# {place}: {reason}, {times} times\n"));
            match rule {
                Some(rule) => {
                    for line in rule.lines() {
                        text.push_str(&format!("#   {}\n", comment(line)));
                    }
                }
                None => text.push_str("#   no policy can allow it\n"),
            }
        }
        if let Some(more) = refused.len().checked_sub(REFUSED).filter(|&more| more > 0) {
            text.push_str(&format!("#\n# and {more} more\n"));
        }
    }
    text
}

/// Plain where it is a connector's name, as people write it.
fn scalar(text: &str) -> String {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word
                .bytes()
                .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-')
            // What some readers of YAML take for a truth or for nothing.
            && !matches!(word, "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n")
    };
    if is_word(text) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

fn rules(text: &mut String, of: Of<'_>, place: &Where, asked: &Asked) {
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
    let workspace = of
        .workspace
        .map(|name| format!(" in workspace {}", comment(name)))
        .unwrap_or_default();
    let day = |time: &str| comment(time.get(..10).unwrap_or("a day that is not told"));
    let (first, last) = (day(&asked.first), day(&asked.last));
    let when = if first == last {
        first
    } else {
        format!("{first} to {last}")
    };
    text.push_str(&format!(
        "  # {} {what}{calls}{workspace}, {when}\n",
        asked.count
    ));
    if place.protocol != "https" {
        rule(text, place, asked, None);
        return;
    }
    // Patterns with the same methods share a rule: methods and paths of one rule are each combined with each.
    let mut by_methods: BTreeMap<(bool, &BTreeSet<String>), Vec<&str>> = BTreeMap::new();
    for (upgraded, patterns) in [(false, &asked.patterns), (true, &asked.upgrades)] {
        for (pattern, methods) in patterns {
            let patterns = by_methods.entry((upgraded, methods)).or_default();
            patterns.push(pattern);
        }
    }
    for ((upgraded, methods), patterns) in by_methods {
        if patterns.iter().any(|pattern| pattern.contains("**")) {
            text.push_str("  # there were too many paths to name: ** stands for what comes after the first part,\n");
            text.push_str(
                "  # and each method that was seen below that part is allowed for all of it\n",
            );
        }
        if patterns.contains(&"/*/**") {
            text.push_str("  # the first part differs too: /*/** is every path but / itself\n");
        }
        // What is a method is a word, and plain in YAML: but NO, ON, OFF, Y and their like are read as truths by some.
        let methods: Vec<String> = methods.iter().map(|method| written(method)).collect();
        let patterns: Vec<String> = patterns.iter().map(|pattern| quoted(pattern)).collect();
        let websocket = if upgraded { ", websocket: true" } else { "" };
        let http = format!(
            "{{ methods: [{}], paths: [{}]{websocket} }}",
            methods.join(", "),
            patterns.join(", ")
        );
        rule(text, place, asked, Some(http));
    }
    for (method, times) in &asked.odd {
        text.push_str(&format!(
            "  # {times} {} requests to {} could not be named, so no rule is for them: the path is longer than the log\n\
             \x20 # tells, servers read it in different ways (//, ..), or no policy can name the method\n",
            comment(method),
            comment(&place.to_string())
        ));
    }
}

/// Methods that everybody knows are plain, others quoted: some of them are no text to some readers of YAML.
fn written(method: &str) -> String {
    match method {
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => method.to_owned(),
        _ => quoted(method),
    }
}

/// One rule, if it is one that the policy's reader takes: who wrote a cassette may have named what no policy can.
fn rule(text: &mut String, place: &Where, asked: &Asked, http: Option<String>) {
    // An address has colons of its own; a name is plain in YAML, unless it is a number or a word of YAML's own.
    let host = match (place.host.parse::<IpAddr>(), Name::parse(&place.host)) {
        (Err(_), Ok(name)) if is_plain(name.as_str()) => name.to_string(),
        _ => quoted(&place.host),
    };
    let mut rule = format!("  - host: {host}\n");
    if let Some(port) = place.port {
        rule.push_str(&format!("    ports: [{port}]\n"));
    }
    if !asked.networks.is_empty() {
        let networks: Vec<String> = asked
            .networks
            .iter()
            .map(|network| format!("\"{network}\""))
            .collect();
        rule.push_str(&format!("    networks: [{}]\n", networks.join(", ")));
    }
    rule.push_str(&format!("    protocol: {}\n", scalar(&place.protocol)));
    if let Some(http) = http {
        rule.push_str(&format!("    http: {http}\n"));
        // A log of little is no reason to go slowly, and requests that were sent again have one line.
        if let Some(peak) = asked.peak
            && let rate = rounded(peak.max(SLOWEST))
            && rate <= u64::from(MOST) / 2
        {
            let burst = 2 * rate;
            rule.push_str(&format!(
                "    rate: {{ per_second: {rate}, burst: {burst} }}   # to this host, {peak} in the second with most\n"
            ));
        } else {
            rule.push_str(
                "    # no rate: the files do not tell all times, or there were too many for one\n",
            );
        }
    }
    let alone = format!("format: 1\nconnector: c\negress:\n{rule}");
    match Policy::parse("the rule", &alone) {
        Ok(_) => text.push_str(&rule),
        Err(faults) => {
            let why: Vec<String> = faults
                .0
                .iter()
                .map(|fault| comment(&fault.message))
                .collect();
            text.push_str(&format!(
                "  # {} by {}: no rule can be for it ({})\n",
                comment(&place.to_string()),
                comment(&place.protocol),
                why.join("; ")
            ));
        }
    }
}

/// A name with a dot and a letter of its own is neither a number nor a word of YAML's.
fn is_plain(name: &str) -> bool {
    name == "localhost"
        || name.contains('.') && name.starts_with(|letter: char| letter.is_ascii_alphabetic())
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
