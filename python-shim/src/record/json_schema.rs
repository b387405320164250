//! JSON Schema (2020-12) as far as it says types: what it leaves open becomes
//! JSON.

use arrow_schema::{DataType, Field, Fields, Schema};
use serde_json::Value;

use super::kind::{json_field, map_of, timestamp};

/// The references that led to where we are. One that leads to itself again
/// (a tree) has no type of finite depth, and is JSON.
enum Path<'a> {
    Root,
    Behind(&'a Path<'a>, &'a str),
}

impl Path<'_> {
    fn has(&self, reference: &str) -> bool {
        match self {
            Self::Root => false,
            Self::Behind(before, here) => *here == reference || before.has(reference),
        }
    }
}

/// The schema of records that are objects of this JSON Schema.
pub(crate) fn schema(document: &Value) -> Result<Schema, String> {
    let mut root = document;
    let mut followed = Vec::new();
    while let Some(reference) = reference(root) {
        if followed.contains(&reference) {
            return Err(format!("$ref {reference:?} leads in a circle"));
        }
        followed.push(reference);
        root = resolve(reference, document)?;
    }
    let Some(Value::Object(_)) = root.get("properties") else {
        return Err("a record's JSON Schema is an object with properties".into());
    };
    Ok(Schema::new(properties(root, document, &Path::Root)?))
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str)
}

fn resolve<'a>(reference: &str, document: &'a Value) -> Result<&'a Value, String> {
    reference
        .strip_prefix('#')
        .and_then(|pointer| document.pointer(pointer))
        .ok_or_else(|| format!("$ref {reference:?}: only references inside of the document are followed, and this one leads nowhere"))
}

fn properties(schema: &Value, document: &Value, path: &Path<'_>) -> Result<Fields, String> {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let Some(Value::Object(properties)) = schema.get("properties") else {
        return Ok(Fields::empty());
    };
    properties
        .iter()
        .map(|(name, schema)| {
            let field = field(name, schema, document, path)?;
            let nullable = field.is_nullable() || !required.contains(&name.as_str());
            Ok(field.with_nullable(nullable))
        })
        .collect()
}

fn field(name: &str, schema: &Value, document: &Value, path: &Path<'_>) -> Result<Field, String> {
    if let Some(reference) = reference(schema) {
        if path.has(reference) {
            return Ok(json_field(name, true));
        }
        let schema = resolve(reference, document)?;
        return field(name, schema, document, &Path::Behind(path, reference));
    }
    let (types, mut nullable) = types(schema);
    if let Some(branches) = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(key)) {
        return either(name, branches, document, path);
    }
    let word = |key: &str| schema.get(key).and_then(Value::as_str);
    let data_type = match types.as_slice() {
        ["boolean"] => Some(DataType::Boolean),
        ["integer"] => Some(match word("format") {
            Some("int8") => DataType::Int8,
            Some("int16") => DataType::Int16,
            Some("int32") => DataType::Int32,
            Some("uint8") => DataType::UInt8,
            Some("uint16") => DataType::UInt16,
            Some("uint32") => DataType::UInt32,
            Some("uint64") => DataType::UInt64,
            _ => DataType::Int64,
        }),
        ["number"] | ["integer", "number"] | ["number", "integer"] => Some(match word("format") {
            Some("float") => DataType::Float32,
            Some("decimal") => DataType::Decimal128(38, 9),
            _ => DataType::Float64,
        }),
        ["string"] => Some(match (word("format"), word("contentEncoding")) {
            (Some("date-time"), _) => timestamp(true),
            (Some("date"), _) => DataType::Date32,
            (Some("decimal"), _) => DataType::Decimal128(38, 9),
            (Some("binary" | "byte"), _) | (_, Some("base64")) => DataType::Binary,
            _ => DataType::Utf8,
        }),
        ["array"] => match schema.get("items") {
            Some(items @ Value::Object(_)) => Some(DataType::List(
                self::field("item", items, document, path)?.into(),
            )),
            _ => None,
        },
        ["object"] => {
            let fields = properties(schema, document, path)?;
            match schema.get("additionalProperties") {
                _ if !fields.is_empty() => Some(DataType::Struct(fields)),
                Some(values @ Value::Object(_)) => {
                    Some(map_of(self::field("value", values, document, path)?))
                }
                _ => None,
            }
        }
        ["null"] => Some(DataType::Null),
        [] => {
            nullable = true;
            None
        }
        _ => None,
    };
    Ok(match data_type {
        Some(data_type) => {
            let nullable = nullable || data_type == DataType::Null;
            Field::new(name, data_type, nullable)
        }
        None => json_field(name, nullable),
    })
}

