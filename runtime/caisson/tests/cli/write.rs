//! `caisson write`: what is sent, and what is not.

use caisson_proto::v1::write_request::Message;

use super::daemon::{Daemon, Script};
use super::{code, said};

#[test]
fn input_is_sent_in_order_and_ends_with_a_final_checkpoint() {
    let daemon = Daemon::start(Script::default());
    let line = format!("{{\"text\":\"{}\"}}\n", "x".repeat(500));
    std::fs::write(daemon.path("orders.jsonl"), line.repeat(5000)).expect("written");
    let output = daemon.run(&[
        "write",
        "shop.yaml",
        "--input",
        "orders.jsonl",
        "--primary-key",
        "id",
    ]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert!(
        said(&output).contains("orders: 5000 records written, 0 refused"),
        "{}",
        said(&output)
    );
    let script = daemon.script.lock().expect("not poisoned");
    let mut messages = script
        .written
        .iter()
        .filter_map(|request| request.message.as_ref());
    assert!(matches!(messages.next(), Some(Message::Start(_))));
    let Some(Message::Schema(schema)) = messages.next() else {
        panic!("no schema")
    };
    assert_eq!(
        (schema.stream.as_str(), schema.primary_key.as_slice()),
        ("orders", ["id".to_owned()].as_slice())
    );
    let mut sequence = 0;
    let mut last = None;
    for message in messages {
        if let Message::Batch(batch) = message {
            sequence += 1;
            assert_eq!(batch.sequence, sequence);
            assert!(batch.data.len() <= 1 << 20);
        }
        last = Some(message);
    }
    assert!(sequence > 1);
    let Some(Message::Checkpoint(checkpoint)) = last else {
        panic!("no checkpoint at the end")
    };
    assert_eq!((checkpoint.records, checkpoint.r#final), (5000, true));
}

#[test]
fn input_that_breaks_in_the_middle_never_looks_like_input_that_ended() {
    let daemon = Daemon::start(Script::default());
    std::fs::write(
        daemon.path("orders.jsonl"),
        "{\"n\":1}\n{\"n\":2}\nnonsense\n",
    )
    .expect("written");
    let output = daemon.run(&["write", "shop.yaml", "--input", "orders.jsonl"]);
    assert_eq!(code(&output), 3, "{}", said(&output));
    assert!(
        said(&output).contains("orders.jsonl:3:"),
        "{}",
        said(&output)
    );
    let script = daemon.script.lock().expect("not poisoned");
    assert!(!script.input_ended);
    assert!(
        !script
            .written
            .iter()
            .any(|request| matches!(request.message, Some(Message::Checkpoint(_))))
    );
}

#[test]
fn malformed_arrow_is_refused_before_a_call_is_made() {
    let daemon = Daemon::start(Script::default());
    std::fs::write(daemon.path("orders.arrow"), b"ARROW1\0\0not really").expect("written");
    let output = daemon.run(&["write", "shop.yaml", "--input", "orders.arrow"]);
    assert_eq!(code(&output), 3, "{}", said(&output));
    assert!(
        said(&output).contains("no valid Arrow IPC stream"),
        "{}",
        said(&output)
    );
    assert!(
        daemon
            .script
            .lock()
            .expect("not poisoned")
            .written
            .is_empty()
    );
}

#[test]
fn input_from_a_pipe_needs_the_name_of_its_stream() {
    let daemon = Daemon::start(Script::default());
    let output = daemon.run(&["write", "shop.yaml", "--input", "-"]);
    assert_eq!(code(&output), 2);
    assert!(said(&output).contains("--stream"), "{}", said(&output));
}
