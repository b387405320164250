//! `caisson serve`: the daemon, until it is told to stop.

use std::path::PathBuf;

use caisson_daemon::{Config, Listen};

use super::Job;
use crate::args::ServeArgs;
use crate::embedded;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::stop::{Result, Stop};
use crate::target::data_dir;
use crate::voice::Voice;

/// A daemon that is configured and not started.
pub(crate) struct Serve {
    config: Config,
}

pub(crate) fn build(mut args: ServeArgs) -> Result<Job> {
    args.embedded = args.embedded.or_environment();
    let default = data_dir(&args.embedded, "daemon");
    let mut config = match &args.config {
        None => Config::embedded(default?),
        // A file may name a data directory where the environment gives none.
        Some(file) => Config::load(
            file,
            default.unwrap_or_else(|_| PathBuf::from("/var/lib/caisson")),
        )?,
    };
    if let Some(dir) = &args.embedded.data_dir {
        config.data_dir = std::path::absolute(dir).map_err(anyhow::Error::from)?;
        if args.config.is_none() {
            config.listen = Config::embedded(config.data_dir.clone()).listen;
        }
    }
    if let Some(path) = args.socket {
        let path = std::path::absolute(path).map_err(anyhow::Error::from)?;
        match &mut config.listen {
            Listen::Unix { path: listen, .. } => *listen = path,
            Listen::Tcp { .. } => {
                return Err(Stop::usage(
                    "--socket does not go with a configuration that listens on TCP",
                ));
            }
        }
    }
    config.development.extend(args.development);
    embedded::apply(&args.embedded, &mut config)?;
    Ok(Job::Serve(Box::new(Serve { config })))
}

impl Serve {
    /// Runs until a signal, then lets calls end.
    pub(crate) async fn run(self, interrupt: Interrupt, voice: &mut Voice) -> Result<Exit> {
        let has_policies = self.config.policies.is_some();
        let mut daemon = embedded::start(self.config).await?;
        voice.line(&format!("listening on {}", daemon.endpoint()));
        if !has_policies {
            voice.line("no policies: connectors reach no network (--policies DIR)");
        }
        tokio::select! {
            failure = daemon.failed() => Err(Stop::Other(anyhow::anyhow!("the daemon stopped: {failure}"))),
            _ = interrupt.raised() => {
                voice.line("draining");
                daemon.shutdown().await;
                Ok(Exit::Done)
            }
        }
    }
}
