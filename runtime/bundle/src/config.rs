//! A connection's config against the connector's schema: secrets are
//! references, everything else is what the schema says, defaults are filled in.

use std::collections::BTreeMap;

use caisson_document::{Document, Fault, Faults, Schema, SchemaError, describe, join};
use serde_json::{Map, Value};

/// The key of a secret reference: `{"$secret": "vault:kv/shop#api_key"}`.
pub const SECRET_KEY: &str = "$secret";

/// Defaults may add so many bytes to a config, and lie so deep: those of a schema that refers to itself have no end.
const MAX_FILLED: usize = 1 << 20;
const MAX_DEPTH: usize = 100;

/// The schema of a connector's config, compiled for checking connections.
///
/// Where the schema says `secret: true` only a reference is accepted, and what the schema asks of
/// the secret's text (a pattern, a length) is not asked of the reference. An object whose schema
/// has `properties` and says nothing about others takes no others, so that a misspelt key is a
/// fault and not a surprise.
#[derive(Debug, Clone)]
pub struct ConfigSchema {
    written: Value,
    compiled: Schema,
}

/// A config that fits, with its references apart.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedConfig {
    /// The config with defaults filled in; secrets are still references.
    pub value: Value,
    /// Every reference by the JSON pointer where its value belongs.
    pub secrets: BTreeMap<String, String>,
}

impl ConfigSchema {
    /// Compiles a schema as connector.yaml has it.
    ///
    /// # Errors
    /// If it is no valid JSON Schema 2020-12.
    pub fn new(written: Value) -> Result<ConfigSchema, SchemaError> {
        let compiled = Schema::new(for_connections(&written, true))?;
        Ok(ConfigSchema { written, compiled })
    }

    /// The schema as connector.yaml has it.
    #[must_use]
    pub fn written(&self) -> &Value {
        &self.written
    }

    /// Checks a config. Give a part of a connection file to have lines and columns
    /// ([`Document::part`]), or data ([`Document::from_value`]).
    ///
    /// # Errors
    /// Every fault at once, none with a value in it.
    pub fn check(&self, document: &Document) -> Result<CheckedConfig, Faults> {
        let mut walk = Walk {
            document,
            root: &self.written,
            secrets: BTreeMap::new(),
            faults: Vec::new(),
        };
        let mut value = document.value().clone();
        if value.is_null() {
            value = Value::Object(Map::new());
        }
        let mut defaults = Defaults {
            root: &self.written,
            room: MAX_FILLED,
        };
        if !defaults.fill(&mut value, &self.written, 0) {
            let fault = document.fault(
                "",
                "the defaults of the connector's config schema have no end",
                "its author leaves `default` out of what refers to itself",
            );
            return Err(fault.into());
        }
        let mut stand_in = value.clone();
        walk.visit("", &mut stand_in, &[&self.written]);
        let mut faults = document.with_value(stand_in).check(&self.compiled);
        let named: Vec<String> = walk.faults.iter().map(|fault| fault.path.clone()).collect();
        faults.retain(|fault| !named.contains(&fault.path));
        faults.extend(walk.faults);
        Faults::or(
            faults,
            CheckedConfig {
                value,
                secrets: walk.secrets,
            },
        )
    }
}

/// Faults of a config schema that JSON Schema itself does not see.
pub(crate) fn schema_faults(document: &Document) -> Vec<Fault> {
    let mut faults = Vec::new();
    let Some(config) = document.pointer("/config") else {
        return faults;
    };
    if config.get("type") != Some(&Value::from("object")) {
        faults.push(document.fault(
            "/config",
            "the config is not a mapping",
            "write `type: object`",
        ));
    }
    marks(document, "/config", config, &mut faults);
    if faults.is_empty()
        && let Err(error) = ConfigSchema::new(config.clone())
    {
        faults.push(document.fault("/config", error.to_string(), ""));
    }
    faults
}

