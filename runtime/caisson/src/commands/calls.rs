//! `caisson calls`: what runs, what ran, and how to end it.

use caisson_proto::v1;
use serde_json::{Value, json};

use super::{Job, table};
use crate::args::{CallsArgs, CallsCommand};
use crate::exit::{self, Exit};
use crate::report;
use crate::session::Session;
use crate::stop::{Result, Stop};
use crate::voice::Voice;

pub(crate) fn build(args: CallsArgs) -> Result<Job> {
    match args.command {
        CallsCommand::List {
            state,
            limit,
            json,
            server,
        } => {
            let request = v1::ListCallsRequest {
                workspace: server.workspace.clone(),
                state: state.unwrap_or_default(),
                page_size: 0,
                page_token: String::new(),
            };
            Job::ask(&server, move |session, _| {
                Box::pin(list(session, request, limit, json))
            })
        }
        CallsCommand::Get { id, json, server } => {
            Job::ask(&server, move |session, _| Box::pin(get(session, id, json)))
        }
        CallsCommand::Cancel { id, server } => Job::ask(&server, |session, voice| {
            Box::pin(cancel(session, voice, id))
        }),
    }
}

async fn list(
    session: &Session,
    mut request: v1::ListCallsRequest,
    limit: u32,
    json: bool,
) -> Result<Exit> {
    let mut operations = session.operations();
    let mut calls = Vec::new();
    loop {
        let wanted = limit.saturating_sub(u32::try_from(calls.len()).unwrap_or(u32::MAX));
        if wanted == 0 {
            break;
        }
        request.page_size = wanted.min(1000);
        let page = session.wait(operations.list_calls(request.clone())).await?;
        calls.extend(page.calls);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if json {
        calls
            .iter()
            .try_for_each(|call| table::out(&format!("{}\n", value(call))))?;
        return Ok(Exit::Done);
    }
    let row = |call: &v1::Call| {
        let code = call
            .failure
            .as_ref()
            .map(|failure| format!(" {}", exit::name(failure.code())))
            .unwrap_or_default();
        [
            call.call_id.clone(),
            call.kind.clone(),
            if call.connection.is_empty() {
                call.connector.clone()
            } else {
                call.connection.clone()
            },
            format!("{}{code}", call.state),
            call.started.as_ref().map(report::time).unwrap_or_default(),
            call.stats
                .as_ref()
                .map(|stats| stats.records.to_string())
                .unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = calls.iter().map(row).collect();
    table::print(
        ["CALL", "KIND", "CONNECTION", "STATE", "STARTED", "RECORDS"],
        &rows,
    )?;
    Ok(Exit::Done)
}

async fn get(session: &Session, call_id: String, json: bool) -> Result<Exit> {
    let mut operations = session.operations();
    let call = session
        .wait(operations.get_call(v1::GetCallRequest { call_id }))
        .await?;
    let value = value(&call);
    if json {
        table::out(&format!("{value}\n"))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for (name, field) in value.as_object().into_iter().flatten() {
        match field {
            Value::Null => {}
            Value::String(word) if word.is_empty() => {}
            Value::String(word) => text.push_str(&format!("{name}: {word}\n")),
            Value::Object(inner) if name == "failure" => {
                for key in ["code", "message", "action"] {
                    text.push_str(&format!(
                        "{key}: {}\n",
                        inner[key].as_str().unwrap_or_default()
                    ));
                }
            }
            other => text.push_str(&format!("{name}: {other}\n")),
        }
    }
    table::out(&text)?;
    Ok(Exit::Done)
}

async fn cancel(session: &Session, voice: &mut Voice, call_id: String) -> Result<Exit> {
    let mut operations = session.operations();
    let request = v1::CancelRequest {
        call_id: call_id.clone(),
    };
    let response = session.wait(operations.cancel(request)).await?;
    if !response.cancelled {
        return Err(Stop::Other(anyhow::anyhow!("{call_id} had ended already")));
    }
    voice.line(&format!("{call_id} is cancelled"));
    Ok(Exit::Done)
}

fn value(call: &v1::Call) -> Value {
    json!({
        "call_id": call.call_id,
        "request_id": call.request_id,
        "workspace": call.workspace,
        "kind": call.kind,
        "connection": call.connection,
        "connector": call.connector,
        "state": call.state,
        "started": call.started.as_ref().map(report::time),
        "ended": call.ended.as_ref().map(report::time),
        "records": call.stats.as_ref().map(|stats| stats.records),
        "bytes": call.stats.as_ref().map(|stats| stats.bytes),
        "worker_pids": call.worker_pids,
        "failure": call.failure.as_ref().map(|failure| json!({
            "code": exit::name(failure.code()),
            "message": failure.message,
            "action": failure.action,
            "retryable": failure.retryable,
            "stream": failure.stream,
        })),
    })
}
