//! URLs in the code against the egress that connector.yaml declares: the table
//! that a security reviewer reads.

use serde_json::Value;

use super::{Context, Findings};

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    let rules: Vec<Rule<'_>> = context
        .document
        .pointer("/egress")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|rule| {
            let ports = rule.get("ports")?.as_array()?;
            Some(Rule {
                host: rule.get("host")?.as_str()?,
                ports: ports.iter().filter_map(Value::as_u64).collect(),
                any_port: ports.iter().any(Value::is_string),
            })
        })
        .collect();
    for module in &context.facts.modules {
        for url in &module.urls {
            let Some((host, port)) = authority(&url.value) else {
                continue;
            };
            if !rules.iter().any(|rule| rule.covers(&host, port)) {
                let port = port.map_or(String::new(), |port| format!(" port {port}"));
                let found =
                    format!("a URL for {host}{port}, which connector.yaml does not declare");
                findings.add(
                    "C601",
                    &module.file,
                    url.line,
                    found,
                    "declare it under `egress`, or leave it out",
                );
            }
        }
    }
}

struct Rule<'a> {
    host: &'a str,
    ports: Vec<u64>,
    any_port: bool,
}

impl Rule<'_> {
    fn covers(&self, host: &str, port: Option<u64>) -> bool {
        let port_fits = self.any_port || port.is_none_or(|port| self.ports.contains(&port));
        port_fits && host_fits(self.host, host)
    }
}

/// `{}` in a URL stands for text that only running it would tell.
fn host_fits(rule: &str, host: &str) -> bool {
    if rule == host {
        return true;
    }
    if let Some(suffix) = rule.strip_prefix('*') {
        return host
            .strip_suffix(suffix)
            .is_some_and(|label| !label.is_empty() && !label.contains('.'));
    }
    // Literal text after the last hole has to be the same; what a hole holds is the policy's to check.
    let tail = |text: &str| text.rfind('}').map(|at| text[at + 1..].to_owned());
    match (tail(host), tail(rule)) {
        (Some(host_tail), Some(rule_tail)) => host.contains("{}") && host_tail == rule_tail,
        (Some(host_tail), None) => host.contains("{}") && rule.ends_with(&host_tail),
        (None, Some(rule_tail)) => {
            rule == "${config.host}" || (!rule_tail.is_empty() && host.ends_with(&rule_tail))
        }
        (None, None) => false,
    }
}

/// Host and port of a URL; `None` if it names no host.
fn authority(url: &str) -> Option<(String, Option<u64>)> {
    let (before, after) = url.split_once("://")?;
    let scheme = before
        .rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '+')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let end = after
        .find(['/', '?', '#', '"', '\'', ' ', '\n'])
        .unwrap_or(after.len());
    let authority = after[..end].rsplit('@').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) && !port.is_empty() => {
            (host, port.parse().ok())
        }
        Some((host, port)) if port.starts_with(['{', '$']) => (host, None),
        _ => (authority, default_port(&scheme)),
    };
    if host.is_empty() || matches!(scheme.as_str(), "file" | "sqlite" | "urn" | "data") {
        return None;
    }
    // A host that is one hole says nothing.
    (host != "{}").then(|| (host.to_owned(), port))
}

fn default_port(scheme: &str) -> Option<u64> {
    match scheme.split('+').next().unwrap_or_default() {
        "https" | "wss" => Some(443),
        "http" | "ws" => Some(80),
        "postgres" | "postgresql" => Some(5432),
        "mysql" => Some(3306),
        "redis" => Some(6379),
        "sftp" | "ssh" => Some(22),
        "ftp" => Some(21),
        "ldap" => Some(389),
        "ldaps" => Some(636),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_of_a_url_is_found() {
        let some = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(
            authority("https://a.example.com/v1?x=y"),
            some("a.example.com", Some(443))
        );
        assert_eq!(
            authority("http://u:p@a.example.com:8080"),
            some("a.example.com", Some(8080))
        );
        assert_eq!(
            authority("https://${config.shop}.example.com"),
            some("${config.shop}.example.com", Some(443))
        );
        assert_eq!(
            authority("https://a.example.com:{}/"),
            some("a.example.com", None)
        );
        assert_eq!(authority("{}://{}/x"), None);
        assert_eq!(authority("sqlite:///tmp/x"), None);
    }

    #[test]
    fn a_rule_covers_its_host_its_wildcard_and_its_holes() {
        for (rule, host) in [
            ("a.example.com", "a.example.com"),
            ("*.example.com", "b.example.com"),
            ("${config.shop}.example.com", "${config.shop}.example.com"),
            ("${config.shop}.example.com", "{}.example.com"),
            ("${config.shop}.example.com", "acme.example.com"),
        ] {
            assert!(host_fits(rule, host), "{rule} {host}");
        }
        for (rule, host) in [
            ("a.example.com", "b.example.com"),
            ("*.example.com", "a.b.example.com"),
            ("*.example.com", "example.com"),
            ("${config.shop}.example.com", "{}.example.org"),
            ("a.example.com", "evil-a.example.com"),
        ] {
            assert!(!host_fits(rule, host), "{rule} {host}");
        }
    }
}
