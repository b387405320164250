//! A gRPC status, read back into the `Failure` that it stands for, so that a
//! call refused before it began reads the same as one that failed later.

use std::time::SystemTime;

use caisson_proto::v1::{self, ErrorCode};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::exit::named;
use crate::stop::Stop;

/// The domain of the reasons that are ours.
const DOMAIN: &str = "caisson.dev";

pub(crate) fn stop(status: Status) -> Stop {
    let details = status.get_error_details();
    let Some(info) = details.error_info().filter(|info| info.domain == DOMAIN) else {
        return plain(status);
    };
    let action = info.metadata.get("action").cloned().unwrap_or_default();
    let message = status.message();
    let message = message
        .strip_suffix(&format!(" ({action})"))
        .unwrap_or(message);
    let wait = details.retry_info().and_then(|retry| retry.retry_delay);
    let faults = details
        .bad_request()
        .into_iter()
        .flat_map(|bad| &bad.field_violations);
    Stop::Failed(Box::new(v1::Failure {
        code: named(&info.reason).into(),
        message: message.to_owned(),
        action,
        retryable: wait.is_some(),
        retry_at: wait.map(|wait| (SystemTime::now() + wait).into()),
        faults: faults
            .map(|one| fault(&one.field, &one.description))
            .collect(),
        ..Default::default()
    }))
}

/// A status that the transport or somebody between made.
fn plain(status: Status) -> Stop {
    match status.code() {
        Code::Cancelled => Stop::failed(ErrorCode::Cancelled, "the call was cancelled", ""),
        Code::DeadlineExceeded => Stop::failed(
            ErrorCode::Timeout,
            "the call's deadline passed",
            "allow more time",
        ),
        Code::Unimplemented => Stop::Other(anyhow::anyhow!(
            "this daemon cannot do that: {}",
            status.message()
        )),
        Code::Unavailable => {
            Stop::Other(anyhow::anyhow!("the daemon went away: {}", causes(&status)))
        }
        code => Stop::Other(anyhow::anyhow!(
            "the daemon answered {code:?}: {}",
            causes(&status)
        )),
    }
}

/// An error with its causes, each once.
fn causes(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut next = std::error::Error::source(status);
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = error.source();
    }
    text
}

/// Reads `file:line:column: path` and `message; help` apart again.
fn fault(field: &str, description: &str) -> v1::Fault {
    let (message, help) = description.split_once("; ").unwrap_or((description, ""));
    let mut fault = v1::Fault {
        path: field.to_owned(),
        message: message.to_owned(),
        help: help.to_owned(),
        ..Default::default()
    };
    let placed = field.split_once(": ").and_then(|(place, path)| {
        let mut parts = place.rsplitn(3, ':');
        let column = parts.next()?.parse().ok()?;
        let line = parts.next()?.parse().ok()?;
        Some((parts.next()?.to_owned(), line, column, path.to_owned()))
    });
    if let Some((file, line, column, path)) = placed {
        fault = v1::Fault {
            file,
            line,
            column,
            path,
            ..fault
        };
    }
    fault
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_status_with_our_details_becomes_the_failure_it_stands_for() {
        let mut details = ErrorDetails::with_error_info(
            "CONFIG_INVALID",
            DOMAIN,
            [("action".to_owned(), "mend it".to_owned())],
        );
        details.add_bad_request_violation("shop.yaml:4:7: config.shop", "missing; add `shop`");
        details.add_bad_request_violation("config.api_key", "expected a reference");
        let status =
            Status::with_error_details(Code::InvalidArgument, "two faults (mend it)", details);
        let Stop::Failed(failure) = stop(status) else {
            panic!("not a failure")
        };
        assert_eq!(failure.code(), ErrorCode::ConfigInvalid);
        assert_eq!(failure.message, "two faults");
        assert_eq!(failure.action, "mend it");
        let first = &failure.faults[0];
        assert_eq!(
            (first.file.as_str(), first.line, first.column),
            ("shop.yaml", 4, 7)
        );
        assert_eq!(
            (first.path.as_str(), first.help.as_str()),
            ("config.shop", "add `shop`")
        );
        assert_eq!(failure.faults[1].path, "config.api_key");
        assert_eq!(failure.faults[1].line, 0);
    }

    #[test]
    fn a_status_of_the_transport_says_that_the_command_could_not_run() {
        let stop = stop(Status::unimplemented("not built yet"));
        assert_eq!(stop.exit() as u8, 2);
    }
}
