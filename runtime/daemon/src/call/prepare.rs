//! Everything about a call that is decided before a worker exists: connector,
//! config, policy, secrets, limits. Whatever is wrong here is refused with a
//! gRPC error, and nothing has run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use caisson_bundle::{Auth, Manifest, SECRET_KEY};
use caisson_egress::{
    ClientCertificate, ConnectorId, Origin, Payer, Place, Policy, SandboxProfile, Sealed,
};
use caisson_proto::v1::{self, ErrorCode, connection_ref};
use caisson_sandbox::{HostDir, Limits, Overlay, ProfileName, WorkerSpec};
use caisson_secrets::{
    Ended, Leases, Redactor, Resolved, SecretError, SecretFaults, SecretRule, pointer_of, replace,
};
use caisson_wire::Opening;
use caisson_wire::message::{self, Operation};
use serde_json::{Value, json};

use super::certificates::certificates;
use super::form::Form;
use super::names::check_name;
use crate::core::Core;
use crate::egress::undecided;
use crate::error::CallError;
use crate::identity::{Caller, Folder, Workspace};
use crate::roots::inspects;
use crate::serve::{connection_error, connection_of};
use crate::worker::{Job, Warmth};

/// Which connection a call uses, found but not yet checked.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) connection: v1::Connection,
    /// Names the stored checkpoints; empty where there can be none.
    pub(crate) state_key: String,
    /// A connector's folder, in place of a published version.
    pub(crate) folder: Option<Folder>,
}

impl Source {
    /// A stored connection's own content.
    pub(crate) fn stored(name: &str, connection: v1::Connection) -> Self {
        Self {
            connection,
            state_key: name.to_owned(),
            folder: None,
        }
    }

    /// What a request refers to.
    pub(crate) async fn of(
        core: &Core,
        caller: &Caller,
        workspace: &Workspace,
        reference: Option<v1::ConnectionRef>,
    ) -> Result<Self, CallError> {
        match reference.and_then(|reference| reference.source) {
            None => Err(CallError::new(
                ErrorCode::ConfigInvalid,
                "the request names no connection",
            )
            .with_action("give connection.name or connection.inline")),
            Some(connection_ref::Source::Name(name)) => {
                check_name("connection.name", &name)?;
                let stored = core
                    .connections
                    .get(workspace, &name)
                    .await
                    .map_err(connection_error)?;
                Ok(Self::stored(&name, connection_of(&stored.body)))
            }
            Some(connection_ref::Source::Inline(inline)) => {
                let connection = inline.connection.unwrap_or_default();
                check_name("connection.connector", &connection.connector)?;
                check_name("state_key", &inline.state_key)?;
                Ok(Self {
                    connection,
                    state_key: inline.state_key,
                    folder: caller.folder(&inline.path)?,
                })
            }
        }
    }

    /// For the record of calls.
    pub(crate) fn label(&self) -> String {
        match (&self.state_key, &self.folder) {
            (key, _) if !key.is_empty() => key.clone(),
            (_, Some(folder)) => folder.path().display().to_string(),
            _ => "inline".to_owned(),
        }
    }
}

/// A connector that is ready to run.
pub(crate) struct Connector {
    pub(crate) form: Form,
    pub(crate) origin: Origin,
    /// Unpacked: connector.yaml, src, deps.
    pub(crate) bundle: PathBuf,
    /// Removed with this: the prepared form of a folder.
    pub(crate) prepared: Option<tempfile::TempDir>,
}

impl Connector {
    /// What policies know it by.
    pub(crate) fn id(&self, workspace: &Workspace) -> ConnectorId {
        ConnectorId {
            name: self.form.manifest.name.clone(),
            version: self.form.manifest.version.clone(),
            origin: self.origin.clone(),
            workspace: workspace.to_string(),
        }
    }

    /// Of a published one.
    pub(crate) fn digest(&self) -> Option<&str> {
        match &self.origin {
            Origin::Published(digest) => Some(digest),
            Origin::Folder | Origin::OwnFolder => None,
        }
    }
}