/// `secret` is true or false and stands at a string.
fn marks(document: &Document, place: &str, schema: &Value, faults: &mut Vec<Fault>) {
    let Some(entries) = schema.as_object() else {
        return;
    };
    match entries.get("secret") {
        None | Some(Value::Bool(false)) => {}
        Some(Value::Bool(true)) => {
            if entries.get("type") != Some(&Value::from("string")) {
                faults.push(document.fault(
                    &join(place, "secret"),
                    "a secret that is not a string",
                    "write `type: string`",
                ));
            }
        }
        Some(_) => {
            faults.push(document.fault(&join(place, "secret"), "expected true or false", ""))
        }
    }
    for (key, inside) in entries {
        let place = join(place, key);
        match key.as_str() {
            "properties" | "$defs" | "patternProperties" | "dependentSchemas" => {
                for (name, inner) in inside.as_object().into_iter().flatten() {
                    marks(document, &join(&place, name), inner, faults);
                }
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                for (index, inner) in inside.as_array().into_iter().flatten().enumerate() {
                    marks(document, &join(&place, &index.to_string()), inner, faults);
                }
            }
            "items" | "additionalProperties" | "if" | "then" | "else" | "not" | "contains" => {
                marks(document, &place, inside, faults);
            }
            _ => {}
        }
    }
}

/// The schema that a config with references in it has to fit.
fn for_connections(schema: &Value, closed: bool) -> Value {
    let Some(entries) = schema.as_object() else {
        return schema.clone();
    };
    if entries.get("secret") == Some(&Value::Bool(true)) {
        return serde_json::json!({"type": "string", "x-name": "a secret reference"});
    }
    let mut out = Map::new();
    for (key, inside) in entries {
        let inside = match key.as_str() {
            "properties" | "$defs" | "patternProperties" | "dependentSchemas" => {
                let closed = closed && matches!(key.as_str(), "properties" | "patternProperties");
                match inside.as_object() {
                    Some(map) => map
                        .iter()
                        .map(|(name, inner)| (name.clone(), for_connections(inner, closed)))
                        .collect(),
                    None => inside.clone(),
                }
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => match inside.as_array() {
                Some(list) => list
                    .iter()
                    .map(|inner| for_connections(inner, false))
                    .collect(),
                None => inside.clone(),
            },
            "items" | "additionalProperties" => for_connections(inside, closed),
            "if" | "then" | "else" | "not" | "contains" => for_connections(inside, false),
            _ => inside.clone(),
        };
        out.insert(key.clone(), inside);
    }
    let says_more = [
        "additionalProperties",
        "unevaluatedProperties",
        "patternProperties",
        "allOf",
        "anyOf",
        "oneOf",
        "if",
        "$ref",
        "dependentSchemas",
    ];
    if closed
        && out.contains_key("properties")
        && !says_more.iter().any(|key| out.contains_key(*key))
    {
        out.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    Value::Object(out)
}

/// Filling in `default`s of properties that are missing.
///
/// The schema of a manifest has an end, which `extent` sees to: only one that reached [`ConfigSchema::new`] past it can
/// go deeper than `MAX_DEPTH`. `room` holds back many items with a default each.
struct Defaults<'a> {
    root: &'a Value,
    /// Bytes that may still be added.
    room: usize,
}

impl<'a> Defaults<'a> {
    /// Fills a value in, also inside objects that are there. False if there is no end to it.
    fn fill(&mut self, value: &mut Value, schema: &'a Value, depth: usize) -> bool {
        if depth > MAX_DEPTH {
            return false;
        }
        for schema in applicable(&[schema], self.root, false) {
            match value {
                Value::Object(entries) => {
                    let properties = schema.get("properties").and_then(Value::as_object);
                    for (name, property) in properties.into_iter().flatten() {
                        if !entries.contains_key(name)
                            && let Some(default) = self.default_of(property)
                        {
                            let size = name.len() + weight(default);
                            let Some(room) = self.room.checked_sub(size) else {
                                return false;
                            };
                            self.room = room;
                            entries.insert(name.clone(), default.clone());
                        }
                        if let Some(inside) = entries.get_mut(name)
                            && !self.fill(inside, property, depth + 1)
                        {
                            return false;
                        }
                    }
                }
                Value::Array(items) => {
                    let Some(schema) = schema.get("items") else {
                        continue;
                    };
                    for item in items {
                        if !self.fill(item, schema, depth + 1) {
                            return false;
                        }
                    }
                }
                _ => {}
            }
        }
        true
    }

    fn default_of(&self, property: &'a Value) -> Option<&'a Value> {
        applicable(&[property], self.root, false)
            .into_iter()
            .find_map(|one| one.get("default"))
    }
}

/// Bytes that a value is about.
fn weight(value: &Value) -> usize {
    16 + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, inside)| key.len() + weight(inside))
            .sum(),
        _ => 0,
    }
}

