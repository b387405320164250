//! commit, calls, policy, secrets, audit.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ConnectionArgs, ServerArgs};

#[derive(Debug, Clone, Args)]
pub(crate) struct CommitArgs {
    /// Name of the stored checkpoints: a connection's name or a state key.
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    /// State file whose checkpoints are stored.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: PathBuf,
    /// Only this stream; repeat for more.
    #[arg(long = "stream", value_name = "NAME")]
    pub(crate) streams: Vec<String>,
    /// Revision that must be there; 0: none yet [default: what the daemon
    /// says of a stored connection, else 0].
    #[arg(long, value_name = "N", conflicts_with = "force")]
    pub(crate) expected_revision: Option<u64>,
    /// Store them whatever is there.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CallsArgs {
    #[command(subcommand)]
    pub(crate) command: CallsCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CallsCommand {
    /// List calls, newest first.
    List {
        /// Only calls in this state: running, succeeded, failed or cancelled.
        #[arg(long, value_parser = ["running", "succeeded", "failed", "cancelled"])]
        state: Option<String>,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show one call.
    Get {
        /// Identifier of the call.
        #[arg(value_name = "CALL")]
        id: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// End a running call.
    Cancel {
        /// Identifier of the call.
        #[arg(value_name = "CALL")]
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SecretsArgs {
    #[command(subcommand)]
    pub(crate) command: SecretsCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Say for every reference of a connection whether the policy grants it, where its value goes, and whether it can be had
    /// now. No value is shown.
    Check {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: ConnectionArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AuditArgs {
    /// Only this call; who is no operator names one of its own.
    #[arg(long, value_name = "CALL")]
    pub(crate) call: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Read policy files and report every fault of them.
    Check {
        /// A folder of policy files, or one file.
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Audit logs, to name the rules that nothing used; repeat for more.
        #[arg(long, value_name = "FILE")]
        audit: Vec<PathBuf>,
        /// Look only at what was seen in this workspace.
        #[arg(long, value_name = "NAME", requires = "audit")]
        workspace: Option<String>,
        /// Take warnings for findings: exit code 1.
        #[arg(long)]
        strict: bool,
    },
    /// Say whether a connection may reach a host and port, and by which rule.
    Explain(ExplainArgs),
    /// Let a running daemon read its policy files again.
    Reload {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Write the least policy that allows what audit logs or cassettes show.
    Learn(LearnArgs),
    /// Compare what a connector declares, what its policy allows and what was seen.
    Diff(DiffArgs),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LearnArgs {
    /// Audit logs (audit.jsonl and its rotated files) and cassettes (HAR).
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The connector's name, where the files do not say it or are of several.
    #[arg(long, value_name = "NAME")]
    pub(crate) connector: Option<String>,
    /// The workspace, where the files tell of the connector in several.
    #[arg(long, value_name = "NAME")]
    pub(crate) workspace: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DiffArgs {
    /// What the connector asks for.
    #[arg(long, value_name = "CONNECTOR.YAML")]
    pub(crate) declared: PathBuf,
    /// What operators allow it.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// What was seen: audit logs and cassettes; repeat for more.
    #[arg(long, value_name = "FILE")]
    pub(crate) observed: Vec<PathBuf>,
    /// Look only at what was seen in this workspace.
    #[arg(long, value_name = "NAME", requires = "observed")]
    pub(crate) workspace: Option<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ExplainArgs {
    /// Where the connector would connect to: HOST:PORT.
    #[arg(long = "to", value_name = "HOST:PORT")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
