//! `caisson write`: records out of a file or pipe, into a destination.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use caisson_proto::v1::{self, write_event::Event, write_request::Message};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::Job;
use crate::args::{RecordFormat, WriteArgs, WriteModeArg};
use crate::call::{Call, follow};
use crate::connection::Chosen;
use crate::data::{Input, Records, format_of};
use crate::exit::Exit;
use crate::session::Session;
use crate::stop::{Result, Stop};
use crate::voice::Voice;

/// Batches that are read ahead of the daemon.
const AHEAD: usize = 2;

/// A checkpoint follows so many bytes, so that a long input becomes durable on its way.
const CHECKPOINT_EVERY: u64 = 32 << 20;

struct Write {
    connection: Chosen,
    call: Call,
    input: Input,
    schema: v1::WriteSchema,
    rejects: Option<PathBuf>,
}

pub(crate) fn build(args: WriteArgs) -> Result<Job> {
    let connection = args.connection.choose()?;
    let call = Call::new(&args.call, &args.server.workspace);
    let mode = match args.mode {
        None => v1::WriteMode::Unspecified,
        Some(WriteModeArg::Append) => v1::WriteMode::Append,
        Some(WriteModeArg::Upsert) => v1::WriteMode::Upsert,
    };
    let schema = v1::WriteSchema {
        stream: stream_name(&args)?,
        schema_id: "input".to_owned(),
        ipc: Vec::new(),
        primary_key: args.primary_key,
        mode: mode.into(),
    };
    let input = Input::new(&args.input, format_of(&args.input, args.format));
    let write = Write {
        connection,
        call,
        input,
        schema,
        rejects: args.rejects,
    };
    Job::ask(&args.server, |session, voice| {
        Box::pin(run(session, voice, write))
    })
}

fn stream_name(args: &WriteArgs) -> Result<String> {
    if let Some(stream) = &args.stream {
        return Ok(stream.clone());
    }
    let stem = Path::new(&args.input)
        .file_stem()
        .and_then(|stem| stem.to_str());
    match stem {
        Some(stem) if args.input.as_os_str() != "-" => Ok(stem.to_owned()),
        _ => Err(Stop::usage(
            "--stream NAME: which stream do the records belong to?",
        )),
    }
}

async fn run(session: &Session, voice: &mut Voice, write: Write) -> Result<Exit> {
    let Write {
        connection,
        call,
        input,
        mut schema,
        rejects,
    } = write;
    // Opened before the call: input that cannot be read at all makes no worker.
    let opened = input.clone();
    let records = tokio::task::spawn_blocking(move || opened.open())
        .await
        .map_err(anyhow::Error::from)??;
    schema.ipc = records.schema().to_vec();
    if let Some(path) = &rejects {
        voice.keep_rejects(path)?;
    }

    let (sender, requests) = mpsc::channel(AHEAD);
    let start = v1::WriteStart {
        options: Some(call.options.clone()),
        connection: Some(connection.reference.clone()),
        encoding: match input.format {
            RecordFormat::Arrow => v1::Encoding::ArrowIpc.into(),
            RecordFormat::Jsonl => v1::Encoding::JsonLines.into(),
        },
    };
    let (broke, broken) = oneshot::channel();
    let stream = schema.stream.clone();
    let sent = Arc::new(AtomicU64::new(0));
    let feed = Feed {
        sender,
        stream: stream.clone(),
        sent: sent.clone(),
    };
    let handle = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        if let Err(stop) = feed.all(start, schema, records) {
            let _ = broke.send(stop);
            // An input that breaks must not look like one that ended: the
            // channel stays open until the call is dropped.
            handle.block_on(feed.sender.closed());
        }
    });

    let mut runtime = session.runtime();
    let outgoing = ReceiverStream::new(requests);
    let broken = async {
        match broken.await {
            Ok(stop) => stop,
            Err(_) => std::future::pending().await,
        }
    };
    let mut broken = std::pin::pin!(broken);
    let events = tokio::select! {
        events = session.wait(runtime.write(outgoing)) => events.map_err(|stop| connection.explain(stop))?,
        stop = &mut broken => return Err(stop),
    };
    let mut taken = 0;
    let mut committed = 0;
    let ended = follow(session, voice, events, broken, async |voice, _, event| {
        match event {
            Event::Acknowledged(acknowledged) => {
                taken = taken.max(acknowledged.records);
                voice.written(&stream, taken, sent.load(Ordering::Relaxed));
            }
            Event::Committed(v1::Committed {
                checkpoint: Some(checkpoint),
                ..
            }) => {
                committed = committed.max(checkpoint.records);
                taken = taken.max(committed);
                voice.written(&stream, taken, sent.load(Ordering::Relaxed));
            }
            _ => {}
        }
        Ok(())
    });
    let ended = ended.await.map_err(|stop| connection.explain(stop));
    if ended.is_err() && committed > 0 {
        voice.line(&format!(
            "{stream}: the first {committed} records are durable"
        ));
    }
    let done = call.ended(ended)?;
    let refused = done.stats.rejected.max(voice.rejects());
    voice.line(&format!(
        "{stream}: {} records written, {refused} refused",
        done.stats.records
    ));
    Ok(if refused > 0 {
        Exit::Findings
    } else {
        Exit::Done
    })
}

/// Sends an input, from a thread of its own since reading blocks.
struct Feed {
    sender: mpsc::Sender<v1::WriteRequest>,
    stream: String,
    /// Records until now.
    sent: Arc<AtomicU64>,
}

impl Feed {
    fn all(
        &self,
        start: v1::WriteStart,
        schema: v1::WriteSchema,
        mut records: Records,
    ) -> Result<()> {
        let schema_id = schema.schema_id.clone();
        let mut open = self.send(Message::Start(start)) && self.send(Message::Schema(schema));
        let (mut sequence, mut total, mut since) = (0, 0, 0);
        while open && let Some(piece) = records.piece()? {
            sequence += 1;
            total += piece.records;
            self.sent.store(total, Ordering::Relaxed);
            since += piece.data.len() as u64;
            open = self.send(Message::Batch(v1::WriteBatch {
                stream: self.stream.clone(),
                partition: String::new(),
                schema_id: schema_id.clone(),
                epoch: 1,
                sequence,
                data: piece.data,
                records: piece.records,
            }));
            if since >= CHECKPOINT_EVERY {
                since = 0;
                open = open && self.checkpoint(total, false);
            }
        }
        if open {
            self.checkpoint(total, true);
        }
        Ok(())
    }

    fn checkpoint(&self, records: u64, last: bool) -> bool {
        self.send(Message::Checkpoint(v1::Checkpoint {
            stream: self.stream.clone(),
            partition: String::new(),
            id: format!("input-{records}{}", if last { "-end" } else { "" }),
            state: format!("{{\"records\":{records}}}").into_bytes(),
            records,
            r#final: last,
        }))
    }

    /// False when the call has ended; then there is nobody to send to.
    fn send(&self, message: Message) -> bool {
        self.sender
            .blocking_send(v1::WriteRequest {
                message: Some(message),
            })
            .is_ok()
    }
}