/// A call that may run.
pub(crate) struct Prepared {
    pub(crate) connector: Connector,
    pub(crate) connection: v1::Connection,
    pub(crate) state_key: String,
    pub(crate) workspace: Workspace,
    /// Defaults filled in; holds references.
    pub(crate) config: Value,
    pub(crate) profile: SandboxProfile,
    pub(crate) redact_records: bool,
    pub(crate) ports: Vec<u16>,
    /// Those that the policy gives every call.
    pub(crate) fixed_ports: Vec<u16>,
    pub(crate) files: Vec<HostDir>,
    /// What stands in for the connector's own root bundles.
    pub(crate) overlays: Arc<[Overlay]>,
    pub(crate) secrets: Resolved,
    /// What the gateway shows upstreams.
    pub(crate) certificates: Arc<[ClientCertificate]>,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) limits: Limits,
    pub(crate) duration: Duration,
}

/// Checks and resolves everything that `source` needs.
pub(crate) async fn prepare(
    core: &Core,
    workspace: &Workspace,
    call_id: &str,
    source: Source,
) -> Result<Prepared, CallError> {
    let connector = core
        .connector(
            workspace,
            &source.connection.connector,
            source.folder.as_ref(),
        )
        .await?;
    let config = connector.form.check(&source.connection.config_json)?;
    let policies = core.host.gateway.policies();
    let policy = policies.find(&connector.id(workspace)).map_err(undecided)?;
    let (ports, files) = match &policy {
        None => (Vec::new(), Vec::new()),
        Some(policy) => {
            let ports = policy
                .ports(&config)
                .map_err(|faults| CallError::invalid("the config against the policy", faults.0))?;
            let files = policy
                .files(&config)
                .map_err(|faults| CallError::invalid("the config against the policy", faults.0))?;
            (
                ports,
                files
                    .into_iter()
                    .map(|grant| HostDir {
                        dir: grant.dir,
                        within: grant.within,
                        write: grant.write,
                    })
                    .collect(),
            )
        }
    };
    let overlays = match &policy {
        Some(policy) if inspects(policy) => core.roots.of(&connector).await?,
        _ => Arc::default(),
    };
    let rules = policy.as_ref().map_or(&[][..], |policy| &policy.secrets);
    tokens_are_got(&connector.form.manifest, &config, rules)?;
    let secrets = core
        .resolver
        .resolve(call_id, &config, rules)
        .await
        .map_err(secret_error)?;
    let seals = policy.as_ref().map_or(&[][..], |policy| &policy.seals);
    let certificates = match core.host.gateway.is_played() {
        // Nobody would be shown any, and no provider was asked for the keys.
        true => Arc::default(),
        false => certificates(&config, seals, &secrets)?.into(),
    };
    let redactor = Arc::new(Redactor::new(secrets.values()));
    for gap in redactor.gaps() {
        tracing::warn!(call_id, %gap, "a secret is not looked for in what leaves the worker");
    }
    let (limits, duration) = limits(core, &connector.form.manifest, policy.as_deref());
    Ok(Prepared {
        connector,
        connection: source.connection,
        state_key: source.state_key,
        workspace: workspace.clone(),
        config,
        profile: policy
            .as_ref()
            .map(|policy| policy.profile)
            .unwrap_or_default(),
        redact_records: policy.as_ref().is_some_and(|policy| policy.redact_records),
        ports,
        fixed_ports: policy
            .as_ref()
            .map(|policy| policy.fixed_ports())
            .unwrap_or_default(),
        files,
        overlays,
        secrets,
        certificates,
        redactor,
        limits,
        duration,
    })
}

impl Prepared {
    /// `name@version`.
    pub(crate) fn pin(&self) -> String {
        self.connector.form.manifest.pin()
    }

    /// The part of Start that every operation has.
    pub(crate) fn start(&self, call_id: &str, operation: Operation) -> message::Start {
        let mut secrets: Vec<message::Secret> = Vec::new();
        let config = replace(&self.config, &mut |placed| {
            let value = self.secrets.shown(placed);
            let value = value.expect("every reference of the config was resolved");
            let (reference, value) = (placed.reference.to_string(), value.expose().into());
            secrets.push(message::Secret { reference, value });
            json!({ SECRET_KEY: secrets.len() - 1 })
        });
        let write = &self.connector.form.manifest.write;
        message::Start {
            protocol_version: caisson_wire::PROTOCOL_VERSION,
            operation: operation.into(),
            call_id: call_id.to_owned(),
            manifest_json: serde_json::to_string(&*self.connector.form.manifest)
                .unwrap_or_default(),
            config_json: config.to_string(),
            secrets,
            write_max_records: write.max_records.unwrap_or(0),
            write_max_bytes: write.max_bytes.map_or(0, |size| size.0),
            ..Default::default()
        }
    }

