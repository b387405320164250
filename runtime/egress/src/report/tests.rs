//! What is told of floods, secrets and long texts, and what is never lost.

use super::*;
use crate::policy::{ConnectorId, Origin};
use caisson_secrets::SecretValue;

fn reporter(audit: Audit, secret: Option<&SecretValue>) -> (Reporter, mpsc::Receiver<EgressEvent>) {
    let connector = ConnectorId {
        name: "shop".into(),
        version: semver::Version::new(1, 0, 0),
        origin: Origin::OwnFolder,
        workspace: "default".into(),
    };
    let context = CallContext {
        call_id: "c".into(),
        worker: 1,
        connector,
        config: serde_json::Value::Null,
        redactor: Arc::new(Redactor::new(
            secret.into_iter().map(|value| ("key", value)),
        )),
        bounds: Default::default(),
        sealed: Arc::default(),
        certificates: Arc::default(),
        payer: crate::Payer::new([], "default/shop"),
        party: "default/shop".into(),
    };
    Reporter::new(&context, audit)
}

fn audit() -> (
    tempfile::TempDir,
    Audit,
    impl Fn() -> Vec<serde_json::Value>,
) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let audit = Audit::start(crate::audit::AuditConfig::at(path.clone())).unwrap();
    let written = audit.clone();
    let lines = move || {
        written.flush();
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    (dir, audit, lines)
}

fn at(address: &str, port: u16, protocol: &'static str) -> Endpoint {
    Endpoint {
        host: None,
        address: Some(address.parse().unwrap()),
        port: Some(port),
        protocol: protocol.into(),
    }
}

#[test]
fn no_name_detail_or_rule_tells_a_secret() {
    let (_dir, audit, lines) = audit();
    let secret = SecretValue::new("Hunter22Sesame");
    let (reporter, mut events) = reporter(audit, Some(&secret));
    for name in [
        "hunter22sesame.evil.com",
        "hunter22.sesame.evil.com",
        "48756e7465723232536573616d65.evil.com",
    ] {
        let refusal = Refusal {
            rule_to_add: Some(format!("- {{ host: {name} }}")),
            ..Refusal::flat(Reason::NameNotAllowed, format!("no rule is for {name}"))
        };
        // Once on its own, once with a count.
        for _ in 0..2 {
            reporter.refused(Endpoint::dns(Some(name.into())), refusal.clone());
        }
        reporter.failed(
            Endpoint::dns(Some(name.into())),
            Reason::DnsFailed,
            name.into(),
        );
    }
    reporter.tell_untold();
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(serde_json::to_string(&event).unwrap());
    }
    let written = lines();
    assert_eq!((told.len(), written.len()), (6, 9));
    for text in told
        .into_iter()
        .chain(written.iter().map(ToString::to_string))
    {
        assert!(text.contains("[redacted].evil.com"), "{text}");
        let lower = text.to_lowercase();
        assert!(
            !lower.contains("hunter22") && !lower.contains("48756e"),
            "{text}"
        );
    }
}

#[test]
fn a_flood_of_one_class_hides_nothing_of_another() {
    let (_dir, audit, lines) = audit();
    let (reporter, mut events) = reporter(audit, None);
    let flat = || Refusal::flat(Reason::TransportNotAllowed, "");
    for number in 0..5_000u16 {
        reporter.refused(at("192.0.2.1", number, "udp"), flat());
    }
    for number in 0..1_000u32 {
        let address = std::net::Ipv4Addr::from(number + 1).to_string();
        reporter.refused(at(&address, 9, "icmp"), flat());
    }
    reporter.refused(at("192.0.2.2", 22, "tcp"), flat());
    reporter.refused(Endpoint::dns(Some("evil.example".into())), flat());
    let mut protocols = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let EgressEvent::Refused { to, .. } = event {
            protocols.push(to.protocol);
        }
    }
    assert!(
        protocols.ends_with(&["tcp".into(), "dns".into()]),
        "{protocols:?}"
    );
    drop(reporter);
    let lines = lines();
    let told = lines.iter().filter(|line| line["event"] == "refused");
    let told: u64 = told.map(|line| line["times"].as_u64().unwrap_or(1)).sum();
    let untold: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "untold")
        .collect();
    assert_eq!(untold.len(), 1, "{untold:?}");
    assert_eq!(told + untold[0]["refused"].as_u64().unwrap(), 6_002);
    let flood = lines
        .iter()
        .find(|line| line["address"] == "192.0.2.1" && line["times"].is_u64());
    assert!(
        flood.unwrap()["times"].as_u64().unwrap() > 4_000,
        "{flood:?}"
    );
}

