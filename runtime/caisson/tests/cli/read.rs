//! `caisson read`: output, state, resumption, cancellation, exit codes.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use caisson_proto::v1::{self, ErrorCode, read_event::Event, read_request::From};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::daemon::{Daemon, Script, event};
use super::{code, said};

fn batch(text: &'static str) -> v1::ReadEvent {
    let records = text.lines().count() as u64;
    event(Event::Batch(v1::Batch {
        schema_id: "1".into(),
        data: text.into(),
        records,
    }))
}

fn checkpoint(records: u64) -> v1::ReadEvent {
    event(Event::Checkpoint(v1::Checkpoint {
        stream: "orders".into(),
        id: format!("c{records}"),
        state: format!("{{\"at\":{records}}}").into_bytes(),
        records,
        ..Default::default()
    }))
}

fn failure(code: ErrorCode) -> v1::ReadEvent {
    event(Event::Failure(v1::Failure {
        code: code.into(),
        message: "it broke".into(),
        ..Default::default()
    }))
}

fn summary() -> v1::ReadEvent {
    event(Event::Summary(v1::Summary {
        stats: Some(v1::Stats {
            records: 3,
            ..Default::default()
        }),
        checkpoints: vec![],
    }))
}

#[test]
fn a_run_that_was_cut_short_is_continued_at_its_checkpoint_with_nothing_lost_or_doubled() {
    let daemon = Daemon::start(Script {
        read: vec![
            batch("{\"n\":1}\n"),
            checkpoint(1),
            batch("{\"n\":2}\n"),
            failure(ErrorCode::WorkerLost),
        ],
        ..Default::default()
    });
    let args = [
        "read",
        "shop.yaml",
        "--output",
        "out.jsonl",
        "--state",
        "state.json",
        "--stats",
        "stats.json",
    ];
    let output = daemon.run(&args);
    assert_eq!(code(&output), 7, "{}", said(&output));
    let read = |name: &str| std::fs::read_to_string(daemon.path(name)).expect("the file is there");
    assert_eq!(read("out.jsonl"), "{\"n\":1}\n{\"n\":2}\n");

    daemon.script.lock().expect("not poisoned").read =
        vec![batch("{\"n\":2}\n{\"n\":3}\n"), checkpoint(3), summary()];
    let output = daemon.run(&args);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_eq!(read("out.jsonl"), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    let stats: serde_json::Value = serde_json::from_str(&read("stats.json")).expect("JSON");
    assert_eq!(stats["records"], 3);
    let script = daemon.script.lock().expect("not poisoned");
    assert_eq!(script.reads[1].from(), From::Checkpoint);
    assert_eq!(script.reads[1].checkpoints[0].state, b"{\"at\":1}");
    drop(script);

    daemon.script.lock().expect("not poisoned").read = vec![batch("{\"n\":4}\n"), summary()];
    let output = daemon.run(&args);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_eq!(
        read("out.jsonl"),
        "{\"n\":4}\n",
        "after a run that ended well the output begins anew"
    );
}

#[test]
fn data_goes_to_standard_output_and_words_to_standard_error() {
    let daemon = Daemon::start(Script {
        read: vec![batch("{\"n\":1}\n"), summary()],
        ..Default::default()
    });
    let output = daemon.run(&["read", "shop.yaml"]);
    assert_eq!(code(&output), 0);
    assert_eq!(output.stdout, b"{\"n\":1}\n");
    assert!(
        said(&output).contains("orders: 1 records"),
        "{}",
        said(&output)
    );
    let script = daemon.script.lock().expect("not poisoned");
    assert_eq!(
        script.reads[0].from(),
        From::Beginning,
        "nothing is stored without a key"
    );
    assert_eq!(script.reads[0].accept, [i32::from(v1::Encoding::JsonLines)]);
}

#[test]
fn ctrl_c_cancels_the_call_and_exits_with_130() {
    let daemon = Daemon::start(Script {
        read: vec![batch("{\"n\":1}\n")],
        hang: true,
        ..Default::default()
    });
    let mut child = daemon
        .client(&["read", "shop.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut line).expect("the first record");
    let kill = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(kill.success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(code(&output), 130, "{}", said(&output));
    assert_eq!(
        daemon.script.lock().expect("not poisoned").cancelled,
        ["call-1"]
    );
}

#[test]
fn a_reader_that_goes_away_cancels_the_call_quietly() {
    let daemon = Daemon::start(Script {
        read: std::iter::repeat_with(|| batch("{\"n\":1}\n"))
            .take(10_000)
            .collect(),
        hang: true,
        ..Default::default()
    });
    let mut child = daemon
        .client(&["read", "shop.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert!(!said(&output).contains("error"), "{}", said(&output));
    assert_eq!(
        daemon.script.lock().expect("not poisoned").cancelled,
        ["call-1"]
    );
}

#[test]
fn each_class_of_error_has_its_exit_code_in_the_stream_and_before_it() {
    for (error, exit) in [
        (ErrorCode::ConfigInvalid, 3),
        (ErrorCode::SecretUnavailable, 4),
        (ErrorCode::EgressDenied, 5),
        (ErrorCode::QuotaExhausted, 6),
        (ErrorCode::UpstreamUnavailable, 7),
        (ErrorCode::SchemaViolation, 8),
        (ErrorCode::MemoryExhausted, 9),
        (ErrorCode::ConnectorFailed, 10),
        (ErrorCode::StateConflict, 11),
        (ErrorCode::Internal, 12),
        (ErrorCode::Cancelled, 130),
    ] {
        let daemon = Daemon::start(Script {
            read: vec![failure(error)],
            ..Default::default()
        });
        let output = daemon.run(&["read", "shop.yaml"]);
        assert_eq!(code(&output), exit, "{error:?}: {}", said(&output));
        let reason = error.as_str_name().trim_start_matches("ERROR_CODE_");
        let details = ErrorDetails::with_error_info(reason, "caisson.dev", []);
        let status = Status::with_error_details(Code::Unknown, "refused", details);
        daemon.script.lock().expect("not poisoned").refuse = Some(status);
        let output = daemon.run(&["read", "shop.yaml"]);
        assert_eq!(code(&output), exit, "{error:?}: {}", said(&output));
        assert!(
            said(&output).contains(&format!("error: {reason}: refused")),
            "{}",
            said(&output)
        );
    }
}

#[test]
fn a_fault_that_the_daemon_finds_is_shown_at_its_line_of_the_connection_file() {
    let mut details = ErrorDetails::with_error_info("CONFIG_INVALID", "caisson.dev", []);
    details.add_bad_request_violation("config.json:1:10: shop", "expected a number");
    let status = Status::with_error_details(Code::InvalidArgument, "the config", details);
    let daemon = Daemon::start(Script {
        refuse: Some(status),
        ..Default::default()
    });
    let output = daemon.run(&["read", "shop.yaml"]);
    assert_eq!(code(&output), 3);
    assert!(
        said(&output).contains("shop.yaml:3:9: shop: expected a number"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_stream_that_ends_without_a_last_word_is_worth_another_try() {
    let daemon = Daemon::start(Script {
        read: vec![batch("{\"n\":1}\n")],
        ..Default::default()
    });
    let output = daemon.run(&["read", "shop.yaml"]);
    assert_eq!(code(&output), 7, "{}", said(&output));
}
