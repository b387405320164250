//! Starting and stopping a daemon.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use caisson_egress::{
    CassetteError, FaultScript, Gateway, GatewayConfig, GatewayError, Name, Player, Policies,
    Recorder, Tape,
};
use caisson_sandbox::{
    HostConfig, InstanceError, Interpreter, InterpreterError, LaunchError, Launcher,
};
use caisson_secrets::{
    CommandConfigFault, CommandProvider, EnvProvider, FileProvider, FileProviderError, Provider,
    Resolver, RevocationDir, Tokens, VaultConfigFault, VaultProvider,
};
use caisson_state::{Checkpoints, Connections, OpenError, Registry, RegistryError, Store, Writers};
use chrono::Utc;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::call::Calls;
use crate::config::{Config, Traffic};
use crate::core::Core;
use crate::roots::Roots;
use crate::worker::{Host, Pool};
use crate::{listen, open_to_all};

/// How long running calls may take to end when the daemon stops.
const DRAIN: Duration = Duration::from_secs(20);
/// How long an access token that is being got, and the refresh token that comes with it, may take to be stored.
const SETTLE: Duration = Duration::from_secs(30);
/// How long idle connections may take to close.
const IDLE: Duration = Duration::from_millis(250);
/// How often calls that grew old are forgotten.
const FORGET: Duration = Duration::from_secs(3600);

