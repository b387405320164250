//! One file per command. Each turns parsed arguments into a [`Job`]: every
//! file read and every argument checked, nothing connected, nothing run.

mod audit;
mod calls;
mod commit;
mod connectors;
mod doctor;
mod install;
mod list;
mod new;
mod policy;
mod publish;
mod read;
mod secrets;
mod serve;
mod spec;
mod sync;
mod table;
mod test;
mod validate;
mod write;

pub(crate) use table::out;

use std::pin::Pin;

use crate::args::{Command, ServerArgs};
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::session::Session;
use crate::stop::Result;
use crate::target::Target;
use crate::voice::Voice;

/// A command that is ready to run.
pub(crate) enum Job {
    /// Needs no daemon.
    Here(Here),
    /// Runs a daemon of its own, in its own way.
    Alone(Alone),
    /// Is the daemon.
    Serve(Box<serve::Serve>),
    /// Asks a daemon.
    Ask(Box<Target>, Work),
}

type Pending<'a> = Pin<Box<dyn Future<Output = Result<Exit>> + 'a>>;

/// What runs without a daemon.
pub(crate) type Here = Box<dyn FnOnce(&mut Voice) -> Result<Exit>>;

/// What runs beside the daemon's services.
pub(crate) type Alone = Box<dyn for<'a> FnOnce(&'a mut Voice, Interrupt) -> Pending<'a>>;

/// What is asked of a daemon, once one is there.
pub(crate) type Work = Box<dyn for<'a> FnOnce(&'a Session, &'a mut Voice) -> Pending<'a>>;

impl Job {
    pub(crate) fn build(command: Command) -> Result<Self> {
        match command {
            Command::Serve(args) => serve::build(args),
            Command::Doctor(args) => doctor::build(args),
            Command::New(args) => new::build(args),
            Command::Validate(args) => validate::build(args),
            Command::Publish(args) => publish::build(args),
            Command::Install(args) => install::build(args),
            Command::Connectors(args) => connectors::build(args),
            Command::Spec(args) => spec::build(args),
            Command::Test(args) => test::build(args),
            Command::List(args) => list::build(args),
            Command::Read(args) => read::build(args),
            Command::Write(args) => write::build(args),
            Command::Sync(args) => sync::build(args),
            Command::Commit(args) => commit::build(args),
            Command::Calls(args) => calls::build(args),
            Command::Secrets(args) => secrets::build(args),
            Command::Audit(args) => audit::build(args),
            Command::Policy(args) => policy::build(args),
        }
    }

    /// A job for the daemon that `server` names.
    fn ask<F>(server: &ServerArgs, work: F) -> Result<Self>
    where
        F: for<'a> FnOnce(&'a Session, &'a mut Voice) -> Pending<'a> + 'static,
    {
        Ok(Job::Ask(Box::new(server.target()?), Box::new(work)))
    }
}