/// The types a schema names, null apart; from `enum` and `const` if it names
/// none.
fn types(schema: &Value) -> (Vec<&str>, bool) {
    let of = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let mut types: Vec<&str> = match (schema.get("type"), schema.get("enum"), schema.get("const")) {
        (Some(Value::String(one)), ..) => vec![one],
        (Some(Value::Array(several)), ..) => several.iter().filter_map(Value::as_str).collect(),
        (_, Some(Value::Array(values)), _) => values.iter().map(of).collect(),
        (.., Some(value)) => vec![of(value)],
        _ if schema.get("properties").is_some() => vec!["object"],
        _ => vec![],
    };
    types.sort_unstable();
    types.dedup();
    if types == ["null"] {
        return (types, true);
    }
    let before = types.len();
    types.retain(|word| *word != "null");
    let nullable = types.len() < before;
    (types, nullable)
}

/// One branch beside null is that branch; several that differ are JSON.
fn either(
    name: &str,
    branches: &Value,
    document: &Value,
    path: &Path<'_>,
) -> Result<Field, String> {
    let mut nullable = false;
    let mut only: Option<Field> = None;
    for branch in branches.as_array().map_or(&[][..], Vec::as_slice) {
        let field = field(name, branch, document, path)?;
        nullable |= field.is_nullable();
        if *field.data_type() == DataType::Null {
            continue;
        }
        match &only {
            Some(other) if other.data_type() != field.data_type() => {
                return Ok(json_field(name, true));
            }
            _ => only = Some(field),
        }
    }
    Ok(only.map_or_else(
        || json_field(name, true),
        |field| field.with_nullable(nullable),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::notation::plain;

    fn one(schema: Value) -> Value {
        let document = json!({
            "type": "object",
            "properties": { "x": schema },
            "required": ["x"],
            "$defs": { "money": { "type": "string", "format": "decimal" }, "loop": { "$ref": "#/$defs/loop" },
                       "tree": { "type": "object", "properties": { "left": { "$ref": "#/$defs/tree" } } } }
        });
        let schema = super::schema(&document).unwrap();
        let field = &plain(schema.fields())[0];
        match field["nullable"] {
            Value::Bool(true) => json!([field["type"], "null"]),
            _ => field["type"].clone(),
        }
    }

    #[test]
    fn types_formats_and_null_are_understood() {
        assert_eq!(one(json!({"type": "integer"})), "int64");
        assert_eq!(
            one(json!({"type": ["string", "null"], "format": "date-time"})),
            json!(["timestamp", "null"])
        );
        assert_eq!(one(json!({"$ref": "#/$defs/money"})), "decimal(38,9)");
        assert_eq!(one(json!({"enum": ["a", "b"]})), "string");
        assert_eq!(one(json!({"const": 5})), "int64");
        assert_eq!(
            one(json!({"type": "array", "items": {"type": "number"}})),
            json!({"list": "float64"})
        );
        assert_eq!(one(json!({"type": "array"})), "json");
        assert_eq!(
            one(json!({"type": "object", "additionalProperties": {"type": "boolean"}})),
            json!({"map": "bool"})
        );
        assert_eq!(one(json!({"type": "object"})), "json");
        assert_eq!(one(json!({})), json!(["json", "null"]));
        assert_eq!(
            one(json!({"anyOf": [{"type": "string"}, {"type": "null"}]})),
            json!(["string", "null"])
        );
        assert_eq!(
            one(json!({"oneOf": [{"type": "string"}, {"type": "integer"}]})),
            json!(["json", "null"])
        );
        assert_eq!(one(json!({"type": ["integer", "number"]})), "float64");
        assert_eq!(one(json!({"type": ["integer", "string"]})), "json");
    }

    #[test]
    fn circles_end_and_what_is_no_record_is_refused() {
        assert!(
            schema(&json!({"$ref": "#/$defs/loop", "$defs": {"loop": {"$ref": "#/$defs/loop"}}}))
                .unwrap_err()
                .contains("circle")
        );
        assert_eq!(
            one(json!({"$ref": "#/$defs/loop"})),
            json!(["json", "null"])
        );
        assert_eq!(
            one(json!({"$ref": "#/$defs/tree"})),
            json!({"struct": [{"name": "left", "type": "json", "nullable": true}]})
        );
        assert!(schema(&json!({"type": "array"})).is_err());
        assert!(schema(&json!({"properties": {"x": {"$ref": "other.json"}}})).is_err());
    }
}
