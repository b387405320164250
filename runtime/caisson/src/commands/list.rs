//! `caisson list`: what a connection can read or write.

use caisson_proto::v1::{self, list_event::Event};
use serde_json::{Value, json};

use super::{Job, table::out};
use crate::args::{ListArgs, ListFormat};
use crate::call::{Call, follow};
use crate::connection::Chosen;
use crate::exit::Exit;
use crate::session::Session;
use crate::stop::Result;
use crate::voice::Voice;

pub(crate) fn build(args: ListArgs) -> Result<Job> {
    let connection = args.connection.choose()?;
    let call = Call::new(&args.call, &args.server.workspace);
    let format = args.format;
    Job::ask(&args.server, move |session, voice| {
        Box::pin(run(session, voice, connection, call, format))
    })
}

async fn run(
    session: &Session,
    voice: &mut Voice,
    chosen: Chosen,
    call: Call,
    format: ListFormat,
) -> Result<Exit> {
    let request = v1::ListRequest {
        options: Some(call.options.clone()),
        connection: Some(chosen.reference.clone()),
    };
    let mut runtime = session.runtime();
    let events = session
        .wait(runtime.list(request))
        .await
        .map_err(|stop| chosen.explain(stop))?;
    let ended = follow(
        session,
        voice,
        events,
        std::future::pending(),
        async |_, _, event| match event {
            Event::Object(object) => match format {
                ListFormat::Text => out(&text(&object)),
                ListFormat::Jsonl => out(&format!("{}\n", value(&object))),
            },
            _ => Ok(()),
        },
    );
    let ended = ended.await.map_err(|stop| chosen.explain(stop));
    call.ended(ended)?;
    Ok(Exit::Done)
}

fn text(object: &v1::Object) -> String {
    let mut text = object.name.clone();
    if !object.title.is_empty() && object.title != object.name {
        text.push_str(&format!(" ({})", object.title));
    }
    text.push('\n');
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {name}: {value}\n"));
        }
    };
    line("read", modes(object).join(", "));
    line("write", write_modes(object).join(", "));
    line("primary key", object.primary_key.join(", "));
    let order = if object.order.is_empty() {
        ""
    } else {
        " ascending"
    };
    line(
        "cursor",
        if object.cursor.is_empty() {
            String::new()
        } else {
            format!("{}{order}", object.cursor)
        },
    );
    line("partitions", object.partitions.join(", "));
    line("fields", fields(object).join(", "));
    text
}

fn fields(object: &v1::Object) -> Vec<String> {
    let fields: Vec<Value> = serde_json::from_str(&object.fields_json).unwrap_or_default();
    let word = |field: &Value, key: &str| match &field[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    fields
        .iter()
        .map(|field| format!("{} {}", word(field, "name"), word(field, "type")))
        .collect()
}

fn value(object: &v1::Object) -> Value {
    json!({
        "name": object.name,
        "title": object.title,
        "fields": serde_json::from_str::<Value>(&object.fields_json).unwrap_or(Value::Null),
        "primary_key": object.primary_key,
        "cursor": object.cursor,
        "order": object.order,
        "modes": modes(object),
        "write_modes": write_modes(object),
        "partitions": object.partitions,
    })
}

fn modes(object: &v1::Object) -> Vec<&'static str> {
    let name = |mode| match mode {
        v1::ReadMode::Full => Some("full"),
        v1::ReadMode::Incremental => Some("incremental"),
        v1::ReadMode::Streaming => Some("streaming"),
        v1::ReadMode::Unspecified => None,
    };
    object.modes().filter_map(name).collect()
}

fn write_modes(object: &v1::Object) -> Vec<&'static str> {
    let name = |mode| match mode {
        v1::WriteMode::Append => Some("append"),
        v1::WriteMode::Upsert => Some("upsert"),
        v1::WriteMode::Unspecified => None,
    };
    object.write_modes().filter_map(name).collect()
}