#[test]
fn lines_on_allowed_connections_are_limited_and_the_rest_is_counted() {
    let (_dir, audit, lines) = audit();
    let (reporter, _events) = reporter(audit, None);
    for _ in 0..5_000 {
        reporter.closed(
            at("192.0.2.1", 443, "tcp"),
            rule(),
            (0, 0),
            Duration::ZERO,
            Ended::Finished,
        );
    }
    reporter.tell_untold();
    reporter.tell_untold();
    let lines = lines();
    let untold: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "untold")
        .collect();
    assert_eq!(untold.len(), 1, "what was told is not told again");
    let number = untold[0]["allowed"].as_u64().unwrap();
    assert!(number > 2_000, "{number}");
    assert_eq!(lines.len() as u64 - 1 + number, 5_000);
}

#[test]
fn what_is_not_told_is_counted() {
    let (reporter, mut events) = reporter(Audit::none(), None);
    for number in 0..5_000 {
        reporter.refused(
            Endpoint::dns(Some(format!("{number}.evil"))),
            Refusal::flat(Reason::NameNotAllowed, ""),
        );
    }
    let mut told = 0;
    while events.try_recv().is_ok() {
        told += 1;
    }
    let totals = reporter.sums.totals();
    assert_eq!(totals.denied, 5_000);
    assert_eq!(told + totals.untold + totals.events_lost, 5_000);
    assert!(totals.untold > 3_000, "{totals:?}");
}

#[test]
fn a_flood_of_packets_hides_no_refused_request() {
    let (_dir, audit, lines) = audit();
    let (reporter, mut events) = reporter(audit, None);
    for number in 0..5_000u32 {
        let address = std::net::Ipv4Addr::from(number + 1).to_string();
        let refusal = Refusal::flat(Reason::TransportNotAllowed, "");
        reporter.refused(at(&address, 9, "udp"), refusal);
    }
    let refusal = Refusal::flat(Reason::PathNotAllowed, "DELETE /admin");
    reporter.refused(at("192.0.2.2", 443, "https"), refusal);
    let is_told = std::iter::from_fn(|| events.try_recv().ok()).any(|event| {
        matches!(event, EgressEvent::Refused { refusal, .. } if refusal.detail == "DELETE /admin")
    });
    assert!(is_told);
    drop(reporter);
    let lines = lines();
    assert!(lines.iter().any(|line| line["detail"] == "DELETE /admin"));
}

#[test]
fn what_else_was_tried_at_a_host_is_told_beside_a_decoy() {
    let (reporter, mut events) = reporter(Audit::none(), None);
    let to = || at("192.0.2.2", 443, "https");
    for (reason, detail) in [
        (Reason::PathNotAllowed, "GET /x"),
        (Reason::PathNotAllowed, "GET /x"),
        (Reason::PathNotAllowed, "DELETE /admin"),
        (Reason::MethodNotAllowed, "DELETE /admin"),
    ] {
        reporter.refused(to(), Refusal::flat(reason, detail));
    }
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv().ok())
        .filter_map(|event| match event {
            EgressEvent::Refused { refusal, .. } => Some((refusal.reason, refusal.detail)),
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        [
            (Reason::PathNotAllowed, "GET /x".to_owned()),
            (Reason::PathNotAllowed, "DELETE /admin".to_owned()),
            (Reason::MethodNotAllowed, "DELETE /admin".to_owned()),
        ]
    );
}

#[test]
fn reasons_of_one_far_end_are_counted_apart() {
    let (_dir, audit, lines) = audit();
    let (reporter, _events) = reporter(audit, None);
    for number in 0..2_000 {
        for reason in [Reason::PathNotAllowed, Reason::MethodNotAllowed] {
            let refusal = Refusal::flat(reason, format!("GET /{number}"));
            reporter.refused(at("192.0.2.2", 443, "https"), refusal);
        }
    }
    reporter.tell_untold();
    for reason in ["path_not_allowed", "method_not_allowed"] {
        let told: u64 = lines()
            .iter()
            .filter(|line| line["reason"] == reason)
            .map(|line| line["times"].as_u64().unwrap_or(1))
            .sum();
        assert_eq!(told, 2_000, "{reason}");
    }
}

