//! What is no fault of a policy and still hardly meant: wildcards over other people's names, rules that decide nothing.

use crate::host::{Fence, Host, Pattern};
use crate::http::path::{Path, Pattern as PathPattern};
use crate::learn::{Observed, What};
use crate::name::Name;
use crate::policy::{Policy, PolicySet, Port, Protocol, Rule, RuleAt};
use caisson_document::{Fault, Faults, Mark};
use std::path;

/// Warnings on one policy. `seen` is what audit logs tell; without any, nothing is said of rules that nothing used.
#[must_use]
pub fn lint(policy: &Policy, seen: &[Observed]) -> Vec<Fault> {
    let mut warnings = Vec::new();
    let own: Vec<&Observed> = seen
        .iter()
        .filter(|one| {
            one.connector
                .as_deref()
                .is_none_or(|name| name == policy.selector.connector)
        })
        .filter(|one| {
            let workspace = policy.selector.workspace.as_deref();
            workspace.is_none_or(|name| one.is_of_workspace(name))
        })
        .filter(|one| !matches!(one.what, What::Refused { .. }))
        .collect();
    // Where lines of the logs are missing, nobody knows what used a rule.
    let is_whole = !own.is_empty()
        && !own
            .iter()
            .any(|one| matches!(one.what, What::Untold { .. }));
    for (index, rule) in policy.egress.iter().enumerate() {
        for name in wide(&rule.host) {
            let message = format!("*.{name} holds names of everybody: {name} is a public suffix");
            warnings.push(warning(
                &rule.at,
                &message,
                "name the host, or the domain that is yours, as in *.acme.example",
            ));
        }
        if let Some(earlier) = policy.egress[..index]
            .iter()
            .find(|earlier| covers(earlier, rule))
        {
            let message = format!(
                "the rule decides nothing: egress[{}] ({}) allows all of it before",
                earlier.at.index, earlier.at
            );
            warnings.push(warning(
                &rule.at,
                &message,
                "leave one of the two out, or put the narrower one first",
            ));
        }
        let inspects = |one: &Observed| {
            let mut rules = policy.egress.iter();
            rules.any(|rule| rule.protocol == Protocol::Https && is_of(rule, one))
        };
        if own
            .iter()
            .any(|one| is_inspected(one) && is_of(rule, one) && !inspects(one))
            && rule.protocol != Protocol::Https
        {
            let message = format!(
                "requests to it were inspected before, and under {} none is: no method and no path is judged, no rate kept, no sealed secret put in",
                rule.protocol.as_str()
            );
            warnings.push(warning(
                &rule.at,
                &message,
                "write protocol: https, with the methods and paths that `caisson policy learn` finds",
            ));
        }
        if is_whole
            && !matches!(rule.host, Host::FromConfig { .. })
            && !own.iter().any(|one| used(rule, one))
        {
            let message = "nothing in the audit logs that were given used the rule";
            warnings.push(warning(
                &rule.at,
                message,
                "leave it out if the connector no longer needs it",
            ));
        }
    }
    warnings
}

/// Warnings on every policy of a directory, in the order of file names.
///
/// # Errors
/// Every fault of every file.
pub fn lint_all(dir: &path::Path, seen: &[Observed]) -> Result<Vec<Fault>, Faults> {
    let set = PolicySet::load(dir)?;
    Ok(set.iter().flat_map(|policy| lint(policy, seen)).collect())
}

/// Public suffixes under which the host lies with a `*`.
fn wide(host: &Host) -> Vec<&Name> {
    let patterns: Vec<&Pattern> = match host {
        Host::Names(pattern) => vec![pattern],
        Host::FromConfig { within, .. } => within.iter().filter_map(names).collect(),
        Host::Address(_) | Host::AnyInNetworks => Vec::new(),
    };
    let suffixes = patterns.into_iter().filter_map(|pattern| match pattern {
        Pattern::OneLabel(suffix) => Some(suffix),
        Pattern::Exact(_) => None,
    });
    suffixes.filter(|name| is_public(name)).collect()
}

fn names(fence: &Fence) -> Option<&Pattern> {
    match fence {
        Fence::Names(pattern) => Some(pattern),
        Fence::Addresses(_) => None,
    }
}

/// Whether everybody may register names below it (<https://publicsuffix.org>).
fn is_public(name: &Name) -> bool {
    let name = name.as_str().as_bytes();
    psl::suffix(name).is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == name)
}

