//! `caisson spec`: what a connector is and needs.

use caisson_proto::v1;
use serde_json::{Value, json};

use super::{Job, table::out};
use crate::args::SpecArgs;
use crate::connection;
use crate::exit::Exit;
use crate::session::Session;
use crate::stop::Result;

pub(crate) fn build(args: SpecArgs) -> Result<Job> {
    let path = args.path.as_deref().map(connection::folder).transpose()?;
    let options = v1::CallOptions {
        workspace: args.server.workspace.clone(),
        ..Default::default()
    };
    let request = v1::SpecRequest {
        options: Some(options),
        connector: args.connector.unwrap_or_default(),
        path: path.unwrap_or_default(),
    };
    Job::ask(&args.server, move |session, _| {
        Box::pin(run(session, request, args.json))
    })
}

async fn run(session: &Session, request: v1::SpecRequest, as_json: bool) -> Result<Exit> {
    let mut runtime = session.runtime();
    let spec = session.wait(runtime.spec(request)).await?;
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    let schema = parsed(&spec.config_schema_json);
    if as_json {
        let value = json!({
            "name": spec.name,
            "version": spec.version,
            "title": spec.title,
            "digest": spec.digest,
            "capabilities": spec.capabilities,
            "config": schema,
            "form": parsed(&spec.form_json),
            "egress": parsed(&spec.egress_json),
        });
        out(&format!("{value}\n"))?;
        return Ok(Exit::Done);
    }
    let mut text = format!("{}@{}", spec.name, spec.version);
    if !spec.title.is_empty() {
        text.push_str(&format!(" ({})", spec.title));
    }
    text.push_str(&format!(
        "\ncapabilities: {}\n",
        spec.capabilities.join(", ")
    ));
    text.push_str(&fields(&schema));
    text.push_str(&egress(&parsed(&spec.egress_json)));
    out(&text)?;
    Ok(Exit::Done)
}

/// The fields of a configuration, one a line.
fn fields(schema: &Value) -> String {
    let Some(properties) = schema["properties"]
        .as_object()
        .filter(|fields| !fields.is_empty())
    else {
        return "config: none\n".to_owned();
    };
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut text = "config:\n".to_owned();
    for (name, field) in properties {
        let mut notes = Vec::new();
        if let Some(kind) = field["type"].as_str() {
            notes.push(kind.to_owned());
        }
        if field["secret"] == true {
            notes.push("secret".to_owned());
        }
        match &field["default"] {
            Value::Null if required.contains(&name.as_str()) => notes.push("required".to_owned()),
            Value::Null => notes.push("optional".to_owned()),
            default => notes.push(format!("default {default}")),
        }
        let title = field["title"]
            .as_str()
            .map(|title| format!("  {title}"))
            .unwrap_or_default();
        text.push_str(&format!("  {name} ({}){title}\n", notes.join(", ")));
    }
    text
}

/// The connections that the connector asks for; what it gets, the policy says.
fn egress(rules: &Value) -> String {
    let rules = rules.as_array().map(Vec::as_slice).unwrap_or_default();
    if rules.is_empty() {
        return "asks for no network\n".to_owned();
    }
    let mut text = "asks for:\n".to_owned();
    for rule in rules {
        let ports: Vec<_> = rule["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        let host = rule["host"].as_str().unwrap_or("?");
        let protocol = rule["protocol"].as_str().unwrap_or("tcp");
        text.push_str(&format!(
            "  {host} port {} ({protocol})\n",
            ports.join(", ")
        ));
    }
    text
}
