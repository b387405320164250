//! JSON lines into values.

use serde_json::Value as Json;

use super::value::Value;

/// A line that is no JSON object.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {detail}")]
pub(crate) struct Malformed {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) detail: String,
}

/// One record a line; blank lines are skipped.
pub(crate) fn lines(body: &[u8]) -> Result<Vec<Vec<(String, Value)>>, Malformed> {
    let mut records = Vec::new();
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let detail = match serde_json::from_slice(line) {
            Ok(Json::Object(object)) => {
                let pairs = object.into_iter().map(|(name, item)| (name, value(item)));
                records.push(pairs.collect());
                continue;
            }
            Ok(_) => "a record is a JSON object".to_owned(),
            // Its own line is always 1; the column is true.
            Err(error) => error
                .to_string()
                .replace(" at line 1 column ", " at column "),
        };
        return Err(Malformed {
            line: index + 1,
            detail,
        });
    }
    Ok(records)
}

/// Any JSON as a value.
pub(crate) fn value(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(int),
            None if number.is_u64() => Value::Big(number.to_string()),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text),
        Json::Array(items) => Value::List(items.into_iter().map(value).collect()),
        Json::Object(object) => Value::Map(
            object
                .into_iter()
                .map(|(name, item)| (name, value(item)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy as _, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn a_broken_line_is_named() {
        assert_eq!(lines(b"{\"a\":1}\n\n{\"a\":").unwrap_err().line, 3);
        assert_eq!(
            lines(b"[1]").unwrap_err().detail,
            "a record is a JSON object"
        );
        assert!(lines(b"{\"a\":\xff}").is_err());
    }

    proptest! {
        #[test]
        fn a_float_is_read_exactly(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
            let mut line = b"{\"a\":".to_vec();
            prop_assert!(crate::record::json_text::float(&mut line, number));
            line.push(b'}');
            let Value::Float(read) = lines(&line).unwrap()[0][0].1 else { panic!("a float") };
            prop_assert_eq!(read.to_bits(), number.to_bits());
        }
    }

    #[test]
    fn numbers_keep_their_size() {
        let records =
            lines(b"{\"a\":18446744073709551615,\"b\":-9223372036854775808,\"c\":1.0}").unwrap();
        assert_eq!(records[0][0].1, Value::Big(u64::MAX.to_string()));
        assert_eq!(records[0][1].1, Value::Int(i64::MIN));
        assert_eq!(records[0][2].1, Value::Float(1.0));
    }
}
