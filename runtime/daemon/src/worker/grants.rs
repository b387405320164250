//! What a worker was given of the host, after policies were reloaded.

use caisson_egress::{Bound, ConnectorId, Gateway, SandboxProfile};
use caisson_proto::v1::ErrorCode;
use caisson_sandbox::HostDir;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

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

/// The grants of a worker, looked at whenever policies are reloaded.
#[derive(Clone)]
pub(super) struct Watched {
    grants: Arc<Grants>,
    policy: watch::Receiver<Option<Arc<Bound>>>,
}

impl Watched {
    pub(super) fn new(grants: Grants, mut policy: watch::Receiver<Option<Arc<Bound>>>) -> Self {
        // They were decided before the worker was made; much may have changed.
        policy.mark_changed();
        Self {
            grants: Arc::new(grants),
            policy,
        }
    }

    /// Returns the error that ends the call, once something was taken back.
    pub(super) async fn withdrawn(&mut self) -> CallError {
        while self.policy.changed().await.is_ok() {
            if let Some(error) = self.grants.withdrawn() {
                return error;
            }
        }
        // Nobody reloads any more.
        std::future::pending().await
    }
}

impl Grants {
    /// The error that ends the call, if something was taken back.
    fn withdrawn(&self) -> Option<CallError> {
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
