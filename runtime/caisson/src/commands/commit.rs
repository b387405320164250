//! `caisson commit`: the checkpoints of a state file become the stored ones.

use caisson_proto::v1;

use super::Job;
use crate::args::CommitArgs;
use crate::data::StateFile;
use crate::exit::Exit;
use crate::report;
use crate::session::Session;
use crate::stop::{Result, Stop};
use crate::voice::Voice;

pub(crate) fn build(args: CommitArgs) -> Result<Job> {
    let state = StateFile::open(&args.state)?;
    let wanted =
        |stream: &str| args.streams.is_empty() || args.streams.iter().any(|name| name == stream);
    let checkpoints: Vec<_> = state
        .checkpoints()
        .filter(|c| wanted(&c.stream))
        .cloned()
        .collect();
    if checkpoints.is_empty() {
        return Err(Stop::usage(format!(
            "{} holds no such checkpoint",
            args.state.display()
        )));
    }
    let server = args.server.clone();
    Job::ask(&server, |session, voice| {
        Box::pin(run(session, voice, args, checkpoints))
    })
}

async fn run(
    session: &Session,
    voice: &mut Voice,
    args: CommitArgs,
    checkpoints: Vec<v1::Checkpoint>,
) -> Result<Exit> {
    let stored = match args.expected_revision {
        None if !args.force => stored(session, &args).await?,
        _ => Vec::new(),
    };
    let mut runtime = session.runtime();
    for checkpoint in checkpoints {
        let place = report::place(&checkpoint.stream, &checkpoint.partition);
        let known = stored.iter().find(|one| {
            one.checkpoint.as_ref().is_some_and(|c| {
                c.stream == checkpoint.stream && c.partition == checkpoint.partition
            })
        });
        let request = v1::CommitRequest {
            workspace: args.server.workspace.clone(),
            state_key: args.key.clone(),
            checkpoint: Some(checkpoint),
            expected_revision: args
                .expected_revision
                .or(known.map(|one| one.revision))
                .unwrap_or(0),
            force: args.force,
        };
        let revision = session.wait(runtime.commit(request)).await?.revision;
        voice.line(&format!("{place}: stored as revision {revision}"));
    }
    Ok(Exit::Done)
}

/// What the daemon has for a stored connection, page by page; nothing for a
/// bare state key.
async fn stored(session: &Session, args: &CommitArgs) -> Result<Vec<v1::StoredCheckpoint>> {
    let mut request = v1::GetConnectionRequest {
        workspace: args.server.workspace.clone(),
        name: args.key.clone(),
        ..Default::default()
    };
    let mut connections = session.connections();
    let mut checkpoints = Vec::new();
    loop {
        let page = match session.wait(connections.get(request.clone())).await {
            Ok(page) => page,
            // No connection of that name.
            Err(Stop::Failed(failure)) if failure.code() == v1::ErrorCode::ConfigInvalid => {
                return Ok(Vec::new());
            }
            Err(stop) => return Err(stop),
        };
        checkpoints.extend(page.checkpoints);
        if page.next_page_token.is_empty() {
            return Ok(checkpoints);
        }
        request.page_token = page.next_page_token;
    }
}
