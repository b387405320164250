//! Checks of the config schema against its form: what a person who fills the
//! form in would stumble over.

use std::collections::HashMap;

use caisson_document::{Document, Schema, join, nearest};
use serde_json::{Map, Value};

use super::{Context, Findings};
use crate::generate::is_attribute;

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    let Some(properties) = context.properties() else {
        return;
    };
    form(context.document, properties, findings);
    let config = context.document.pointer("/config").unwrap_or(&Value::Null);
    object(context.document, "/config", config, config, findings);
}

/// C201, C202, C203.
fn form(document: &Document, properties: &Map<String, Value>, findings: &mut Findings) {
    let mut places: HashMap<&str, String> = HashMap::new();
    let groups = document.pointer("/form").and_then(Value::as_array);
    for (group_index, group) in groups.into_iter().flatten().enumerate() {
        let fields = group.get("fields").and_then(Value::as_array);
        for (index, field) in fields.into_iter().flatten().enumerate() {
            let Some(field) = field.as_str() else {
                continue;
            };
            let place = format!("/form/{group_index}/fields/{index}");
            if !properties.contains_key(field) {
                let help = nearest(field, properties.keys().map(String::as_str))
                    .map(|name| format!("did you mean `{name}`?"));
                let help = help.unwrap_or_else(|| {
                    "leave it out, or describe it under config.properties".to_owned()
                });
                findings.fault(
                    "C202",
                    &document.fault(&place, format!("config has no property `{field}`"), help),
                );
            } else if let Some(first) = places.get(field) {
                let line = document.mark(first).map_or(0, |mark| mark.line);
                findings.fault(
                    "C203",
                    &document.fault(
                        &place,
                        format!("`{field}` stands in the form already, on line {line}"),
                        "keep one of them",
                    ),
                );
            } else {
                places.insert(field, place);
            }
        }
    }
    for name in properties
        .keys()
        .filter(|name| !places.contains_key(name.as_str()))
    {
        let place = join("/config/properties", name);
        findings.fault(
            "C201",
            &document.key_fault(
                &place,
                "does not stand in the form",
                format!("add `{name}` to the fields of a group"),
            ),
        );
    }
}

/// C204 to C209 for an object and the objects inside it.
fn object(document: &Document, place: &str, schema: &Value, root: &Value, findings: &mut Findings) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    let required = schema.get("required").and_then(Value::as_array);
    for (index, name) in required.into_iter().flatten().enumerate() {
        let Some(name) = name.as_str() else { continue };
        if !properties.contains_key(name) {
            let help = nearest(name, properties.keys().map(String::as_str))
                .map(|name| format!("did you mean `{name}`?"));
            let place = join(&join(place, "required"), &index.to_string());
            findings.fault(
                "C208",
                &document.fault(
                    &place,
                    format!("`{name}` is required and does not exist"),
                    help.unwrap_or_default(),
                ),
            );
        }
    }
    for (name, property) in properties {
        let place = join(&join(place, "properties"), name);
        one(document, &place, name, property, root, findings);
        object(document, &place, property, root, findings);
        if let Some(items) = property.get("items") {
            object(document, &join(&place, "items"), items, root, findings);
        }
    }
}

fn one(
    document: &Document,
    place: &str,
    name: &str,
    property: &Value,
    root: &Value,
    findings: &mut Findings,
) {
    if !is_attribute(name) {
        let message = "the name cannot be an attribute in Python";
        findings.fault(
            "C209",
            &document.key_fault(
                place,
                message,
                "write letters, digits and _, and no word of the language",
            ),
        );
    }
    let titled = property
        .get("title")
        .and_then(Value::as_str)
        .is_some_and(|title| !title.trim().is_empty());
    if !titled && property.get("$ref").is_none() {
        findings.fault(
            "C204",
            &document.key_fault(
                place,
                "has no title",
                "write `title:`, which the form shows",
            ),
        );
    }
    let secret = property.get("secret");
    let is_text = property.get("type").is_none_or(|kind| kind == "string");
    if secret.is_none() && is_text && sounds_secret(name) {
        findings.fault(
            "C205",
            &document.key_fault(
                place,
                "is named like a secret and not marked",
                "write `secret: true`, or `secret: false` if it is none",
            ),
        );
    }
    let Some(default) = property.get("default") else {
        return;
    };
    let place = join(place, "default");
    if secret == Some(&Value::Bool(true)) {
        findings.fault(
            "C207",
            &document.fault(
                &place,
                "a secret has a default",
                "leave `default` out; a connection names a reference",
            ),
        );
        return;
    }
    // The default is held against its own property, with the definitions that it may refer to.
    let mut alone = property.clone();
    if let (Some(entries), Some(definitions)) = (alone.as_object_mut(), root.get("$defs")) {
        entries
            .entry("$defs")
            .or_insert_with(|| definitions.clone());
    }
    if let Ok(schema) = Schema::new(alone) {
        let faults = document.check_at(&place, &schema);
        debug_assert!(faults.is_empty() || !schema.accepts(default));
        faults
            .iter()
            .for_each(|fault| findings.fault("C206", fault));
    }
}

/// True if a property of this name usually holds a credential.
fn sounds_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let words: Vec<&str> = lower.split(['_', '-']).collect();
    let last = words.last().copied().unwrap_or_default();
    let before = words
        .len()
        .checked_sub(2)
        .and_then(|index| words.get(index))
        .copied();
    match last {
        "token" => !matches!(before, Some("page" | "next" | "sync")),
        "password" | "passwd" | "pwd" | "passphrase" | "secret" | "secrets" | "apikey"
        | "credential" | "credentials" => true,
        "key" => match before {
            None => true,
            Some(word) => matches!(
                word,
                "api"
                    | "access"
                    | "private"
                    | "secret"
                    | "auth"
                    | "signing"
                    | "encryption"
                    | "account"
                    | "service"
            ),
        },
        _ => lower.ends_with("password") || lower.ends_with("apikey"),
    }
}

#[cfg(test)]
mod tests {
    use super::sounds_secret;

    #[test]
    fn names_of_secrets_are_known_and_names_beside_them_are_not() {
        for name in [
            "token",
            "access_token",
            "password",
            "db_password",
            "api_key",
            "apikey",
            "client_secret",
            "key",
            "private_key",
        ] {
            assert!(sounds_secret(name), "{name}");
        }
        for name in [
            "token_url",
            "page_token",
            "primary_key",
            "secret_name",
            "keyboard",
            "username",
            "monkey",
            "sort_key",
        ] {
            assert!(!sounds_secret(name), "{name}");
        }
    }
}
