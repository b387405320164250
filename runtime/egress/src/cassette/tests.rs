use super::player::{NotRecorded, Played};
use super::*;
use bytes::Bytes;
use caisson_secrets::{Redactor, SecretValue};
use proptest::prelude::*;
use std::path::Path;
use std::time::{Duration, SystemTime};

fn exchange(method: &str, url: &str, body: &[u8], answer: &[u8]) -> Recorded {
    Recorded {
        method: method.into(),
        url: url.into(),
        request_headers: vec![("Content-Type".into(), "application/json".into())],
        request_body: Bytes::copy_from_slice(body),
        whole: true,
        status: 200,
        response_headers: vec![("Content-Type".into(), "application/json".into())],
        response_body: Bytes::copy_from_slice(answer),
        started: SystemTime::UNIX_EPOCH,
        took: Duration::from_millis(5),
    }
}

fn nobody() -> Redactor {
    Redactor::new([])
}

fn cassette(exchanges: &[Recorded]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.har");
    let recorder = Recorder::create(RecorderConfig {
        path: path.clone(),
        ..RecorderConfig::default()
    })
    .unwrap();
    for exchange in exchanges {
        recorder.record(exchange, &nobody()).unwrap();
    }
    recorder.save().unwrap();
    (dir, path)
}

/// Asks without codings.
fn answer(player: &Player, method: &str, url: &str, body: &[u8]) -> Result<Played, NotRecorded> {
    player.answer(&Asked {
        method,
        url,
        codings: "",
        body: &Bytes::copy_from_slice(body),
    })
}

#[test]
fn recordings_of_one_request_are_played_in_order_and_each_once() {
    let url = "https://api.example/v1/a?b=1&a=2";
    let (_dir, path) = cassette(&[
        exchange("GET", url, b"", b"1"),
        exchange("GET", url, b"", b"2"),
    ]);
    let player = Player::open(&path, Mode::Strict).unwrap();
    let again = || answer(&player, "GET", "https://api.example/v1/a?a=2&b=1", b"");
    assert_eq!(again().unwrap().body, "1");
    assert_eq!(again().unwrap().body, "2");
    let error = again().unwrap_err().to_string();
    assert!(
        error.ends_with("it was recorded 2 times, and is asked once more"),
        "{error}"
    );
}

#[test]
fn a_request_without_a_recording_shows_the_nearest_one_and_no_values() {
    let (_dir, path) = cassette(&[
        exchange("GET", "https://api.example/v1/orders?page=1", b"", b"1"),
        exchange("POST", "https://api.example/v1/search", br#"{"q":1}"#, b"2"),
    ]);
    let player = Player::open(&path, Mode::Strict).unwrap();
    let say = |method, url, body| answer(&player, method, url, body).unwrap_err().to_string();
    let error = say("GET", "https://api.example/v1/orders?page=2", b"");
    assert!(
        error.contains(
            "the nearest recording is GET api.example/v1/orders?page, whose query differs"
        ),
        "{error}"
    );
    let error = say(
        "POST",
        "https://api.example/v1/search",
        br#"{"q":"sesame"}"#,
    );
    assert!(
        error.contains("whose body differs") && !error.contains("sesame"),
        "{error}"
    );
}

#[test]
fn json_is_compared_as_what_it_says_and_hosts_where_there_are_several() {
    let (_dir, path) = cassette(&[
        exchange(
            "POST",
            "https://a.example/x",
            br#"{"a": 1, "b": [2]}"#,
            b"a",
        ),
        exchange(
            "POST",
            "https://b.example/x",
            br#"{"a": 1, "b": [2]}"#,
            b"b",
        ),
    ]);
    let player = Player::open(&path, Mode::Strict).unwrap();
    let body = br#"{"b":[2],"a":1}"#;
    assert_eq!(
        answer(&player, "POST", "https://b.example/x", body)
            .unwrap()
            .body,
        "b"
    );
    assert_eq!(
        answer(&player, "POST", "https://a.example/x", body)
            .unwrap()
            .body,
        "a"
    );
    let (_dir, path) = cassette(&[exchange("GET", "https://recorded.example/x", b"", b"a")]);
    let player = Player::open(&path, Mode::Strict).unwrap();
    assert!(answer(&player, "GET", "https://localhost:8080/x", b"").is_ok());
}

#[test]
fn by_sequence_the_next_recording_answers_whatever_the_query_says() {
    let (_dir, path) = cassette(&[
        exchange("GET", "https://a.example/x?nonce=1", b"", b"1"),
        exchange("GET", "https://a.example/y?nonce=2", b"", b"2"),
    ]);
    let player = Player::open(&path, Mode::Sequence).unwrap();
    assert_eq!(
        answer(&player, "GET", "https://a.example/x?nonce=9", b"")
            .unwrap()
            .body,
        "1"
    );
    let error = answer(&player, "GET", "https://a.example/x?nonce=9", b"")
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("the next recording is GET a.example/y?nonce"),
        "{error}"
    );
    assert_eq!(
        answer(&player, "GET", "https://a.example/y?nonce=8", b"")
            .unwrap()
            .body,
        "2"
    );
}

