//! Operations: calls, policies.

use std::pin::Pin;
use std::sync::Arc;

use caisson_proto::v1::operations_server::Operations;
use caisson_proto::v1::{self, ErrorCode};
use caisson_state::{CallFilter, CallRecord, CallState};
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::timeout::grpc_timeout;
use super::{audit, pages};
use crate::call::{End, Source, ended, state_error};
use crate::core::Core;
use crate::error::CallError;
use crate::identity::{Caller, caller};
use crate::secrets;

/// Calls on a page where the request does not say.
const USUAL: u32 = 100;

pub(crate) struct OperationService(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl Operations for OperationService {
    type WatchCallStream = Pin<Box<dyn Stream<Item = Result<v1::Call, Status>> + Send>>;
    type WatchAuditStream = Pin<Box<dyn Stream<Item = Result<v1::AuditLine, Status>> + Send>>;

    async fn list_calls(
        &self,
        request: Request<v1::ListCallsRequest>,
    ) -> Result<Response<v1::ListCallsResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let state = match request.state.as_str() {
            "" => None,
            word => Some(word.parse::<CallState>().map_err(|_| {
                CallError::new(
                    ErrorCode::ConfigInvalid,
                    format!("`{word}` is no state of a call"),
                )
                .with_action("write running, succeeded, failed or cancelled")
            })?),
        };
        let filter = CallFilter {
            tenant: (!caller.is_operator()).then(|| caller.tenant.to_string()),
            workspaces: match request.workspace.as_str() {
                "" => caller.workspaces(),
                named => Some(vec![caller.workspace(named)?.to_string()]),
            },
            state,
        };
        let bound = pages::bound(request.page_size, USUAL);
        let token = pages::token(&request.page_token);
        let page = self
            .0
            .calls
            .store()
            .list(&filter, bound, token)
            .await
            .map_err(call_error)?;
        let calls = page
            .entries
            .iter()
            .map(|record| self.shown(record))
            .collect();
        Ok(Response::new(v1::ListCallsResponse {
            calls,
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn get_call(
        &self,
        request: Request<v1::GetCallRequest>,
    ) -> Result<Response<v1::Call>, Status> {
        let record = self
            .record(&caller(&request), &request.get_ref().call_id)
            .await?;
        Ok(Response::new(self.shown(&record)))
    }

    async fn watch_call(
        &self,
        _: Request<v1::GetCallRequest>,
    ) -> Result<Response<Self::WatchCallStream>, Status> {
        Err(Status::unimplemented(
            "WatchCall is not built yet; ask GetCall",
        ))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let record = self
            .record(&caller(&request), &request.get_ref().call_id)
            .await?;
        let cancelled = self.0.calls.cancel(&record.call.call_id);
        Ok(Response::new(v1::CancelResponse { cancelled }))
    }

    async fn reload_policies(
        &self,
        request: Request<v1::ReloadPoliciesRequest>,
    ) -> Result<Response<v1::ReloadPoliciesResponse>, Status> {
        caller(&request).operates("may not reload policies")?;
        self.0.host.gateway.reload().map_err(|faults| {
            let mut error = CallError::invalid("the policies", faults.0);
            error.action =
                "mend the files that are named; the policies of before are still in force"
                    .to_owned();
            error
        })?;
        let policies = self.0.host.gateway.policies().iter().count() as u32;
        Ok(Response::new(v1::ReloadPoliciesResponse { policies }))
    }

    async fn explain_egress(
        &self,
        request: Request<v1::ExplainEgressRequest>,
    ) -> Result<Response<v1::ExplainEgressResponse>, Status> {
        let caller = caller(&request);
        let workspace = caller.workspace(&request.get_ref().workspace)?;
        let request = request.into_inner();
        let source = Source::of(&self.0, &caller, &workspace, request.connection).await?;
        Ok(Response::new(
            self.0
                .explain(&workspace, &source, &request.host, request.port)
                .await?,
        ))
    }

    async fn check_secrets(
        &self,
        request: Request<v1::CheckSecretsRequest>,
    ) -> Result<Response<v1::CheckSecretsResponse>, Status> {
        let caller = caller(&request);
        let workspace = caller.workspace(&request.get_ref().workspace)?;
        let deadline = grpc_timeout(request.metadata()).map(|timeout| Instant::now() + timeout);
        let request = request.into_inner();
        let source = Source::of(&self.0, &caller, &workspace, request.connection).await?;
        // It asks vaults and runs the command, as a call does.
        let (slots, never) = (self.0.calls.admission(), CancellationToken::new());
        let _slot = slots.enter(&caller.tenant, 1, deadline, &never).await?;
        Ok(Response::new(
            secrets::check(&self.0, &workspace, &source).await?,
        ))
    }

    async fn watch_audit(
        &self,
        request: Request<v1::WatchAuditRequest>,
    ) -> Result<Response<Self::WatchAuditStream>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        if !request.workspace.is_empty() {
            caller.workspace(&request.workspace)?;
        }
        if request.call_id.is_empty() {
            caller.operates("may watch its own calls alone: name one by call_id, and may not watch the whole audit log")?;
        } else {
            self.record(&caller, &request.call_id).await?;
        }
        let lines = audit::lines(self.0.host.gateway.audit().watch(), request);
        Ok(Response::new(Box::pin(lines)))
    }

    async fn drain(
        &self,
        _: Request<v1::DrainRequest>,
    ) -> Result<Response<v1::DrainResponse>, Status> {
        Err(Status::unimplemented(
            "Drain is not built yet; send SIGTERM",
        ))
    }
}

impl OperationService {
    /// A call that this caller may see; another tenant's is not there.
    async fn record(&self, caller: &Caller, call_id: &str) -> Result<CallRecord, Status> {
        let record = self
            .0
            .calls
            .store()
            .get(call_id)
            .await
            .map_err(call_error)?;
        if caller.may_see(&record.call.tenant, &record.call.workspace) {
            Ok(record)
        } else {
            Err(call_error(caisson_state::CallError::Unknown(
                call_id.to_owned(),
            )))
        }
    }

    fn shown(&self, record: &CallRecord) -> v1::Call {
        let end = (record.state != CallState::Running).then(|| ended(record));
        let (stats, failure) = match end {
            Some(End::Summary(summary)) => (summary.stats, None),
            Some(End::Sync(summary)) => (summary.source, None),
            Some(End::Failure(failure)) => (failure.stats.clone(), Some(failure)),
            None => (None, None),
        };
        let (connector, worker_pids) = self.0.calls.running(&record.call.call_id);
        let time = |time: chrono::DateTime<chrono::Utc>| std::time::SystemTime::from(time).into();
        v1::Call {
            call_id: record.call.call_id.clone(),
            request_id: record.call.request_id.clone().unwrap_or_default(),
            workspace: record.call.workspace.clone(),
            kind: record.call.kind.clone(),
            connection: record.call.connection.clone(),
            connector: if connector.is_empty() {
                record.call.connector.clone()
            } else {
                connector
            },
            state: record.state.to_string(),
            started: Some(time(record.call.started)),
            ended: record.ended.map(time),
            stats,
            failure,
            worker_pids,
        }
    }
}

/// What the record of calls could not do.
fn call_error(error: caisson_state::CallError) -> Status {
    match error {
        caisson_state::CallError::Unknown(_) => Status::not_found(error.to_string()),
        caisson_state::CallError::PageToken => Status::invalid_argument(error.to_string()),
        error => state_error(error).into(),
    }
}
