//! `caisson audit`: the audit log of a running daemon, line by line.

use caisson_proto::v1;

use super::{Job, table::out};
use crate::args::AuditArgs;
use crate::exit::Exit;
use crate::session::Session;
use crate::stop::{Result, Stop};

pub(crate) fn build(args: AuditArgs) -> Result<Job> {
    let request = v1::WatchAuditRequest {
        workspace: args.server.workspace.clone(),
        call_id: args.call.unwrap_or_default(),
    };
    Job::ask(&args.server, |session, _| {
        Box::pin(follow(session, request))
    })
}

async fn follow(session: &Session, request: v1::WatchAuditRequest) -> Result<Exit> {
    let mut lines = session
        .wait(session.operations().watch_audit(request))
        .await?;
    loop {
        let line = tokio::select! {
            line = lines.message() => line?,
            exit = session.interrupt.raised() => return Err(Stop::Said(exit)),
        };
        match line {
            Some(line) => out(&format!("{}\n", line.json))?,
            None => return Ok(Exit::Done),
        }
    }
}
