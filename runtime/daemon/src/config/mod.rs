//! The daemon's configuration. Works without a file: everything has a default
//! inside one data directory.

mod command;
mod keys;
mod listen;
mod rights;
mod vault;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use caisson_bundle::{Size, Span};
use caisson_document::{Document, Fault, Faults, ReadError, Schema};
use caisson_egress::{AuditConfig, CassetteMode, RecorderConfig};
use caisson_sandbox::{Layer, Limits};
use caisson_secrets::{CommandConfig, VaultConfig};

pub use listen::{Listen, Tls};

use listen::listen;
use wire::Wire;

/// Everything a daemon is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// State, registry, sockets: one instance owns it.
    pub data_dir: PathBuf,
    /// Where the API listens.
    pub listen: Listen,
    /// Directory of policy files. Without one nothing is reachable.
    pub policies: Option<PathBuf>,
    /// The only directory that `file:` references read.
    pub secret_files: Option<PathBuf>,
    /// The vault that `vault:` references read.
    pub vault: Option<VaultConfig>,
    /// The program that `command:` references run.
    pub secret_command: Option<CommandConfig>,
    /// Which packages connectors may carry.
    pub dependencies: Option<PathBuf>,
    /// The workers' interpreter; found on the usual paths if not named.
    pub python: Option<PathBuf>,
    /// The directory that holds the package `caisson`; found if not named.
    pub shim: Option<PathBuf>,
    /// The program that is run as `<program> launcher`; this one if not named.
    pub launcher: Option<PathBuf>,
    /// Workers that are forked from one preloaded interpreter, before another takes its place; 0: none.
    pub zygote_forks: u64,
    /// Memory of workers that wait for calls with their connector imported, in
    /// bytes; 0: none waits.
    pub pool_bytes: u64,
    /// Isolation layers that may be missing.
    pub allow_missing: BTreeSet<Layer>,
    /// Workspaces that may run connectors from folders.
    pub development: BTreeSet<String>,
    /// Whoever started the daemon chose its policies for these folders: every
    /// policy of a connector's name is for its folder. Otherwise only one that
    /// names the workspace is. Not for the configuration file.
    pub own_folders: bool,
    /// First host id and number of ids for the workers of a root daemon.
    pub worker_ids: Option<(u32, u32)>,
    /// Workers at once, in all and per tenant.
    pub slots: Slots,
    /// What a worker gets where nothing else is said.
    pub limits: Limits,
    /// Longest call.
    pub duration: Duration,
    /// Longest silence.
    pub stall: Duration,
    /// Longest wait for an upstream's quota that a call sits out.
    pub throttle: Duration,
    /// Ended calls that are remembered.
    pub calls: Remembered,
    /// The audit log.
    pub audit: AuditConfig,
    /// PEM: authorities that upstreams may be verified by, beside the host's.
    pub upstream_ca: Option<PathBuf>,
    /// What the gateway records, plays and spoils; of a daemon that lives for one command.
    pub traffic: Traffic,
    /// Refused attempts at one place after which a call ends.
    pub refused_attempts: NonZeroU32,
    /// Names that are resolved here and not by the system.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// Files that the configuration consists of: itself, keys, certificates.
    /// No worker is granted them.
    pub own_files: Vec<PathBuf>,
}

/// What the gateway does with traffic beside carrying it, for the tests of connectors.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// The cassette that inspected exchanges go into.
    pub record: Option<RecorderConfig>,
    /// The cassette that answers inspected requests, in place of the network and of secrets.
    pub replay: Option<(PathBuf, CassetteMode)>,
    /// A script of faults.
    pub faults: Option<PathBuf>,
}

/// Workers at once.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    /// In all.
    pub total: usize,
    /// For one tenant.
    pub tenant: usize,
}

/// Ended calls that are remembered: so many, for so long. A `request_id` holds
/// for a day, however many calls there are.
#[derive(Debug, Clone, Copy)]
pub struct Remembered {
    /// The newest so many.
    pub keep: u32,
    /// Since they ended.
    pub period: Duration,
}

