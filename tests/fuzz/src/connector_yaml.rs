//! connector.yaml, which comes with a bundle.
//!
//! Input: the text.

use crate::faults;
use caisson_bundle::{Manifest, generate_config};
use caisson_document::Document;
use serde_json::Value;

/// A refusal is well told; a manifest that is taken says the same when it is written as JSON, its config's schema judges,
/// and a typed Config can be made of it.
pub fn connector_yaml(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let manifest = match Manifest::parse("connector.yaml", &text) {
        Ok(manifest) => manifest,
        Err(faults) => return faults::are_well_told(&faults, &text),
    };
    let value = Document::parse("connector.yaml", &text)
        .expect("it was read before")
        .into_value();
    let json = value.to_string();
    let again = Manifest::parse("connector.json", &json)
        .unwrap_or_else(|faults| panic!("as JSON it is refused: {faults}\n{json}"));
    let said = serde_json::to_value(&manifest).expect("a manifest is JSON");
    assert_eq!(said, serde_json::to_value(&again).expect("JSON"), "{json}");

    let schema = manifest
        .config_schema()
        .unwrap_or_else(|error| panic!("the schema of a checked manifest: {error}\n{json}"));
    for config in [Value::Null, serde_json::json!({}), value] {
        if let Err(faults) = schema.check(&Document::from_value("config", config)) {
            assert!(!faults.to_string().is_empty());
        }
    }
    let python = generate_config(&manifest.title, &manifest.config);
    assert!(!python.is_empty());
}
