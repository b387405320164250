//! The gateway of one daemon: the policies in force, the resolver, the audit log, and the sessions of its workers.

use crate::audit::{Audit, AuditConfig};
use crate::ca::{Authority, AuthorityError};
use crate::carriers::Carriers;
use crate::cassette::{CassetteError, Player, Recorder};
use crate::client_certificate::ClientCertificate;
use crate::event::EgressEvent;
use crate::fault::FaultScript;
use crate::guard::Guard;
use crate::http::{Tls, TlsError};
use crate::name::Name;
use crate::payer::Payer;
use crate::policy::{ConnectorId, PolicySet};
use crate::reload::watch_directory;
use crate::report::Reporter;
use crate::resolver::Resolver;
use crate::sealed::Sealed;
use crate::session::{Session, WorkerSockets};
use crate::share::{Share, Whole};
use crate::shared::{QueryRate, Shared};
use crate::stand_in::RANGE;
use crate::throttle::Budgets;
use caisson_document::Faults;
use caisson_secrets::Redactor;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Addresses of the host are asked of the kernel again after this.
const LOCAL_ADDRESSES: Duration = Duration::from_secs(2);

/// Where policies come from.
#[derive(Debug, Clone, Default)]
pub enum Policies {
    /// There are none: nothing is allowed.
    #[default]
    None,
    /// A directory of files, watched.
    Directory(PathBuf),
    /// A set that stays as it is.
    Fixed(PolicySet),
}

/// How a gateway is set up.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Where policies come from.
    pub policies: Policies,
    /// Where the audit log goes; none keeps none.
    pub audit: Option<AuditConfig>,
    /// Every socket that the daemon listens on.
    pub own_sockets: Vec<SocketAddr>,
    /// Names answered before the host's resolver is asked, as in a hosts file.
    pub hosts: HashMap<Name, Vec<IpAddr>>,
    /// Authorities that upstreams may be verified by, beside the host's.
    pub upstream_authorities: Vec<CertificateDer<'static>>,
    /// What is recorded, or played in place of the network.
    pub tape: Option<Arc<Tape>>,
    /// Faults that are made on purpose.
    pub faults: Option<Arc<FaultScript>>,
    /// Longest that one lookup may take.
    pub resolve_timeout: Duration,
    /// Longest that one dial of one address may take.
    pub dial_timeout: Duration,
    /// DNS queries of one worker.
    pub queries: QueryRate,
    /// Connections that all workers together may hold. Each takes two descriptors of this process, and a quarter of one for
    /// pipes.
    pub connections: usize,
    /// First address of the /15 out of which names get theirs inside a worker. Tests without a network namespace of their
    /// own use 127.18.0.0; everybody else leaves it alone.
    pub stand_ins: Ipv4Addr,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            policies: Policies::None,
            audit: None,
            own_sockets: Vec::new(),
            hosts: HashMap::new(),
            upstream_authorities: Vec::new(),
            tape: None,
            faults: None,
            resolve_timeout: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(10),
            queries: QueryRate::default(),
            connections: crate::share::CONNECTIONS,
            stand_ins: RANGE.0,
        }
    }
}

/// Why a gateway or session does not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The policies have faults.
    #[error("the policies are refused:\n{0}")]
    Policies(#[from] Faults),
    /// The audit log cannot be opened.
    #[error("the audit log {path} cannot be opened: {source}", path = .path.display())]
    Audit {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The certificate authority cannot be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The threads that carry inspected connections cannot be started.
    #[error("the gateway's threads cannot be started: {0}")]
    Threads(#[source] io::Error),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The policies' directory cannot be watched.
    #[error("the policies' directory {path} cannot be watched: {source}", path = .path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A cassette in the gateway.
#[derive(Debug)]
pub enum Tape {
    /// Every inspected exchange goes into it.
    Record(Recorder),
    /// Inspected requests are answered out of it; nothing is looked up, and nobody is dialled.
    Replay(Player),
}

/// The call that a session is for.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Its id.
    pub call_id: String,
    /// The worker's number, as the sandbox knows it.
    pub worker: u64,
    /// The connector, with the workspace of the call.
    pub connector: ConnectorId,
    /// The connection's config, secret references still references.
    pub config: Value,
    /// Knows the call's secrets: every text that the worker chose passes it before it is told or logged.
    pub redactor: Arc<Redactor>,
    /// What the gateway puts in for the worker.
    pub sealed: Arc<[Sealed]>,
    /// What the gateway shows upstreams, under keys that are sealed.
    pub certificates: Arc<[ClientCertificate]>,
    /// Whose budgets its requests are on.
    pub payer: Payer,
    /// The connection, with its workspace: those that share a budget are served in turn.
    pub party: Arc<str>,
    /// What the call may take.
    pub bounds: Bounds,
}

/// What one call may take of the gateway.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Refusals of one place after which the worker is said to persist.
    pub refused_attempts: NonZeroU32,
    /// When the call ends, whatever it waits for.
    pub deadline: Option<tokio::time::Instant>,
    /// Longest wait for an upstream's quota that a call sits out.
    pub longest_wait: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            refused_attempts: NonZeroU32::MAX,
            deadline: None,
            longest_wait: Duration::from_secs(3_600),
        }
    }
}

