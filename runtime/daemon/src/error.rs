//! The one place where errors become stable codes, gRPC statuses and the
//! `Failure` that ends a stream.

use std::time::{Duration, SystemTime};

use caisson_document::Fault;
use caisson_proto::v1::{self, ErrorCode};
use tonic::{Code, Status};
use tonic_types::{BadRequest, ErrorDetails, StatusExt};

/// Status details stay under 4 KiB; more faults than this are only counted.
const FAULTS_IN_STATUS: usize = 12;
/// Bytes of one fault in them, and of the place that it is at.
const FAULT_IN_STATUS: usize = 200;
const PLACE_IN_STATUS: usize = 100;
/// Bytes of a status message, which clients take as a header.
const STATUS_MESSAGE: usize = 2048;
/// Bytes of a failure's message: it is stored, and a part of lists.
const FAILURE_MESSAGE: usize = 8192;
/// Faults of a failure, and bytes of each of their texts: a failure is an event
/// and a part of lists.
const FAULTS: usize = 200;
const FAULT: usize = 1024;

/// Why a call was refused or failed: a stable code and what to do about it.
#[derive(Debug, Clone)]
pub struct CallError {
    /// The stable code.
    pub code: ErrorCode,
    /// What happened; never a secret's value.
    pub message: String,
    /// What to do, in one sentence.
    pub action: String,
    /// When trying again makes sense, if that is known.
    pub retry_at: Option<SystemTime>,
    /// Faults of a document, all at once.
    pub faults: Vec<v1::Fault>,
    /// Type of the exception, for CONNECTOR_FAILED.
    pub exception: String,
    /// Its traceback, redacted.
    pub traceback: String,
    /// Where the worker's threads stood, for TIMEOUT and STALLED; redacted.
    pub stacks: String,
    /// The stream concerned, if one is.
    pub stream: String,
    /// Its partition.
    pub partition: String,
    /// Whether the same call may succeed later without anybody changing anything.
    pub retryable: bool,
}

impl CallError {
    /// An error with the code's own sentence on what to do.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            action: action(code).to_owned(),
            retry_at: None,
            faults: Vec::new(),
            exception: String::new(),
            traceback: String::new(),
            stacks: String::new(),
            stream: String::new(),
            partition: String::new(),
            retryable: retryable(code),
        }
    }

    /// SECRET_UNAVAILABLE: secrets ended while the call ran.
    pub(crate) fn secrets_ended(ended: &caisson_secrets::Ended) -> Self {
        Self::new(ErrorCode::SecretUnavailable, ended.to_string())
            .with_action("start the call again: it goes on at its last checkpoint with new secrets")
            .retryable(true)
    }

    /// The same, said of a failure of which that depends on more than its code.
    pub(crate) fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// The same with another sentence on what to do.
    pub fn with_action(mut self, action: impl Into<String>) -> Self {
        self.action = action.into();
        self
    }

    /// CONFIG_INVALID with every fault of the documents involved.
    pub fn invalid(what: &str, faults: impl IntoIterator<Item = Fault>) -> Self {
        let faults: Vec<_> = faults.into_iter().map(fault).collect();
        let first = faults.first().map(|fault| {
            if fault.path.is_empty() {
                fault.message.clone()
            } else {
                format!("{}: {}", fault.path, fault.message)
            }
        });
        let first = first.unwrap_or_default();
        let message = match faults.len() {
            0 | 1 => format!("{what}: {first}"),
            n => format!("{what} has {n} faults, the first: {first}"),
        };
        Self {
            faults,
            ..Self::new(ErrorCode::ConfigInvalid, message)
        }
    }

    /// The same, said of one side of a Sync: the files of its faults too.
    pub(crate) fn of_side(mut self, side: &str) -> Self {
        self.message = format!("{side}: {}", self.message);
        for fault in &mut self.faults {
            fault.file = format!("{side} {}", fault.file);
        }
        self
    }

    /// INTERNAL: something of the daemon itself failed.
    pub fn internal(what: &str, error: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::Internal, format!("{what}: {error}"))
    }

    /// The event that ends a stream.
    pub fn to_failure(&self) -> v1::Failure {
        v1::Failure {
            code: self.code.into(),
            message: cut(self.message.clone(), FAILURE_MESSAGE),
            action: self.action.clone(),
            retryable: self.retryable,
            retry_at: self.retry_at.map(Into::into),
            stream: self.stream.clone(),
            partition: self.partition.clone(),
            exception: self.exception.clone(),
            traceback: self.traceback.clone(),
            stacks: self.stacks.clone(),
            faults: self.faults.iter().take(FAULTS).cloned().collect(),
            ..Default::default()
        }
    }
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", reason(self.code), self.message)
    }
}