/// Refused attempts at one place that end a call: above what clients retry by themselves, below what anybody should wait for.
const REFUSED_ATTEMPTS: NonZeroU32 = NonZeroU32::new(16).unwrap();

impl Config {
    /// The defaults in one data directory.
    pub fn embedded(data_dir: PathBuf) -> Self {
        Self {
            listen: Listen::Unix {
                path: data_dir.join("caisson.sock"),
                users: BTreeMap::new(),
            },
            policies: None,
            secret_files: None,
            vault: None,
            secret_command: None,
            dependencies: None,
            python: None,
            shim: None,
            launcher: None,
            zygote_forks: 1000,
            pool_bytes: 256 << 20,
            allow_missing: BTreeSet::new(),
            development: BTreeSet::new(),
            own_folders: false,
            worker_ids: None,
            slots: Slots {
                total: 64,
                tenant: 64,
            },
            limits: Limits::default(),
            duration: Duration::from_secs(6 * 3600),
            stall: Duration::from_secs(300),
            throttle: Duration::from_secs(3600),
            calls: Remembered {
                keep: 100_000,
                period: Duration::from_secs(30 * 86_400),
            },
            audit: AuditConfig::at(data_dir.join("audit.jsonl")),
            upstream_ca: None,
            traffic: Traffic::default(),
            refused_attempts: REFUSED_ATTEMPTS,
            hosts: BTreeMap::new(),
            own_files: Vec::new(),
            data_dir,
        }
    }

    /// Reads a file; all faults at once. Paths in it are relative to it.
    pub fn load(path: &Path, default_data_dir: PathBuf) -> Result<Self, Faults> {
        let document = Document::read(path).map_err(|error| match error {
            ReadError::Faults(faults) => faults,
            error => Fault::of_file(
                &path.to_string_lossy(),
                None,
                error.to_string(),
                "name a readable file",
            )
            .into(),
        })?;
        // Whole paths: what the daemon keeps to itself is compared with what workers ask for.
        let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let base = path.parent().unwrap_or(Path::new("/"));
        let mut config = Self::parse(&document, base, default_data_dir)?;
        config.own_files.push(path.to_owned());
        Ok(config)
    }

