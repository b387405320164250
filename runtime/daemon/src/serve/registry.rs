//! Registry: Publish, Install, Resolve, ListConnectors, Validate.

use std::io::Write;
use std::sync::Arc;

use caisson_bundle::{AllowedDependencies, MAX_BUNDLE, Report, Severity};
use caisson_proto::v1::registry_server::Registry;
use caisson_proto::v1::{self, ErrorCode};
use caisson_state::{Digest, Entry, Publication};
use chrono::Utc;
use sha2::Digest as _;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::pages;
use super::timeout::grpc_timeout;
use crate::call::Admitted;
use crate::core::{Core, blocking, bundle_error, registry_error};
use crate::error::CallError;
use crate::identity::{Workspace, caller};

pub(crate) struct RegistryService(pub(crate) Arc<Core>);

/// A bundle that came over the wire, whole and unpacked, not yet judged.
struct Received {
    workspace: Workspace,
    allowed: Option<AllowedDependencies>,
    digest: [u8; 32],
    bundle: caisson_bundle::Bundle,
    /// Holds `bundle.tar.gz` and `unpacked/`.
    dir: TempDir,
    /// From the first byte on: a bundle takes disk, and then a worker.
    slot: Admitted,
}

#[tonic::async_trait]
impl Registry for RegistryService {
    async fn publish(
        &self,
        request: Request<Streaming<v1::PublishRequest>>,
    ) -> Result<Response<v1::PublishResponse>, Status> {
        caller(&request).publishes()?;
        let received = self.receive(request).await?;
        let report = self.judge(&received).await?;
        let errors: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .collect();
        if !errors.is_empty() {
            let mut error = CallError::new(
                ErrorCode::ConfigInvalid,
                format!("validation found {} errors", errors.len()),
            )
            .with_action("mend them; `caisson validate` shows the same");
            error.faults = errors
                .into_iter()
                .map(|finding| fault_of(shown(finding)))
                .collect();
            return Err(error.into());
        }
        let manifest = &received.bundle.manifest;
        let publication = Publication {
            workspace: received.workspace.to_string(),
            name: manifest.name.clone(),
            version: manifest.version.to_string(),
            bundle: received.dir.path().join("bundle.tar.gz"),
            digest: Digest::of(&received.digest),
            manifest: serde_json::to_value(manifest)
                .map_err(|error| CallError::internal("the manifest", error))?,
        };
        let published = self
            .0
            .registry
            .publish(publication, Utc::now())
            .await
            .map_err(registry_error)?;
        Ok(Response::new(v1::PublishResponse {
            version: Some(self.version(&published.entry)),
            existed: published.existed,
        }))
    }

    async fn validate(
        &self,
        request: Request<Streaming<v1::PublishRequest>>,
    ) -> Result<Response<v1::ValidateResponse>, Status> {
        let received = self.receive(request).await?;
        let report = self.judge(&received).await?;
        Ok(Response::new(v1::ValidateResponse {
            findings: report.findings.iter().map(shown).collect(),
        }))
    }

    async fn install(
        &self,
        request: Request<v1::InstallRequest>,
    ) -> Result<Response<v1::InstallResponse>, Status> {
        let workspace = caller(&request).workspace(&request.get_ref().workspace)?;
        let pin = request.into_inner().connector;
        self.0.connector(&workspace, &pin, None).await?;
        let entry = self
            .0
            .registry
            .resolve(&workspace, &pin)
            .map_err(registry_error)?;
        Ok(Response::new(v1::InstallResponse {
            version: Some(self.version(&entry)),
        }))
    }

    async fn resolve(
        &self,
        request: Request<v1::ResolveRequest>,
    ) -> Result<Response<v1::ConnectorVersion>, Status> {
        let workspace = caller(&request).workspace(&request.get_ref().workspace)?;
        let entry = self
            .0
            .registry
            .resolve(&workspace, &request.get_ref().connector)
            .map_err(registry_error)?;
        Ok(Response::new(self.version(&entry)))
    }

    async fn list_connectors(
        &self,
        request: Request<v1::ListConnectorsRequest>,
    ) -> Result<Response<v1::ListConnectorsResponse>, Status> {
        let workspace = caller(&request).workspace(&request.get_ref().workspace)?;
        let request = request.into_inner();
        let name = (!request.name.is_empty()).then_some(request.name.as_str());
        let entries = self
            .0
            .registry
            .list(&workspace, name)
            .map_err(registry_error)?;
        // A version that was published stays, so its pin is a place in the list.
        let from = match pages::token(&request.page_token) {
            None => 0,
            Some(token) => {
                let last = entries.iter().position(|entry| pin(entry) == token);
                let message =
                    "the page token is not one that a page gave; begin again without a token";
                last.ok_or_else(|| Status::invalid_argument(message))? + 1
            }
        };
        let shown = entries[from..].iter().map(|entry| self.version(entry));
        let (versions, more) = pages::cut(shown, pages::long(request.page_size));
        let last = entries[from..].get(versions.len().wrapping_sub(1));
        Ok(Response::new(v1::ListConnectorsResponse {
            next_page_token: last.filter(|_| more).map(pin).unwrap_or_default(),
            versions,
        }))
    }