impl std::error::Error for CallError {}

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        let metadata = [
            ("action".to_owned(), error.action.clone()),
            ("retryable".to_owned(), error.retryable.to_string()),
        ];
        let mut details =
            ErrorDetails::with_error_info(reason(error.code), "caisson.dev", metadata);
        if let Some(at) = error.retry_at {
            let wait = at
                .duration_since(SystemTime::now())
                .unwrap_or(Duration::ZERO);
            details.set_retry_info(Some(wait));
        }
        if !error.faults.is_empty() {
            let mut bad = BadRequest::new(Vec::new());
            for fault in error.faults.iter().take(FAULTS_IN_STATUS) {
                bad.add_violation(cut(place(fault), PLACE_IN_STATUS), describe(fault));
            }
            details.set_bad_request(bad.field_violations);
        }
        let message = format!(
            "{} ({})",
            cut(error.message.clone(), STATUS_MESSAGE),
            error.action
        );
        let code = match grpc(error.code) {
            // FAILED_PRECONDITION says that somebody has to change something first.
            Code::FailedPrecondition if error.retryable => Code::Unavailable,
            code => code,
        };
        Status::with_error_details(code, message, details)
    }
}

fn place(fault: &v1::Fault) -> String {
    match fault.line {
        0 => fault.path.clone(),
        line => format!("{}:{}:{}: {}", fault.file, line, fault.column, fault.path),
    }
}

fn describe(fault: &v1::Fault) -> String {
    let text = match fault.help.as_str() {
        "" => fault.message.clone(),
        help => format!("{}; {help}", fault.message),
    };
    cut(text, FAULT_IN_STATUS)
}

/// At most so many bytes of a text, and a sign where something is missing.
pub(crate) fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|&i| text.is_char_boundary(i));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

/// A document's fault as the API shows it.
pub(crate) fn fault(fault: Fault) -> v1::Fault {
    v1::Fault {
        file: fault.file.to_string(),
        line: fault.line as u32,
        column: fault.column as u32,
        path: cut(fault.path.to_string(), FAULT),
        message: cut(fault.message.to_string(), FAULT),
        help: cut(fault.help.to_string(), FAULT),
    }
}

/// The code's name without prefix, as ErrorInfo.reason and logs show it.
pub fn reason(code: ErrorCode) -> &'static str {
    code.as_str_name().trim_start_matches("ERROR_CODE_")
}

/// The code that a worker named; INTERNAL words are not a worker's to use.
pub(crate) fn named(name: &str) -> ErrorCode {
    match ErrorCode::from_str_name(&format!("ERROR_CODE_{name}")) {
        None
        | Some(
            ErrorCode::Unspecified
            | ErrorCode::Internal
            | ErrorCode::SandboxViolation
            | ErrorCode::WorkerLost,
        ) => ErrorCode::ConnectorFailed,
        Some(code) => code,
    }
}

/// Whether the same call may succeed later without anybody changing anything.
pub(crate) fn retryable(code: ErrorCode) -> bool {
    use ErrorCode::*;
    matches!(
        code,
        DnsFailed | UpstreamUnavailable | QuotaExhausted | Timeout | Stalled | WorkerLost
    )
}

fn grpc(code: ErrorCode) -> Code {
    use ErrorCode::*;
    match code {
        ConfigInvalid | SchemaViolation | RecordRejected | RecordTooLarge => Code::InvalidArgument,
        CredentialsInvalid => Code::Unauthenticated,
        PermissionMissing | EgressDenied => Code::PermissionDenied,
        SecretUnavailable | ConnectorFailed | SandboxViolation => Code::FailedPrecondition,
        DnsFailed | TlsFailed | UpstreamUnavailable | WorkerLost => Code::Unavailable,
        QuotaExhausted | MemoryExhausted | DiskExhausted | ProcessLimit => Code::ResourceExhausted,
        Timeout | Stalled => Code::DeadlineExceeded,
        VersionUnknown => Code::NotFound,
        StateConflict => Code::Aborted,
        Cancelled => Code::Cancelled,
        Internal | Unspecified => Code::Internal,
    }
}

