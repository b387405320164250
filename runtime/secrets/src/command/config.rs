//! What the operator says of the command, and what of it cannot be honoured.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{AccessFlags, eaccess};

/// Stands in an argument for the path of the reference.
pub(super) const PLACE: &str = "{path}";

/// The longest time that a command may be given: what the daemon waits for any provider.
const LONGEST: Duration = Duration::from_secs(30);

/// The most that a command may be let print, in bytes.
const MOST: usize = 1024 * 1024;

const NO_OTHERS: &str = "chmod o-w it: whoever writes it is given every secret";

/// The program that `command:` references run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandConfig {
    /// The program, an absolute path, and its arguments; `{path}` in them is the path of the reference.
    pub run: Vec<String>,
    /// How long one run may take; 30 s at most.
    pub timeout: Duration,
    /// Variables of the daemon that the program gets beside a PATH of the system's directories and HOME.
    pub environment: Vec<String>,
    /// The most that it may print, in bytes; 1 MiB at most.
    pub max_output: usize,
}

/// What is wrong with a [`CommandConfig`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {help}")]
pub struct CommandConfigFault {
    /// The key, as a JSON pointer below `command`: `/run/0`.
    pub at: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl CommandConfig {
    /// With 10 s, 64 KiB and no variable.
    pub fn new(run: Vec<String>) -> CommandConfig {
        CommandConfig {
            run,
            timeout: Duration::from_secs(10),
            environment: Vec::new(),
            max_output: 64 * 1024,
        }
    }

    /// Everything that cannot be honoured. Looks at nothing but the words.
    pub fn faults(&self) -> Vec<CommandConfigFault> {
        let mut faults = Vec::new();
        let mut fault = |at: String, message: &str, help: &str| {
            faults.push(CommandConfigFault {
                at,
                message: message.to_owned(),
                help: help.to_owned(),
            });
        };
        let arguments = self.run.get(1..).unwrap_or_default();
        match self.run.first() {
            Some(program) if program.contains(PLACE) => fault(
                "/run/0".into(),
                "a reference would choose the program",
                "write {path} in an argument",
            ),
            Some(program) if Path::new(program).is_absolute() => {}
            _ => fault(
                "/run/0".into(),
                "the program is no absolute path",
                "write for example /usr/local/bin/shop-secret",
            ),
        }
        if !arguments.iter().any(|argument| argument.contains(PLACE)) {
            fault(
                "/run".into(),
                "the program is not told which secret is meant",
                "write {path} where it takes the name, for example [/usr/bin/pass, show, \"{path}\"]",
            );
        }
        for (index, _) in self.run.iter().enumerate().filter(|it| it.1.contains('\0')) {
            fault(
                format!("/run/{index}"),
                "holds a character that no argument can have",
                "leave it out",
            );
        }
        for (index, name) in self.environment.iter().enumerate() {
            if !is_variable(name) {
                fault(
                    format!("/environment/{index}"),
                    "is no name of a variable",
                    "write names alone, such as AWS_PROFILE; the values are the daemon's",
                );
            }
        }
        if self.timeout.is_zero() || self.timeout > LONGEST {
            fault(
                "/timeout".into(),
                "is no time that a command can be given",
                "write up to 30s",
            );
        }
        if self.max_output == 0 || self.max_output > MOST {
            fault(
                "/max_output".into(),
                "is no size that a secret can have",
                "write up to 1MiB",
            );
        }
        faults
    }

    /// Why the program that is there, or a file that it is told of, cannot be run, or should not.
    pub(super) fn program_fault(&self) -> Option<CommandConfigFault> {
        let (program, arguments) = self.run.split_first()?;
        let program = Path::new(program);
        let at = |index: usize, message: String, help: &str| CommandConfigFault {
            at: format!("/run/{index}"),
            message,
            help: help.to_owned(),
        };
        let fault = |message: String, help: &str| Some(at(0, message, help));
        let others_may_write =
            |facts: &Metadata| facts.is_file() && facts.permissions().mode() & 0o002 != 0;
        let shown = program.display();
        match std::fs::metadata(program) {
            Err(error) => fault(
                format!("{shown} cannot be used ({error})"),
                "name a program that is there",
            ),
            Ok(facts) if !facts.is_file() => fault(format!("{shown} is no file"), "name a program"),
            Ok(_) if eaccess(program, AccessFlags::X_OK).is_err() => fault(
                format!("the daemon's user may not run {shown}"),
                "chmod a+x it",
            ),
            Ok(facts) if others_may_write(&facts) => {
                fault(format!("everybody may write {shown}"), NO_OTHERS)
            }
            // Such as the script that an interpreter runs.
            Ok(_) => arguments.iter().enumerate().find_map(|(index, argument)| {
                let facts = Path::new(argument).metadata();
                let writable =
                    argument.starts_with('/') && facts.is_ok_and(|facts| others_may_write(&facts));
                writable.then(|| {
                    at(
                        index + 1,
                        format!("everybody may write {argument}"),
                        NO_OTHERS,
                    )
                })
            }),
        }
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(run: &[&str]) -> Vec<String> {
        let run = run.iter().map(|&it| it.to_owned()).collect();
        let faults = CommandConfig::new(run).faults();
        faults.into_iter().map(|fault| fault.at).collect()
    }

    #[test]
    fn a_command_is_a_whole_path_and_says_where_the_name_goes() {
        for run in [
            &["/bin/pass", "show", "{path}"][..],
            &["/bin/gcloud", "--secret={path}"],
            &["/bin/x", "{path}", "{path}/again"],
        ] {
            assert!(faults(run).is_empty(), "{run:?}");
        }
        for (run, at) in [
            (&[][..], &["/run/0", "/run"][..]),
            (&["pass", "{path}"], &["/run/0"]),
            (&["./pass", "{path}"], &["/run/0"]),
            (&["/bin/pass"], &["/run"]),
            (&["/bin/pass", "path"], &["/run"]),
            (&["/bin/{path}", "{path}"], &["/run/0"]),
            (&["/bin/pass", "{path}", "a\0b"], &["/run/2"]),
        ] {
            assert_eq!(faults(run), at, "{run:?}");
        }
    }

    #[test]
    fn every_other_fault_is_reported_at_once() {
        let mut config = CommandConfig::new(vec!["/bin/x".into(), "{path}".into()]);
        config.environment = ["AWS_PROFILE", "A=b", "", "1A"].map(String::from).into();
        config.timeout = Duration::from_secs(31);
        config.max_output = 0;
        let at: Vec<_> = config.faults().into_iter().map(|fault| fault.at).collect();
        let names = ["/environment/1", "/environment/2", "/environment/3"];
        assert_eq!(at[..3], names);
        assert_eq!(at[3..], ["/timeout", "/max_output"]);
        config.timeout = Duration::ZERO;
        assert!(config.faults().iter().any(|fault| fault.at == "/timeout"));
    }

    #[test]
    fn a_program_that_cannot_or_should_not_be_run_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        let told = || {
            let run = vec![program.to_str().unwrap().to_owned(), "{path}".into()];
            CommandConfig::new(run)
                .program_fault()
                .map(|fault| fault.to_string())
        };
        assert!(told().unwrap().contains("cannot be used"));
        for (mode, said) in [
            (0o600, Some("may not run")),
            (0o755, None),
            (0o757, Some("everybody may write")),
        ] {
            std::fs::write(&program, "").unwrap();
            std::fs::set_permissions(&program, PermissionsExt::from_mode(mode)).unwrap();
            match (told(), said) {
                (Some(told), Some(said)) => assert!(told.contains(said), "{told}"),
                (told, said) => assert_eq!(told.as_deref(), said),
            }
        }
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o757)).unwrap();
        let script = program.to_str().unwrap().to_owned();
        let fault = CommandConfig::new(vec!["/bin/sh".into(), script, "{path}".into()])
            .program_fault()
            .unwrap();
        assert_eq!(fault.at, "/run/1");
        std::fs::remove_file(&program).unwrap();
        std::fs::create_dir(&program).unwrap();
        assert!(told().unwrap().contains("is no file"));
    }
}
