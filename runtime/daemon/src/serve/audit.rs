//! The audit log, read along.

use caisson_egress::{AuditWatch, Watched};
use caisson_proto::v1;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Lines that wait for the caller; beyond them the watch waits, and then misses some.
const WAITING: usize = 64;

/// What a line is chosen by.
#[derive(Deserialize)]
struct Of<'a> {
    #[serde(borrow)]
    call: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    workspace: std::borrow::Cow<'a, str>,
}

/// The lines that were asked for, until the caller goes.
pub(super) fn lines(
    mut watch: AuditWatch,
    wanted: v1::WatchAuditRequest,
) -> impl Stream<Item = Result<v1::AuditLine, Status>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                next = watch.next() => next,
                () = sender.closed() => return,
            };
            let json = match next {
                None => return,
                Some(Watched::LeftOut(lines)) => {
                    serde_json::json!({"event": "left_out", "lines": lines}).to_string()
                }
                Some(Watched::Line(line)) if is_wanted(&line, &wanted) => line.to_string(),
                Some(Watched::Line(_)) => continue,
            };
            if sender.send(Ok(v1::AuditLine { json })).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

fn is_wanted(line: &str, wanted: &v1::WatchAuditRequest) -> bool {
    // What is of no call, such as a count of lines that could not be written, is for everybody.
    let Ok(of) = serde_json::from_str::<Of<'_>>(line) else {
        return true;
    };
    (wanted.workspace.is_empty() || of.workspace == wanted.workspace)
        && (wanted.call_id.is_empty() || of.call == wanted.call_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_by_workspace_and_call() {
        let line = r#"{"time":"t","call":"c1","workspace":"staging","event":"request"}"#;
        let wanted = |workspace: &str, call: &str| {
            let request = v1::WatchAuditRequest {
                workspace: workspace.into(),
                call_id: call.into(),
            };
            is_wanted(line, &request)
        };
        assert!(wanted("", "") && wanted("staging", "") && wanted("staging", "c1"));
        assert!(!wanted("production", "") && !wanted("staging", "c2"));
        let request = v1::WatchAuditRequest {
            workspace: "staging".into(),
            call_id: "c1".into(),
        };
        let unwritten = r#"{"time":"t","event":"unwritten","lines":3}"#;
        assert!(is_wanted(unwritten, &request));
    }
}
