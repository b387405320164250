//! A JSON Schema (draft 2020-12), compiled once.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::{Document, Fault, Faults};

/// A compiled JSON Schema 2020-12.
///
/// It never fetches what it refers to, `format` is checked, and patterns run on an engine whose
/// time is linear (so no look-around), since a schema may come from somebody who is not trusted.
/// Beside the standard keywords, `x-write-instead` in any subschema replaces the help of its
/// faults, and `x-name` names it where a choice has to be described.
#[derive(Debug, Clone)]
pub struct Schema {
    pub(crate) value: Value,
    pub(crate) validator: Validator,
}

/// The schema itself cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The text of the schema is no YAML or JSON.
    #[error("the schema cannot be read: {0}")]
    Text(#[from] Faults),
    /// It is no valid JSON Schema 2020-12.
    #[error("not a valid JSON Schema 2020-12: {0}")]
    Invalid(String),
}

impl Schema {
    /// Compiles `value`.
    ///
    /// # Errors
    /// If it is no valid JSON Schema 2020-12.
    pub fn new(value: Value) -> Result<Schema, SchemaError> {
        let validator = jsonschema::draft202012::options()
            .offline()
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex().size_limit(4 << 20))
            .build(&value)
            .map_err(|error| SchemaError::Invalid(error.masked().to_string()))?;
        Ok(Schema { value, validator })
    }

    /// Compiles a schema out of YAML or JSON text, such as one that a crate carries.
    ///
    /// # Errors
    /// If the text cannot be parsed or is no valid JSON Schema 2020-12.
    pub fn parse(text: &str) -> Result<Schema, SchemaError> {
        Schema::new(Document::parse("schema", text)?.into_value())
    }

    /// The schema as it was given.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// True if `value` fits.
    #[must_use]
    pub fn accepts(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }
}

impl Document {
    /// Compiles the part at `pointer`, which somebody wrote as a JSON Schema 2020-12.
    ///
    /// # Errors
    /// Every way in which it is none, each at its place.
    pub fn schema_at(&self, pointer: &str) -> Result<Schema, Vec<Fault>> {
        let part = self.pointer(pointer).cloned().unwrap_or(Value::Null);
        let meta = jsonschema::draft202012::meta::validator();
        let faults: Vec<Fault> =
            crate::wording::reduce(self, pointer, None, meta.iter_errors(&part));
        if !faults.is_empty() {
            return Err(faults);
        }
        Schema::new(part).map_err(|error| vec![self.fault(pointer, error.to_string(), "")])
    }
}