/// What all sessions need to reach the world.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) tape: Option<Arc<Tape>>,
    pub(crate) faults: Option<Arc<FaultScript>>,
    pub(crate) tls: Tls,
    pub(crate) budgets: Budgets,
    /// Bytes of bodies that may be held for all workers, to be sent again.
    pub(crate) held: Arc<Semaphore>,
    pub(crate) carriers: Carriers,
    pub(crate) resolver: Resolver,
    pub(crate) dial_timeout: Duration,
    pub(crate) stand_ins: Ipv4Addr,
    pub(crate) queries: QueryRate,
    /// What all workers share.
    whole: Arc<Whole>,
    own: Mutex<Own>,
}

#[derive(Debug)]
struct Own {
    sockets: Vec<SocketAddr>,
    guard: Arc<Guard>,
    made: Option<Instant>,
}

impl Upstream {
    /// The cassette that stands for the network.
    pub(crate) fn played(&self) -> Option<&Player> {
        match self.tape.as_deref()? {
            Tape::Replay(player) => Some(player),
            Tape::Record(_) => None,
        }
    }

    /// The cassette that exchanges go into.
    pub(crate) fn recorder(&self) -> Option<&Recorder> {
        match self.tape.as_deref()? {
            Tape::Record(recorder) => Some(recorder),
            Tape::Replay(_) => None,
        }
    }

    /// The daemon's sockets with the host's addresses of this moment.
    pub(crate) fn guard(&self) -> Arc<Guard> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.made.is_none_or(|made| made.elapsed() > LOCAL_ADDRESSES) {
            let local = Guard::local_addresses().unwrap_or_else(|error| {
                tracing::error!(%error, "this host's addresses cannot be listed; loopback is still known");
                Vec::new()
            });
            let guard = Guard::new(own.sockets.clone(), local);
            own.guard = Arc::new(guard.with_stand_ins(crate::stand_in::range(self.stand_ins)));
            own.made = Some(Instant::now());
        }
        Arc::clone(&own.guard)
    }

    /// What one more worker may take.
    pub(crate) fn share(&self) -> Share {
        Share::new(Arc::clone(&self.whole))
    }

    /// Takes `guard` for the truth, rather than the kernel's word, for a day: longer than any test runs.
    pub(crate) fn hold(&self, guard: Guard) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.guard = Arc::new(guard);
        own.made = Some(Instant::now() + Duration::from_secs(24 * 3_600));
    }

    fn forbid(&self, socket: SocketAddr) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.sockets.push(socket);
        own.made = None;
    }
}

/// The policies in force and who has to hear of new ones. One lock, so that no session misses a change.
#[derive(Debug, Default)]
struct InForce {
    set: Arc<PolicySet>,
    sessions: Vec<Weak<Shared>>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    directory: Option<PathBuf>,
    in_force: Mutex<InForce>,
    faults: watch::Sender<Option<Faults>>,
    upstream: Arc<Upstream>,
    audit: Audit,
    authority: Arc<Authority>,
    /// Ends the watcher of the directory.
    stopped: CancellationToken,
}

/// The gateway. Clones share it.
#[derive(Debug, Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