#[test]
fn no_secret_of_any_place_is_in_the_file_and_the_request_plays_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.har");
    let recorder = Recorder::create(RecorderConfig {
        path: path.clone(),
        ignored: vec!["api_key".into()],
        redact: vec!["/people/*/email".into()],
    })
    .unwrap();
    let secret = "Sesame/Open+22";
    let redactor = Redactor::new([("key", &SecretValue::new(secret))]);
    let body = format!(r#"{{"token":"{secret}","people":[{{"email":"a@b.example","id":1}}]}}"#);
    let mut one = exchange(
        "POST",
        "https://a.example/x?key=Sesame%2FOpen%2B22&api_key=plain-key&b=1",
        body.as_bytes(),
        body.as_bytes(),
    );
    one.request_headers
        .push(("Authorization".into(), "Bearer whatever".into()));
    one.request_headers
        .push(("X-Echo".into(), format!("v {secret}")));
    one.response_headers
        .push(("Set-Cookie".into(), "session=whatever".into()));
    recorder.record(&one, &redactor).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for leaked in ["Sesame", "whatever", "plain-key", "a@b.example"] {
        assert!(!text.contains(leaked), "{leaked} is in {text}");
    }
    let player = Player::open(&path, Mode::Strict).unwrap();
    let other = body
        .replace(secret, "another")
        .replace("a@b.example", "c@d.example");
    let url = "https://a.example/x?b=1&key=another&api_key=x";
    let played = answer(&player, "POST", url, other.as_bytes());
    assert_eq!(played.unwrap().status, 200);
    let mut binary = exchange(
        "POST",
        "https://a.example/x",
        &[&[0xff], secret.as_bytes()].concat(),
        b"",
    );
    assert!(matches!(
        recorder.record(&binary, &redactor),
        Err(CassetteError::Secret { .. })
    ));
    binary.request_body = Bytes::from(vec![0; LONGEST + 1]);
    assert!(matches!(
        recorder.record(&binary, &redactor),
        Err(CassetteError::TooLong { .. })
    ));
}

#[test]
fn what_is_hidden_matches_anything_and_what_stands_around_it_only_itself() {
    let hidden = |path: &str, body: &str| {
        exchange(
            "POST",
            &format!("https://a.example{path}"),
            body.as_bytes(),
            b"",
        )
    };
    let (_dir, path) = cassette(&[
        hidden(
            "/bot[secret]/getMe",
            r#"{"a":"Bearer [secret]","b":"[secret]"}"#,
        ),
        hidden("/x", "key=[secret]&b=1"),
    ]);
    let player = Player::open(&path, Mode::Strict).unwrap();
    let body = |a: &str| format!(r#"{{"a":"{a}","b":7}}"#);
    let fits = |path: &str, body: &str| {
        answer(
            &player,
            "POST",
            &format!("https://a.example{path}"),
            body.as_bytes(),
        )
        .is_ok()
    };
    assert!(!fits("/bot123/getUpdates", &body("Bearer t")));
    assert!(!fits("/bot123/getMe", &body("Basic t")));
    assert!(!fits("/x", "key=anything&b=2"));
    assert!(fits("/bot123/getMe", &body("Bearer t")));
    assert!(fits("/x", "key=anything&b=1"));
}

#[test]
fn a_compressed_body_is_kept_plain_without_secrets_and_an_empty_one_is_no_broken_coding() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.har");
    let recorder = Recorder::create(RecorderConfig {
        path: path.clone(),
        ..RecorderConfig::default()
    })
    .unwrap();
    let redactor = Redactor::new([("key", &SecretValue::new("Sesame-Open-22"))]);
    let zip = |text: &str, level| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        gzip.write_all(text.as_bytes()).unwrap();
        Bytes::from(gzip.finish().unwrap())
    };
    let sent = zip("key=Sesame-Open-22&b=1", 1);
    let mut one = exchange("POST", "https://a.example/x", &sent, b"");
    one.request_headers
        .push(("Content-Encoding".into(), "gzip".into()));
    recorder.record(&one, &redactor).unwrap();
    let mut head = exchange("HEAD", "https://a.example/x", b"", b"");
    head.response_headers
        .push(("Content-Encoding".into(), "gzip".into()));
    recorder.record(&head, &redactor).unwrap();
    assert!(!std::fs::read_to_string(&path).unwrap().contains("Sesame"));
    let player = Player::open(&path, Mode::Strict).unwrap();
    let played = player.answer(&Asked {
        method: "POST",
        url: "https://a.example/x",
        codings: "gzip",
        body: &zip("key=another-one&b=1", 9),
    });
    assert_eq!(played.unwrap().status, 200);
    one.request_body = Bytes::from_static(b"no gzip");
    assert!(matches!(
        recorder.record(&one, &redactor),
        Err(CassetteError::Coding { .. })
    ));
}

