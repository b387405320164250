//! serve, doctor, new, validate, publish, install, connectors, spec.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{EmbeddedArgs, ServerArgs};

#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    /// The daemon's configuration file; without one, embedded defaults.
    #[arg(long, env = "CAISSON_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Unix socket to listen on [default: caisson.sock in the data directory].
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// A workspace that may run connectors from folders; repeat for more.
    #[arg(long = "development", value_name = "WORKSPACE")]
    pub(crate) development: Vec<String>,
    #[command(flatten)]
    pub(crate) embedded: EmbeddedArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DoctorArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the plan of a worker's sandbox instead: every step, in order.
    #[arg(long)]
    pub(crate) plan: bool,
    #[command(flatten)]
    pub(crate) embedded: EmbeddedArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct NewArgs {
    /// Name of the connector: lower-case letters, digits and dashes.
    pub(crate) name: String,
    /// Folder to make [default: the name].
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// What it starts as.
    #[arg(long, value_enum, default_value_t = Template::Source)]
    pub(crate) template: Template,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// A source over a REST API.
    Source,
    /// A destination.
    Destination,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FindingsFormat {
    Text,
    /// One JSON array.
    Json,
}

/// Always runs here, in an embedded daemon; --server is taken and not asked.
#[derive(Debug, Clone, Args)]
pub(crate) struct ValidateArgs {
    /// The connector's folder.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// How findings are printed.
    #[arg(long, value_enum, default_value_t = FindingsFormat::Text)]
    pub(crate) format: FindingsFormat,
    /// Generate the connector's config module from connector.yaml first.
    #[arg(long)]
    pub(crate) write_config: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PublishArgs {
    /// The connector's folder, or a packed bundle.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Folder of wheels to take first, before the package index is asked.
    #[arg(long, value_name = "DIR")]
    pub(crate) wheels: Option<PathBuf>,
    /// Write the bundle here as well.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct InstallArgs {
    /// NAME@VERSION or NAME@sha256:DIGEST.
    #[arg(value_name = "NAME@VERSION")]
    pub(crate) connector: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectorsArgs {
    /// Only this connector.
    pub(crate) name: Option<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SpecArgs {
    /// NAME@VERSION or NAME@sha256:DIGEST.
    #[arg(
        value_name = "NAME@VERSION",
        required_unless_present = "path",
        conflicts_with = "path"
    )]
    pub(crate) connector: Option<String>,
    /// A connector's source folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
