//! What every service of one daemon shares.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use caisson_bundle::{AllowedDependencies, BundleError, Facts, ProjectDir, ProjectError, Report};
use caisson_egress::{ConnectorId, Origin, Payer};
use caisson_proto::v1::{self, ErrorCode};
use caisson_sandbox::WorkerSpec;
use caisson_secrets::{Redactor, Resolver, VaultProvider};
use caisson_state::{
    CheckpointError, Checkpoints, Connections, Registry, RegistryError, Store, Writers,
};
use caisson_wire::Opening;
use caisson_wire::message::{self, Operation};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::call::{
    Admitted, Calls, Connector, Event, Form, Forms, Sequencer, Source, States, selects,
    state_error, states_limit, states_too_large,
};
use crate::config::Config;
use crate::egress::undecided;
use crate::error::CallError;
use crate::identity::{Folder, Workspace};
use crate::roots::Roots;
use crate::worker::{Control, Host, Job, Outlet, run};

/// How long the inspection of a bundle's source may take.
const INSPECT: std::time::Duration = std::time::Duration::from_secs(60);

/// The state of a running daemon.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) host: Host,
    pub(crate) store: Store,
    pub(crate) connections: Connections,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) registry: Registry,
    pub(crate) calls: Arc<Calls>,
    pub(crate) writers: Writers,
    pub(crate) resolver: Resolver,
    /// Logged out of when the daemon stops.
    pub(crate) vault: Option<VaultProvider>,
    /// Where bundles are taken apart before they are judged.
    pub(crate) scratch: PathBuf,
    pub(crate) workers: Arc<AtomicU64>,
    pub(crate) forms: Forms,
    pub(crate) roots: Arc<Roots>,
}

impl Core {
    /// A number for a worker, unique in this daemon's life.
    pub(crate) fn next_worker(&self) -> u64 {
        self.workers.fetch_add(1, Ordering::Relaxed)
    }

    /// The layers that this daemon was told to go without, as words.
    pub(crate) fn missing_layers(&self) -> Vec<String> {
        self.host
            .launcher
            .missing()
            .iter()
            .map(|layer| layer.name().to_owned())
            .collect()
    }

    /// A published version, installed if it is not yet, or a folder.
    pub(crate) async fn connector(
        &self,
        workspace: &Workspace,
        pin: &str,
        folder: Option<&Folder>,
    ) -> Result<Connector, CallError> {
        match folder {
            Some(folder) => self.prepared_folder(workspace, folder).await,
            None => self.published(workspace, pin).await,
        }
    }

    async fn published(&self, workspace: &Workspace, pin: &str) -> Result<Connector, CallError> {
        let entry = self
            .registry
            .resolve(workspace, pin)
            .map_err(registry_error)?;
        let (launcher, worker) = (self.host.launcher.clone(), self.next_worker());
        let runtime = tokio::runtime::Handle::current();
        let unpack = move |archive: &Path, into: &Path| {
            caisson_bundle::unpack(archive, into, None)?;
            crate::bytecode::compile(&runtime, &launcher, worker, into);
            Ok::<_, BundleError>(())
        };
        let bundle = self
            .registry
            .install(&entry, unpack)
            .await
            .map_err(registry_error)?;
        let digest = entry.digest.to_string();
        Ok(Connector {
            form: self.forms.of(&digest, &bundle)?,
            origin: Origin::Published(digest),
            bundle,
            prepared: None,
        })
    }

    async fn prepared_folder(
        &self,
        workspace: &Workspace,
        folder: &Folder,
    ) -> Result<Connector, CallError> {
        if !self.config.development.contains(&**workspace) {
            let message = format!("workspace `{workspace}` runs published connectors only");
            return Err(CallError::new(ErrorCode::PermissionMissing, message)
                .with_action("publish the connector, or add the workspace to `development` in the daemon's configuration"));
        }
        let origin = match self.config.own_folders {
            true => Origin::OwnFolder,
            false => Origin::Folder,
        };
        let (folder, scratch) = (folder.clone(), self.scratch.clone());
        blocking(move || {
            let prepared = tempfile::tempdir_in(&scratch)
                .map_err(|error| CallError::internal("a scratch directory", error))?;
            crate::open_to_all(prepared.path())
                .map_err(|error| CallError::internal("a scratch directory", error))?;
            let project = match folder.user() {
                Some(user) => ProjectDir::open_for(folder.path(), user),
                None => ProjectDir::open(folder.path()),
            };
            let project = project.map_err(project_error)?;
            let bundle = prepared.path().join("bundle");
            let manifest = caisson_bundle::prepare(&project, &bundle).map_err(bundle_error)?;
            Ok(Connector {
                form: Form::new(manifest)?,
                origin,
                bundle,
                prepared: Some(prepared),
            })
        })
        .await
    }

