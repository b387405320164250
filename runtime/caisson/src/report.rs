//! The words of a command that stopped short, on standard error.

use std::fmt::Write as _;

use caisson_proto::v1;

use crate::exit;
use crate::printable::{self, word};
use crate::stop::Stop;

/// What to print for `stop`; empty where nothing is left to say.
pub(crate) fn text(stop: &Stop) -> String {
    printable::lines(&raw(stop))
}

fn raw(stop: &Stop) -> String {
    match stop {
        Stop::Usage(message) => format!("error: {message}\nTry --help.\n"),
        Stop::Faults(faults) => {
            let count = match faults.0.len() {
                1 => "one fault".to_owned(),
                n => format!("{n} faults"),
            };
            format!("{faults}\nerror: {count}\n")
        }
        Stop::Failed(failure) => failed(failure),
        Stop::Findings(stop) => raw(stop),
        Stop::Other(error) => format!("error: {error:#}\n"),
        Stop::Said(_) | Stop::BrokenPipe => String::new(),
    }
}

/// Details first: the last lines on the screen are what happened and what to do.
fn failed(failure: &v1::Failure) -> String {
    let mut text = String::new();
    if !failure.traceback.is_empty() {
        let _ = writeln!(text, "{}", indent(failure.traceback.trim_end(), 2));
    }
    if !failure.stacks.is_empty() {
        let _ = writeln!(text, "{}", indent(failure.stacks.trim_end(), 2));
    }
    for refusal in &failure.refusals {
        let _ = writeln!(text, "{}", refused(refusal));
    }
    for fault in &failure.faults {
        let _ = writeln!(text, "{}", fault_line(fault));
    }
    let _ = writeln!(
        text,
        "error: {}: {}",
        exit::name(failure.code()),
        printable::lines(&failure.message).replace('\n', "\n  ")
    );
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name}: {}", word(value));
        }
    };
    line("stream", &place(&failure.stream, &failure.partition));
    if failure.traceback.is_empty() {
        line("exception", &failure.exception);
    }
    if let Some(checkpoint) = &failure.last_checkpoint {
        let at = place(&checkpoint.stream, &checkpoint.partition);
        line(
            "last checkpoint",
            &format!("{at}, after {} records", checkpoint.records),
        );
    }
    if failure.retryable {
        line(
            "retry",
            &failure
                .retry_at
                .as_ref()
                .map_or_else(|| "yes".to_owned(), time),
        );
    }
    line("what to do", &failure.action);
    text
}

/// A refused connection, and the rule that would allow it where one can.
pub(crate) fn refused(refusal: &v1::EgressRefusal) -> String {
    let target = word(&match (refusal.host.as_str(), refusal.address.as_str()) {
        ("", address) => address.to_owned(),
        (host, "") => host.to_owned(),
        (host, address) => format!("{host} ({address})"),
    });
    let port = if refusal.port == 0 {
        String::new()
    } else {
        format!(" port {}", refusal.port)
    };
    let times = match refusal.count {
        0 | 1 => String::new(),
        n => format!(", {n} times"),
    };
    let mut text = format!(
        "refused: {target}{port} {}: {} (by {}){times}",
        word(&refusal.protocol),
        word(&refusal.reason),
        word(&refusal.layer)
    );
    if !refusal.rule.is_empty() {
        let _ = write!(text, "\n  to allow it, add to `egress` of the policy:\n");
        text.push_str(&indent(refusal.rule.trim_end(), 4));
    }
    text
}

/// A fault as `caisson_document::Fault` displays it.
pub(crate) fn fault_line(fault: &v1::Fault) -> String {
    let mut text = String::new();
    match (fault.file.as_str(), fault.line) {
        ("", _) => {}
        (file, 0) => {
            let _ = write!(text, "{file}: ");
        }
        (file, line) if fault.column == 0 => {
            let _ = write!(text, "{file}:{line}: ");
        }
        (file, line) => {
            let _ = write!(text, "{file}:{line}:{}: ", fault.column);
        }
    }
    if !fault.path.is_empty() {
        let _ = write!(text, "{}: ", fault.path);
    }
    text.push_str(&fault.message);
    if !fault.help.is_empty() {
        let _ = write!(text, "; {}", fault.help);
    }
    word(&text)
}

/// A stream, with its partition where it has one.
pub(crate) fn place(stream: &str, partition: &str) -> String {
    match partition {
        "" => word(stream),
        partition => word(&format!("{stream}/{partition}")),
    }
}

/// RFC 3339 in UTC, to the second.
pub(crate) fn time(at: &prost_types::Timestamp) -> String {
    chrono::DateTime::from_timestamp(at.seconds, 0).map_or_else(String::new, |at| {
        at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
    })
}

fn indent(text: &str, by: usize) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(|line| format!("{:by$}{line}", ""))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_of_a_failure_drives_the_terminal_or_passes_for_our_own_line() {
        let hostile = || "a\u{1b}]0;t\u{7}\r\u{202e}\nerror: CANCELLED: b".to_owned();
        let failure = |traceback| v1::Failure {
            message: hostile(),
            action: hostile(),
            stream: hostile(),
            partition: hostile(),
            exception: hostile(),
            stacks: hostile(),
            traceback,
            refusals: vec![v1::EgressRefusal {
                host: hostile(),
                protocol: hostile(),
                reason: hostile(),
                layer: hostile(),
                rule: hostile(),
                ..Default::default()
            }],
            faults: vec![v1::Fault {
                file: hostile(),
                path: hostile(),
                message: hostile(),
                help: hostile(),
                ..Default::default()
            }],
            ..Default::default()
        };
        for traceback in [hostile(), String::new()] {
            let text = text(&Stop::Failed(Box::new(failure(traceback))));
            assert!(!text.contains(['\u{1b}', '\u{7}', '\r', '\u{202e}']));
            assert!(!text.contains("\nerror: CANCELLED"), "{text}");
        }
    }

    #[test]
    fn a_failure_says_code_message_action_faults_refusals_and_traceback() {
        let failure = v1::Failure {
            code: v1::ErrorCode::EgressDenied.into(),
            message: "connection to evil.example refused".into(),
            action: "add the rule that is shown".into(),
            retryable: true,
            retry_at: Some(prost_types::Timestamp {
                seconds: 1_800_000_000,
                nanos: 0,
            }),
            stream: "orders".into(),
            partition: "eu".into(),
            last_checkpoint: Some(v1::Checkpoint {
                stream: "orders".into(),
                records: 1200,
                ..Default::default()
            }),
            exception: "ConnectionRefusedError".into(),
            traceback: "Traceback (most recent call last):\n  File \"shop.py\", line 3\n".into(),
            refusals: vec![v1::EgressRefusal {
                host: "evil.example".into(),
                port: 443,
                protocol: "tcp".into(),
                reason: "no_rule".into(),
                layer: "gateway".into(),
                rule: "- host: evil.example\n  ports: [443]\n  protocol: tls\n".into(),
                count: 3,
                ..Default::default()
            }],
            faults: vec![v1::Fault {
                file: "shop.yaml".into(),
                line: 4,
                column: 7,
                path: "config.shop".into(),
                message: "missing".into(),
                help: "add `shop`".into(),
            }],
            ..Default::default()
        };
        insta::assert_snapshot!(text(&Stop::Failed(Box::new(failure))));
    }
}
