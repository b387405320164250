//! Which daemon a command talks to: parsed and checked, not yet connected.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::args::{EmbeddedArgs, ServerArgs};
use crate::stop::{Result, Stop};

/// Where calls go.
#[derive(Debug)]
pub(crate) enum Target {
    Remote(Remote),
    /// A daemon inside this process, which runs folders in this workspace.
    Local {
        embedded: EmbeddedArgs,
        workspace: String,
    },
}

/// A daemon that runs already.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// `unix:/path`, `http://…` or `https://…`.
    pub(crate) address: String,
    pub(crate) tls: Option<Tls>,
    /// What the daemon knows this client by.
    pub(crate) key: Option<String>,
}

/// PEM texts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) authority: Vec<u8>,
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl ServerArgs {
    /// Checks the arguments and reads the files that they name.
    pub(crate) fn target(&self) -> Result<Target> {
        let Some(address) = self.server.as_deref().filter(|_| !self.local) else {
            return Ok(Target::Local {
                embedded: self.embedded.or_environment(),
                workspace: self.workspace.clone(),
            });
        };
        if self.embedded != EmbeddedArgs::default() {
            return Err(Stop::usage(format!(
                "the daemon at {address} has a configuration of its own: leave out --data-dir, --policies, \
                 --secrets, --dependencies, --python, --shim, --allow-missing, --record, --replay and --faults, or add --local"
            )));
        }
        let key = self.key_file.as_deref().map(key).transpose()?;
        let (scheme, rest) = address.split_once(':').unwrap_or((address, ""));
        match scheme {
            "unix" if rest.starts_with('/') => {
                let path = rest.trim_start_matches('/');
                Ok(Target::Remote(Remote {
                    address: format!("unix:/{path}"),
                    tls: None,
                    key,
                }))
            }
            "http" => {
                if key.is_none() {
                    return Err(Stop::usage(format!(
                        "{address} needs --key-file: this daemon knows its callers by keys"
                    )));
                }
                if !is_loopback(rest) {
                    return Err(Stop::usage(format!(
                        "{address} is not on this machine: a key is only sent there over https"
                    )));
                }
                Ok(Target::Remote(Remote {
                    address: address.to_owned(),
                    tls: None,
                    key,
                }))
            }
            "https" => {
                let Some(authority) = &self.tls_ca else {
                    return Err(Stop::usage(format!(
                        "{address} needs --tls-ca: the authority that signed its certificate"
                    )));
                };
                let identity = match (&self.tls_cert, &self.tls_key) {
                    (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
                    _ => None,
                };
                let tls = Tls {
                    authority: read(authority)?,
                    identity,
                };
                Ok(Target::Remote(Remote {
                    address: address.to_owned(),
                    tls: Some(tls),
                    key,
                }))
            }
            _ => Err(Stop::usage(format!(
                "`{address}` is no address of a daemon: write unix:/path, http://127.0.0.1:port or https://host:port"
            ))),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    Ok(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
}

fn key(path: &Path) -> Result<String> {
    let text = String::from_utf8(read(path)?)
        .with_context(|| format!("{} is not text", path.display()))?;
    let key = text.trim();
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Stop::usage(format!(
            "{} holds no key: one line of printable characters",
            path.display()
        )));
    }
    Ok(key.to_owned())
}

/// Whether what follows the scheme (`//host:port/…`) is this machine.
fn is_loopback(rest: &str) -> bool {
    let authority = rest.trim_start_matches('/');
    let authority = &authority[..authority.find('/').unwrap_or(authority.len())];
    let host = match authority.strip_prefix('[') {
        Some(v6) => &v6[..v6.find(']').unwrap_or(v6.len())],
        None => &authority[..authority.find(':').unwrap_or(authority.len())],
    };
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The data directory of a daemon in this process: `name` keeps a served one
/// and those of single commands apart, since one directory has one daemon.
pub(crate) fn data_dir(args: &EmbeddedArgs, name: &str) -> Result<PathBuf> {
    if let Some(dir) = &args.data_dir {
        return Ok(std::path::absolute(dir).context("--data-dir")?);
    }
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    match base {
        Some(base) => Ok(base.join("caisson").join(name)),
        None => Err(Stop::usage(
            "name a data directory with --data-dir: neither XDG_STATE_HOME nor HOME is set",
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Only {
        #[command(flatten)]
        server: ServerArgs,
    }

    fn target(args: &[&str]) -> Result<Target> {
        let args = std::iter::once("caisson").chain(args.iter().copied());
        Only::try_parse_from(args)
            .expect("the arguments parse")
            .server
            .target()
    }

    fn refusal(args: &[&str]) -> String {
        match target(args) {
            Err(Stop::Usage(message)) => message,
            other => panic!("not a usage error: {other:?}"),
        }
    }

    #[test]
    fn without_a_server_the_daemon_is_in_this_process() {
        assert!(matches!(target(&[]), Ok(Target::Local { .. })));
        assert!(matches!(
            target(&["--server", "unix:/run/x", "--local"]),
            Ok(Target::Local { .. })
        ));
    }

    #[test]
    fn a_unix_address_is_taken_with_one_or_three_slashes() {
        for address in ["unix:/run/c.sock", "unix:///run/c.sock"] {
            let Ok(Target::Remote(remote)) = target(&["--server", address]) else {
                panic!("not remote")
            };
            assert_eq!(remote.address, "unix:/run/c.sock");
        }
    }

    #[test]
    fn a_key_never_leaves_the_machine_without_tls() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "secret-key\n").expect("written");
        let path = file.path().to_str().expect("UTF-8");
        let with_key = |address| target(&["--server", address, "--key-file", path]);
        assert!(with_key("http://127.0.0.1:9000").is_ok());
        assert!(with_key("http://[::1]:9000").is_ok());
        assert!(
            refusal(&["--server", "http://10.0.0.5:9000", "--key-file", path]).contains("https")
        );
        assert!(
            refusal(&[
                "--server",
                "http://127.0.0.1.evil.example:9000",
                "--key-file",
                path
            ])
            .contains("https")
        );
        assert!(refusal(&["--server", "http://127.0.0.1:9000"]).contains("--key-file"));
    }

    #[test]
    fn options_of_an_embedded_daemon_do_not_go_with_a_running_one() {
        assert!(refusal(&["--server", "unix:/run/x", "--policies", "p"]).contains("--local"));
    }

    #[test]
    fn an_address_of_another_kind_is_refused_with_the_kinds_there_are() {
        assert!(refusal(&["--server", "tcp://host:1"]).contains("unix:/path"));
        assert!(refusal(&["--server", "https://host:1"]).contains("--tls-ca"));
    }
}
