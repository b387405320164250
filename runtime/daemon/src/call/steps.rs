//! The steps of a Test that the daemon itself can tell.

use caisson_proto::v1::test_step::Status;
use caisson_proto::v1::{ErrorCode, TestStep};

use super::prepare::Prepared;
use crate::error::CallError;

impl Prepared {
    /// What was found before the worker ran: secrets and egress.
    pub(crate) fn steps(&self) -> [TestStep; 2] {
        let secrets = match self.secrets.values().count() {
            0 => step("secrets", Status::Skipped, "the connection refers to none"),
            n => step("secrets", Status::Passed, format!("{n} resolved")),
        };
        let egress = match self.ports.as_slice() {
            [] => step(
                "egress",
                Status::Skipped,
                "no policy allows a port: nothing is reachable",
            ),
            ports => step(
                "egress",
                Status::Passed,
                format!("the policy allows ports {ports:?}"),
            ),
        };
        [secrets, egress]
    }
}

/// The step that a failure belongs to, where its code says so and the worker
/// did not tell of it already.
pub(crate) fn failed_step(code: ErrorCode, message: &str, told: &[String]) -> Option<TestStep> {
    let name = match code {
        ErrorCode::SecretUnavailable => "secrets",
        ErrorCode::EgressDenied => "egress",
        ErrorCode::DnsFailed => "dns",
        ErrorCode::TlsFailed => "tls",
        ErrorCode::CredentialsInvalid => "authentication",
        ErrorCode::PermissionMissing => "permissions",
        _ => return None,
    };
    let known = told.iter().any(|told| told == name);
    (!known).then(|| step(name, Status::Failed, message))
}

/// The step at which a Test ended before there was a worker; `None` for what
/// is wrong with the request itself.
pub(crate) fn step_before_worker(error: &CallError) -> Option<TestStep> {
    matches!(
        error.code,
        ErrorCode::SecretUnavailable | ErrorCode::EgressDenied
    )
    .then(|| failed_step(error.code, &error.message, &[]))
    .flatten()
}

fn step(name: &str, status: Status, message: impl Into<String>) -> TestStep {
    TestStep {
        name: name.to_owned(),
        status: status.into(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_step_that_it_belongs_to() {
        let name = |code| failed_step(code, "m", &[]).map(|step| step.name);
        assert_eq!(
            name(ErrorCode::CredentialsInvalid).as_deref(),
            Some("authentication")
        );
        assert_eq!(name(ErrorCode::DnsFailed).as_deref(), Some("dns"));
        assert_eq!(name(ErrorCode::ConnectorFailed), None);
    }

    #[test]
    fn a_step_that_the_worker_told_of_is_not_told_again() {
        let told = ["dns".to_owned()];
        assert_eq!(failed_step(ErrorCode::DnsFailed, "m", &told), None);
        assert!(failed_step(ErrorCode::TlsFailed, "m", &told).is_some());
    }

    #[test]
    fn what_is_wrong_with_a_request_is_no_step() {
        let step = |code| step_before_worker(&CallError::new(code, "m")).map(|step| step.name);
        assert_eq!(
            step(ErrorCode::SecretUnavailable).as_deref(),
            Some("secrets")
        );
        assert_eq!(step(ErrorCode::PermissionMissing), None);
        assert_eq!(step(ErrorCode::ConfigInvalid), None);
    }
}
