//! test, list, read, write, sync.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ConnectionArgs, ServerArgs};

#[derive(Debug, Clone, Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) call: CallArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// What every call takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Call")]
pub(crate) struct CallArgs {
    /// End the call after so long, for example 90s, 10m or 2h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) deadline: Option<std::time::Duration>,
    /// Makes the call idempotent: a repeated one gets the first one's result.
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// Write the call's figures here, one JSON object.
    #[arg(long, value_name = "FILE")]
    pub(crate) stats: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Jsonl,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ListArgs {
    /// How objects are printed.
    #[arg(long, value_enum, default_value_t = ListFormat::Text)]
    pub(crate) format: ListFormat,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) call: CallArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// The encoding of records in a file or pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecordFormat {
    /// Arrow IPC streaming format.
    Arrow,
    /// One JSON object a line.
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    Full,
    Incremental,
    Streaming,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WriteModeArg {
    Append,
    Upsert,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FromArg {
    /// The checkpoints that the daemon has stored.
    Stored,
    Beginning,
}

/// Which streams, and how they are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Streams")]
pub(crate) struct SelectArgs {
    /// A stream to read; repeat for more [default: the connection's streams].
    #[arg(long = "stream", value_name = "NAME")]
    pub(crate) streams: Vec<String>,
    /// A partition of the one stream; repeat for more [default: the whole stream].
    #[arg(long = "partition", value_name = "NAME", requires = "streams")]
    pub(crate) partitions: Vec<String>,
    /// How the streams are read [default: as the connection says].
    #[arg(long, value_enum, requires = "streams")]
    pub(crate) mode: Option<ModeArg>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ReadArgs {
    /// Where reading begins [default: the state file, else stored checkpoints
    /// of a --connection or --state-key, else the beginning].
    #[arg(long, value_enum, conflicts_with = "state")]
    pub(crate) from: Option<FromArg>,
    /// Stop after so many records of each stream.
    #[arg(long, value_name = "N")]
    pub(crate) max_records: Option<u64>,
    /// Encoding of the records [default: by the output's name, else jsonl].
    #[arg(long, value_enum)]
    pub(crate) format: Option<RecordFormat>,
    /// File for the records, a folder (ending in / or there already) for a
    /// file per stream, or - for standard output.
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// File of checkpoints: read at the start if it is there, kept up to date
    /// with what the output holds.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) call: CallArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct WriteArgs {
    /// Records to write: JSON lines or an Arrow IPC stream; - for standard input.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// Encoding of the input [default: by its name, else jsonl].
    #[arg(long, value_enum)]
    pub(crate) format: Option<RecordFormat>,
    /// The stream to write into [default: the input file's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// A field of the primary key; repeat for more.
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    pub(crate) primary_key: Vec<String>,
    /// How records are written [default: as the connection says, else upsert where there is a key].
    #[arg(long, value_enum)]
    pub(crate) mode: Option<WriteModeArg>,
    /// File for the records that the destination refused, JSON lines with the reason.
    #[arg(long, value_name = "FILE")]
    pub(crate) rejects: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) call: CallArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SyncArgs {
    /// Connection file of the source, or the name of a stored connection with --stored.
    #[arg(value_name = "SOURCE")]
    pub(crate) source: PathBuf,
    /// Connection file of the destination.
    #[arg(value_name = "DESTINATION")]
    pub(crate) destination: PathBuf,
    /// SOURCE and DESTINATION are names of stored connections.
    #[arg(long)]
    pub(crate) stored: bool,
    /// Name of the stored checkpoints [default: both files' paths].
    #[arg(long, value_name = "KEY")]
    pub(crate) state_key: Option<String>,
    /// Where reading begins.
    #[arg(long, value_enum, default_value_t = FromArg::Stored)]
    pub(crate) from: FromArg,
    /// Start the call and come back; it goes on in the daemon.
    #[arg(long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) call: CallArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// A number and a unit: `500ms`, `90s`, `10m`, `2h`; a bare number is seconds.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a number with ms, s, m or h".to_owned()),
    };
    match number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(scale))
    {
        Some(0) | None => Err("write a number above zero with ms, s, m or h".to_owned()),
        Some(ms) => Ok(std::time::Duration::from_millis(ms)),
    }
}