    /// What the gateway puts in for the worker.
    fn sealed(&self) -> Vec<Sealed> {
        let sealed = self
            .secrets
            .sealed()
            .map(|(property, placeholder, value)| Sealed {
                property: property.to_owned(),
                placeholder: placeholder.clone(),
                value: value.clone(),
                declared: declared(&self.connector.form.manifest, property),
            });
        sealed.collect()
    }

    /// The connection, told apart from all others of the daemon.
    fn party(&self) -> String {
        if self.state_key.is_empty() {
            // An inline connection without a name is what it holds.
            format!("{}: {} {}", self.workspace, self.pin(), self.config)
        } else {
            format!("{}/{}", self.workspace, self.state_key)
        }
    }

    /// Whom an upstream takes the connection for.
    fn payer(&self) -> Payer {
        // A config whose references are misplaced was refused before.
        let placed = caisson_secrets::references(&self.config).unwrap_or_default();
        let references = placed
            .into_iter()
            .map(|placed| (placed.reference.to_string(), placed.pointer));
        Payer::new(references, self.party())
    }

    /// The job of one worker.
    pub(crate) fn job(
        &self,
        core: &Core,
        call_id: &str,
        mut opening: Opening,
        unbounded: bool,
    ) -> Job {
        let (stall, throttle) = (core.config.stall, core.config.throttle);
        opening.start.heartbeat_ms = heartbeat(stall).as_millis() as u32;
        opening.start.throttle_max_ms = u64::try_from(throttle.as_millis()).unwrap_or(u64::MAX);
        let worker = core.next_worker();
        let mut spec = WorkerSpec::new(worker, self.connector.bundle.clone());
        spec.profile = ProfileName(self.profile.as_str().to_owned());
        spec.roots = Some(core.roots.system());
        spec.overlays = self.overlays.to_vec();
        spec.files = self.files.clone();
        spec.tcp_ports = self.ports.clone();
        spec.limits = self.limits.clone();
        // What only this call has cannot have been there before it.
        let alike = self.files.is_empty() && self.connector.digest().is_some();
        let warmth = alike.then(|| Warmth {
            entrypoint: self.connector.form.manifest.entrypoint.to_string(),
            ports: self.fixed_ports.clone(),
        });
        Job {
            operation: opening.start.operation(),
            spec,
            warmth,
            profile: self.profile,
            egress: caisson_egress::CallContext {
                call_id: call_id.to_owned(),
                worker,
                connector: self.connector.id(&self.workspace),
                config: self.config.clone(),
                redactor: self.redactor.clone(),
                sealed: self.sealed().into(),
                certificates: self.certificates.clone(),
                payer: self.payer(),
                party: self.party().into(),
                bounds: caisson_egress::Bounds {
                    refused_attempts: core.config.refused_attempts,
                    deadline: None,
                    longest_wait: throttle,
                },
            },
            opening,
            redactor: self.redactor.clone(),
            redact_records: self.redact_records,
            stall: Some(stall),
            throttle,
            unbounded,
            missing_layers: core.missing_layers(),
        }
    }
}

/// A connector that wants access tokens would otherwise send the secret that they are got with.
fn tokens_are_got(
    manifest: &Manifest,
    config: &Value,
    rules: &[SecretRule],
) -> Result<(), CallError> {
    let wants = manifest.auth.values().filter_map(Auth::of_tokens);
    for property in wants {
        let pointer = pointer_of(property);
        let is_given = config
            .pointer(&pointer)
            .is_some_and(|value| !value.is_null());
        let mut here = rules
            .iter()
            .filter(|rule| rule.pointer() == pointer)
            .peekable();
        // A property without any rule is not granted, which is told with what to write.
        if is_given && here.peek().is_some() && !here.any(|rule| rule.oauth2.is_some()) {
            let message = format!(
                "{pointer}: the connector wants access tokens that are got with this secret, and the policy has no oauth2 for it"
            );
            let action = format!(
                "write under secrets.{property} of the policy: seal: {{ hosts: [api.example.com] }} and oauth2: {{ grant: …, token_url: … }}"
            );
            return Err(CallError::new(ErrorCode::SecretUnavailable, message).with_action(action));
        }
    }
    Ok(())
}

