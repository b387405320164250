//! `caisson read`: records out of a source, into a file or pipe.

use std::collections::BTreeMap;

use caisson_proto::v1::{self, read_event::Event};

use super::Job;
use crate::args::{FromArg, ModeArg, ReadArgs, RecordFormat, SelectArgs};
use crate::call::{Call, Done, follow};
use crate::connection::Chosen;
use crate::data::{Output, StateFile, Target, format_of};
use crate::exit::Exit;
use crate::session::Session;
use crate::stop::{Result, Stop};
use crate::voice::Voice;

struct Read {
    connection: Chosen,
    call: Call,
    request: v1::ReadRequest,
    target: Target,
    format: RecordFormat,
    state: Option<StateFile>,
}

pub(crate) fn build(args: ReadArgs) -> Result<Job> {
    let connection = args.connection.choose()?;
    let call = Call::new(&args.call, &args.server.workspace);
    let state = args.state.as_deref().map(StateFile::open).transpose()?;
    let from = match args.from {
        _ if state.is_some() => v1::read_request::From::Checkpoint,
        Some(FromArg::Stored) => v1::read_request::From::Stored,
        Some(FromArg::Beginning) => v1::read_request::From::Beginning,
        None if connection.has_stored_state() => v1::read_request::From::Stored,
        None => v1::read_request::From::Beginning,
    };
    if args.from == Some(FromArg::Stored) && !connection.has_stored_state() {
        return Err(Stop::usage(
            "--from stored needs a state_key in the file, --state-key or --connection: what the checkpoints are stored under",
        ));
    }
    let format = format_of(&args.output, args.format);
    let encoding = match format {
        RecordFormat::Arrow => v1::Encoding::ArrowIpc,
        RecordFormat::Jsonl => v1::Encoding::JsonLines,
    };
    let request = v1::ReadRequest {
        options: Some(call.options.clone()),
        connection: Some(connection.reference.clone()),
        accept: vec![encoding.into()],
        streams: selections(&args.select)?,
        from: from.into(),
        checkpoints: state
            .iter()
            .flat_map(StateFile::checkpoints)
            .cloned()
            .collect(),
        max_records: args.max_records.unwrap_or(0),
    };
    let target = Target::of(&args.output);
    let read = Read {
        connection,
        call,
        request,
        target,
        format,
        state,
    };
    Job::ask(&args.server, |session, voice| {
        Box::pin(run(session, voice, read))
    })
}

/// The streams that the arguments name.
pub(crate) fn selections(args: &SelectArgs) -> Result<Vec<v1::StreamSelection>> {
    if !args.partitions.is_empty() && args.streams.len() != 1 {
        return Err(Stop::usage("--partition goes with exactly one --stream"));
    }
    let mode = match args.mode {
        None => v1::ReadMode::Unspecified,
        Some(ModeArg::Full) => v1::ReadMode::Full,
        Some(ModeArg::Incremental) => v1::ReadMode::Incremental,
        Some(ModeArg::Streaming) => v1::ReadMode::Streaming,
    };
    let selection = |stream: &String| v1::StreamSelection {
        stream: stream.clone(),
        partitions: args.partitions.clone(),
        mode: mode.into(),
    };
    Ok(args.streams.iter().map(selection).collect())
}

async fn run(session: &Session, voice: &mut Voice, read: Read) -> Result<Exit> {
    let Read {
        connection,
        call,
        request,
        target,
        format,
        mut state,
    } = read;
    let unfinished = state.as_ref().and_then(StateFile::unfinished);
    let mut landing = Landing {
        output: Output::new(target, format, unfinished)?,
        state: state.take(),
        moved: BTreeMap::new(),
    };
    if landing.output.continues() {
        voice.line("continuing the output of a run that was cut short");
    }
    let mut runtime = session.runtime();
    let events = session
        .wait(runtime.read(request))
        .await
        .map_err(|stop| connection.explain(stop))?;
    let ended = follow(
        session,
        voice,
        events,
        std::future::pending(),
        async |voice, header, event| landing.take(voice, header, event),
    );
    let ended = ended.await.map_err(|stop| connection.explain(stop));
    call.ended(landing.end(ended))?;
    Ok(Exit::Done)
}

/// Where events land: records in the output, then checkpoints in the state file.
struct Landing {
    output: Output,
    state: Option<StateFile>,
    /// Records and bytes of each stream.
    moved: BTreeMap<String, (u64, u64)>,
}

impl Landing {
    fn take(&mut self, voice: &mut Voice, header: &v1::EventHeader, event: Event) -> Result<()> {
        let stream = &header.stream;
        match event {
            Event::Schema(schema) => self.output.schema(stream, &schema),
            Event::Batch(batch) => {
                self.output.batch(stream, &batch)?;
                let moved = self.moved.entry(stream.clone()).or_default();
                moved.0 += batch.records;
                moved.1 += batch.data.len() as u64;
                voice.moved(stream, moved.0, moved.1, 0);
                Ok(())
            }
            Event::Checkpoint(checkpoint) => self.checkpoint(stream, checkpoint),
            Event::Restarted(_) => {
                voice.line(&format!(
                    "{stream}: the worker was replaced; records may come again"
                ));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn checkpoint(&mut self, stream: &str, mut checkpoint: v1::Checkpoint) -> Result<()> {
        let Some(state) = &mut self.state else {
            return Ok(());
        };
        if checkpoint.stream.is_empty() {
            checkpoint.stream = stream.to_owned();
        }
        let lengths = self.output.covered(&checkpoint.stream);
        if state.take(checkpoint, lengths) {
            self.output.make_durable()?;
            state.write(false)?;
        }
        Ok(())
    }

    /// Leaves output and state as the end of the call demands.
    fn end(mut self, ended: Result<Done>) -> Result<Done> {
        match ended {
            Ok(done) => {
                self.output.finish()?;
                if let Some(mut state) = self.state {
                    state.write(true)?;
                }
                Ok(done)
            }
            Err(stop) => {
                // What went wrong first is what is told, also if this fails too.
                if let Some(state) = &mut self.state
                    && state.is_dirty()
                    && self.output.make_durable().is_ok()
                {
                    let _ = state.write(false);
                } else {
                    let _ = self.output.make_durable();
                }
                Err(stop)
            }
        }
    }
}