/// Why a daemon does not start. Every message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A directory or socket of its own.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// `listen` would let anybody in.
    #[error("listen: {0}; {1}")]
    Listen(&'static str, &'static str),
    /// No interpreter was found.
    #[error(
        "no Python 3.11 or newer was found that every user can run; install python3.11, or name one with `python:`"
    )]
    NoPython,
    /// The package `caisson` was not found.
    #[error(
        "the Python package `caisson` was not found beside this program; name its directory with `shim:` or CAISSON_SHIM"
    )]
    NoShim,
    /// The interpreter is of no use.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// Another daemon uses the data directory, or it cannot be used.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The launcher did not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The state file.
    #[error(transparent)]
    State(#[from] OpenError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Policies or the audit log.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The directory of secret files.
    #[error(transparent)]
    SecretFiles(#[from] FileProviderError),
    /// What the configuration says of the vault.
    #[error("secrets.vault: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Vault(Vec<VaultConfigFault>),
    /// TLS with those who give access tokens.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// What the configuration says of the command of secrets, or the program itself.
    #[error("secrets.command: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Command(Vec<CommandConfigFault>),
    /// A name in `egress.hosts`.
    #[error("egress.hosts: `{0}` is no host name: {1}")]
    HostName(String, caisson_egress::NameError),
    /// The cassette cannot be recorded or played.
    #[error(transparent)]
    Cassette(#[from] CassetteError),
    /// The script of faults cannot be read.
    #[error("the script of faults: {0}")]
    Faults(#[source] caisson_document::ReadError),
    /// The record of calls.
    #[error("the record of calls: {0}")]
    Calls(caisson_state::CallError),
}

/// A running daemon.
pub struct Daemon {
    core: Arc<Core>,
    endpoint: String,
    stop: CancellationToken,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Daemon {
    /// Starts everything, in the order in which later parts need earlier ones.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config
            .listen
            .check()
            .map_err(|(message, help)| StartError::Listen(message, help))?;
        directory(&config.data_dir, 0o711)?;
        let launcher = Launcher::start(host_config(&config)?).await?;
        // Only now: what the launcher needs of this process it has.
        caisson_sandbox::harden_process().map_err(|source| StartError::Io {
            what: "hardening the process of",
            path: config.data_dir.clone(),
            source,
        })?;
        let scratch = config.data_dir.join("scratch");
        // What a crash left there is nobody's.
        match std::fs::remove_dir_all(&scratch) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(StartError::Io {
                    what: "clearing",
                    path: scratch,
                    source,
                });
            }
            _ => directory(&scratch, 0o711)?,
        }
        let store = Store::open(&config.data_dir.join("state.db")).await?;
        let registry_dir = config.data_dir.join("registry");
        directory(&registry_dir, 0o755)?;
        let registry = Registry::open(&registry_dir)?;
        let calls = caisson_state::Calls::new(&store);
        calls
            .fail_abandoned(&serde_json::Value::Null, Utc::now())
            .await
            .map_err(StartError::Calls)?;
        let calls = Calls::new(calls, &config);
        calls.forget().await.map_err(StartError::Calls)?;
        let (bound, endpoint, address) =
            listen::bind(&config.listen)
                .await
                .map_err(|source| StartError::Io {
                    what: "listening on",
                    path: listen_path(&config),
                    source,
                })?;
        let gateway = Gateway::new(gateway_config(&config, address)?)?;
        let roots_dir = config.data_dir.join("roots");
        let authority = gateway.authority().certificate_pem();
        let roots =
            Roots::begin(roots_dir.clone(), authority).map_err(|source| StartError::Io {
                what: "writing root certificates to",
                path: roots_dir,
                source,
            })?;
        let workers = Arc::new(AtomicU64::new(1));
        let pool = Pool::new(
            launcher.clone(),
            gateway.clone(),
            workers.clone(),
            config.pool_bytes,
        );
        let (resolver, vault) = resolver(&config)?;
        let core = Arc::new(Core {
            host: Host {
                launcher,
                gateway,
                pool,
            },
            connections: Connections::new(&store),
            checkpoints: Checkpoints::new(&store),
            registry,
            calls,
            writers: Writers::new(),
            resolver,
            vault: vault.clone(),
            forms: Default::default(),
            roots: Arc::new(roots),
            scratch,
            workers,
            store,
            config,
        });
        let stop = CancellationToken::new();
        tokio::spawn(forget(core.calls.clone(), stop.clone()));
        if let Some(vault) = vault {
            tokio::spawn(revoke_left(vault));
        }
        let server = tokio::spawn(listen::serve(bound, core.clone(), stop.clone()));
        tracing::info!(endpoint, "serving");
        Ok(Self {
            core,
            endpoint,
            stop,
            server,
        })
    }

    /// Where it listens, as a client is given it: `unix:/path` or a URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The validation suite over a project's folder.
    ///
    /// # Errors
    /// If it could not run; what it found is the result.
    pub async fn validate(
        &self,
        project: &Path,
        allowed: Option<caisson_bundle::AllowedDependencies>,
    ) -> Result<caisson_bundle::Report, crate::CallError> {
        let (nobody, never) = ("embedded".into(), CancellationToken::new());
        let slots = self.core.calls.admission();
        let slot = slots.enter(&nobody, 1, None, &never).await?;
        self.core.validate(project, allowed, &slot).await
    }

    /// Returns when the server ended by itself, which it should not.
    pub async fn failed(&mut self) -> String {
        match (&mut self.server).await {
            Ok(Ok(())) => "the server stopped".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Cancels what runs, waits for it, and closes the state.
    pub async fn shutdown(self) {
        let drained = tokio::time::timeout(DRAIN, self.core.calls.drain()).await;
        if drained.is_err() {
            tracing::warn!(
                "calls were still running after {} s; their workers die with the daemon",
                DRAIN.as_secs()
            );
        }
        self.stop.cancel();
        self.core.host.pool.drain();
        // Every call has ended; a client that keeps its idle connection open
        // does not hold the daemon up.
        let server = self.server.abort_handle();
        if tokio::time::timeout(IDLE, self.server).await.is_err() {
            server.abort();
        }
        // A refresh token that came and is not stored yet would be lost with the session at the vault.
        let settled = tokio::time::timeout(SETTLE, self.core.resolver.settle()).await;
        if settled.is_err() {
            tracing::error!(
                "an access token was still being got after {} s",
                SETTLE.as_secs()
            );
        }
        if let Some(vault) = &self.core.vault
            && let Err(error) = vault.log_out().await
        {
            tracing::warn!(%error, "the daemon's token at the vault ends by itself");
        }
        self.core.host.gateway.audit().flush();
        if let Err(error) = self.core.host.gateway.save() {
            tracing::error!(%error, "the cassette could not be written");
        }
        self.core.store.close().await;
    }
}

/// Forgets calls that grew old, until the daemon stops.
async fn forget(calls: Arc<Calls>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(FORGET);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = calls.forget().await {
            tracing::warn!(%error, "old calls could not be forgotten");
        }
    }
}

fn directory(path: &Path, mode: u32) -> Result<(), StartError> {
    use std::os::unix::fs::PermissionsExt;
    let io = |source| StartError::Io {
        what: "preparing",
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir_all(path).map_err(io)?;
    if mode == 0o755 {
        return open_to_all(path).map_err(io);
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(io)
}

fn listen_path(config: &Config) -> PathBuf {
    match &config.listen {
        crate::Listen::Unix { path, .. } => path.clone(),
        crate::Listen::Tcp { address, .. } => address.to_string().into(),
    }
}

fn host_config(config: &Config) -> Result<HostConfig, StartError> {
    let python = config
        .python
        .clone()
        .or_else(find_python)
        .ok_or(StartError::NoPython)?;
    let shim = config
        .shim
        .clone()
        .or_else(find_shim)
        .ok_or(StartError::NoShim)?;
    let mut host = HostConfig::new(
        config.data_dir.join("instance"),
        Interpreter::discover(&python)?,
        shim,
    );
    host.allow_missing = config.allow_missing.clone();
    host.zygote_forks = NonZeroU64::new(config.zygote_forks);
    if let Some(launcher) = &config.launcher {
        host.launcher_exe = launcher.clone();
    }
    if let Some((first, count)) = config.worker_ids {
        host.uid_range = first..first.saturating_add(count);
    }
    // Whatever a policy says, no worker is given what makes the daemon itself.
    let own = [
        Some(&config.data_dir),
        config.policies.as_ref(),
        config.secret_files.as_ref(),
        Some(&config.audit.path),
        config.dependencies.as_ref(),
    ];
    host.forbidden.extend(own.into_iter().flatten().cloned());
    host.forbidden.extend(config.own_files.iter().cloned());
    host.forbidden.extend(std::env::current_exe());
    if let crate::Listen::Unix { path, .. } = &config.listen {
        host.forbidden.push(path.clone());
    }
    Ok(host)
}

fn gateway_config(
    config: &Config,
    own: Option<std::net::SocketAddr>,
) -> Result<GatewayConfig, StartError> {
    let mut hosts = HashMap::new();
    for (name, addresses) in &config.hosts {
        let parsed =
            Name::parse(name).map_err(|error| StartError::HostName(name.clone(), error))?;
        hosts.insert(parsed, addresses.clone());
    }
    Ok(GatewayConfig {
        policies: config
            .policies
            .clone()
            .map_or(Policies::None, Policies::Directory),
        audit: Some(config.audit.clone()),
        own_sockets: own.into_iter().collect(),
        connections: connections(crate::usage::take_descriptors()),
        hosts,
        tape: tape(&config.traffic)?.map(Arc::new),
        faults: faults(&config.traffic)?.map(Arc::new),
        upstream_authorities: authorities(config.upstream_ca.as_deref())?,
        ..Default::default()
    })
}

fn tape(traffic: &Traffic) -> Result<Option<Tape>, StartError> {
    match (&traffic.record, &traffic.replay) {
        (Some(config), _) => Ok(Some(Tape::Record(Recorder::create(config.clone())?))),
        (None, Some((path, mode))) => Ok(Some(Tape::Replay(Player::open(path, *mode)?))),
        (None, None) => Ok(None),
    }
}

fn faults(traffic: &Traffic) -> Result<Option<FaultScript>, StartError> {
    traffic
        .faults
        .as_deref()
        .map(FaultScript::read)
        .transpose()
        .map_err(StartError::Faults)
}

/// The certificates of a PEM file (RFC 7468); at least one.
fn authorities(path: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let Some(path) = path else {
        return Ok(Vec::new());
    };
    let unread = |source| StartError::Io {
        what: "reading the authorities of upstreams in",
        path: path.to_owned(),
        source,
    };
    let pem = std::fs::read(path).map_err(unread)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match read {
        Ok(read) if !read.is_empty() => Ok(read),
        Ok(_) => Err(unread(io::Error::other(
            "there is no certificate in it; write PEM certificates",
        ))),
        Err(error) => Err(unread(io::Error::other(format!(
            "{error}; write PEM certificates"
        )))),
    }
}

/// Connections that workers may hold together: two descriptors each and a quarter of one for pipes; the rest, close to half
/// of all descriptors, is left to the API, the state and the workers themselves.
fn connections(descriptors: u64) -> usize {
    const MOST: u64 = 65_536;
    (descriptors / 4).min(MOST) as usize
}

fn resolver(config: &Config) -> Result<(Resolver, Option<VaultProvider>), StartError> {
    if config.traffic.replay.is_some() {
        return Ok((Resolver::stand_in(), None));
    }
    let mut providers: Vec<Arc<dyn Provider>> = vec![Arc::new(EnvProvider::new())];
    if let Some(dir) = &config.secret_files {
        providers.push(Arc::new(FileProvider::new(dir)?));
    }
    if let Some(command) = &config.secret_command {
        let command = CommandProvider::new(command.clone()).map_err(StartError::Command)?;
        providers.push(Arc::new(command));
    }
    let vault = config.vault.as_ref().map(|vault| {
        let left = config.data_dir.join("vault");
        let revocations = RevocationDir::new(left.clone());
        let revocations = revocations.map_err(|source| StartError::Io {
            what: "the tokens that are to be revoked",
            path: left,
            source,
        })?;
        // The configuration was judged when it was read.
        VaultProvider::new(vault.clone(), Arc::new(revocations)).map_err(StartError::Vault)
    });
    let vault = vault.transpose()?;
    providers.extend(
        vault
            .clone()
            .map(|vault| Arc::new(vault) as Arc<dyn Provider>),
    );
    let tokens = Tokens::new(&authorities(config.upstream_ca.as_deref())?)?;
    Ok((Resolver::new(providers).with_tokens(tokens), vault))
}

/// Revokes what calls of an earlier daemon left at the vault.
async fn revoke_left(vault: VaultProvider) {
    match vault.revoke_pending().await {
        Ok(0) => {}
        Ok(tokens) => tracing::info!(tokens, "tokens of an earlier daemon's calls were revoked"),
        Err(error) => {
            tracing::warn!(%error, "tokens of an earlier daemon's calls are not revoked yet")
        }
    }
}

/// The first interpreter on the usual paths that every user can run.
pub fn find_python() -> Option<PathBuf> {
    let usual = [
        "/usr/bin/python3.11",
        "/usr/local/bin/python3.11",
        "/usr/bin/python3",
        "/usr/local/bin/python3",
    ];
    usual
        .iter()
        .map(PathBuf::from)
        .find(|path| Interpreter::discover(path).is_ok())
}

/// The package `caisson`: CAISSON_SHIM, or where it is installed beside this
/// program (`../lib/caisson/shim`), or beside a build (`shim`).
pub fn find_shim() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CAISSON_SHIM") {
        return Some(named.into());
    }
    let program = std::env::current_exe().ok()?;
    let dir = program.parent()?;
    let candidates = [dir.join("../lib/caisson/shim"), dir.join("shim")];
    candidates
        .into_iter()
        .find(|path| path.join("caisson/__init__.py").is_file())
}
