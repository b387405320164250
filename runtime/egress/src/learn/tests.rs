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
        line("request", json!({"method": "GET", "path": "/v1/live", "status": 101})),
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
    insta::assert_snapshot!(learn(&seen, None, None).unwrap());
}

#[test]
fn a_cassette_is_learned_from_too() {
    let har = json!({"log": {"entries": [
        {"startedDateTime": "2026-11-27T10:00:00Z", "request": {"method": "GET", "url": "https://API.example.com/v1/a?token=sesame"}},
        {"startedDateTime": "2026-11-27T10:00:00Z", "request": {"method": "GET", "url": "https://other.example.com:8443/b"}},
    ]}});
    let seen = observe("a.har", &har.to_string()).unwrap();
    assert_eq!(learn(&seen, None, None), Err(LearnError::Nameless));
    let text = learn(&seen, Some("shop"), None).unwrap();
    assert!(!text.contains("sesame"), "{text}");
    let policy = Policy::parse("shop.yaml", &text).unwrap();
    assert_eq!(policy.egress.len(), 2);
}

#[test]
fn a_rate_is_of_a_host_and_of_the_second_in_which_requests_began() {
    let request = |port: u16, second: u8, ms: u32| {
        let time = format!("2026-11-27T10:00:{second:02}.500Z");
        let more = json!({"method": "GET", "path": "/v1/me", "status": 200, "port": port, "time": time, "ms": ms});
        line("request", more)
    };
    // Thirty exports that began together and ended one a second, and what another port was asked meanwhile.
    let mut lines: Vec<String> = (0..30)
        .map(|second| request(443, second, u32::from(second) * 1_000))
        .collect();
    lines.extend([request(8443, 0, 0), request(8443, 9, 0)]);
    let rates = |lines: &[String]| {
        let seen = observe("audit.jsonl", &lines.join("\n")).unwrap();
        let policy = Policy::parse("shop.yaml", &learn(&seen, None, None).unwrap()).unwrap();
        let rates = policy.egress.iter().map(|rule| rule.rate);
        rates.collect::<Vec<_>>()
    };
    let fifty = crate::throttle::Rate::new(Some(50.0), Some(100), None).ok();
    assert_eq!(rates(&lines), [fifty, fifty]);
    let counted = json!({"time": "2026-11-27T10:00:01Z", "event": "untold", "connector": "shop@1.0.0", "requests": 7});
    let unwritten = json!({"time": "2026-11-27T10:00:02Z", "event": "unwritten", "lines": 2});
    let counted = [counted.to_string(), unwritten.to_string()];
    for counted in [&counted[..1], &counted[1..]] {
        assert_eq!(rates(&[&lines[..], counted].concat()), [None, None]);
    }
    let learned = |lines: &[String]| {
        let seen = observe("audit.jsonl", &lines.join("\n")).unwrap();
        learn(&seen, None, None)
    };
    let text = learned(&[&lines[..], &counted].concat()).unwrap();
    assert!(
        text.contains("\n# 9 lines of the log are missing"),
        "{text}"
    );
    assert_eq!(learned(&counted), Err(LearnError::Nothing(None)));
    let of_another = [counted[0].replace("shop", "crm"), counted[1].clone()];
    let text = learned(&[&lines[..], &of_another].concat()).unwrap();
    assert!(
        text.contains("\n# 2 lines of the log are missing"),
        "{text}"
    );
    lines.push(line(
        "request",
        json!({"method": "GET", "path": "/v1/me", "status": 200, "time": "once"}),
    ));
    assert_eq!(rates(&lines), [None, None]);
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
    assert_eq!(learn(&[], None, None), Err(LearnError::Nothing(None)));
    let mut seen = observe("audit.jsonl", &log()).unwrap();
    seen[0].connector = Some("other".into());
    assert_eq!(
        learn(&seen, None, None),
        Err(LearnError::Several(vec!["other".into(), "shop".into()]))
    );
}

