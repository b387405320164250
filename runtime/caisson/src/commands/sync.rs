//! `caisson sync`: a source into a destination, inside the daemon.

use caisson_proto::v1::{self, sync_event::Event};

use super::{Job, read::selections};
use crate::args::{FromArg, SyncArgs};
use crate::call::{Call, follow};
use crate::connection::{self, Chosen};
use crate::exit::Exit;
use crate::session::Session;
use crate::stop::{Result, Stop};
use crate::target::Target;
use crate::voice::Voice;

struct Sync {
    source: Chosen,
    destination: Chosen,
    call: Call,
    request: v1::SyncRequest,
    detach: bool,
}

pub(crate) fn build(args: SyncArgs) -> Result<Job> {
    let (source, destination) = connections(&args)?;
    let state_key = match &args.state_key {
        Some(key) => key.clone(),
        None if args.stored => String::new(),
        None => format!(
            "{}->{}",
            connection::key_of(&args.source)?,
            connection::key_of(&args.destination)?
        ),
    };
    let call = Call::new(&args.call, &args.server.workspace);
    let from = match args.from {
        FromArg::Stored => v1::read_request::From::Stored,
        FromArg::Beginning => v1::read_request::From::Beginning,
    };
    let request = v1::SyncRequest {
        options: Some(call.options.clone()),
        source: Some(source.reference.clone()),
        destination: Some(destination.reference.clone()),
        streams: selections(&args.select)?,
        from: from.into(),
        state_key,
    };
    if args.detach && matches!(args.server.target()?, Target::Local { .. }) {
        return Err(Stop::usage(
            "--detach needs --server: an embedded daemon ends with this command",
        ));
    }
    let sync = Sync {
        source,
        destination,
        call,
        request,
        detach: args.detach,
    };
    Job::ask(&args.server, |session, voice| {
        Box::pin(run(session, voice, sync))
    })
}

/// Both connections; the faults of both files at once.
fn connections(args: &SyncArgs) -> Result<(Chosen, Chosen)> {
    if args.stored {
        let name = |path: &std::path::Path| path.display().to_string();
        return Ok((
            connection::stored(&name(&args.source)),
            connection::stored(&name(&args.destination)),
        ));
    }
    let source = connection::from_file(&args.source, None);
    let destination = connection::from_file(&args.destination, None);
    match (source, destination) {
        (Err(Stop::Faults(mut one)), Err(Stop::Faults(two))) => {
            one.0.extend(two);
            Err(Stop::Faults(one))
        }
        (source, destination) => Ok((source?, destination?)),
    }
}

async fn run(session: &Session, voice: &mut Voice, sync: Sync) -> Result<Exit> {
    let Sync {
        source,
        destination,
        call,
        request,
        detach,
    } = sync;
    let explain = |stop: Stop| explain(stop, &source, &destination);
    let mut runtime = session.runtime();
    let mut events = session.wait(runtime.sync(request)).await.map_err(explain)?;
    if detach {
        let first = events
            .message()
            .await
            .map_err(Stop::from)
            .map_err(explain)?;
        if let Some(v1::sync_event::Event::Started(started)) = first.and_then(|first| first.event) {
            super::table::out(&format!("{}\n", started.call_id))?;
            return Ok(Exit::Done);
        }
        return Err(Stop::Other(anyhow::anyhow!("the call did not start")));
    }
    let ended = follow(
        session,
        voice,
        events,
        std::future::pending(),
        async |voice, header, event| {
            if let Event::Progress(progress) = event {
                voice.synced(&header.stream, &progress);
            }
            Ok(())
        },
    );
    let done = call.ended(ended.await.map_err(explain))?;
    let refused = done.stats.rejected.max(voice.rejects());
    if let Some((source, destination)) = &done.sides {
        voice.line(&format!(
            "{} records read, {} written, {} refused in {:.1} s",
            source.records,
            destination.records,
            refused.max(destination.rejected),
            source.seconds.max(destination.seconds)
        ));
    }
    Ok(if refused > 0 {
        Exit::Findings
    } else {
        Exit::Done
    })
}

/// Faults of a configuration say whose it is, where the daemon says so.
fn explain(mut stop: Stop, source: &Chosen, destination: &Chosen) -> Stop {
    let Stop::Failed(failure) = &mut stop else {
        return stop;
    };
    let of_destination = |fault: &v1::Fault| {
        fault.file.starts_with("destination") || fault.path.starts_with("destination.")
    };
    let (mut theirs, ours): (Vec<_>, Vec<_>) = failure.faults.drain(..).partition(of_destination);
    failure.faults = ours;
    source.locate(failure, "source.");
    std::mem::swap(&mut failure.faults, &mut theirs);
    destination.locate(failure, "destination.");
    failure.faults.splice(0..0, theirs);
    stop
}