fn exhausted() -> Exhausted {
    Exhausted {
        until: SystemTime::now(),
        cause: crate::throttle::Cause::Concurrency,
    }
}

#[test]
fn what_ends_a_call_is_told_once_a_second_and_counted_beyond() {
    let (_dir, audit, lines) = audit();
    let (reporter, mut events) = reporter(audit, None);
    let to = |port| Endpoint {
        host: Some("api.example.com".into()),
        ..at("192.0.2.2", port, "https")
    };
    for _ in 0..1_000 {
        reporter.exhausted(to(443), exhausted());
        reporter.not_recorded(to(443), "GET /a".into());
    }
    let told = std::iter::from_fn(|| events.try_recv().ok()).count();
    assert_eq!(told, 2);
    assert_eq!(reporter.sums.totals().untold, 1_998);
    reporter.tell_untold();
    let lines = lines();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for event in ["exhausted", "failed"] {
        let times = lines.iter().filter(|line| line["event"] == event);
        let times: u64 = times.map(|line| line["times"].as_u64().unwrap_or(1)).sum();
        assert_eq!(times, 1_000, "{event}");
    }
}

#[test]
fn waits_leave_room_for_refusals() {
    let (reporter, _events) = reporter(Audit::none(), None);
    for _ in 0..1_500 {
        let wait = Wait {
            until: Some(SystemTime::now()),
            cause: crate::throttle::Cause::Concurrency,
        };
        reporter.throttled(at("192.0.2.2", 443, "https"), wait);
    }
    assert_eq!(reporter.events.capacity(), RESERVED);
}

#[test]
fn what_ends_a_call_is_heard_though_nobody_reads() {
    let persists = |reporter: &Reporter| {
        for _ in 0..10 {
            let refusal = Refusal::flat(Reason::NameNotAllowed, "");
            reporter.refused(Endpoint::dns(Some("evil.example".into())), refusal);
        }
    };
    let ends: [&dyn Fn(&Reporter); 3] = [
        &|reporter| reporter.exhausted(at("192.0.2.2", 443, "https"), exhausted()),
        &|reporter| reporter.not_recorded(at("192.0.2.2", 443, "https"), "GET /a".into()),
        &persists,
    ];
    for (case, end) in ends.into_iter().enumerate() {
        let (mut reporter, mut events) = reporter(Audit::none(), None);
        reporter.places = Places::new(NonZeroU32::new(10).unwrap());
        let filler = || EgressEvent::Failed {
            to: at("192.0.2.2", 443, "https"),
            reason: Reason::DialFailed,
            detail: String::new(),
        };
        while reporter.events.try_send(filler()).is_ok() {}
        end(&reporter);
        let last = std::iter::from_fn(|| events.try_recv().ok()).last();
        assert!(
            matches!(
                last,
                Some(
                    EgressEvent::Exhausted { .. }
                        | EgressEvent::NotRecorded { .. }
                        | EgressEvent::Refused { persists: true, .. }
                )
            ),
            "{case}: {last:?}"
        );
    }
}

#[test]
fn a_port_that_opens_in_a_moment_may_be_asked_for_again_and_again() {
    for (reason, ends) in [(Reason::PortNotOpen, false), (Reason::PortNotAllowed, true)] {
        let (mut reporter, mut events) = reporter(Audit::none(), None);
        reporter.places = Places::new(NonZeroU32::new(3).unwrap());
        for _ in 0..5 {
            reporter.refused(at("192.0.2.2", 5432, "tcp"), Refusal::flat(reason, ""));
        }
        let told = std::iter::from_fn(|| events.try_recv().ok());
        let persists = |event| matches!(event, EgressEvent::Refused { persists: true, .. });
        assert_eq!(
            told.map(persists).filter(|&it| it).count(),
            usize::from(ends)
        );
    }
}

