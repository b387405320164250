//! `caisson validate`: the checks that nobody may publish without.
//!
//! Needs no running daemon and no network: one is embedded in a folder of its
//! own, since the connector's Python is inspected in a sandboxed worker.

use std::path::PathBuf;

use caisson_bundle::{AllowedDependencies, Report};

use super::{Job, table::out};
use crate::args::{EmbeddedArgs, FindingsFormat, ValidateArgs};
use crate::embedded;
use crate::exit::Exit;
use crate::stop::{Result, Stop};

pub(crate) fn build(args: ValidateArgs) -> Result<Job> {
    let path = PathBuf::from(crate::connection::folder(&args.path)?);
    let typed = args.embedded.data_dir.clone();
    let embedded = args.embedded.or_environment();
    let allowed = allowed(&embedded)?;
    Ok(Job::Alone(Box::new(move |_, interrupt| {
        Box::pin(async move {
            let scratch = tempfile::tempdir().map_err(anyhow::Error::from)?;
            let data_dir = typed.unwrap_or_else(|| scratch.path().to_owned());
            let embedded = EmbeddedArgs {
                data_dir: Some(data_dir),
                ..embedded
            };
            let daemon = embedded::start(embedded::config(&embedded, "default")?).await?;
            let report = tokio::select! {
                report = daemon.validate(&path, allowed) => {
                    report.map_err(|error| Stop::Failed(Box::new(error.to_failure())))
                }
                exit = interrupt.raised() => Err(Stop::Said(exit)),
            };
            daemon.shutdown().await;
            print(&report?, args.format)
        })
    })))
}

/// The operator's dependencies.toml; none is the daemon's own default.
fn allowed(args: &EmbeddedArgs) -> Result<Option<AllowedDependencies>> {
    Ok(args
        .dependencies
        .as_deref()
        .map(AllowedDependencies::read)
        .transpose()?)
}

/// Prints findings; the exit code says whether one is an error.
fn print(report: &Report, format: FindingsFormat) -> Result<Exit> {
    match format {
        FindingsFormat::Json => out(&format!("{}\n", report.to_json()))?,
        FindingsFormat::Text => out(&format!("{report}\n"))?,
    }
    Ok(if report.publishable() {
        Exit::Done
    } else {
        Exit::Findings
    })
}
