//! What a worker was given of the host, after policies were reloaded.

use caisson_egress::{ConnectorId, Gateway, SandboxProfile};
use caisson_proto::v1::ErrorCode;
use caisson_sandbox::HostDir;
use serde_json::Value;

use crate::error::CallError;

/// What a worker was given of the host, to be judged again when policies are
/// reloaded: neither a mount nor a system call filter can be changed, so the
/// call is ended.
pub(super) struct Grants {
    pub(super) gateway: Gateway,
    pub(super) connector: ConnectorId,
    pub(super) config: Value,
    pub(super) files: Vec<HostDir>,
    pub(super) profile: SandboxProfile,
}

impl Grants {
    /// The error that ends the call, if something was taken back.
    pub(super) fn withdrawn(&self) -> Option<CallError> {
        if self.files.is_empty() && self.profile == SandboxProfile::Strict {
            return None;
        }
        let policy = self.gateway.policies().find(&self.connector).ok().flatten();
        let profile = policy.as_ref().map(|policy| policy.profile);
        if profile.unwrap_or_default() < self.profile {
            let wanted = self.profile.as_str();
            return Some(
                CallError::new(
                    ErrorCode::PermissionMissing,
                    format!("a reloaded policy no longer grants the sandbox profile {wanted}"),
                )
                .with_action(format!(
                    "write profile: {wanted} again, or call again under the narrower one"
                )),
            );
        }
        let granted = policy.and_then(|policy| policy.files(&self.config).ok());
        let granted = granted.unwrap_or_default();
        let lost = self.files.iter().find(|given| {
            let same = granted.iter().find(|grant| grant.dir == given.dir);
            same.is_none_or(|grant| given.write && !grant.write)
        })?;
        let message = format!("a reloaded policy no longer grants {}", lost.dir.display());
        Some(
            CallError::new(ErrorCode::PermissionMissing, message)
                .with_action("grant it again under `files`, or take it out of the connection"),
        )
    }
}
