//! `caisson validate`: the checks that nobody may publish without.
//!
//! Needs no running daemon and no network: one is embedded in a folder of its
//! own, since the connector's Python is inspected in a sandboxed worker.

use std::path::{Path, PathBuf};

use caisson_bundle::{AllowedDependencies, ProjectDir, ProjectError, Report, write_config};

use super::{Job, table::out};
use crate::args::{EmbeddedArgs, FindingsFormat, ValidateArgs};
use crate::embedded;
use crate::exit::Exit;
use crate::stop::{Result, Stop};
use crate::voice::Voice;

pub(crate) fn build(args: ValidateArgs) -> Result<Job> {
    let path = PathBuf::from(crate::connection::folder(&args.path)?);
    let write_config = args.write_config;
    let typed = args.server.embedded.data_dir.clone();
    let embedded = args.server.embedded.or_environment();
    let allowed = allowed(&embedded)?;
    Ok(Job::Alone(Box::new(move |voice, interrupt| {
        Box::pin(async move {
            if write_config {
                generate(&path, voice)?;
            }
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

/// Writes the config module; a connector.yaml with faults has none.
fn generate(path: &Path, voice: &mut Voice) -> Result<()> {
    let written = ProjectDir::open(path).and_then(|project| write_config(&project));
    match written {
        Ok((file, true)) => voice.line(&format!("wrote {file}")),
        Ok((_, false)) => {}
        Err(ProjectError::Faults(faults)) => return Err(Stop::Findings(Box::new(faults.into()))),
        Err(error) => return Err(Stop::Other(error.into())),
    }
    Ok(())
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
        FindingsFormat::Json => {
            let findings =
                serde_json::to_string_pretty(&report.findings).map_err(anyhow::Error::from)?;
            out(&format!("{findings}\n"))?;
        }
        FindingsFormat::Text => out(&format!("{report}\n"))?,
    }
    Ok(if report.publishable() {
        Exit::Done
    } else {
        Exit::Findings
    })
}