/// Where the manifest's auth puts a property of the config.
pub(crate) fn declared(manifest: &Manifest, property: &str) -> Vec<Place> {
    let is_it = |name: &str| property.strip_prefix('/') == Some(name);
    let place = |auth: &Auth| match auth {
        Auth::Bearer { token, .. } if is_it(token) => "header:authorization".parse().ok(),
        Auth::Basic { username, password } => {
            let password = password.as_deref();
            (is_it(username) || password.is_some_and(is_it)).then_some(Place::Basic)
        }
        Auth::Header { name, value, .. } if is_it(value) => format!("header:{name}").parse().ok(),
        Auth::Query { name, value } if is_it(value) => Some(Place::Query(name.clone())),
        auth if auth.of_tokens().is_some_and(is_it) => "header:authorization".parse().ok(),
        Auth::Mtls { key, .. } if is_it(key) => Some(Place::ClientKey),
        _ => None,
    };
    manifest.auth.values().filter_map(place).collect()
}

/// How often a worker that waits says so: often enough that a late one is not
/// taken for a stall.
fn heartbeat(stall: Duration) -> Duration {
    (stall / 4).clamp(Duration::from_millis(100), Duration::from_secs(5))
}

/// What must live as long as a call's worker: its prepared folder and the
/// leases of its secrets.
pub(crate) struct Keep {
    _connector: Connector,
    leases: Leases,
}

impl Keep {
    /// Returns when secrets of the call are no longer valid.
    pub(crate) async fn ended(&self) -> Ended {
        self.leases.ended().await
    }

    /// The call is over.
    pub(crate) async fn release(self) {
        self.leases.close().await;
    }
}

impl Prepared {
    /// What is left to hold once the worker's job is made.
    pub(crate) fn into_keep(self) -> Keep {
        Keep {
            _connector: self.connector,
            leases: self.secrets.into_leases(),
        }
    }
}

pub(crate) fn secret_error(faults: SecretFaults) -> CallError {
    let code = if faults.is_config_fault() {
        ErrorCode::ConfigInvalid
    } else {
        ErrorCode::SecretUnavailable
    };
    let one = |error: &SecretError| v1::Fault {
        path: error.pointer().to_owned(),
        message: error.to_string(),
        ..Default::default()
    };
    let messages: Vec<_> = faults.0.iter().map(ToString::to_string).collect();
    CallError {
        faults: faults.0.iter().map(one).collect(),
        ..CallError::new(code, messages.join("; ")).retryable(faults.retryable())
    }
}

/// What the connector asks for, at most what the operator allows.
fn limits(core: &Core, manifest: &Manifest, policy: Option<&Policy>) -> (Limits, Duration) {
    let own = &core.config.limits;
    let asked = &manifest.limits;
    let ceiling = policy.map(|policy| policy.limits).unwrap_or_default();
    let limits = Limits {
        memory_bytes: granted(
            asked.memory.map(|size| size.0),
            ceiling.memory_bytes,
            own.memory_bytes,
        ),
        cpus: granted(asked.cpu, ceiling.cpus, own.cpus),
        pids: granted(
            asked.pids.map(|pids| pids.min(u64::from(u32::MAX)) as u32),
            ceiling.pids,
            own.pids,
        ),
        tmp_bytes: granted(
            asked.tmp.map(|size| size.0),
            ceiling.tmp_bytes,
            own.tmp_bytes,
        ),
        open_files: granted(asked.open_files, ceiling.open_files, own.open_files),
    };
    let duration = granted(
        asked.duration.map(|span| span.0),
        ceiling.duration,
        core.config.duration,
    );
    (limits, duration)
}

fn granted<T: PartialOrd + Copy>(asked: Option<T>, ceiling: Option<T>, default: T) -> T {
    let ceiling = ceiling.unwrap_or(default);
    match asked {
        Some(asked) if asked < ceiling => asked,
        Some(_) => ceiling,
        None if default < ceiling => default,
        None => ceiling,
    }
}

#[cfg(test)]
mod tests {
    use super::granted;

    #[test]
    fn a_connector_gets_what_it_asks_for_up_to_what_the_operator_allows() {
        assert_eq!(granted(Some(5), None, 10), 5);
        assert_eq!(granted(Some(50), None, 10), 10);
        assert_eq!(granted(Some(50), Some(40), 10), 40);
        assert_eq!(granted(None, Some(40), 10), 10);
        assert_eq!(granted(None, Some(4), 10), 4);
    }
}
