//! What the user may type. Parsing only: nothing here reads a file, asks the
//! environment for more than clap does, or connects; `build` of each command
//! turns these into working arguments.

mod calls;
mod connection;
mod data;
mod registry;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use calls::{
    AuditArgs, CallsArgs, CallsCommand, CommitArgs, DiffArgs, ExplainArgs, LearnArgs, PolicyArgs,
    PolicyCommand, SecretsArgs, SecretsCommand,
};
pub(crate) use connection::ConnectionArgs;
pub(crate) use data::{
    CallArgs, FromArg, ListArgs, ListFormat, ModeArg, ReadArgs, RecordFormat, SelectArgs, SyncArgs,
    TestArgs, WriteArgs, WriteModeArg,
};
pub(crate) use registry::{
    ConnectorsArgs, DoctorArgs, FindingsFormat, InstallArgs, NewArgs, PublishArgs, ServeArgs,
    SpecArgs, Template, ValidateArgs,
};
pub(crate) use server::{EmbeddedArgs, ServerArgs, TrafficArgs};

use clap::{Parser, Subcommand, ValueEnum};

/// Runs connector code in isolated workers and moves its records.
#[derive(Debug, Parser)]
#[command(
    name = "caisson",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Exit codes: 0 done, 1 findings, 2 could not run, 3 configuration, 4 credentials, \
5 network, 6 quota, 7 try again, 8 data, 9 limits, 10 connector, 11 conflict, 12 internal, 130 cancelled."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How the command speaks, on standard error.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Messages")]
pub(crate) struct OutputArgs {
    /// Print nothing but data and errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Progress as bars or as plain lines; bars need a terminal.
    #[arg(long, global = true, value_enum, default_value_t = ProgressArg::Auto, value_name = "HOW")]
    pub(crate) progress: ProgressArg,
    /// What the daemon logs here, for example `info` or `caisson_daemon=debug`.
    #[arg(long, global = true, env = "CAISSON_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Log as text or as one JSON object a line.
    #[arg(long, global = true, env = "CAISSON_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressArg {
    /// Bars on a terminal, else lines.
    Auto,
    Bars,
    Lines,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon.
    Serve(ServeArgs),
    /// Say which isolation layers this host gives, and how to mend what is missing.
    Doctor(DoctorArgs),
    /// Start a connector in a new folder.
    New(NewArgs),
    /// Check a connector's folder, here: no daemon is asked, no network used.
    Validate(ValidateArgs),
    /// Check, pack and store a connector's folder as a version.
    Publish(PublishArgs),
    /// Make a published version ready to run.
    Install(InstallArgs),
    /// List published connectors.
    Connectors(ConnectorsArgs),
    /// Show what a connector is and needs.
    Spec(SpecArgs),
    /// Try a connection.
    Test(TestArgs),
    /// List what a connection can read or write.
    List(ListArgs),
    /// Read records out of a source.
    Read(ReadArgs),
    /// Write records into a destination.
    Write(WriteArgs),
    /// Read a source into a destination.
    Sync(SyncArgs),
    /// Store the checkpoints of a state file.
    Commit(CommitArgs),
    /// Look at calls, or cancel one.
    Calls(CallsArgs),
    /// Check policies, or explain what one decides.
    Policy(PolicyArgs),
    /// Look at what a connection's secrets come to.
    Secrets(SecretsArgs),
    /// Follow the audit log of a running daemon.
    Audit(AuditArgs),
}
