//! The command provider: runs one program that the operator names, and takes what it prints for the secret.
//!
//! The program is what the operator wrote and nothing else: no shell, an environment written from nothing, no descriptor
//! but its three. Of a reference only the path reaches it, as one argument or a part of one, and a path cannot be an option
//! (`Scheme::Command` refuses a segment that begins with anything but a letter, a digit or `_`). It runs in a process group
//! of its own, which ends with the read, however that ends.
//!
//! The exit status says what the caller is told: 0, the output is the secret; 75 (EX_TEMPFAIL of sysexits(3)), it may pass;
//! any other, it is refused. What the program writes to stderr goes to the log, without what it printed, and never to the
//! caller.

mod config;
mod group;
mod said;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;

use async_trait::async_trait;

use self::config::PLACE;
use self::group::{Ended, Failed, Group, Program};
use crate::lasting::Lasting;
use crate::provider::{Content, Provider, ProviderError, Session};
use crate::reference::{Scheme, check_command_path};
use crate::value::SecretValue;

pub use self::config::{CommandConfig, CommandConfigFault};

/// EX_TEMPFAIL of sysexits(3): the one status that says that trying again may help.
const MAY_PASS: i32 = 75;

/// Where programs that the program starts are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Secrets that a program of the operator prints. Cheap to clone.
#[derive(Clone)]
pub struct CommandProvider(Arc<CommandConfig>);

impl CommandProvider {
    /// Looks at the program, and runs nothing yet.
    ///
    /// # Errors
    /// Everything in `config` that cannot be honoured; at least one.
    pub fn new(config: CommandConfig) -> Result<CommandProvider, Vec<CommandConfigFault>> {
        let mut faults = config.faults();
        if faults.is_empty() {
            faults.extend(config.program_fault());
        }
        match faults.is_empty() {
            true => Ok(CommandProvider(Arc::new(config))),
            false => Err(faults),
        }
    }

    fn program(&self, path: &str) -> Program {
        let (name, arguments) = self.0.run.split_first().expect("it was judged");
        let fixed = [("PATH", PATH.into()), ("HOME", home())];
        let passed = self.0.environment.iter();
        let passed = passed.filter_map(|name| Some((name.as_str(), std::env::var_os(name)?)));
        Program {
            name: name.clone(),
            arguments: arguments.iter().map(|it| it.replace(PLACE, path)).collect(),
            environment: fixed
                .into_iter()
                .chain(passed)
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }
    }

    fn judge(&self, ended: Result<Ended<'_>, Failed>) -> Result<SecretValue, ProviderError> {
        let config = &self.0;
        let program = &config.run[0];
        let ended = ended.map_err(|failed| match failed {
            Failed::Start(error) => unstarted(program, &error),
            Failed::Late => ProviderError::unavailable(
                format!(
                    "the command did not end within {} s",
                    config.timeout.as_secs_f64()
                ),
                "try again; look at what it waits for, and at secrets.command.timeout",
            ),
            Failed::TooLong => ProviderError::malformed(
                format!("the command printed more than {} bytes", config.max_output),
                "have it print the secret alone, or raise secrets.command.max_output",
            ),
            Failed::Io(error) => ProviderError::unavailable(
                format!("the command's output cannot be read ({})", error.kind()),
                "try again",
            ),
        })?;
        refusal(ended.status)?;
        let text = std::str::from_utf8(ended.printed).map_err(|_| {
            ProviderError::malformed(
                "what the command printed is not UTF-8",
                "have it print binary secrets as base64 text",
            )
        })?;
        let text = text
            .strip_suffix('\n')
            .map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
        if text.is_empty() {
            return Err(ProviderError::malformed(
                "the command ended with success and printed nothing",
                "have it print the secret, or end with another exit status",
            ));
        }
        Ok(SecretValue::new(text))
    }
}

/// Shows the program, not what is passed to it.
impl fmt::Debug for CommandProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandProvider")
            .field("program", &self.0.run[0])
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Provider for CommandProvider {
    fn scheme(&self) -> Scheme {
        Scheme::Command
    }

    async fn open(&self, _: &str) -> Result<Box<dyn Session>, ProviderError> {
        Ok(self.session())
    }
}

#[async_trait]
impl Lasting for CommandProvider {
    async fn get(&self, path: &str) -> Result<Content, ProviderError> {
        // References are parsed so; a provider does not trust its callers with its limits.
        check_command_path(path).map_err(|error| {
            let text = error.to_string();
            let (message, help) = text.split_once("; ").unwrap_or((&text, "mend it"));
            ProviderError::denied(message, help)
        })?;
        let mut group = Group::new(self.0.max_output);
        let ended = group.run(&self.program(path), self.0.timeout).await;
        let status = ended.as_ref().ok().map(|ended| ended.status);
        let value = self.judge(ended);
        group.said().log(&self.0.run[0], path, status);
        value.map(Content::Text)
    }
}

/// Many programs do not start without one.
fn home() -> OsString {
    std::env::var_os("HOME").unwrap_or_else(|| "/".into())
}

fn unstarted(program: &str, error: &io::Error) -> ProviderError {
    let message = format!("{program} cannot be started ({error})");
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            ProviderError::denied(message, "mend secrets.command of the daemon")
        }
        _ => ProviderError::unavailable(message, "try again"),
    }
}

/// Nothing where the command succeeded.
fn refusal(status: ExitStatus) -> Result<(), ProviderError> {
    let log = "the daemon's log has what it wrote to stderr";
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(MAY_PASS), _) => Err(ProviderError::unavailable(
            format!("the command ended with exit status {MAY_PASS}: it may pass"),
            format!("try again; {log}"),
        )),
        (Some(code), _) => Err(ProviderError::denied(
            format!("the command ended with exit status {code}"),
            format!("mend the reference or what the command may read; {log}"),
        )),
        (None, signal) => Err(ProviderError::unavailable(
            format!("signal {} ended the command", signal.unwrap_or(0)),
            format!("try again; {log}"),
        )),
    }
}
