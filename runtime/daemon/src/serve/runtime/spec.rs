//! Spec: what a connector is and needs. Runs no connector code.

use caisson_proto::v1;
use tonic::{Request, Status};

use crate::core::Core;
use crate::identity::caller;

pub(super) async fn spec(
    core: &Core,
    request: Request<v1::SpecRequest>,
) -> Result<v1::SpecResponse, Status> {
    let caller = caller(&request);
    let request = request.into_inner();
    let workspace = caller.workspace(&request.options.unwrap_or_default().workspace)?;
    let folder = caller.folder(&request.path)?;
    let connector = core
        .connector(&workspace, &request.connector, folder.as_ref())
        .await?;
    let manifest = &connector.form.manifest;
    Ok(v1::SpecResponse {
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        title: manifest.title.clone(),
        capabilities: manifest
            .capabilities
            .iter()
            .map(|capability| capability.as_str().to_owned())
            .collect(),
        config_schema_json: manifest.config.to_string(),
        form_json: serde_json::to_string(&manifest.form).unwrap_or_default(),
        egress_json: serde_json::to_string(&manifest.egress).unwrap_or_default(),
        digest: connector.digest().unwrap_or_default().to_owned(),
    })
}