/// Whether `earlier` allows all that `rule` does.
fn covers(earlier: &Rule, rule: &Rule) -> bool {
    let host = match (&earlier.host, &rule.host) {
        (Host::Names(pattern @ Pattern::OneLabel(_)), Host::Names(Pattern::Exact(name))) => {
            pattern.matches(name)
        }
        (earlier, own) => earlier == own,
    };
    let ports = rule.ports.iter().all(|port| earlier.ports.contains(port));
    let networks = rule
        .networks
        .iter()
        .all(|network| earlier.networks.contains(network));
    let requests = match (&earlier.http, &rule.http) {
        (Some(earlier), Some(own)) => {
            earlier == own
                || earlier.methods.is_none() && earlier.paths.is_none() && earlier.websocket
        }
        _ => earlier.protocol == rule.protocol || earlier.protocol == Protocol::Tcp,
    };
    host && ports && networks && requests
}

fn is_inspected(one: &Observed) -> bool {
    matches!(one.what, What::Request { .. })
}

/// Whether the rule is what allowed it.
fn used(rule: &Rule, one: &Observed) -> bool {
    is_of(rule, one)
        && match (&rule.http, &one.what) {
            (None, _) => true,
            (
                Some(http),
                What::Request {
                    method,
                    path,
                    upgraded,
                },
            ) => {
                // A path that the log does not hold may have been any.
                let path = path.as_deref().and_then(|path| Path::parse(path).ok());
                let fits = |patterns: &Vec<PathPattern>| {
                    path.is_none_or(|path| patterns.iter().any(|one| one.matches(&path)))
                };
                let methods = http.methods.as_ref();
                methods.is_none_or(|methods| methods.contains(method))
                    && http.paths.as_ref().is_none_or(fits)
                    && (http.websocket || !upgraded)
            }
            // Its requests tell which rule it was.
            (Some(_), _) => false,
        }
}

/// Whether the rule is for this place.
fn is_of(rule: &Rule, one: &Observed) -> bool {
    let host = match &rule.host {
        Host::Names(pattern) => Name::parse(&one.to.host).is_ok_and(|name| pattern.matches(&name)),
        Host::Address(address) => one.to.host.parse() == Ok(*address),
        Host::AnyInNetworks => one
            .address
            .is_some_and(|address| crate::address::within(&rule.networks, address)),
        Host::FromConfig { .. } => true,
    };
    let port = rule.ports.iter().any(|port| match port {
        Port::Fixed(port) => one.to.port == Some(*port),
        Port::FromConfig(_) => true,
    });
    host && port
}