    fn parse(document: &Document, base: &Path, default_data_dir: PathBuf) -> Result<Self, Faults> {
        let schema =
            Schema::parse(include_str!("schema.json")).expect("the schema in this crate is valid");
        let mut faults = document.check(&schema);
        // Whatever can be read is judged, so that nobody mends a file twice.
        let wire: Wire = match document.get("") {
            Ok(wire) => wire,
            Err(fault) if faults.is_empty() => return Err(fault.into()),
            Err(_) => return Err(Faults(faults)),
        };
        let at = |path: &String| base.join(path);
        let mut config = Self::embedded(wire.data_dir.as_ref().map(at).unwrap_or(default_data_dir));
        config.listen = listen(
            document,
            wire.listen,
            base,
            &config.data_dir,
            &mut config.own_files,
            &mut faults,
        );
        config.policies = wire.policies.as_ref().map(at);
        config.secret_files = wire.secrets.files.as_ref().map(at);
        config.vault = wire
            .secrets
            .vault
            .map(|wire| vault::vault(document, wire, base, &mut config.own_files, &mut faults));
        config.secret_command = wire
            .secrets
            .command
            .map(|wire| command::command(document, wire, &mut config.own_files, &mut faults));
        config.dependencies = wire.dependencies.as_ref().map(at);
        config.python = wire.python.as_ref().map(at);
        config.shim = wire.shim.as_ref().map(at);
        config.zygote_forks = wire.zygote_forks.unwrap_or(config.zygote_forks);
        if let Some(path) = &wire.egress.audit {
            config.audit.path = at(path);
        }
        config.audit.keep = wire.egress.audit_files.unwrap_or(config.audit.keep);
        config.upstream_ca = wire.egress.ca.as_ref().map(at);
        config.refused_attempts = wire.egress.refused_attempts.unwrap_or(REFUSED_ATTEMPTS);
        config.allow_missing = wire
            .allow_missing
            .iter()
            .filter_map(|layer| layer.parse().ok())
            .collect();
        config.development = wire.development.into_iter().collect();
        config.worker_ids = wire.worker_ids.map(|ids| (ids.first, ids.count));
        config.slots.total = wire.slots.total.unwrap_or(config.slots.total);
        config.slots.tenant = wire.slots.tenant.unwrap_or(config.slots.total);
        let limits = wire.limits;
        if let Some(cpu) = limits.cpu {
            config.limits.cpus = cpu;
        }
        config.limits.pids = limits.pids.unwrap_or(config.limits.pids);
        config.limits.open_files = limits.open_files.unwrap_or(config.limits.open_files);
        let mut size = |key: &str, text: Option<String>, to: &mut u64| match text
            .map(|text| text.parse::<Size>())
        {
            Some(Ok(Size(bytes))) => *to = bytes,
            Some(Err(error)) => faults.push(document.fault(
                &format!("/{key}"),
                error.to_string(),
                "write a size such as 512MiB",
            )),
            None => {}
        };
        size(
            "limits/memory",
            limits.memory,
            &mut config.limits.memory_bytes,
        );
        size("limits/tmp", limits.tmp, &mut config.limits.tmp_bytes);
        size("pool", wire.pool, &mut config.pool_bytes);
        size(
            "egress/audit_size",
            wire.egress.audit_size,
            &mut config.audit.max_bytes,
        );
        let mut duration = |key: &str, text: Option<String>, to: &mut Duration| match text
            .map(|text| text.parse::<Span>())
        {
            Some(Ok(Span(duration))) => *to = duration,
            Some(Err(error)) => faults.push(document.fault(
                &format!("/{key}"),
                error.to_string(),
                "write a duration such as 5m",
            )),
            None => {}
        };
        duration("limits/duration", limits.duration, &mut config.duration);
        duration("limits/stall", limits.stall, &mut config.stall);
        duration("limits/throttle", limits.throttle, &mut config.throttle);
        duration("calls/for", wire.calls.period, &mut config.calls.period);
        config.calls.keep = wire.calls.keep.unwrap_or(config.calls.keep);
        for (name, addresses) in wire.egress.hosts {
            let pointer = caisson_document::join("/egress/hosts", &name);
            let parsed: Result<Vec<IpAddr>, _> =
                addresses.iter().map(|text| text.parse()).collect();
            match parsed {
                Ok(addresses) => drop(config.hosts.insert(name, addresses)),
                Err(_) => faults.push(document.fault(
                    &pointer,
                    "not every entry is an IP address",
                    "write addresses such as 10.0.0.7",
                )),
            }
        }
        Faults::or(faults, config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Key;

    fn parse(text: &str) -> Result<Config, Faults> {
        let document = Document::parse("caisson.yaml", text)?;
        Config::parse(
            &document,
            Path::new("/etc/caisson"),
            "/var/lib/caisson".into(),
        )
    }

    #[test]
    fn a_vault_has_one_login_and_a_safe_address() {
        let vault = |text: &str| {
            let parsed = parse(&format!("secrets: {{ vault: {{ {text} }} }}"));
            parsed
                .map(|config| config.vault.unwrap())
                .map_err(|faults| faults.to_string())
        };
        let role = "auth: { approle: { role_id: r, secret_id_file: id } }";
        let config = vault(&format!(
            "address: 'https://v.example:8200', token_ttl: 90s, {role}"
        ))
        .unwrap();
        assert_eq!(config.token_ttl, Duration::from_secs(90));
        assert_eq!(config.auth.to_string(), "AppRole at auth/approle");
        for (text, told) in [
            (
                format!("address: 'http://v.example', {role}"),
                "secrets.vault",
            ),
            ("address: 'https://v.example'".to_owned(), "auth"),
            (
                "address: 'https://v.example', auth: { ldap: {} }".to_owned(),
                "ldap",
            ),
            (
                format!("address: 'https://v.example', token_ttl: soon, {role}"),
                "secrets.vault.token_ttl",
            ),
        ] {
            let faults = vault(&text).unwrap_err();
            assert!(faults.contains(told), "{faults}");
        }
    }

    #[test]
    fn a_command_of_secrets_is_judged_with_the_rest_of_the_file() {
        let command = |text: &str| parse(&format!("secrets:\n  command:\n    {text}\n"));
        let config = command(
            "{ run: [/usr/bin/pass, show, '{path}'], timeout: 3s, environment: [GNUPGHOME], max_output: 4KiB }",
        );
        let config = config.unwrap();
        assert!(config.own_files.contains(&"/usr/bin/pass".into()));
        let command_of = config.secret_command.unwrap();
        assert_eq!(command_of.timeout, Duration::from_secs(3));
        assert_eq!(command_of.max_output, 4096);
        assert_eq!(command_of.environment, ["GNUPGHOME"]);
        for (text, told) in [
            ("{ run: [] }", "secrets.command.run"),
            ("{ run: pass }", "secrets.command.run"),
            (
                "{ run: [pass, '{path}'] }",
                "secrets.command.run[0]: the program is no absolute path",
            ),
            (
                "{ run: [/usr/bin/pass] }",
                "secrets.command.run: the program is not told",
            ),
            (
                "{ run: [/usr/bin/pass, '{path}'], timeout: soon }",
                "secrets.command.timeout",
            ),
            (
                "{ run: [/usr/bin/pass, '{path}'], timeout: 1m }",
                "secrets.command.timeout",
            ),
            (
                "{ run: [/usr/bin/pass, '{path}'], max_output: 2MiB }",
                "secrets.command.max_output",
            ),
            (
                "{ run: [/usr/bin/pass, '{path}'], environment: [A=b] }",
                "secrets.command.environment[0]",
            ),
            ("{ run: [/usr/bin/pass, '{path}'], shell: true }", "shell"),
        ] {
            let faults = command(text).unwrap_err();
            assert!(faults.to_string().contains(told), "{text}: {faults}");
            assert!(faults.0.iter().all(|fault| fault.line == 3), "{faults}");
        }
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let config = parse("{}").unwrap();
        assert!(
            matches!(config.listen, Listen::Unix { path, .. } if path == Path::new("/var/lib/caisson/caisson.sock"))
        );
    }

    #[test]
    fn tcp_without_keys_or_client_certificates_does_not_start() {
        let faults = parse("listen: { tcp: 127.0.0.1:7443 }").unwrap_err();
        assert!(
            faults
                .to_string()
                .contains("nobody would be asked who they are"),
            "{faults}"
        );
    }

    #[test]
    fn tcp_off_loopback_does_not_start_without_tls() {
        let listen = Listen::Tcp {
            address: "192.0.2.1:7443".parse().unwrap(),
            tls: None,
            keys: vec![Key {
                name: "a".into(),
                sha256: [0; 32],
                access: crate::identity::Access::Operator,
            }],
        };
        assert!(listen.check().is_err());
    }

    #[test]
    fn every_fault_is_reported_at_once_with_its_line() {
        let faults =
            parse("limits:\n  memory: lots\n  stall: soon\negress:\n  hosts:\n    a: [nowhere]\n")
                .unwrap_err();
        let lines: Vec<_> = faults.0.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [2, 3, 6], "{faults}");
    }

    #[test]
    fn what_the_schema_refuses_and_what_cannot_be_read_are_reported_together() {
        let faults = parse("polices: p\nlimits:\n  memory: lots\n").unwrap_err();
        assert_eq!(faults.0.len(), 2, "{faults}");
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let faults = parse("polices: p").unwrap_err();
        assert!(faults.to_string().contains("policies"), "{faults}");
    }
}
