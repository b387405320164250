//! Why a command stopped short, and the exit code that says so. Every path
//! out of a command that is not success is one of these, and `report` is the
//! only place that prints them.

use caisson_document::{Faults, ReadError};
use caisson_proto::v1;

use crate::exit::Exit;

/// What a command returns.
pub(crate) type Result<T, E = Stop> = std::result::Result<T, E>;

#[derive(Debug)]
pub(crate) enum Stop {
    /// Arguments that do not go together.
    Usage(String),
    /// Faults of files that were read here.
    Faults(Faults),
    /// The call failed, or was refused before it began.
    Failed(Box<v1::Failure>),
    /// What a check found: the same words, and the exit code of findings.
    Findings(Box<Stop>),
    /// All there is to say was printed already.
    Said(Exit),
    /// The reader of our standard output went away.
    BrokenPipe,
    /// Anything else that kept the command from running.
    Other(anyhow::Error),
}

impl Stop {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Stop::Usage(message.into())
    }

    /// A failure that this side found, with a stable code.
    pub(crate) fn failed(code: v1::ErrorCode, message: impl Into<String>, action: &str) -> Self {
        Stop::Failed(Box::new(v1::Failure {
            code: code.into(),
            message: message.into(),
            action: action.to_owned(),
            ..Default::default()
        }))
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Stop::Usage(_) | Stop::Other(_) => Exit::CouldNotRun,
            Stop::Faults(_) => Exit::Config,
            Stop::Failed(failure) => failure.code().into(),
            Stop::Findings(_) => Exit::Findings,
            Stop::Said(exit) => *exit,
            Stop::BrokenPipe => Exit::Done,
        }
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast_ref::<std::io::Error>() {
            Some(io) if io.kind() == std::io::ErrorKind::BrokenPipe => Stop::BrokenPipe,
            _ => Stop::Other(error),
        }
    }
}

impl From<Faults> for Stop {
    fn from(faults: Faults) -> Self {
        Stop::Faults(faults)
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Faults(faults) => Stop::Faults(faults),
            error => Stop::Other(error.into()),
        }
    }
}

impl From<tonic::Status> for Stop {
    fn from(status: tonic::Status) -> Self {
        crate::status::stop(status)
    }
}