fn warning(at: &RuleAt, message: &str, help: &str) -> Fault {
    let mark = Mark {
        line: at.line,
        column: at.column,
    };
    Fault {
        path: format!("egress[{}]", at.index),
        ..Fault::of_file(&at.file, Some(mark), message, help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::observe;

    fn warnings(rules: &str, log: &str) -> String {
        let policy = Policy::parse(
            "shop.yaml",
            &format!("format: 1\nconnector: shop\negress:\n{rules}"),
        )
        .unwrap();
        let seen = observe("audit.jsonl", log).unwrap();
        let found: Vec<String> = lint(&policy, &seen)
            .iter()
            .map(ToString::to_string)
            .collect();
        found.join("\n")
    }

    #[test]
    fn wildcards_over_public_suffixes_are_told_and_those_over_a_domain_are_not() {
        let rule = |host: &str| format!("  - {{ host: '{host}', ports: [443], protocol: tls }}\n");
        for host in ["*.com", "*.co.uk", "*.github.io"] {
            assert!(
                warnings(&rule(host), "").contains("is a public suffix"),
                "{host}"
            );
        }
        for host in ["*.example.com", "api.github.io", "*.acme.github.io"] {
            assert_eq!(warnings(&rule(host), ""), "", "{host}");
        }
        let fenced =
            "  - { host: '${config.host}', within: ['*.co.uk'], ports: [443], protocol: tls }\n";
        assert!(warnings(fenced, "").contains("*.co.uk"));
    }

    #[test]
    fn a_rule_that_another_decides_before_is_told() {
        let rules = "  - { host: '*.example.com', ports: [443, 8443], protocol: tls }\n\
                     \x20 - { host: api.example.com, ports: [443], protocol: tls }\n\
                     \x20 - { host: api.example.com, ports: [80], protocol: tcp }\n\
                     \x20 - { host: a.example.org, ports: [443], protocol: https, http: { paths: [/a] } }\n\
                     \x20 - { host: a.example.org, ports: [443], protocol: https, http: { paths: [/b] } }\n";
        let said = warnings(rules, "");
        assert!(
            said.starts_with("shop.yaml:5:5: egress[1]: the rule decides nothing: egress[0]"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }

    #[test]
    fn a_rule_that_nothing_used_is_told_where_a_log_is_given() {
        let rules = "  - { host: a.example.com, ports: [443], protocol: tls }\n\
                     \x20 - { host: b.example.com, ports: [443], protocol: tls }\n";
        let log = r#"{"time":"t","event":"allowed","connector":"shop@1.0.0","name":"a.example.com","port":443,"protocol":"tls"}"#;
        assert_eq!(warnings(rules, ""), "");
        let said = warnings(rules, log);
        assert!(
            said.starts_with("shop.yaml:5:5: egress[1]: nothing in the audit logs")
                && said.lines().count() == 1,
            "{said}"
        );
    }

    #[test]
    fn of_rules_for_one_place_those_are_told_that_no_request_fits() {
        let rules = "  - { host: a.example.com, ports: [443], protocol: https, http: { methods: [GET], paths: [\"/v1/**\"] } }\n\
                     \x20 - { host: a.example.com, ports: [443], protocol: https, http: { methods: [POST], paths: [\"/v1/**\"] } }\n\
                     \x20 - { host: a.example.com, ports: [443], protocol: https, http: { methods: [GET], paths: [/v2/me] } }\n";
        let line = |event: &str, more: &str| {
            format!(
                r#"{{"time":"t","event":"{event}","connector":"shop@1.0.0","name":"a.example.com","port":443,"protocol":"https"{more}}}"#
            )
        };
        let request = line(
            "request",
            r#","method":"GET","path":"/v1/orders","status":200"#,
        );
        let log = [line("allowed", ""), request].join("\n");
        let said = warnings(rules, &log);
        assert_eq!(
            said.matches("nothing in the audit logs").count(),
            2,
            "{said}"
        );
        assert!(
            said.contains("egress[1]") && said.contains("egress[2]"),
            "{said}"
        );
        let unknown = line("untold", r#","requests":3"#);
        assert_eq!(warnings(rules, &format!("{log}\n{unknown}")), "");
    }

    #[test]
    fn tls_in_place_of_inspection_is_told() {
        let rule = |protocol: &str| {
            format!("  - {{ host: a.example.com, ports: [443], protocol: {protocol} }}\n")
        };
        let line = |event: &str, protocol: &str| {
            format!(
                r#"{{"time":"t","event":"{event}","connector":"shop@1.0.0","name":"a.example.com","port":443,"protocol":"{protocol}","method":"GET","path":"/","status":200}}"#
            )
        };
        let inspected = line("request", "https");
        let said = warnings(&rule("tls"), &inspected);
        assert!(
            said.starts_with("shop.yaml:4:5: egress[0]: requests to it were inspected before, and under tls none is")
                && said.contains("write protocol: https"),
            "{said}"
        );
        assert_eq!(warnings(&rule("https"), &inspected), "");
        assert_eq!(warnings(&rule("tls"), &line("allowed", "tls")), "");
    }

    #[test]
    fn what_another_workspace_did_uses_no_rule_of_a_policy_that_names_one() {
        let of = |workspace: &str| {
            let text = format!(
                "format: 1\nconnector: shop\nworkspace: {workspace}\negress:\n\
                 \x20 - {{ host: a.example.com, ports: [443], protocol: tls }}\n"
            );
            let log = r#"{"time":"t","event":"allowed","connector":"shop@1.0.0","workspace":"dev","name":"a.example.com","port":443,"protocol":"tls"}
{"time":"t","event":"allowed","connector":"shop@1.0.0","workspace":"production","name":"b.example.com","port":443,"protocol":"tls"}"#;
            let policy = Policy::parse("shop.yaml", &text).unwrap();
            lint(&policy, &observe("audit.jsonl", log).unwrap()).len()
        };
        assert_eq!((of("dev"), of("production")), (0, 1));
    }
}
