//! How a data command is told which connection to use.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// Connection file: connector, config and streams.
    #[arg(value_name = "CONNECTION", conflicts_with_all = ["connector", "path", "config", "name"])]
    pub(crate) file: Option<PathBuf>,
    /// A published connector, exactly: NAME@VERSION or NAME@sha256:DIGEST.
    #[arg(long, value_name = "NAME@VERSION", conflicts_with_all = ["path", "name"])]
    pub(crate) connector: Option<String>,
    /// A connector's source folder; needs an embedded daemon or a development workspace.
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    pub(crate) path: Option<PathBuf>,
    /// The connector's configuration, YAML or JSON; with --connector or --path [default: the
    /// folder's samples/config.yaml].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A connection that the daemon has stored.
    #[arg(long = "connection", value_name = "NAME", conflicts_with = "config")]
    pub(crate) name: Option<String>,
    /// Name of the connection's stored checkpoints.
    #[arg(long, value_name = "KEY")]
    pub(crate) state_key: Option<String>,
}