    /// The states that are stored under a key, of what `selections` choose and
    /// as far as a worker of so much memory may be given them.
    pub(crate) async fn stored_states(
        &self,
        workspace: &Workspace,
        state_key: &str,
        selections: &[v1::StreamSelection],
        memory_bytes: u64,
    ) -> Result<States, CallError> {
        let limit = states_limit(memory_bytes);
        let wanted = |stream: &str, partition: &str| selects(selections, stream, partition);
        let stored = self
            .checkpoints
            .states(workspace, state_key, limit, wanted)
            .await
            .map_err(|error| match error {
                CheckpointError::TooLargeTogether { limit } => states_too_large(limit),
                error => state_error(error),
            })?;
        Ok(stored
            .into_iter()
            .map(|((stream, partition), state)| ((stream, partition), state.into()))
            .collect())
    }

    /// Whether a connection could be used: its connector exists and its
    /// config fits.
    pub(crate) async fn check_connection(
        &self,
        workspace: &Workspace,
        source: &Source,
    ) -> Result<(), CallError> {
        let connector = self
            .connector(
                workspace,
                &source.connection.connector,
                source.folder.as_ref(),
            )
            .await?;
        connector
            .form
            .check(&source.connection.config_json)
            .map(drop)
    }

    /// Whether a connection may reach `host:port`, and why.
    pub(crate) async fn explain(
        &self,
        workspace: &Workspace,
        source: &Source,
        host: &str,
        port: u32,
    ) -> Result<v1::ExplainEgressResponse, CallError> {
        let connector = self
            .connector(
                workspace,
                &source.connection.connector,
                source.folder.as_ref(),
            )
            .await?;
        let config: Value = connector.form.check(&source.connection.config_json)?;
        let policies = self.host.gateway.policies();
        let policy = policies.find(&connector.id(workspace)).map_err(undecided)?;
        let guard = self.host.gateway.guard();
        let explained = caisson_egress::explain(
            policy.as_ref(),
            &config,
            &guard,
            &format!("{host}:{port}"),
            None,
        )
        .map_err(|error| CallError::new(ErrorCode::ConfigInvalid, error.to_string()))?;
        let refusal = explained.refusal;
        Ok(v1::ExplainEgressResponse {
            allowed: explained.allowed,
            reason: refusal
                .as_ref()
                .map(|refusal| refusal.reason.as_str().to_owned())
                .unwrap_or_default(),
            rule_at: explained.rule.map(|at| at.to_string()).unwrap_or_default(),
            rule: refusal
                .and_then(|refusal| refusal.rule_to_add)
                .unwrap_or_default(),
        })
    }

    /// What the Python source of an unpacked bundle says, read in a worker
    /// that can reach nothing, in its slot.
    async fn inspect(&self, bundle: &Path, _slot: &Admitted) -> Result<Facts, CallError> {
        let worker = self.next_worker();
        let name = "inspect".to_owned();
        let redactor = Arc::new(Redactor::new(std::iter::empty()));
        let job = Job {
            operation: Operation::Inspect,
            spec: WorkerSpec::new(worker, bundle.to_owned()),
            warmth: None,
            profile: caisson_egress::SandboxProfile::Strict,
            opening: Opening::of(message::Start {
                protocol_version: caisson_wire::PROTOCOL_VERSION,
                operation: Operation::Inspect.into(),
                ..Default::default()
            }),
            egress: caisson_egress::CallContext {
                call_id: name.clone(),
                worker,
                connector: ConnectorId {
                    name,
                    version: semver::Version::new(0, 0, 0),
                    origin: Origin::Folder,
                    workspace: String::new(),
                },
                config: Value::Null,
                redactor: redactor.clone(),
                sealed: Arc::default(),
                certificates: Arc::default(),
                payer: Payer::new([], "inspect"),
                party: "inspect".into(),
                bounds: Default::default(),
            },
            redactor,
            redact_records: false,
            stall: Some(INSPECT),
            throttle: std::time::Duration::ZERO,
            unbounded: false,
            missing_layers: Vec::new(),
        };
        let control = Control {
            cancel: CancellationToken::new(),
            deadline: Some(tokio::time::Instant::now() + INSPECT),
        };
        let (sender, mut events) = mpsc::channel(16);
        let outlet = Outlet::new(sender, Sequencer::new("inspect", 0), true);
        let collect = async {
            let mut facts = None;
            while let Some(emitted) = events.recv().await {
                if let Event::Facts(json) = emitted.event {
                    facts = Some(json);
                }
            }
            facts
        };
        let (outcome, facts) = tokio::join!(
            run(&self.host, job, None, outlet, &control, |_| {}),
            collect
        );
        outcome.result?;
        let facts =
            facts.ok_or_else(|| CallError::internal("the inspection", "it reported nothing"))?;
        serde_json::from_slice(&facts)
            .map_err(|error| CallError::internal("the inspection's report", error))
    }

