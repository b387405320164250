//! What the daemon logs here, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::args::{Command, LogFormat, OutputArgs};
use crate::stop::{Result, Stop};

/// Starts logging: everything of note under `serve`, warnings elsewhere.
pub(crate) fn start(args: &OutputArgs, command: &Command) -> Result<()> {
    let default = match command {
        Command::Serve(_) => "info",
        _ => "warn",
    };
    let filter = args.log.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Stop::usage(format!(
            "--log {filter}: {error}; write for example `info` or `caisson_daemon=debug`"
        ))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match args.log_format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Stop::Other(anyhow::anyhow!("logging did not start: {error}")))
}
