//! Profiles against traces: what real workloads asked of the kernel, written down by `tests/stacks` under strace. A
//! rule, or one value of a rule, that no workload needs fails here and is named; so does a call that a workload made
//! and nobody has thought about.

mod reading;

use std::collections::{BTreeMap, BTreeSet};

use reading::{Condition, Kind, Profile, Rule, Verdict};

/// The arguments of one call, and the workloads that made it with them.
type Seen = ([u64; 6], Vec<String>);

/// Calls with the arguments that rules look at, and the workloads that made them.
struct Trace {
    profile: String,
    calls: BTreeMap<String, Vec<Seen>>,
}

fn trace(name: &str) -> Trace {
    let json = reading::json(&reading::folder().join(format!("traces/{name}.json")));
    assert_eq!(json["made"]["arch"], "x86_64", "traces are made on x86_64");
    let calls = json["calls"]
        .as_object()
        .expect("calls")
        .iter()
        .map(|(call, seen)| {
            let seen = seen.as_array().expect("a list").iter().map(|one| {
                let mut args = [0; 6];
                for (place, value) in one["args"].as_object().expect("arguments") {
                    args[place.parse::<usize>().expect("a place")] =
                        value.as_u64().expect("a value");
                }
                let by = one["by"].as_array().expect("workloads").iter();
                (
                    args,
                    by.map(|name| name.as_str().expect("a name").to_owned())
                        .collect(),
                )
            });
            (call.clone(), seen.collect())
        });
    Trace {
        profile: name.to_owned(),
        calls: calls.collect(),
    }
}

/// Whether a traced call needs this value in this place: it satisfies the whole list with the value alone.
fn needed(
    trace: &Trace,
    rule: &Rule,
    conditions: &[Condition],
    place: usize,
    value: Option<u64>,
) -> bool {
    let Some(seen) = trace.calls.get(&rule.call) else {
        return false;
    };
    seen.iter().any(|(args, _)| {
        let holds = conditions
            .iter()
            .all(|condition| condition.holds(args[condition.arg]));
        let condition = &conditions[place];
        holds
            && value.is_none_or(|value| {
                args[condition.arg] & condition.width == value & condition.width
            })
    })
}

/// The rules that a profile adds to what it extends.
fn own<'a>(rules: &'a [Rule], profile: &'a str) -> impl Iterator<Item = &'a Rule> {
    rules
        .iter()
        .filter(move |rule| rule.profile == profile && rule.is_for("x86_64"))
}

fn unneeded(name: &str) -> Vec<String> {
    let (profile, trace) = (Profile::read(name), trace(name));
    let mut found = Vec::new();
    let rules = own(&profile.allow, name).chain(own(&profile.absent, name));
    for rule in rules.filter(|rule| rule.keep().is_none()) {
        let alternatives = rule.alternatives();
        if alternatives.is_empty() && !trace.calls.contains_key(&rule.call) {
            found.push(format!("{name}: {}", rule.call));
        }
        for conditions in &alternatives {
            for (place, condition) in conditions.iter().enumerate() {
                let values: Vec<Option<u64>> = match &condition.kind {
                    Kind::OneOf(values) => values.iter().copied().map(Some).collect(),
                    Kind::Masked { .. } | Kind::Lacks(_) => vec![None],
                };
                for value in values {
                    if !needed(&trace, rule, conditions, place, value) {
                        let value = value
                            .map_or("its condition".into(), |value| format!("value {value:#x}"));
                        found.push(format!(
                            "{name}: {} argument {}: {value} in {conditions:?}",
                            rule.call, condition.arg
                        ));
                    }
                }
            }
        }
    }
    found
}

#[test]
fn no_rule_stands_that_no_traced_workload_needs() {
    let found: Vec<String> = reading::NAMES
        .iter()
        .flat_map(|name| unneeded(name))
        .collect();
    assert!(
        found.is_empty(),
        "take out, or say in `keep` why not:\n{}",
        found.join("\n")
    );
}

#[test]
fn what_is_kept_without_a_workload_is_little_and_not_needed_by_one() {
    for name in reading::NAMES {
        let (profile, trace) = (Profile::read(name), trace(name));
        let kept: Vec<&Rule> = own(&profile.allow, name)
            .filter(|rule| rule.keep().is_some())
            .collect();
        assert!(
            kept.len() <= 10,
            "{name} keeps {} rules that nobody was seen to need",
            kept.len()
        );
        for rule in kept.iter().chain(
            &own(&profile.absent, name)
                .filter(|rule| rule.keep().is_some())
                .collect::<Vec<_>>(),
        ) {
            assert!(
                rule.keep().is_some_and(|why| why.len() > 20),
                "{name}: {} says nothing",
                rule.call
            );
            let traced = rule.alternatives().is_empty() && trace.calls.contains_key(&rule.call);
            assert!(
                !traced,
                "{name}: a workload needs {}: `keep` is not",
                rule.call
            );
        }
    }
}

#[test]
fn what_workloads_asked_for_and_did_not_get_is_known() {
    let mut unknown = Vec::new();
    for name in reading::NAMES {
        let (profile, trace) = (Profile::read(name), trace(name));
        let known: BTreeSet<&str> = profile
            .refused
            .iter()
            .map(|rule| rule.call.as_str())
            .collect();
        for (call, seen) in &trace.calls {
            for (args, by) in seen {
                match profile.verdict("x86_64", call, args) {
                    Verdict::Refuse if !known.contains(call.as_str()) => {
                        unknown.push(format!("{}: {call} {args:x?} of {by:?}", trace.profile));
                    }
                    Verdict::Kill => panic!("{name}: {call} of {by:?} ends the worker"),
                    _ => {}
                }
            }
        }
    }
    assert!(
        unknown.is_empty(),
        "allow, or say in `refused` why not:\n{}",
        unknown.join("\n")
    );
}

#[test]
fn no_more_calls_are_allowed_than_the_readme_says() {
    let readme = std::fs::read_to_string(reading::folder().join("README.md")).expect("README.md");
    for name in reading::NAMES {
        let profile = Profile::read(name);
        let count = |arch: &str| {
            let calls: BTreeSet<&str> = profile
                .allow
                .iter()
                .filter(|rule| rule.is_for(arch))
                .map(|rule| rule.call.as_str())
                .collect();
            calls.len()
        };
        let row = format!("| `{name}` | {} | {} |", count("x86_64"), count("aarch64"));
        assert!(
            readme.contains(&row),
            "sandbox-profiles/README.md does not hold {row}"
        );
        assert!(
            name != "strict" || count("x86_64") < 110,
            "strict allows {}",
            count("x86_64")
        );
    }
}