#[test]
fn a_path_that_was_cut_makes_no_rule() {
    let cut = format!("/tmp/{}%4", "a".repeat(990));
    let old = "/tmp/".to_owned() + &"a".repeat(995);
    let lines = [
        line(
            "request",
            json!({"method": "GET", "path": "/v1/me", "status": 200}),
        ),
        line(
            "request",
            json!({"method": "DELETE", "path": cut, "path_cut": true, "status": 200}),
        ),
        line(
            "request",
            json!({"method": "DELETE", "path": "/tmp/short", "path_cut": true, "status": 200}),
        ),
        line(
            "request",
            json!({"method": "DELETE", "path": old, "status": 200}),
        ),
    ];
    let seen = observe("audit.jsonl", &lines.join("\n")).unwrap();
    let text = learn(&seen, None, None).unwrap();
    assert!(
        text.contains("# 3 DELETE requests to api.example.com port 443 could not be named"),
        "{text}"
    );
    let policy = Policy::parse("shop.yaml", &text).unwrap();
    let http: Vec<String> = policy
        .egress
        .iter()
        .map(|rule| rule.http.as_ref().unwrap().summary())
        .collect();
    assert_eq!(http, ["GET /v1/me"]);
}

#[test]
fn what_the_gateway_cuts_is_known_for_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let long = format!("/{}", "a".repeat(5_000));
    crate::report::tests::requests(&path, &["/v1/me", &long]);
    let seen = observe("audit.jsonl", &std::fs::read_to_string(path).unwrap()).unwrap();
    let paths: Vec<_> = seen
        .iter()
        .map(|one| match &one.what {
            What::Request { path, .. } => path.as_deref(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(paths, [Some("/v1/me"), None]);
}

#[test]
fn a_connector_of_several_workspaces_is_learned_from_one() {
    let request = |workspace: &str, path: &str| {
        let more = json!({"method": "GET", "path": path, "status": 200, "workspace": workspace});
        line("request", more)
    };
    let log = [request("production", "/v1/a"), request("dev", "/wide")].join("\n");
    let seen = observe("audit.jsonl", &log).unwrap();
    let error = learn(&seen, None, None).unwrap_err().to_string();
    assert_eq!(
        error,
        "the files tell of connector shop in several workspaces (dev, production); name one with --workspace"
    );
    let text = learn(&seen, None, Some("production")).unwrap();
    assert!(!text.contains("/wide"), "{text}");
    assert!(
        text.contains("# 1 requests of 1 call in workspace production, 2026-11-27"),
        "{text}"
    );
    assert_eq!(
        learn(&seen, None, Some("other")),
        Err(LearnError::Nothing(Some("shop".into())))
    );
}

#[test]
fn a_name_that_no_connector_has_is_told() {
    let seen = observe("audit.jsonl", &log()).unwrap();
    let seen: Vec<_> = seen
        .into_iter()
        .map(|one| Observed {
            connector: Some("a: b".into()),
            ..one
        })
        .collect();
    let error = learn(&seen, None, None).unwrap_err().to_string();
    assert!(
        error.starts_with("what was seen makes no policy: "),
        "{error}"
    );
}

fn har(host: &str, method: &str, path: &str) -> String {
    let entry = json!({"startedDateTime": "2026-11-27T10:00:00Z", "request": {"method": method, "url": format!("https://{host}{path}")}});
    json!({"log": {"entries": [entry]}}).to_string()
}

#[test]
fn nothing_in_a_cassette_becomes_a_rule_of_its_own() {
    let evil = "\"\n  - host: evil.example.com\n    ports: [443]\n    protocol: tls\n  - host: \"";
    for (host, method, path) in [
        (&*format!("{evil}:443"), "GET", "/"),
        ("a.example.com", evil, "/"),
        ("a.example.com", "GET\r  - host: b", "/a"),
        ("user:sesame@a.example.com", "GET", "/a"),
        ("169.254.169.254", "GET", "/"),
        ("192.0.2.1", "GET", "/"),
        ("a.example.com:53", "GET", "/"),
        ("no", "ON", "/"),
    ] {
        let seen = observe("a.har", &har(host, method, path)).unwrap();
        let text = learn(&seen, Some("shop"), None).unwrap();
        assert!(!text.contains("sesame"), "{text}");
        let policy = Policy::parse("shop.yaml", &text).unwrap();
        for rule in policy.egress {
            let host = rule.host.to_string();
            assert!(["a.example.com", "no"].contains(&&*host), "{text}");
        }
    }
}

proptest! {
    /// Whatever stands in logs and cassettes, the policy's reader takes what comes of it.
    #[test]
    fn what_is_learned_is_always_read(
        requests in prop::collection::vec((any_host(), any_method(), any_path(), 0..4_u16), 1..70),
        connections in prop::collection::vec((any_host(), any_word()), 0..5),
    ) {
        let mut lines: Vec<String> = requests
            .iter()
            .map(|(host, method, path, port)| {
                line("request", json!({"name": host, "method": method, "path": path, "port": 52 + port, "status": 200}))
            })
            .collect();
        for (host, protocol) in &connections {
            let more = json!({"name": host, "protocol": protocol, "workspace": "default"});
            lines.push(line("allowed", more));
            lines.push(line("refused", json!({"name": host, "reason": protocol, "rule_to_add": host})));
        }
        let mut seen = observe("audit.jsonl", &lines.join("\n")).unwrap();
        for (host, method, path, _) in &requests {
            seen.extend(observe("a.har", &har(host, method, path)).unwrap());
        }
        let text = learn(&seen, None, None).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let policy = Policy::parse("shop.yaml", &text).map_err(|faults| TestCaseError::fail(format!("{faults}\n{text}")))?;
        prop_assert!(policy.egress.iter().all(|rule| rule.http.as_ref().is_none_or(|http| http.paths.is_some())));
    }
}

fn any_host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,4}\\.example\\.com",
        "[0-9.:]{1,9}",
        any::<String>(),
        Just("127.0.0.1".to_owned())
    ]
}

