//! Connections: Put, Get, List, Delete.

use std::sync::Arc;

use caisson_proto::v1::connections_server::Connections;
use caisson_proto::v1::{self, ErrorCode};
use caisson_state::{CheckpointError, ConnectionError, Expected, Scope, StoredConnection};
use chrono::Utc;
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use super::pages;
use crate::call::{Source, check_name, state_error};
use crate::core::Core;
use crate::error::CallError;
use crate::identity::caller;

pub(crate) struct ConnectionService(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl Connections for ConnectionService {
    async fn put(
        &self,
        request: Request<v1::PutConnectionRequest>,
    ) -> Result<Response<v1::StoredConnection>, Status> {
        let workspace = caller(&request).workspace(&request.get_ref().workspace)?;
        let request = request.into_inner();
        if request.name.is_empty() {
            return Err(
                CallError::new(ErrorCode::ConfigInvalid, "the connection has no name").into(),
            );
        }
        check_name("name", &request.name)?;
        let connection = request.connection.unwrap_or_default();
        check_name("connection.connector", &connection.connector)?;
        // A connection that could not be used is not stored.
        self.0
            .check_connection(
                &workspace,
                &Source::stored(&request.name, connection.clone()),
            )
            .await?;
        let expected = match request.expected_revision {
            0 => Expected::Any,
            revision => Expected::Revision(revision),
        };
        let body = body_of(&connection)?;
        let stored = self
            .0
            .connections
            .put(&workspace, &request.name, &body, expected, Utc::now())
            .await;
        let stored = stored.map_err(connection_error)?;
        Ok(Response::new(self.whole(stored, 0, "").await?))
    }

    async fn get(
        &self,
        request: Request<v1::GetConnectionRequest>,
    ) -> Result<Response<v1::StoredConnection>, Status> {
        let workspace = caller(&request).workspace(&request.get_ref().workspace)?;
        let request = request.into_inner();
        let stored = self.0.connections.get(&workspace, &request.name).await;
        let stored = stored.map_err(connection_error)?;
        let (size, token) = (request.page_size, request.page_token);
        Ok(Response::new(self.whole(stored, size, &token).await?))
    }

    async fn list(
        &self,
        request: Request<v1::ListConnectionsRequest>,
    ) -> Result<Response<v1::ListConnectionsResponse>, Status> {
        let workspace = caller(&request).workspace(&request.get_ref().workspace)?;
        let request = request.into_inner();
        let bound = pages::long(request.page_size);
        let token = pages::token(&request.page_token);
        let page = self.0.connections.list(&workspace, bound, token).await;
        let page = page.map_err(connection_error)?;
        Ok(Response::new(v1::ListConnectionsResponse {
            connections: page.entries.into_iter().map(bare).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteConnectionRequest>,
    ) -> Result<Response<v1::DeleteConnectionResponse>, Status> {
        let workspace = caller(&request).workspace(&request.get_ref().workspace)?;
        let request = request.into_inner();
        // First, and also where the connection itself went before: a new one of
        // this name would go on from what is left.
        let cleared = if request.checkpoints {
            self.clear(&workspace, &request.name).await?
        } else {
            0
        };
        let deleted = self
            .0
            .connections
            .delete(&workspace, &request.name, Utc::now())
            .await;
        match deleted {
            Err(ConnectionError::Unknown { .. }) if cleared > 0 => {}
            deleted => deleted.map(drop).map_err(connection_error)?,
        }
        Ok(Response::new(v1::DeleteConnectionResponse {}))
    }
}

impl ConnectionService {
    /// Deletes a connection's checkpoints, and tells of how many; not under a
    /// call that would write them again.
    async fn clear(&self, workspace: &str, name: &str) -> Result<u64, CallError> {
        let scope = Scope {
            workspace: workspace.to_owned(),
            state_key: name.to_owned(),
            stream: None,
            partition: None,
        };
        let _guard = self
            .0
            .writers
            .acquire(vec![scope], "delete")
            .map_err(|held| CallError::new(ErrorCode::StateConflict, held.to_string()))?;
        let checkpoints = &self.0.checkpoints;
        checkpoints
            .clear(workspace, name)
            .await
            .map_err(state_error)
    }

    /// With a page of its checkpoints.
    async fn whole(
        &self,
        stored: StoredConnection,
        page_size: u32,
        page_token: &str,
    ) -> Result<v1::StoredConnection, CallError> {
        let (bound, token) = (pages::long(page_size), pages::token(page_token));
        let page = self
            .0
            .checkpoints
            .page(&stored.workspace, &stored.name, bound, token)
            .await
            .map_err(checkpoint_error)?;
        Ok(v1::StoredConnection {
            checkpoints: page.entries.into_iter().map(checkpoint_of).collect(),
            next_page_token: page.next.unwrap_or_default(),
            ..bare(stored)
        })
    }
}

/// Without its checkpoints.
fn bare(stored: StoredConnection) -> v1::StoredConnection {
    v1::StoredConnection {
        connection: Some(connection_of(&stored.body)),
        workspace: stored.workspace,
        name: stored.name,
        revision: stored.revision,
        updated: Some(std::time::SystemTime::from(stored.updated).into()),
        ..Default::default()
    }
}

fn checkpoint_of(stored: caisson_state::StoredCheckpoint) -> v1::StoredCheckpoint {
    v1::StoredCheckpoint {
        revision: stored.revision,
        time: Some(std::time::SystemTime::from(stored.committed).into()),
        checkpoint: Some(v1::Checkpoint {
            stream: stored.key.stream,
            partition: stored.key.partition,
            id: stored.checkpoint.id,
            state: stored.checkpoint.state,
            records: stored.checkpoint.records,
            r#final: stored.checkpoint.last,
        }),
    }
}

fn body_of(connection: &v1::Connection) -> Result<Value, CallError> {
    let config: Value = serde_json::from_str(&connection.config_json).map_err(|error| {
        CallError::new(
            ErrorCode::ConfigInvalid,
            format!("config_json is no JSON: {error}"),
        )
    })?;
    let streams: serde_json::Map<String, Value> = connection
        .streams
        .iter()
        .map(|(name, options)| {
            (
                name.clone(),
                json!({ "mode": options.mode, "write": options.write }),
            )
        })
        .collect();
    Ok(json!({ "connector": connection.connector, "config": config, "streams": streams }))
}

/// A stored body as the API shows it.
pub(crate) fn connection_of(body: &Value) -> v1::Connection {
    let number =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_i64).unwrap_or(0) as i32;
    let streams = body.get("streams").and_then(Value::as_object);
    v1::Connection {
        connector: body
            .get("connector")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        config_json: body.get("config").unwrap_or(&Value::Null).to_string(),
        streams: streams
            .into_iter()
            .flatten()
            .map(|(name, options)| {
                (
                    name.clone(),
                    v1::StreamOptions {
                        mode: number(options, "mode"),
                        write: number(options, "write"),
                    },
                )
            })
            .collect(),
    }
}

/// What the store of connections could not do.
pub(crate) fn connection_error(error: ConnectionError) -> CallError {
    let code = match &error {
        ConnectionError::Unknown { .. } | ConnectionError::TooLarge { .. } => {
            ErrorCode::ConfigInvalid
        }
        ConnectionError::Conflict { .. } => ErrorCode::StateConflict,
        _ => return state_error(error),
    };
    CallError::new(code, error.to_string())
}

/// What the store of checkpoints could not do.
pub(crate) fn checkpoint_error(error: CheckpointError) -> CallError {
    match &error {
        CheckpointError::TooLarge { .. } | CheckpointError::PageToken => {
            CallError::new(ErrorCode::ConfigInvalid, error.to_string())
        }
        _ => state_error(error),
    }
}
