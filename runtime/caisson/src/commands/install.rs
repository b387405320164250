//! `caisson install`: a published version, made ready to run.

use caisson_proto::v1;

use super::{Job, table::out};
use crate::args::InstallArgs;
use crate::exit::Exit;
use crate::session::Session;
use crate::stop::{Result, Stop};

pub(crate) fn build(args: InstallArgs) -> Result<Job> {
    let request = v1::InstallRequest {
        workspace: args.server.workspace.clone(),
        connector: args.connector,
    };
    Job::ask(&args.server, |session, _| Box::pin(run(session, request)))
}

async fn run(session: &Session, request: v1::InstallRequest) -> Result<Exit> {
    let mut registry = session.registry();
    let version = session.wait(registry.install(request)).await?.version;
    let version =
        version.ok_or_else(|| Stop::Other(anyhow::anyhow!("the daemon named no version")))?;
    out(&format!(
        "{}@{} {}\n",
        version.name, version.version, version.digest
    ))?;
    Ok(Exit::Done)
}