#[test]
fn a_cassette_whose_base64_is_broken_is_refused_and_not_played_empty() {
    let (_dir, path) = cassette(&[exchange("GET", "https://a.example/x", b"", &[0xff])]);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"/w==\"", "\"/w=\"")).unwrap();
    let error = Player::open(&path, Mode::Strict).unwrap_err().to_string();
    assert!(error.contains("log.entries[0] holds no base64"), "{error}");
}

#[test]
fn the_file_beside_is_never_written_through_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("a.har"), dir.path().join("other"));
    std::fs::write(&other, "mine").unwrap();
    std::os::unix::fs::symlink(&other, dir.path().join("a.har.new")).unwrap();
    Recorder::create(RecorderConfig {
        path,
        ..RecorderConfig::default()
    })
    .unwrap();
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "mine");
}

#[test]
fn the_file_is_its_owners_alone_and_whole_after_each_exchange() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, path) = cassette(&[]);
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(Player::open(&path, Mode::Strict).is_ok());
    let error = Recorder::create(RecorderConfig {
        path: "/nonexistent/a.har".into(),
        ..RecorderConfig::default()
    });
    assert!(
        error
            .unwrap_err()
            .to_string()
            .starts_with("the cassette /nonexistent/a.har cannot be written")
    );
    std::fs::write(&path, "{}").unwrap();
    let error = Player::open(&path, Mode::Strict).unwrap_err().to_string();
    assert!(
        error.contains("is no cassette") && error.contains("missing field `log`"),
        "{error}"
    );
}

#[test]
fn the_cassettes_of_the_connectors_are_read() {
    let connectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../connectors");
    let mut read = 0;
    for connector in std::fs::read_dir(connectors).unwrap() {
        let Ok(cassettes) = std::fs::read_dir(connector.unwrap().path().join("tests/cassettes"))
        else {
            continue;
        };
        for cassette in cassettes {
            let path = cassette.unwrap().path();
            Player::open(&path, Mode::Strict).unwrap_or_else(|error| panic!("{error}"));
            read += 1;
        }
    }
    assert!(read > 5, "{read}");
}