#[test]
fn nothing_that_a_worker_writes_makes_a_long_line() {
    let (_dir, audit, lines) = audit();
    let (reporter, mut events) = reporter(audit, None);
    let long = "A".repeat(60_000);
    let to = || at("192.0.2.2", 443, "https");
    let (far, rule) = (to(), rule());
    reporter.request(request(&far, &rule, &long, &format!("/{long}")));
    reporter.request(request(&far, &rule, &long, "/short"));
    let refusal = Refusal {
        rule_to_add: Some(format!("- host: a\n  http: {{ paths: [\"/{long}\"] }}\n")),
        ..Refusal::flat(Reason::PathNotAllowed, &*long)
    };
    for _ in 0..2 {
        reporter.refused(to(), refusal.clone());
    }
    let method = http::Method::from_bytes(long.as_bytes()).unwrap();
    let requested =
        Refusal::flat(Reason::MethodNotAllowed, &*long).of(&method, &format!("/{long}"));
    reporter.refused(to(), requested);
    reporter.failed(to(), Reason::UpstreamBroken, long.clone());
    reporter.not_recorded(to(), long.clone());
    reporter.tell_untold();
    let lines = lines();
    assert_eq!(lines.len(), 7);
    for line in &lines {
        let most = if line["path"].is_null() { 2_500 } else { 3_500 };
        assert!(line.to_string().len() < most, "{line}");
        assert!(line["rule_to_add"].is_null(), "{line}");
    }
    assert_eq!(
        (&lines[0]["path_cut"], &lines[1]["path_cut"]),
        (&true.into(), &serde_json::Value::Null)
    );
    let refused = lines
        .iter()
        .find(|line| line["reason"] == "method_not_allowed")
        .unwrap();
    assert_eq!(refused["path_cut"], true);
    assert_eq!(refused["method"].as_str().unwrap().chars().count(), 32);
    while let Ok(event) = events.try_recv() {
        assert!(serde_json::to_string(&event).unwrap().len() < 3_500);
    }
}

fn rule() -> RuleAt {
    RuleAt {
        file: "shop.yaml".into(),
        line: 4,
        column: 1,
        index: 0,
    }
}

#[test]
fn a_secret_in_the_path_or_the_method_of_a_request_is_not_in_its_line() {
    let (_dir, audit, lines) = audit();
    let secret = SecretValue::new("HUNTER2-SESAME");
    let (reporter, _events) = reporter(audit, Some(&secret));
    let (far, rule) = (at("192.0.2.2", 443, "https"), rule());
    let path = "/keys/HUNTER2-SESAME/rows/SFVOVEVSMi1TRVNBTUU=";
    reporter.request(request(&far, &rule, "HUNTER2-SESAME", path));
    let line = lines()[0].to_string();
    assert!(line.contains("/keys/") && line.contains("/rows/"), "{line}");
    assert!(
        !line.contains("SESAME") && !line.contains("SFVOVEVSMi1TRVNBTUU"),
        "{line}"
    );
}

#[test]
fn of_a_secret_that_goes_on_behind_the_path_no_half_is_told() {
    let (_dir, audit, lines) = audit();
    let secret = SecretValue::new("sesame+=?&~open");
    let (reporter, _events) = reporter(audit, Some(&secret));
    let (far, rule) = (at("192.0.2.2", 443, "https"), rule());
    let target = "/keys/sesame+=?&~open/end?page=2";
    reporter.request(request(&far, &rule, "GET", target));
    let refusal = Refusal {
        rule_to_add: Some("- host: a\n  http: { paths: [\"/keys/sesame+=\"] }\n".into()),
        ..Refusal::flat(
            Reason::PathNotAllowed,
            "GET a/keys/sesame+=: the path is in no rule",
        )
    };
    reporter.refused(far.clone(), refusal.of(&http::Method::GET, target));
    let lines = lines();
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert!(!line.to_string().contains("sesame"), "{line}");
        assert_eq!(line["path"], "/keys/[redacted]/end", "{line}");
    }
}

/// Writes an audit log of requests, as the gateway does.
pub(crate) fn requests(path: &std::path::Path, paths: &[&str]) {
    let audit = Audit::start(crate::audit::AuditConfig::at(path.to_owned())).unwrap();
    let (reporter, _events) = reporter(audit.clone(), None);
    let (far, rule) = (at("192.0.2.2", 443, "https"), rule());
    for path in paths {
        reporter.request(request(&far, &rule, "GET", path));
    }
    audit.flush();
}

fn request<'a>(
    to: &'a Endpoint,
    rule: &'a RuleAt,
    method: &'a str,
    target: &'a str,
) -> RequestReport<'a> {
    RequestReport {
        to,
        rule,
        method,
        target,
        status: Some(405),
        bytes_up: 0,
        bytes_down: 0,
        open: Duration::ZERO,
        throttled: Duration::ZERO,
        whole: true,
    }
}
