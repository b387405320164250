//! What a connector's manifest and its schema say of a config.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use caisson_bundle::{ConfigSchema, Manifest};
use caisson_document::Document;
use caisson_secrets::references;
use serde_json::Value;

use crate::error::CallError;

/// Forms that are remembered; then it begins anew.
const MOST: usize = 256;

/// A connector's manifest, and the schema of its config, ready to check one.
#[derive(Clone)]
pub(crate) struct Form {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) schema: Arc<ConfigSchema>,
}

impl Form {
    pub(crate) fn new(manifest: Manifest) -> Result<Self, CallError> {
        let schema = manifest
            .config_schema()
            .map_err(|error| CallError::internal("the connector's config schema", error))?;
        Ok(Self {
            manifest: Arc::new(manifest),
            schema: Arc::new(schema),
        })
    }

    /// The config with its defaults, if it fits.
    pub(crate) fn check(&self, config_json: &str) -> Result<Value, CallError> {
        let text = if config_json.trim().is_empty() {
            "{}"
        } else {
            config_json
        };
        let document = Document::parse("config.json", text)
            .map_err(|faults| CallError::invalid("the config", faults.0))?;
        let checked = self
            .schema
            .check(&document)
            .map_err(|faults| CallError::invalid("the config", faults.0))?;
        references(&checked.value).map_err(|faults| {
            let faults = faults
                .into_iter()
                .map(|fault| document.fault(&fault.pointer, fault.message, fault.help));
            CallError::invalid("the config", faults)
        })?;
        Ok(checked.value)
    }
}

/// Those of installed bundles, which their digests name for good.
#[derive(Default)]
pub(crate) struct Forms(Mutex<HashMap<String, Form>>);

impl Forms {
    /// The form of the bundle that is installed at `bundle`.
    pub(crate) fn of(&self, digest: &str, bundle: &Path) -> Result<Form, CallError> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(form) = known().get(digest) {
            return Ok(form.clone());
        }
        let document = Document::read(&bundle.join("connector.yaml"))
            .map_err(|error| CallError::internal("an installed bundle", error))?;
        let manifest = Manifest::from_document(&document)
            .map_err(|error| CallError::internal("an installed bundle", error))?;
        let form = Form::new(manifest)?;
        let mut known = known();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(digest.to_owned(), form.clone());
        Ok(form)
    }
}