    /// Every finding of the validation suite about a project or an unpacked
    /// bundle.
    pub(crate) async fn validate(
        &self,
        dir: &Path,
        allowed: Option<AllowedDependencies>,
        slot: &Admitted,
    ) -> Result<Report, CallError> {
        let allowed = match allowed {
            Some(allowed) => allowed,
            None => self.allowed_dependencies()?,
        };
        let (source, scratch) = (dir.to_owned(), self.scratch.clone());
        // The worker sees src/ alone, copied to where every user id can read it.
        let prepared = blocking(move || {
            let prepared = tempfile::tempdir_in(&scratch)
                .map_err(|error| CallError::internal("a scratch directory", error))?;
            crate::open_to_all(prepared.path())
                .map_err(|error| CallError::internal("a scratch directory", error))?;
            let bundle = prepared.path().join("bundle");
            let project = ProjectDir::open(&source).map_err(project_error)?;
            lay_out_source(&project, &bundle)?;
            Ok(prepared)
        })
        .await?;
        let facts = self.inspect(&prepared.path().join("bundle"), slot).await?;
        let dir = dir.to_owned();
        blocking(move || {
            let project = ProjectDir::open(&dir).map_err(project_error)?;
            caisson_bundle::validate(&project, &facts, &allowed).map_err(project_error)
        })
        .await
    }

    fn allowed_dependencies(&self) -> Result<AllowedDependencies, CallError> {
        match &self.config.dependencies {
            None => Ok(AllowedDependencies::default()),
            Some(path) => AllowedDependencies::read(path)
                .map_err(|faults| CallError::invalid("dependencies.toml", faults.0)),
        }
    }
}

/// Copies the Python under `src/`, and nothing else, to where a worker can
/// read it.
fn lay_out_source(project: &ProjectDir, bundle: &Path) -> Result<(), CallError> {
    let io = |error: std::io::Error| CallError::internal("a scratch directory", error);
    std::fs::create_dir_all(bundle.join("src")).map_err(io)?;
    for file in project.tree().map_err(project_error)? {
        if file.path.starts_with("src/") && file.path.ends_with(".py") {
            let target = bundle.join(&file.path);
            std::fs::create_dir_all(target.parent().unwrap_or(bundle)).map_err(io)?;
            let mut from = project.file(&file.path).map_err(project_error)?;
            let mut into = std::fs::File::create(&target).map_err(io)?;
            std::io::copy(&mut from, &mut into).map_err(io)?;
        }
    }
    Ok(())
}

/// Runs file work where it holds no task up.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CallError> + Send + 'static,
) -> Result<T, CallError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(CallError::internal("a task", error)))
}

/// What the registry could not do.
pub(crate) fn registry_error(error: RegistryError) -> CallError {
    let code = match &error {
        RegistryError::UnknownName { .. }
        | RegistryError::UnknownVersion { .. }
        | RegistryError::Range { .. } => ErrorCode::VersionUnknown,
        RegistryError::Pin(_)
        | RegistryError::Name { .. }
        | RegistryError::Version(_)
        | RegistryError::NotADigest(_) => ErrorCode::ConfigInvalid,
        RegistryError::Published { .. } => ErrorCode::StateConflict,
        _ => return CallError::internal("the registry", error),
    };
    CallError::new(code, error.to_string())
}

/// What is wrong with a project's folder.
pub(crate) fn project_error(error: ProjectError) -> CallError {
    match error {
        ProjectError::Faults(faults) => CallError::invalid("the connector", faults.0),
        ProjectError::NotTheirs { .. } => {
            CallError::new(ErrorCode::PermissionMissing, error.to_string()).with_action(
                "call as the folder's owner, with files that are its own or readable for everybody",
            )
        }
        error => CallError::new(ErrorCode::ConfigInvalid, error.to_string()),
    }
}

/// What is wrong with a bundle.
pub(crate) fn bundle_error(error: BundleError) -> CallError {
    match error {
        BundleError::Faults(faults) => CallError::invalid("the connector", faults.0),
        BundleError::Project(error) => project_error(error),
        error => CallError::new(ErrorCode::ConfigInvalid, error.to_string()),
    }
}