fn any_method() -> impl Strategy<Value = String> {
    prop_oneof![
        "GET|POST|NO|ON|Y|NULL",
        "[A-Z-]{1,40}",
        "[*!#&a-z]{1,4}",
        any::<String>()
    ]
}

fn any_path() -> impl Strategy<Value = String> {
    prop_oneof!["/", "(/[a-z0-9.%_*'-]{0,6}){1,4}/?", any::<String>()]
}

fn any_word() -> impl Strategy<Value = String> {
    prop_oneof!["tcp|tls|https|udp", any::<String>()]
}

proptest! {
    /// Whatever was seen is allowed again if its path has one reading, and neither the others nor a host that was not seen.
    #[test]
    fn what_was_seen_is_allowed_again(
        requests in prop::collection::vec(
            (prop::sample::select(vec!["GET", "POST", "PUT"]), "(/[a-z0-9.%_-]{0,12}){1,5}/?", 0..3u8, any::<bool>()), 1..60),
    ) {
        let lines: Vec<String> = requests
            .iter()
            .map(|(method, path, host, upgraded)| {
                let status = if *upgraded { 101 } else { 200 };
                line("request", json!({"method": method, "path": path, "name": format!("h{host}.example.com"), "status": status}))
            })
            .collect();
        let seen = observe("audit.jsonl", &lines.join("\n")).unwrap();
        let text = learn(&seen, None, None).unwrap();
        let policy = Arc::new(Policy::parse("shop.yaml", &text).map_err(|faults| TestCaseError::fail(format!("{faults}\n{text}")))?);
        let bound = policy.bind(&Value::Null);
        for (method, path, host, upgraded) in &requests {
            let name = crate::name::Name::parse(&format!("h{host}.example.com")).unwrap();
            let is_readable = crate::http::path::Path::parse(path).is_ok();
            prop_assert_eq!(allows(&bound, &name, 443, method, path, *upgraded), is_readable, "{} {} under\n{}", method, path, text);
        }
        let other = Target::Name(crate::name::Name::parse("h9.example.com").unwrap());
        let attempt = Attempt { target: &other, port: Some(443), transport: Transport::Tcp, addresses: None };
        prop_assert!(matches!(decide(Some(&bound), &Guard::default(), &attempt), Verdict::Refuse(_)));
    }
}
