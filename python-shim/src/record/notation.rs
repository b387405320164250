//! Schemas as plain data: `[{"name", "type", "nullable"}]`, the form in which
//! authors declare fields and destinations read them.

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use serde_json::{Map, Value, json};

use super::kind::{is_json, json_field, map_of, timestamp};

/// A schema from its plain form.
pub(crate) fn schema(fields: &Value) -> Result<Schema, String> {
    Ok(Schema::new(self::fields(fields, "")?))
}

fn fields(list: &Value, above: &str) -> Result<Fields, String> {
    let Value::Array(list) = list else {
        return Err(format!(
            "{above:?}: fields are a list of {{name, type, nullable}}"
        ));
    };
    let mut out: Vec<Field> = Vec::with_capacity(list.len());
    for item in list {
        let field = field(item, above)?;
        if out.iter().any(|other| other.name() == field.name()) {
            return Err(format!(
                "field {:?} is there twice",
                path(above, field.name())
            ));
        }
        out.push(field);
    }
    Ok(out.into())
}

fn path(above: &str, name: &str) -> String {
    match above {
        "" => name.to_owned(),
        above => format!("{above}.{name}"),
    }
}

fn field(item: &Value, above: &str) -> Result<Field, String> {
    let name = item
        .get("name")
        .and_then(Value::as_str)
        .ok_or_else(|| format!("{above:?}: a field has a name, a string"))?;
    let here = path(above, name);
    if let Some(Value::Object(keys)) = Some(item)
        && let Some(key) = keys
            .keys()
            .find(|key| !["name", "type", "nullable"].contains(&key.as_str()))
    {
        return Err(format!(
            "field {here:?}: no key {key:?}; name, type and nullable are known"
        ));
    }
    let nullable = match item.get("nullable") {
        None => true,
        Some(Value::Bool(nullable)) => *nullable,
        Some(_) => return Err(format!("field {here:?}: nullable is true or false")),
    };
    let of = item
        .get("type")
        .ok_or_else(|| format!("field {here:?} has no type"))?;
    typed(name, of, nullable, &here)
}

/// A field of this name whose type is in plain form.
pub(crate) fn typed(name: &str, of: &Value, nullable: bool, here: &str) -> Result<Field, String> {
    let data_type = match of {
        Value::String(word) if word == "json" => return Ok(json_field(name, nullable)),
        Value::String(word) => scalar(word).ok_or_else(|| {
            format!("field {here:?}: no type {word:?}; types are {WORDS}, or {{\"list\": type}}, {{\"struct\": fields}}, {{\"map\": type}}")
        })?,
        Value::Object(keys) if keys.len() == 1 => match keys.iter().next() {
            Some((key, item)) if key == "list" => {
                DataType::List(typed("item", item, true, here)?.into())
            }
            Some((key, item)) if key == "map" => map_of(typed("value", item, true, here)?),
            Some((key, items)) if key == "struct" => DataType::Struct(fields(items, here)?),
            _ => return Err(nested(here)),
        },
        _ => return Err(nested(here)),
    };
    Ok(Field::new(name, data_type, nullable))
}

fn nested(here: &str) -> String {
    format!(
        "field {here:?}: a type is a word, or {{\"list\": type}}, {{\"struct\": fields}}, {{\"map\": type}}"
    )
}

const WORDS: &str = "null, bool, int8..int64, uint8..uint64, float32, float64, decimal(p,s), string, binary, date, time, timestamp, timestamp_naive, duration, json";

fn scalar(word: &str) -> Option<DataType> {
    Some(match word {
        "null" => DataType::Null,
        "bool" => DataType::Boolean,
        "int8" => DataType::Int8,
        "int16" => DataType::Int16,
        "int32" => DataType::Int32,
        "int64" => DataType::Int64,
        "uint8" => DataType::UInt8,
        "uint16" => DataType::UInt16,
        "uint32" => DataType::UInt32,
        "uint64" => DataType::UInt64,
        "float32" => DataType::Float32,
        "float64" => DataType::Float64,
        "string" => DataType::Utf8,
        "binary" => DataType::Binary,
        "date" => DataType::Date32,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "timestamp" => timestamp(true),
        "timestamp_naive" => timestamp(false),
        "duration" => DataType::Duration(TimeUnit::Microsecond),
        other => {
            let (precision, scale) = other
                .strip_prefix("decimal(")?
                .strip_suffix(')')?
                .split_once(',')?;
            let precision: u8 = precision.trim().parse().ok()?;
            let scale: i8 = scale.trim().parse().ok()?;
            let valid = (1..=76).contains(&precision) && (0..=precision as i8).contains(&scale);
            match precision {
                _ if !valid => return None,
                1..=38 => DataType::Decimal128(precision, scale),
                _ => DataType::Decimal256(precision, scale),
            }
        }
    })
}

