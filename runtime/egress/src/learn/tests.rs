use super::*;
use crate::decision::{Attempt, Transport, Verdict, decide};
use crate::guard::Guard;
use crate::host::Target;
use crate::http::allows;
use crate::policy::Policy;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

fn line(event: &str, more: Value) -> String {
    let mut line = json!({
        "time": "2026-11-27T10:00:00.000Z", "call": "c1", "workspace": "default", "connector": "shop@1.4.2", "worker": 1,
        "event": event, "name": "api.example.com", "address": "93.184.215.14", "port": 443, "protocol": "https",
    });
    for (key, value) in more.as_object().unwrap() {
        line[key] = value.clone();
    }
    line.to_string()
}

fn log() -> String {
    let request = |method: &str, path: &str| {
        line(
            "request",
            json!({"method": method, "path": path, "status": 200, "rule": "shop.yaml:4"}),
        )
    };
    [
        line("allowed", json!({})),
        request("GET", "/v1/orders"),
        request("GET", "/v1/orders/17"),
        request("GET", "/v1/orders/18"),
        request("POST", "/v1/search"),
        request("GET", "/v1//odd"),
        line("allowed", json!({"name": "db.example.com", "port": 5432, "protocol": "tcp", "address": "10.1.2.3", "call": "c2"})),
        line("allowed", json!({"name": null, "address": "192.168.1.9", "port": 22, "protocol": "tcp"})),
        line("refused", json!({
            "name": "evil.example.com", "address": null, "protocol": "dns", "port": null, "reason": "name_not_allowed",
            "rule_to_add": "- host: evil.example.com\n  ports: [443]\n  protocol: tls\n", "times": 3,
        })),
        line("refused", json!({"name": null, "address": "169.254.169.254", "port": 80, "protocol": "tcp", "reason": "metadata"})),
        line("closed", json!({"bytes_up": 1})),
    ]
    .join("\n")
}

#[test]
fn a_policy_says_of_each_rule_what_made_it_and_leaves_what_was_refused_to_people() {
    let seen = observe("audit.jsonl", &log()).unwrap();
    insta::assert_snapshot!(learn(&seen, None).unwrap());
}

#[test]
fn a_cassette_is_learned_from_too() {
    let har = json!({"log": {"entries": [
        {"startedDateTime": "2026-11-27T10:00:00Z", "request": {"method": "GET", "url": "https://API.example.com/v1/a?token=sesame"}},
        {"startedDateTime": "2026-11-27T10:00:00Z", "request": {"method": "GET", "url": "https://other.example.com:8443/b"}},
    ]}});
    let seen = observe("a.har", &har.to_string()).unwrap();
    assert_eq!(learn(&seen, None), Err(LearnError::Nameless));
    let text = learn(&seen, Some("shop")).unwrap();
    assert!(!text.contains("sesame"), "{text}");
    let policy = Policy::parse("shop.yaml", &text).unwrap();
    assert_eq!(policy.egress.len(), 2);
}

#[test]
fn what_is_no_log_is_told_with_its_line_and_what_to_give() {
    let error = observe("x.txt", "{\"time\":\"t\",\"event\":\"closed\"}\nhello")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("x.txt:2: neither a line of an audit log nor a cassette"),
        "{error}"
    );
    assert_eq!(learn(&[], None), Err(LearnError::Nothing(None)));
    let mut seen = observe("audit.jsonl", &log()).unwrap();
    seen[0].connector = Some("other".into());
    assert_eq!(
        learn(&seen, None),
        Err(LearnError::Several(vec!["other".into(), "shop".into()]))
    );
}

proptest! {
    /// Whatever was seen is allowed again, and a host that was not seen is not.
    #[test]
    fn what_was_seen_is_allowed_again(
        requests in prop::collection::vec(
            (prop::sample::select(vec!["GET", "POST", "PUT"]), "(/[a-z0-9.%_-]{0,12}){1,5}/?", 0..3u8), 1..60),
    ) {
        let lines: Vec<String> = requests
            .iter()
            .map(|(method, path, host)| {
                line("request", json!({"method": method, "path": path, "name": format!("h{host}.example.com"), "status": 200}))
            })
            .collect();
        let seen = observe("audit.jsonl", &lines.join("\n")).unwrap();
        let text = learn(&seen, None).unwrap();
        let policy = Arc::new(Policy::parse("shop.yaml", &text).map_err(|faults| TestCaseError::fail(format!("{faults}\n{text}")))?);
        let bound = policy.bind(&Value::Null);
        for (method, path, host) in &requests {
            let name = crate::name::Name::parse(&format!("h{host}.example.com")).unwrap();
            prop_assert!(allows(&bound, &name, 443, method, path), "{method} {path} under\n{text}");
        }
        let other = Target::Name(crate::name::Name::parse("h9.example.com").unwrap());
        let attempt = Attempt { target: &other, port: Some(443), transport: Transport::Tcp, addresses: None };
        prop_assert!(matches!(decide(Some(&bound), &Guard::default(), &attempt), Verdict::Refuse(_)));
    }
}