/// The given schemas with what they refer to and what all of them hold; with `branches`, also
/// what only one of several choices says.
fn applicable<'a>(schemas: &[&'a Value], root: &'a Value, branches: bool) -> Vec<&'a Value> {
    let mut found: Vec<&'a Value> = Vec::new();
    let mut open: Vec<&'a Value> = schemas.to_vec();
    while let Some(schema) = open.pop() {
        if found.len() > 256 || found.iter().any(|known| std::ptr::eq(*known, schema)) {
            continue;
        }
        found.push(schema);
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix('#'));
        open.extend(target.and_then(|pointer| root.pointer(pointer)));
        let lists: &[&str] = if branches {
            &["allOf", "anyOf", "oneOf"]
        } else {
            &["allOf"]
        };
        for key in lists {
            open.extend(
                schema
                    .get(*key)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten(),
            );
        }
        if branches {
            open.extend(
                ["if", "then", "else"]
                    .iter()
                    .filter_map(|key| schema.get(*key)),
            );
        }
    }
    found
}

struct Walk<'a> {
    document: &'a Document,
    root: &'a Value,
    secrets: BTreeMap<String, String>,
    faults: Vec<Fault>,
}

impl<'a> Walk<'a> {
    /// Puts the reference's text where a secret stands, and says what is wrong with the others.
    fn visit(&mut self, place: &str, value: &mut Value, schemas: &[&'a Value]) {
        let schemas = applicable(schemas, self.root, true);
        let secret = schemas
            .iter()
            .any(|schema| schema.get("secret") == Some(&Value::Bool(true)));
        let is_reference = value
            .as_object()
            .is_some_and(|entries| entries.contains_key(SECRET_KEY));
        match (secret, is_reference) {
            (true, true) => self.reference(place, value),
            (true, false) if value.is_null() => {}
            (true, false) => {
                self.faults.push(self.document.fault(
                    place,
                    format!(
                        "a literal ({}) where only a secret reference may stand",
                        describe(value)
                    ),
                    "write { $secret: \"env:CAISSON_SECRET_NAME\" } or another reference",
                ));
                // What it says besides is of no more interest.
                *value = Value::from("");
            }
            (false, true) => {
                self.faults.push(self.document.fault(
                    place,
                    "a secret reference where the connector's config has no secret",
                    "write the value itself",
                ));
            }
            (false, false) => self.children(place, value, &schemas),
        }
    }

    fn reference(&mut self, place: &str, value: &mut Value) {
        let text = value
            .get(SECRET_KEY)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let alone = value.as_object().is_some_and(|entries| entries.len() == 1);
        let (scheme, path) = text.split_once(':').unwrap_or(("", ""));
        let named = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !alone || !named || path.is_empty() {
            self.faults.push(self.document.fault(
                place,
                "not a secret reference",
                "write { $secret: \"SCHEME:PATH\" } alone, such as \"env:CAISSON_SECRET_NAME\" or \"file:name\"",
            ));
        } else {
            self.secrets.insert(place.to_owned(), text.clone());
        }
        *value = Value::String(text);
    }

    fn children(&mut self, place: &str, value: &mut Value, schemas: &[&'a Value]) {
        match value {
            Value::Object(entries) => {
                for (name, inside) in entries.iter_mut() {
                    let mut inner: Vec<&Value> = schemas
                        .iter()
                        .filter_map(|schema| schema.get("properties")?.get(name))
                        .collect();
                    if inner.is_empty() {
                        inner.extend(
                            schemas
                                .iter()
                                .filter_map(|schema| schema.get("additionalProperties")),
                        );
                        let patterns = schemas
                            .iter()
                            .filter_map(|schema| schema.get("patternProperties")?.as_object());
                        inner.extend(patterns.flat_map(|map| map.values()));
                    }
                    self.visit(&join(place, name), inside, &inner);
                }
            }
            Value::Array(items) => {
                for (index, inside) in items.iter_mut().enumerate() {
                    let mut inner: Vec<&Value> = schemas
                        .iter()
                        .filter_map(|schema| schema.get("prefixItems")?.get(index))
                        .collect();
                    inner.extend(schemas.iter().filter_map(|schema| schema.get("items")));
                    self.visit(&join(place, &index.to_string()), inside, &inner);
                }
            }
            _ => {}
        }
    }
}
