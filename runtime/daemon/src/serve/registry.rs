//! Registry: Publish, Install, Resolve, ListConnectors, Validate.

use std::io::Write;
use std::sync::Arc;

use caisson_bundle::{AllowedDependencies, MAX_BUNDLE, Severity};
use caisson_proto::v1::registry_server::Registry;
use caisson_proto::v1::{self, ErrorCode};
use caisson_state::{Digest, Entry, Publication};
use chrono::Utc;
use sha2::Digest as _;
use tempfile::TempDir;
use tonic::{Request, Response, Status, Streaming};

use crate::core::{Core, blocking, bundle_error, registry_error, workspace};
use crate::error::CallError;
use crate::identity::caller;

pub(crate) struct RegistryService(pub(crate) Arc<Core>);

/// A bundle that came over the wire, whole and unpacked, not yet judged.
struct Received {
    workspace: String,
    allowed: Option<AllowedDependencies>,
    digest: [u8; 32],
    bundle: caisson_bundle::Bundle,
    /// Holds `bundle.tar.gz` and `unpacked/`.
    dir: TempDir,
}

#[tonic::async_trait]
impl Registry for RegistryService {
    async fn publish(
        &self,
        request: Request<Streaming<v1::PublishRequest>>,
    ) -> Result<Response<v1::PublishResponse>, Status> {
        let operator = caller(&request).operator;
        let received = self.receive(request.into_inner(), operator).await?;
        let report = self
            .0
            .validate(
                &received.dir.path().join("unpacked"),
                received.allowed.clone(),
            )
            .await?;
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
            workspace: received.workspace.clone(),
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
        let operator = caller(&request).operator;
        let received = self.receive(request.into_inner(), operator).await?;
        let report = self
            .0
            .validate(
                &received.dir.path().join("unpacked"),
                received.allowed.clone(),
            )
            .await?;
        Ok(Response::new(v1::ValidateResponse {
            findings: report.findings.iter().map(shown).collect(),
        }))
    }

    async fn install(
        &self,
        request: Request<v1::InstallRequest>,
    ) -> Result<Response<v1::InstallResponse>, Status> {
        let request = request.into_inner();
        let workspace = workspace(&request.workspace);
        self.0
            .connector(workspace, &request.connector, None)
            .await?;
        let entry = self
            .0
            .registry
            .resolve(workspace, &request.connector)
            .map_err(registry_error)?;
        Ok(Response::new(v1::InstallResponse {
            version: Some(self.version(&entry)),
        }))
    }

    async fn resolve(
        &self,
        request: Request<v1::ResolveRequest>,
    ) -> Result<Response<v1::ConnectorVersion>, Status> {
        let request = request.into_inner();
        let entry = self
            .0
            .registry
            .resolve(workspace(&request.workspace), &request.connector)
            .map_err(registry_error)?;
        Ok(Response::new(self.version(&entry)))
    }

    async fn list_connectors(
        &self,
        request: Request<v1::ListConnectorsRequest>,
    ) -> Result<Response<v1::ListConnectorsResponse>, Status> {
        let request = request.into_inner();
        let name = (!request.name.is_empty()).then_some(request.name.as_str());
        let entries = self
            .0
            .registry
            .list(workspace(&request.workspace), name)
            .map_err(registry_error)?;
        Ok(Response::new(v1::ListConnectorsResponse {
            versions: entries.iter().map(|entry| self.version(entry)).collect(),
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
    async fn receive(
        &self,
        mut requests: Streaming<v1::PublishRequest>,
        operator: bool,
    ) -> Result<Received, Status> {
        let first = requests.message().await?.unwrap_or_default();
        let allowed = match first.dependencies_toml.as_str() {
            "" => None,
            // What connectors may carry is the operator's to say.
            _ if !operator => {
                return Err(CallError::new(
                    ErrorCode::PermissionMissing,
                    "dependencies_toml is taken from operators only",
                )
                .with_action("leave it out: the daemon's own dependencies.toml holds")
                .into());
            }
            text => Some(
                AllowedDependencies::parse("dependencies.toml", text)
                    .map_err(|faults| CallError::invalid("dependencies.toml", faults.0))?,
            ),
        };
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
            next = requests.message().await?;
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
            workspace: workspace(&first.workspace).to_owned(),
            allowed,
            digest,
            bundle,
            dir,
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
