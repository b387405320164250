//! The decision table: entries, and what comes of a sequence of requests.

use crate::fault::{
    Answer, Asked, BodyFault, CertificateFault, ConnectionFault, DnsFault, FaultScript,
    RequestFault,
};
use crate::host::Target;
use crate::name::Name;
use http::HeaderValue;
use std::num::NonZeroU64;
use std::time::Duration;

fn script(entries: &str) -> FaultScript {
    FaultScript::parse("faults.yaml", &format!("format: 1\nfaults:\n{entries}"))
        .unwrap_or_else(|faults| panic!("{faults}"))
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// What `METHOD path` to a.com comes to, in a few letters.
fn ask(script: &FaultScript, request: &str, authorization: Option<&str>) -> String {
    let (method, path) = request.split_once(' ').unwrap();
    let host = name("a.com");
    let asked = Asked {
        host: &host,
        method,
        path,
        authorization: authorization.map(str::as_bytes),
    };
    match script.of_request(&asked) {
        None => "-".to_owned(),
        Some(RequestFault::Answer(Answer { status, .. })) => status.as_u16().to_string(),
        Some(RequestFault::Reset) => "reset".to_owned(),
        Some(other) => format!("{other:?}"),
    }
}

fn asked(script: &FaultScript, requests: &[&str]) -> Vec<String> {
    requests
        .iter()
        .map(|request| ask(script, request, None))
        .collect()
}

#[test]
fn each_way_of_counting_picks_its_requests() {
    for (when, expected) in [
        ("", "500 500 500 500 500 500"),
        (", nth: 2", "- 500 - - - -"),
        (", every: 3", "- - 500 - - 500"),
        (", after: 4", "- - - - 500 500"),
        (", times: 2", "500 500 - - - -"),
    ] {
        let script = script(&format!(
            "  - {{ match: {{ host: a.com{when} }}, answer: {{ status: 500 }} }}\n"
        ));
        assert_eq!(asked(&script, &["GET /"; 6]).join(" "), expected, "{when}");
    }
}

#[test]
fn only_what_matches_is_counted() {
    let script = script(
        "  - { match: { host: a.com, method: GET, path: '/v1/**', nth: 2 }, answer: { status: 500 } }\n",
    );
    let requests = [
        "GET /v1/a",
        "POST /v1/a",
        "GET /v2/a",
        "GET /v1/../v1/a",
        "OPTIONS *",
        "GET /v1/b?page=2",
        "GET /v1/a",
    ];
    assert_eq!(
        asked(&script, &requests),
        ["-", "-", "-", "-", "-", "500", "-"]
    );
}

#[test]
fn the_first_entry_whose_turn_it_is_wins_and_all_count() {
    let script = script(
        "  - { match: { host: a.com, nth: 1 }, answer: { status: 401 } }\n\
         \x20 - { match: { host: a.com, nth: 2 }, answer: { status: 503 } }\n\
         \x20 - { match: { host: a.com, times: 3 }, answer: { status: 429 } }\n\
         \x20 - { match: { host: '*.com' }, reset: { after: 0 } }\n",
    );
    assert_eq!(
        asked(&script, &["GET /"; 4]),
        ["401", "503", "429", "reset"]
    );
}

#[test]
fn a_script_says_which_of_its_faults_were_made() {
    let script = script(
        "  - { match: { host: a.com, nth: 2 }, answer: { status: 401 } }\n\
         \x20 - { match: { host: a.com }, empty: true }\n\
         \x20 - { match: { host: a.com, path: /never }, reset: { after: 9 } }\n",
    );
    asked(&script, &["GET /"; 3]);
    let met: Vec<_> = script.met().iter().map(ToString::to_string).collect();
    assert_eq!(
        met,
        [
            "faults.yaml:3: answer: matched 3, made 1",
            "faults.yaml:4: empty: matched 3, made 2",
            "faults.yaml:5: reset: matched 0, made 0",
        ]
    );
}

#[test]
fn another_host_is_not_touched() {
    let script = script("  - { match: { host: '*.a.com' }, empty: true }\n");
    assert_eq!(ask(&script, "GET /", None), "-");
    assert_eq!(
        script.of_lookup(&name("b.a.com")),
        None,
        "a request's fault is none of a look-up"
    );
    assert_eq!(script.of_connection(&name("b.a.com")), None);
}

#[test]
fn a_token_expires_and_the_one_that_replaces_it_passes() {
    let script =
        script("  - { match: { host: a.com, path: /v1/**, nth: 3 }, expire_token: true }\n");
    let rows = [
        ("GET /v1/a", None, "-"),
        ("GET /v1/a", Some("Bearer one"), "-"),
        ("GET /v1/a", Some("Bearer one"), "401"),
        ("GET /token", Some("Bearer one"), "-"),
        ("GET /v1/a", Some("Bearer two"), "-"),
        ("GET /v1/a", Some("Bearer one"), "401"),
        ("GET /v1/a", None, "-"),
    ];
    for (index, (request, authorization, expected)) in rows.into_iter().enumerate() {
        assert_eq!(
            ask(&script, request, authorization),
            expected,
            "row {index}"
        );
    }
}

#[test]
fn a_token_that_is_never_good_is_written_without_a_count() {
    let never = script("  - { match: { host: a.com }, expire_token: true }\n");
    assert_eq!(ask(&never, "GET /", Some("Bearer one")), "401");
    assert_eq!(ask(&never, "GET /", Some("Bearer two")), "-");
    let later = script("  - { match: { host: a.com, after: 1 }, expire_token: true }\n");
    assert_eq!(ask(&later, "GET /", Some("Bearer one")), "-");
    assert_eq!(ask(&later, "GET /", Some("Bearer one")), "401");
}

#[test]
fn every_fault_of_a_request_comes_out_as_it_is_written() {
    let one = |fault: &str| {
        let script = script(&format!("  - {{ match: {{ host: a.com }}, {fault} }}\n"));
        let host = name("a.com");
        let asked = Asked {
            host: &host,
            method: "GET",
            path: "/v1/a?page=2",
            authorization: Some(b"Bearer one"),
        };
        script.of_request(&asked).unwrap()
    };
    let answer = |status: u16, headers: &[(&'static str, &'static str)], body: &'static str| {
        RequestFault::Answer(Answer {
            status: status.try_into().unwrap(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
                .collect(),
            body: body.into(),
        })
    };
    let rate = NonZeroU64::new(1000).unwrap();
    for (written, made) in [
        (
            "answer: { status: 429, headers: { X-RateLimit-Remaining: 0, X-A: b }, body: wait, retry_after: { seconds: 2 } }",
            answer(
                429,
                &[
                    ("x-ratelimit-remaining", "0"),
                    ("x-a", "b"),
                    ("retry-after", "2"),
                ],
                "wait",
            ),
        ),
        (
            "answer: { status: 429, headers: { Retry-After: soon } }",
            answer(429, &[("retry-after", "soon")], ""),
        ),
        (
            "answer: { status: 404, retry_after: absent }",
            answer(404, &[], ""),
        ),
        (
            "answer: { status: 429, retry_after: absurd }",
            answer(429, &[("retry-after", "9999999999")], ""),
        ),
        ("empty: true", answer(200, &[], "")),
        (
            "redirect_loop: true",
            answer(302, &[("location", "/v1/a?page=2")], ""),
        ),
        (
            "expire_token: true",
            answer(
                401,
                &[
                    ("www-authenticate", "Bearer error=\"invalid_token\""),
                    ("content-type", "application/json"),
                ],
                "{\"error\":\"invalid_token\"}",
            ),
        ),
        ("reset: { after: 0 }", RequestFault::Reset),
        (
            "reset: { after: 5 }",
            RequestFault::Body(BodyFault::ResetAfter(5)),
        ),
        (
            "stall: { after: 0 }",
            RequestFault::Body(BodyFault::StallAfter(0, None)),
        ),
        (
            "stall: { after: 5, for: 30s }",
            RequestFault::Body(BodyFault::StallAfter(5, Some(Duration::from_secs(30)))),
        ),
        (
            "slow: { bytes_per_second: 1000 }",
            RequestFault::Body(BodyFault::Slow(rate)),
        ),
        (
            "truncate: { after: 5 }",
            RequestFault::Body(BodyFault::TruncateAfter(5)),
        ),
        (
            "broken_gzip: true",
            RequestFault::Body(BodyFault::BrokenGzip),
        ),
        (
            "content_type: text/html",
            RequestFault::ContentType(HeaderValue::from_static("text/html")),
        ),
    ] {
        assert_eq!(one(written), made, "{written}");
    }
}

#[test]
fn look_ups_and_connections_are_counted_apart() {
    let script = script(
        "  - { match: { host: a.com, times: 1 }, dns: servfail }\n\
         \x20 - { match: { host: a.com, nth: 2 }, dns: nxdomain }\n\
         \x20 - { match: { host: a.com, nth: 1 }, refuse: true }\n\
         \x20 - { match: { host: a.com, nth: 2 }, certificate: expired }\n\
         \x20 - { match: { host: a.com, nth: 3 }, certificate: wrong_name }\n\
         \x20 - { match: { host: a.com, nth: 4 }, certificate: unknown_issuer }\n",
    );
    let a = name("a.com");
    let lookups: Vec<_> = (0..3).map(|_| script.of_lookup(&a)).collect();
    assert_eq!(
        lookups,
        [Some(DnsFault::Servfail), Some(DnsFault::Nxdomain), None]
    );
    let connections: Vec<_> = (0..5).map(|_| script.of_connection(&a)).collect();
    let certificate = |fault| Some(ConnectionFault::Certificate(fault));
    assert_eq!(
        connections,
        [
            Some(ConnectionFault::Refuse),
            certificate(CertificateFault::Expired),
            certificate(CertificateFault::WrongName),
            certificate(CertificateFault::UnknownIssuer),
            None,
        ]
    );
    assert_eq!(ask(&script, "GET /", None), "-");
}

#[test]
fn a_count_is_given_once_however_many_ask_at_once() {
    let script = script("  - { match: { host: a.com, nth: 100 }, answer: { status: 500 } }\n");
    let struck: usize = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..50)
                        .filter(|_| ask(&script, "GET /", None) == "500")
                        .count()
                })
            })
            .collect();
        askers.into_iter().map(|asker| asker.join().unwrap()).sum()
    });
    assert_eq!(struck, 1);
}

#[test]
fn a_path_without_one_reading_is_counted_by_entries_that_name_none() {
    let script = script(
        "  - { match: { host: a.com, path: '/**' }, answer: { status: 500 } }\n\
         \x20 - { match: { host: a.com, nth: 2 }, answer: { status: 503 } }\n",
    );
    let requests = ["GET /v1//a", "GET /v1/../a", "GET /a", "OPTIONS *"];
    assert_eq!(asked(&script, &requests), ["-", "503", "500", "-"]);
}

#[test]
fn a_fault_of_localhost_is_none_of_other_addresses() {
    let script = script("  - { match: { host: localhost }, refuse: true }\n");
    for (target, refused) in [
        ("localhost", true),
        ("127.0.0.1", true),
        ("::1", true),
        ("10.20.0.3", false),
        ("a.com", false),
    ] {
        let target = Target::parse(target).unwrap();
        let fault = script.of_connection_to(&target);
        assert_eq!(fault.is_some(), refused, "{target}");
    }
}
