//! The steps of a Test that the daemon itself can tell.

use caisson_proto::v1::test_step::Status;
use caisson_proto::v1::{ErrorCode, TestStep};

use super::prepare::Prepared;

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

/// The step that a failure belongs to, where its code says so.
pub(crate) fn failed_step(code: ErrorCode, message: &str) -> Option<TestStep> {
    let name = match code {
        ErrorCode::EgressDenied => "egress",
        ErrorCode::DnsFailed => "dns",
        ErrorCode::TlsFailed => "tls",
        ErrorCode::CredentialsInvalid => "authentication",
        ErrorCode::PermissionMissing => "permissions",
        _ => return None,
    };
    Some(step(name, Status::Failed, message))
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
        let name = |code| failed_step(code, "m").map(|step| step.name);
        assert_eq!(
            name(ErrorCode::CredentialsInvalid).as_deref(),
            Some("authentication")
        );
        assert_eq!(name(ErrorCode::DnsFailed).as_deref(), Some("dns"));
        assert_eq!(name(ErrorCode::ConnectorFailed), None);
    }
}
