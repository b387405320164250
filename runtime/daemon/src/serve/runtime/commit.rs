//! Commit: the caller's word that everything before a checkpoint is durable.

use caisson_proto::v1::{self, ErrorCode};
use caisson_state::{Commit, Expected, NewCheckpoint, Scope, StateKey};
use chrono::Utc;
use tonic::{Request, Status};

use super::begin::held;
use crate::call::check_name;
use crate::core::Core;
use crate::error::CallError;
use crate::identity::caller;
use crate::serve::checkpoint_error;

pub(super) async fn commit(
    core: &Core,
    request: Request<v1::CommitRequest>,
) -> Result<v1::CommitResponse, Status> {
    let workspace = caller(&request).workspace(&request.get_ref().workspace)?;
    let request = request.into_inner();
    let checkpoint = request.checkpoint.unwrap_or_default();
    if request.state_key.is_empty() || checkpoint.stream.is_empty() {
        return Err(CallError::new(
            ErrorCode::ConfigInvalid,
            "state_key and checkpoint.stream say whose state it is",
        )
        .into());
    }
    for (what, name) in [
        ("state_key", &request.state_key),
        ("checkpoint.stream", &checkpoint.stream),
        ("checkpoint.partition", &checkpoint.partition),
        ("checkpoint.id", &checkpoint.id),
    ] {
        check_name(what, name)?;
    }
    let scope = Scope {
        workspace: workspace.to_string(),
        state_key: request.state_key.clone(),
        stream: Some(checkpoint.stream.clone()),
        partition: Some(checkpoint.partition.clone()),
    };
    let _guard = core.writers.acquire(vec![scope], "commit").map_err(held)?;
    let key = StateKey {
        workspace: workspace.to_string(),
        state_key: request.state_key,
        stream: checkpoint.stream,
        partition: checkpoint.partition,
    };
    let new = NewCheckpoint {
        id: checkpoint.id,
        call_id: String::new(),
        format: String::new(),
        state: checkpoint.state,
        records: checkpoint.records,
        last: checkpoint.r#final,
    };
    let expected = match (request.force, request.expected_revision) {
        (true, _) => Expected::Any,
        (false, 0) => Expected::Absent,
        (false, revision) => Expected::Revision(revision),
    };
    match core
        .checkpoints
        .commit(&key, &new, expected, Utc::now())
        .await
        .map_err(checkpoint_error)?
    {
        Commit::Committed { revision } => Ok(v1::CommitResponse { revision }),
        Commit::Conflict { current } => {
            let there = current.map_or("there is none".to_owned(), |current| {
                format!(
                    "it is at revision {} (call {})",
                    current.revision, current.checkpoint.call_id
                )
            });
            let message = format!("the stored checkpoint is not the expected one: {there}");
            Err(CallError::new(ErrorCode::StateConflict, message).into())
        }
    }
}
