//! The daemon in this process: of `serve`, or for one command. The only file
//! that turns arguments into the daemon's configuration.

use std::path::PathBuf;

use anyhow::Context as _;
use caisson_daemon::{CassetteMode, Config, Daemon, Layer, RecorderConfig, Traffic};

use crate::args::{EmbeddedArgs, TrafficArgs};
use crate::interrupt::Interrupt;
use crate::session::Session;
use crate::stop::{Result, Stop};
use crate::target::{Remote, Target, data_dir};

/// The configuration of a daemon that lives for one command. It runs
/// connectors from folders, with the policies that the command names.
pub(crate) fn config(args: &EmbeddedArgs, workspace: &str) -> Result<Config> {
    let mut config = Config::embedded(data_dir(args, "local")?);
    config.development.insert(workspace.to_owned());
    config.own_folders = true;
    // It would be ready when the command's worker has long begun.
    config.zygote_forks = 0;
    config.pool_bytes = 0;
    apply(args, &mut config)?;
    Ok(config)
}

/// Puts arguments over a configuration.
pub(crate) fn apply(args: &EmbeddedArgs, config: &mut Config) -> Result<()> {
    let path = |path: &PathBuf| {
        std::path::absolute(path).with_context(|| format!("the path {}", path.display()))
    };
    let over = |arg: &Option<PathBuf>, to: &mut Option<PathBuf>| -> Result<()> {
        if let Some(arg) = arg {
            *to = Some(path(arg)?);
        }
        Ok(())
    };
    over(&args.policies, &mut config.policies)?;
    over(&args.secrets, &mut config.secret_files)?;
    over(&args.dependencies, &mut config.dependencies)?;
    over(&args.python, &mut config.python)?;
    over(&args.shim, &mut config.shim)?;
    config.traffic = traffic(&args.traffic)?;
    for name in &args.allow_missing {
        let layer: Layer = name
            .parse()
            .map_err(|error| Stop::usage(format!("--allow-missing={name}: {error}")))?;
        if layer != Layer::Cgroup {
            return Err(Stop::usage(format!(
                "--allow-missing={name}: only cgroup may be missing"
            )));
        }
        config.allow_missing.insert(layer);
    }
    Ok(())
}

fn traffic(args: &TrafficArgs) -> Result<Traffic> {
    let whole = |path: &PathBuf| {
        std::path::absolute(path).with_context(|| format!("the path {}", path.display()))
    };
    let record = args.record.as_ref().map(|path| {
        Ok::<_, anyhow::Error>(RecorderConfig {
            path: whole(path)?,
            ignored: args.record_ignore.clone(),
            redact: args.record_hide.clone(),
        })
    });
    let mode = if args.replay_in_sequence {
        CassetteMode::Sequence
    } else {
        CassetteMode::Strict
    };
    Ok(Traffic {
        record: record.transpose()?,
        replay: args
            .replay
            .as_ref()
            .map(|path| Ok::<_, anyhow::Error>((whole(path)?, mode)))
            .transpose()?,
        faults: args.faults.as_ref().map(whole).transpose()?,
    })
}

/// Starts a daemon; what keeps it from starting says what to do.
pub(crate) async fn start(config: Config) -> Result<Daemon> {
    let data_dir = config.data_dir.clone();
    Daemon::start(config)
        .await
        .map_err(anyhow::Error::from)
        .with_context(|| format!("the daemon in {} did not start", data_dir.display()))
        .map_err(Stop::Other)
}

/// A daemon that answers, and what has to be stopped afterwards.
pub(crate) struct Host {
    pub(crate) session: Session,
    daemon: Option<Daemon>,
}

impl Host {
    /// Connects to a running daemon, or starts one and connects to that.
    pub(crate) async fn reach(target: Target, interrupt: Interrupt) -> Result<Self> {
        match target {
            Target::Remote(remote) => {
                let session = Session::connect(&remote, interrupt).await?;
                Ok(Self {
                    session,
                    daemon: None,
                })
            }
            Target::Local {
                embedded,
                workspace,
            } => {
                let daemon = start(config(&embedded, &workspace)?).await?;
                let remote = Remote {
                    address: daemon.endpoint().to_owned(),
                    tls: None,
                    key: None,
                };
                let session = Session::connect(&remote, interrupt).await?;
                Ok(Self {
                    session,
                    daemon: Some(daemon),
                })
            }
        }
    }

    /// Stops the daemon, if it is ours.
    pub(crate) async fn drain(self) {
        drop(self.session);
        if let Some(daemon) = self.daemon {
            daemon.shutdown().await;
        }
    }
}