/// The plain form of a schema. What Arrow knows several layouts of (strings,
/// lists, units of time) has one name here.
pub(crate) fn plain(schema: &Fields) -> Value {
    let one = |field: &Field| {
        let mut item = Map::new();
        item.insert("name".into(), field.name().as_str().into());
        item.insert("type".into(), type_of(field));
        item.insert("nullable".into(), field.is_nullable().into());
        Value::Object(item)
    };
    schema.iter().map(|field| one(field)).collect()
}

fn type_of(field: &Field) -> Value {
    if is_json(field) {
        return "json".into();
    }
    match field.data_type() {
        DataType::Null => "null".into(),
        DataType::Boolean => "bool".into(),
        DataType::Int8 => "int8".into(),
        DataType::Int16 => "int16".into(),
        DataType::Int32 => "int32".into(),
        DataType::Int64 => "int64".into(),
        DataType::UInt8 => "uint8".into(),
        DataType::UInt16 => "uint16".into(),
        DataType::UInt32 => "uint32".into(),
        DataType::UInt64 => "uint64".into(),
        DataType::Float16 | DataType::Float32 => "float32".into(),
        DataType::Float64 => "float64".into(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => format!("decimal({p},{s})").into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".into(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "binary".into(),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Time32(_) | DataType::Time64(_) => "time".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp".into(),
        DataType::Timestamp(_, None) => "timestamp_naive".into(),
        DataType::Duration(_) => "duration".into(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => json!({ "list": type_of(item) }),
        DataType::Struct(fields) => json!({ "struct": plain(fields) }),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => json!({ "map": type_of(&pair[1]) }),
            other => other.to_string().into(),
        },
        DataType::Dictionary(_, value) => type_of(&Field::new("value", (**value).clone(), true)),
        DataType::RunEndEncoded(_, values) => type_of(values),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_the_plain_form() {
        let all = json!([
            {"name": "a", "type": "null", "nullable": true},
            {"name": "b", "type": "uint64", "nullable": false},
            {"name": "c", "type": "decimal(50,3)", "nullable": true},
            {"name": "d", "type": "timestamp", "nullable": true},
            {"name": "e", "type": "timestamp_naive", "nullable": true},
            {"name": "f", "type": "json", "nullable": true},
            {"name": "g", "type": {"list": {"map": "json"}}, "nullable": true},
            {"name": "h", "type": {"struct": [{"name": "x", "type": "duration", "nullable": false}]}, "nullable": true},
        ]);
        assert_eq!(plain(schema(&all).unwrap().fields()), all);
    }

    #[test]
    fn a_fault_names_the_field_and_what_to_write() {
        let fault = |fields: Value| schema(&fields).unwrap_err();
        assert!(
            fault(json!([{"name": "a", "type": "integer"}]))
                .contains("field \"a\": no type \"integer\"; types are null, bool")
        );
        assert!(fault(json!([{"name": "a", "type": "decimal(80,2)"}])).contains("no type"));
        assert!(fault(json!([{"name": "a"}])).contains("has no type"));
        assert!(
            fault(json!([{"name": "a", "type": {"struct": [{"name": "b", "type": 1}]}}]))
                .contains("\"a.b\"")
        );
        assert!(
            fault(json!([{"name": "a", "type": "null"}, {"name": "a", "type": "null"}]))
                .contains("twice")
        );
        assert!(
            fault(json!([{"name": "a", "type": "null", "null": true}])).contains("no key \"null\"")
        );
    }
}
