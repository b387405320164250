//! The binary `caisson`: the daemon and its command line.
//!
//! It parses, reads connection and state files, and prints; what a command
//! does, the daemon does, whether it runs elsewhere or inside this process.
//! Nothing here decides what a connector may do.
#![forbid(unsafe_code)]

mod args;
mod call;
mod commands;
mod connection;
mod data;
mod embedded;
mod exit;
mod interrupt;
mod logging;
mod offline;
mod printable;
mod report;
mod session;
mod status;
mod stop;
mod target;
mod voice;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use crate::args::Args;
use crate::commands::Job;
use crate::embedded::Host;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::stop::Result;
use crate::voice::Voice;

fn main() -> ExitCode {
    // The launcher is this program again: single-threaded, before anything is set up.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|arg| arg == "launcher")
    {
        return launcher();
    }
    let args = Args::parse();
    let mut voice = Voice::new(&args.output);
    let ended = logging::start(&args.output, &args.command)
        .and_then(|()| Job::build(args.command))
        .and_then(|job| run(job, &mut voice));
    match ended {
        Ok(exit) => exit.into(),
        Err(stop) => {
            voice.finish();
            eprint!("{}", report::text(&stop));
            stop.exit().into()
        }
    }
}

fn run(job: Job, voice: &mut Voice) -> Result<Exit> {
    let runtime = match &job {
        Job::Here(_) => None,
        _ => Some(tokio::runtime::Runtime::new().map_err(anyhow::Error::from)?),
    };
    let ended = match (job, &runtime) {
        (Job::Here(here), _) => here(voice),
        (_, None) => unreachable!("every other job has a runtime"),
        (job, Some(runtime)) => runtime.block_on(ask(job, voice)),
    };
    if let Some(runtime) = runtime {
        // Reading standard input cannot be interrupted; it does not hold us up.
        runtime.shutdown_timeout(Duration::from_millis(100));
    }
    ended
}

async fn ask(job: Job, voice: &mut Voice) -> Result<Exit> {
    let interrupt = Interrupt::listen().map_err(anyhow::Error::from)?;
    match job {
        Job::Here(here) => here(voice),
        Job::Alone(alone) => alone(voice, interrupt).await,
        Job::Serve(serve) => serve.run(interrupt, voice).await,
        Job::Ask(target, work) => {
            let host = Host::reach(*target, interrupt).await?;
            let ended = work(&host.session, voice).await;
            host.drain().await;
            ended
        }
    }
}

fn launcher() -> ExitCode {
    match caisson_daemon::launcher_main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("launcher: {error}");
            ExitCode::from(Exit::CouldNotRun as u8)
        }
    }
}