/// Python's `caisson.testing.Cassette` plays what is recorded here, and what it writes is played here.
#[test]
fn the_cdks_client_and_the_gateway_play_each_others_cassettes() {
    let binary = [0xff, 0x00, 0xfe];
    let (dir, path) = cassette(&[
        exchange(
            "GET",
            "https://a.example/x?b=%C3%A9&a=1+2",
            b"",
            "{\"é\":1}".as_bytes(),
        ),
        exchange("POST", "https://a.example/y", br#"{"q": [1]}"#, &binary),
        exchange("PUT", "https://a.example/z", &binary, b"{}"),
        exchange(
            "POST",
            "https://a.example/bot[secret]/x?key=[secret]",
            br#"{"a":"[secret]","b":"Bearer [secret]"}"#,
            b"{}",
        ),
    ]);
    let script = r#"
import sys
from caisson.testing import Cassette
own = Cassette(sys.argv[1])
assert own.answer("GET", "https://a.example/x?a=1%202&b=%C3%A9", None)[2] == '{"é":1}'.encode()
assert own.answer("POST", "https://a.example/y", b'{"q":[1]}')[2] == b"\xff\x00\xfe"
assert own.answer("PUT", "https://a.example/z", b"\xff\x00\xfe")[0] == 200
assert own.answer("POST", "https://a.example/bot77/x?key=other", b'{"a":{"n":3},"b":"Bearer t"}')[0] == 200
made = Cassette.__new__(Cassette)
made.path, made.ignore, made.entries, made._used = __import__("pathlib").Path(sys.argv[2]), set(), [], set()
made.record("GET", "https://b.example/p?q=%2F", [("A", "b")], None, (201, [("content-type", "text/plain")], b"hi"))
made.record("PUT", "https://b.example/p", [], b"\xff\x00", (200, [], b"\xff"))
made.save()
"#;
    let other = dir.path().join("b.har");
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python-shim/python");
    let done = std::process::Command::new(
        std::env::var("WORKER_PYTHON").unwrap_or("/usr/bin/python3.11".into()),
    )
    .args(["-c", script])
    .args([&path, &other])
    .env("PYTHONPATH", python)
    .output()
    .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let player = Player::open(&other, Mode::Strict).unwrap();
    let played = answer(&player, "GET", "https://b.example/p?q=/", b"").unwrap();
    assert_eq!((played.status, &played.body[..]), (201, &b"hi"[..]));
    assert_eq!(
        answer(&player, "PUT", "https://b.example/p", b"\xff\x00")
            .unwrap()
            .body,
        &b"\xff"[..]
    );
}

#[test]
fn bodies_and_values_that_differ_in_bytes_that_are_no_text_are_not_the_same() {
    let exchanges = [&b"\xc8\x01"[..], &b"\xc9\x01"[..]]
        .map(|body| exchange("POST", "https://a.example/x", body, body));
    let queries = ["%C8", "%C9"].map(|q| {
        exchange(
            "GET",
            &format!("https://a.example/x?q={q}"),
            b"",
            q.as_bytes(),
        )
    });
    let (_dir, path) = cassette(&[exchanges, queries].concat());
    let player = Player::open(&path, Mode::Strict).unwrap();
    assert_eq!(
        answer(&player, "POST", "https://a.example/x", b"\xc9\x01")
            .unwrap()
            .body,
        &b"\xc9\x01"[..]
    );
    assert_eq!(
        answer(&player, "GET", "https://a.example/x?q=%C9", b"")
            .unwrap()
            .body,
        "%C9"
    );
}

#[test]
fn what_is_cut_or_cannot_be_looked_through_is_not_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(RecorderConfig {
        path: dir.path().join("a.har"),
        redact: vec!["/email".into()],
        ..RecorderConfig::default()
    })
    .unwrap();
    let mut one = exchange("POST", "https://a.example/x", b"{", b"");
    assert!(matches!(
        recorder.record(&one, &nobody()),
        Err(CassetteError::Unreadable { .. })
    ));
    one.request_body = Bytes::from_static(b"{}");
    recorder.record(&one, &nobody()).unwrap();
    one.whole = false;
    assert!(matches!(
        recorder.record(&one, &nobody()),
        Err(CassetteError::Cut { .. })
    ));
}

proptest! {
    #[test]
    fn what_was_recorded_is_played(
        requests in prop::collection::vec((0..3u8, "[a-z/]{0,8}", "[ -~]{0,12}", prop::collection::vec(any::<u8>(), 0..40)), 1..8),
    ) {
        let exchanges: Vec<_> = requests
            .iter()
            .enumerate()
            .map(|(number, (method, path, query, body))| {
                let method = ["GET", "POST", "DELETE"][usize::from(*method)];
                exchange(method, &format!("https://a.example/{path}?{query}"), body, &[number as u8, 0xff])
            })
            .collect();
        let (_dir, path) = cassette(&exchanges);
        for mode in [Mode::Strict, Mode::Sequence] {
            let player = Player::open(&path, mode).unwrap();
            for exchange in &exchanges {
                let played = answer(&player, &exchange.method, &exchange.url, &exchange.request_body).unwrap();
                prop_assert_eq!(&played.body, &exchange.response_body);
            }
        }
    }
}