fn action(code: ErrorCode) -> &'static str {
    use ErrorCode::*;
    match code {
        ConfigInvalid => "mend the places that are named and call again",
        CredentialsInvalid => "check the credential that the connection refers to, and its expiry",
        PermissionMissing => "grant the credential the permission that the message names",
        SecretUnavailable => "check the reference, the policy's `secrets`, and the provider",
        EgressDenied => {
            "add the rule that is shown to the connector's policy, if it should be allowed"
        }
        DnsFailed => "check the host name and the daemon's resolver",
        TlsFailed => "check the upstream's certificate and the host name",
        UpstreamUnavailable => "try again later; read from the last checkpoint",
        QuotaExhausted => "call again after retry_at, from the last checkpoint",
        SchemaViolation => "mend the record or the stream's declared schema",
        RecordRejected => "mend the records that are named and write them again",
        RecordTooLarge => {
            "make the record smaller than 3.5 MiB, for example by leaving a field out"
        }
        Timeout => {
            "allow more time, or read from the last checkpoint; the stacks say where the worker stood"
        }
        Stalled => {
            "look at the stacks and at the last log lines of the connector; read from the last checkpoint"
        }
        MemoryExhausted => "raise `limits.memory` or let the connector hold less at once",
        DiskExhausted => "raise `limits.tmp` or let the connector write less to /tmp",
        ProcessLimit => {
            "raise `limits.pids` or let the connector start fewer threads and processes"
        }
        SandboxViolation => {
            "the connector used a system call that no profile allows; see the profile's comments"
        }
        ConnectorFailed => "read the traceback and mend the connector",
        WorkerLost => "call again, from the last checkpoint",
        VersionUnknown => "pin a version that is published, or publish this one",
        StateConflict => "wait for the holder to end, or read the current state and try again",
        Cancelled => "call again, from the last checkpoint, if that was not meant",
        Internal | Unspecified => "look at the daemon's log; this is a fault of Caisson",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_action_and_a_name() {
        for number in 1..=24 {
            let code = ErrorCode::try_from(number).expect("codes are contiguous");
            assert!(!action(code).is_empty());
            assert!(!reason(code).starts_with("ERROR_CODE"));
        }
    }

    #[test]
    fn a_worker_cannot_claim_a_code_that_only_the_daemon_may_give() {
        assert_eq!(named("INTERNAL"), ErrorCode::ConnectorFailed);
        assert_eq!(named("SANDBOX_VIOLATION"), ErrorCode::ConnectorFailed);
        assert_eq!(named("QUOTA_EXHAUSTED"), ErrorCode::QuotaExhausted);
    }

    #[test]
    fn status_details_stay_under_four_kibibytes_with_a_thousand_faults() {
        let mut error = CallError::new(ErrorCode::ConfigInvalid, "config");
        error.faults = (0..1000)
            .map(|i| v1::Fault {
                path: format!("a.{i}").repeat(50),
                message: "x".repeat(5000),
                ..Default::default()
            })
            .collect();
        let status = Status::from(error);
        assert!(status.details().len() < 4096, "{}", status.details().len());
    }

    #[test]
    fn neither_a_status_nor_a_failure_grows_with_what_it_tells_of() {
        let fault = |text: &str| {
            let file = "a.json";
            fault(Fault::of_file(file, None, text.to_owned(), text.to_owned()))
        };
        let mut error = CallError::new(ErrorCode::ConfigInvalid, "ä".repeat(100_000));
        error.faults = (0..10_000).map(|_| fault(&"ö".repeat(9_999))).collect();
        let failure = error.to_failure();
        assert_eq!(failure.faults.len(), 200);
        assert!(failure.message.len() < 8300);
        assert!(failure.faults[0].message.len() < 1100);
        assert!(Status::from(error).message().len() < 2300);
    }
}
