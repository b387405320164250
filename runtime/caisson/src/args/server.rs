//! Which daemon answers: one that runs, or one embedded for this command.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Daemon")]
pub(crate) struct ServerArgs {
    /// A running daemon: unix:/path, http://127.0.0.1:port or https://host:port.
    #[arg(long, env = "CAISSON_SERVER", value_name = "ADDRESS")]
    pub(crate) server: Option<String>,
    /// Use a daemon embedded in this command, even if CAISSON_SERVER is set (the default without one).
    #[arg(long)]
    pub(crate) local: bool,
    /// The authority that signed the daemon's certificate, PEM.
    #[arg(long, env = "CAISSON_TLS_CA", value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// This client's certificate, PEM.
    #[arg(
        long,
        env = "CAISSON_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// This client's private key, PEM.
    #[arg(
        long,
        env = "CAISSON_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub(crate) tls_key: Option<PathBuf>,
    /// A file that holds this client's key for the daemon.
    #[arg(long, env = "CAISSON_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Workspace that the call belongs to.
    #[arg(
        long,
        env = "CAISSON_WORKSPACE",
        value_name = "NAME",
        default_value = "default"
    )]
    pub(crate) workspace: String,
    #[command(flatten)]
    pub(crate) embedded: EmbeddedArgs,
}

/// Configuration of a daemon that this process runs itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Embedded daemon")]
pub(crate) struct EmbeddedArgs {
    /// Where state, registry and run files live [env: CAISSON_DATA_DIR] [default: $XDG_STATE_HOME/caisson/...].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Folder of policy files; without one, no connector reaches any network [env: CAISSON_POLICIES].
    #[arg(long, value_name = "DIR")]
    pub(crate) policies: Option<PathBuf>,
    /// Folder that `file:` secret references are read from [env: CAISSON_SECRETS].
    #[arg(long, value_name = "DIR")]
    pub(crate) secrets: Option<PathBuf>,
    /// dependencies.toml: what connectors may depend on [env: CAISSON_DEPENDENCIES].
    #[arg(long, value_name = "FILE")]
    pub(crate) dependencies: Option<PathBuf>,
    /// Python interpreter of the workers, 3.11 or later [env: CAISSON_PYTHON].
    #[arg(long, value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
    /// Folder that holds the Python package `caisson` [env: CAISSON_SHIM].
    #[arg(long, value_name = "DIR")]
    pub(crate) shim: Option<PathBuf>,
    /// Accept that the host lacks this isolation layer; only `cgroup` can be [env: CAISSON_ALLOW_MISSING].
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    pub(crate) allow_missing: Vec<String>,
    #[command(flatten)]
    pub(crate) traffic: TrafficArgs,
}

/// For the tests of connectors: what the gateway does with requests under `protocol: https`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Cassettes and faults (embedded daemon)")]
pub(crate) struct TrafficArgs {
    /// Record every inspected exchange into this cassette (HAR 1.2), without secrets.
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub(crate) record: Option<PathBuf>,
    /// Hide these values of recorded JSON bodies: a JSON pointer, `*` for every member; repeat for more.
    #[arg(long, value_name = "POINTER", requires = "record")]
    pub(crate) record_hide: Vec<String>,
    /// Leave these query parameters out of the recording, and hide these headers; repeat for more.
    #[arg(long, value_name = "NAME", requires = "record")]
    pub(crate) record_ignore: Vec<String>,
    /// Answer inspected requests out of this cassette: no network, no secret.
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Option<PathBuf>,
    /// Play recordings in their order, whatever query and body say.
    #[arg(long, requires = "replay")]
    pub(crate) replay_in_sequence: bool,
    /// Make the faults of this script (docs/guides/author.md).
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
}

impl EmbeddedArgs {
    /// The same, with the environment where nothing was typed. Kept apart from
    /// parsing: what only the environment says is no mistake beside --server.
    pub(crate) fn or_environment(&self) -> Self {
        let or = |typed: &Option<PathBuf>, name: &str| {
            let there = || {
                std::env::var_os(name)
                    .filter(|value| !value.is_empty())
                    .map(PathBuf::from)
            };
            typed.clone().or_else(there)
        };
        Self {
            data_dir: or(&self.data_dir, "CAISSON_DATA_DIR"),
            policies: or(&self.policies, "CAISSON_POLICIES"),
            secrets: or(&self.secrets, "CAISSON_SECRETS"),
            dependencies: or(&self.dependencies, "CAISSON_DEPENDENCIES"),
            python: or(&self.python, "CAISSON_PYTHON"),
            shim: or(&self.shim, "CAISSON_SHIM"),
            allow_missing: match std::env::var("CAISSON_ALLOW_MISSING") {
                Ok(named) if self.allow_missing.is_empty() && !named.is_empty() => {
                    named.split(',').map(str::to_owned).collect()
                }
                _ => self.allow_missing.clone(),
            },
            traffic: self.traffic.clone(),
        }
    }
}
