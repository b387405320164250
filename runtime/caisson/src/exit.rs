//! Exit codes: one per class of what the caller can do about it. The table in
//! docs/guides/command-line.md is the promise; a test holds the two together.

use std::process::ExitCode;

use caisson_proto::v1::ErrorCode;

/// What a process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The command ran and found something: findings, faults, refused records, a denial.
    Findings = 1,
    /// Bad arguments, or the command could not run at all.
    CouldNotRun = 2,
    /// A file, a connection or a version is wrong.
    Config = 3,
    /// A credential, a permission or a secret is missing or wrong.
    Credentials = 4,
    /// The policy or the other side's TLS stopped the connection.
    Network = 5,
    /// A quota is used up; there is a time to come back.
    Quota = 6,
    /// Nothing has to be changed: the same call may succeed later.
    TryAgain = 7,
    /// Records that do not fit or were refused.
    Data = 8,
    /// A limit of the sandbox was hit.
    Limits = 9,
    /// An exception in the connector's code.
    Connector = 10,
    /// Somebody else holds or moved the state.
    Conflict = 11,
    /// A fault of Caisson.
    Internal = 12,
    /// Cancelled, by Ctrl-C or by somebody else.
    Cancelled = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl From<ErrorCode> for Exit {
    fn from(code: ErrorCode) -> Self {
        use ErrorCode::*;
        match code {
            ConfigInvalid | VersionUnknown => Exit::Config,
            CredentialsInvalid | PermissionMissing | SecretUnavailable => Exit::Credentials,
            EgressDenied | TlsFailed => Exit::Network,
            QuotaExhausted => Exit::Quota,
            DnsFailed | UpstreamUnavailable | Timeout | Stalled | WorkerLost => Exit::TryAgain,
            SchemaViolation | RecordRejected | RecordTooLarge => Exit::Data,
            MemoryExhausted | DiskExhausted | ProcessLimit | SandboxViolation => Exit::Limits,
            ConnectorFailed => Exit::Connector,
            StateConflict => Exit::Conflict,
            Cancelled => Exit::Cancelled,
            Internal | Unspecified => Exit::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// The code's name without its prefix, as documents and messages write it.
pub(crate) fn name(code: ErrorCode) -> &'static str {
    code.as_str_name().trim_start_matches("ERROR_CODE_")
}

/// The code that a name stands for; names that are not known are INTERNAL's.
pub(crate) fn named(name: &str) -> ErrorCode {
    ErrorCode::from_str_name(&format!("ERROR_CODE_{name}")).unwrap_or(ErrorCode::Unspecified)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: &str = include_str!("../../../docs/guides/command-line.md");

    #[test]
    fn the_guide_names_every_error_code_beside_its_exit_code() {
        for number in 1..=24 {
            let code = ErrorCode::try_from(number).expect("codes are contiguous");
            let row = format!("| {} |", Exit::from(code) as u8);
            let line = GUIDE.lines().find(|line| line.starts_with(&row));
            let line = line.unwrap_or_else(|| panic!("no row {row}"));
            assert!(
                line.contains(name(code)),
                "{} is not in: {line}",
                name(code)
            );
        }
    }

    #[test]
    fn a_code_of_a_later_daemon_is_tolerated() {
        assert_eq!(Exit::from(named("SOMETHING_NEW")), Exit::Internal);
        assert_eq!(Exit::from(named("STALLED")), Exit::TryAgain);
    }
}