    async fn promote(
        &self,
        _: Request<v1::PromoteRequest>,
    ) -> Result<Response<v1::PromoteResponse>, Status> {
        Err(Status::unimplemented(
            "Promote is not built yet; publish into the other workspace",
        ))
    }

    async fn yank(
        &self,
        _: Request<v1::YankRequest>,
    ) -> Result<Response<v1::YankResponse>, Status> {
        Err(Status::unimplemented(
            "Yank is not built yet; publish a higher version and pin that",
        ))
    }
}

impl RegistryService {
    async fn judge(&self, received: &Received) -> Result<Report, CallError> {
        let unpacked = received.dir.path().join("unpacked");
        let allowed = received.allowed.clone();
        self.0.validate(&unpacked, allowed, &received.slot).await
    }

    /// The next message; a caller that sends none holds nothing up for ever.
    async fn next(
        &self,
        requests: &mut Streaming<v1::PublishRequest>,
    ) -> Result<Option<v1::PublishRequest>, Status> {
        let stall = self.0.config.stall;
        match timeout(stall, requests.message()).await {
            Ok(next) => next,
            Err(_) => {
                let message = format!("no part of the bundle came for {} s", stall.as_secs());
                Err(CallError::new(ErrorCode::Stalled, message)
                    .with_action("send the bundle again")
                    .into())
            }
        }
    }

    async fn receive(
        &self,
        request: Request<Streaming<v1::PublishRequest>>,
    ) -> Result<Received, Status> {
        let caller = caller(&request);
        let deadline = grpc_timeout(request.metadata()).map(|timeout| Instant::now() + timeout);
        let mut requests = request.into_inner();
        let first = self.next(&mut requests).await?.unwrap_or_default();
        let workspace = caller.workspace(&first.workspace)?;
        let allowed = match first.dependencies_toml.as_str() {
            "" => None,
            text => {
                // What connectors may carry is the operator's to say.
                caller.operates("may not send dependencies_toml: the daemon's own holds")?;
                let parsed = AllowedDependencies::parse("dependencies.toml", text)
                    .map_err(|faults| CallError::invalid("dependencies.toml", faults.0))?;
                Some(parsed)
            }
        };
        let never = CancellationToken::new();
        let slots = self.0.calls.admission();
        let slot = slots.enter(&caller.tenant, 1, deadline, &never).await?;
        let scratch = |error: std::io::Error| CallError::internal("a scratch file", error);
        let dir = tempfile::tempdir_in(&self.0.scratch).map_err(scratch)?;
        crate::open_to_all(dir.path()).map_err(scratch)?;
        let archive = dir.path().join("bundle.tar.gz");
        let mut file = std::fs::File::create(&archive).map_err(scratch)?;
        let (mut hash, mut size) = (sha2::Sha256::new(), 0u64);
        let mut next = Some(v1::PublishRequest {
            data: first.data,
            ..Default::default()
        });
        while let Some(request) = next {
            size += request.data.len() as u64;
            if size > MAX_BUNDLE {
                return Err(bundle_error(caisson_bundle::BundleError::TooLarge).into());
            }
            hash.update(&request.data);
            // A megabyte into the page cache; not worth a thread.
            file.write_all(&request.data).map_err(scratch)?;
            next = self.next(&mut requests).await?;
        }
        let digest: [u8; 32] = hash.finalize().into();
        let named = Digest::of(&digest);
        if first.sha256.trim_start_matches("sha256:") != named.hex() {
            let message = format!(
                "the bundle's SHA-256 is {}, the request says `{}`",
                named.hex(),
                first.sha256
            );
            return Err(CallError::new(ErrorCode::ConfigInvalid, message)
                .with_action("send the bundle again, whole")
                .into());
        }
        let unpacked = dir.path().join("unpacked");
        let bundle = blocking(move || {
            caisson_bundle::unpack(&archive, &unpacked, None).map_err(bundle_error)
        })
        .await?;
        Ok(Received {
            workspace,
            allowed,
            digest,
            bundle,
            dir,
            slot,
        })
    }

    fn version(&self, entry: &Entry) -> v1::ConnectorVersion {
        v1::ConnectorVersion {
            name: entry.name.clone(),
            version: entry.version.to_string(),
            digest: entry.digest.to_string(),
            title: entry
                .manifest
                .get("title")
                .and_then(|title| title.as_str())
                .unwrap_or_default()
                .to_owned(),
            bytes: entry.bytes,
            published: Some(std::time::SystemTime::from(entry.published).into()),
            installed: self.0.registry.installed(&entry.digest),
        }
    }
}

fn pin(entry: &Entry) -> String {
    format!("{}@{}", entry.name, entry.version)
}

fn shown(finding: &caisson_bundle::Finding) -> v1::Finding {
    v1::Finding {
        id: finding.id.to_string(),
        severity: match finding.severity {
            Severity::Error => "error",
            _ => "warning",
        }
        .to_owned(),
        file: finding.file.clone(),
        line: finding.line as u32,
        found: finding.found.clone(),
        write_instead: finding.write_instead.clone(),
    }
}

fn fault_of(finding: v1::Finding) -> v1::Fault {
    v1::Fault {
        file: finding.file,
        line: finding.line,
        path: finding.id,
        message: finding.found,
        help: finding.write_instead,
        ..Default::default()
    }
}
