//! `caisson connectors`: what is published.

use caisson_proto::v1;
use serde_json::json;

use super::{Job, table};
use crate::args::ConnectorsArgs;
use crate::exit::Exit;
use crate::report;
use crate::session::Session;
use crate::stop::Result;

pub(crate) fn build(args: ConnectorsArgs) -> Result<Job> {
    let request = v1::ListConnectorsRequest {
        workspace: args.server.workspace.clone(),
        name: args.name.unwrap_or_default(),
        ..Default::default()
    };
    Job::ask(&args.server, move |session, _| {
        Box::pin(run(session, request, args.json))
    })
}

async fn run(
    session: &Session,
    mut request: v1::ListConnectorsRequest,
    json: bool,
) -> Result<Exit> {
    let mut registry = session.registry();
    let mut versions = Vec::new();
    loop {
        let page = session
            .wait(registry.list_connectors(request.clone()))
            .await?;
        versions.extend(page.versions);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if json {
        for version in &versions {
            table::out(&format!("{}\n", value(version)))?;
        }
        return Ok(Exit::Done);
    }
    let row = |version: &v1::ConnectorVersion| {
        [
            format!("{}@{}", version.name, version.version),
            version.title.clone(),
            version
                .published
                .as_ref()
                .map(report::time)
                .unwrap_or_default(),
            if version.installed { "yes" } else { "no" }.to_owned(),
            version.digest.clone(),
        ]
    };
    let rows: Vec<_> = versions.iter().map(row).collect();
    table::print(
        ["CONNECTOR", "TITLE", "PUBLISHED", "INSTALLED", "DIGEST"],
        &rows,
    )?;
    Ok(Exit::Done)
}

/// A version as the commands print it.
pub(crate) fn value(version: &v1::ConnectorVersion) -> serde_json::Value {
    json!({
        "name": version.name,
        "version": version.version,
        "digest": version.digest,
        "title": version.title,
        "bytes": version.bytes,
        "published": version.published.as_ref().map(report::time),
        "installed": version.installed,
    })
}