impl Gateway {
    /// Reads the policies, opens the audit log and begins to watch. Needs a running tokio runtime.
    ///
    /// # Errors
    /// Policies with faults, an audit log that cannot be written, a directory that cannot be watched, no random bytes.
    pub fn new(config: GatewayConfig) -> Result<Self, GatewayError> {
        // Watching begins before reading, so that no change falls between the two.
        let (directory, watched, set) = match config.policies {
            Policies::None => (None, None, PolicySet::default()),
            Policies::Fixed(set) => (None, None, set),
            Policies::Directory(path) => {
                let watched =
                    crate::reload::Watched::begin(&path).map_err(|source| GatewayError::Watch {
                        path: path.clone(),
                        source,
                    })?;
                let set = PolicySet::load(&path)?;
                (Some(path), Some(watched), set)
            }
        };
        let audit = match config.audit {
            None => Audit::none(),
            Some(audit) => {
                let path = audit.path.clone();
                Audit::start(audit).map_err(|source| GatewayError::Audit { path, source })?
            }
        };
        let authority = Arc::new(Authority::new()?);
        let stopped = CancellationToken::new();
        let upstream = Upstream {
            tape: config.tape,
            faults: config.faults,
            budgets: Budgets::default(),
            held: Arc::new(Semaphore::new(crate::shared::MAX_HELD_BY_ALL)),
            carriers: Carriers::start(&stopped).map_err(GatewayError::Threads)?,
            tls: Tls::new(&authority, &config.upstream_authorities)?,
            resolver: Resolver::new(config.hosts, config.resolve_timeout),
            dial_timeout: config.dial_timeout,
            stand_ins: config.stand_ins,
            queries: config.queries,
            whole: Arc::new(Whole::new(config.connections)),
            own: Mutex::new(Own {
                sockets: config.own_sockets,
                guard: Arc::default(),
                made: None,
            }),
        };
        let inner = Arc::new(Inner {
            directory,
            in_force: Mutex::new(InForce {
                set: Arc::new(set),
                sessions: Vec::new(),
            }),
            faults: watch::Sender::new(None),
            upstream: Arc::new(upstream),
            audit,
            authority,
            stopped,
        });
        if let Some(watched) = watched {
            tokio::spawn(watch_directory(
                watched,
                Arc::downgrade(&inner),
                inner.stopped.clone(),
            ));
        }
        Ok(Self { inner })
    }

    /// The policies in force.
    #[must_use]
    pub fn policies(&self) -> Arc<PolicySet> {
        Arc::clone(&self.inner.in_force().set)
    }

    /// Reads the directory again and puts the policies in force, in every session, before it returns.
    ///
    /// # Errors
    /// Every fault of every file; then the old policies stay in force, whole.
    pub fn reload(&self) -> Result<(), Faults> {
        self.inner.reload()
    }

    /// The faults of the last reload; `None` after one that took effect.
    #[must_use]
    pub fn faults(&self) -> watch::Receiver<Option<Faults>> {
        self.inner.faults.subscribe()
    }

    /// Adds a socket that the daemon listens on: never reachable for a worker.
    pub fn forbid(&self, socket: SocketAddr) {
        self.inner.upstream.forbid(socket);
    }

    /// This daemon's own sockets and addresses, as decisions see them.
    #[must_use]
    pub fn guard(&self) -> Arc<Guard> {
        self.inner.upstream.guard()
    }

    pub(crate) fn upstream(&self) -> &Upstream {
        &self.inner.upstream
    }

    /// The audit log, for flushing and for its count of unwritten lines.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// Writes what a cassette that is recorded holds.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self) -> Result<(), CassetteError> {
        self.inner
            .upstream
            .recorder()
            .map_or(Ok(()), Recorder::save)
    }

    /// Whether a cassette stands for the network, so that nobody is dialled.
    #[must_use]
    pub fn is_played(&self) -> bool {
        self.inner.upstream.played().is_some()
    }

    /// Signs for the hosts that are inspected; its certificate is what workers are to trust.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.inner.authority
    }

    /// Begins to serve a worker. Everything is refused until [`Session::open`]. Needs a running tokio runtime.
    #[must_use]
    pub fn attach(&self, context: CallContext, sockets: WorkerSockets) -> Session {
        let (reporter, events): (Reporter, mpsc::Receiver<EgressEvent>) =
            Reporter::new(&context, self.inner.audit.clone());
        let shared = Arc::new(Shared::new(
            context,
            Arc::clone(&self.inner.upstream),
            reporter,
        ));
        {
            let mut in_force = self.inner.in_force();
            in_force
                .sessions
                .retain(|session| session.strong_count() > 0);
            in_force.sessions.push(Arc::downgrade(&shared));
            shared.apply(&in_force.set);
        }
        Session::begin(shared, events, sockets)
    }
}

impl Inner {
    fn in_force(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reload(&self) -> Result<(), Faults> {
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        // Read under the lock, so that two reloads cannot put an older reading over a newer one.
        let mut in_force = self.in_force();
        match PolicySet::load(directory) {
            Ok(set) => {
                in_force.set = Arc::new(set);
                in_force
                    .sessions
                    .retain(|session| session.strong_count() > 0);
                for session in in_force.sessions.iter().filter_map(Weak::upgrade) {
                    session.apply(&in_force.set);
                }
                self.faults.send_replace(None);
                Ok(())
            }
            Err(faults) => {
                self.faults.send_replace(Some(faults.clone()));
                Err(faults)
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}
