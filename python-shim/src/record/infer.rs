//! A schema from records that were seen.
//!
//! Every field is nullable: a sample cannot promise that nothing is missing.
//! Integers widen to floats that hold all of them exactly; integers and decimals to a decimal with at least
//! nine digits after the point; a field that was only ever null is a string;
//! what cannot agree, and objects without a stable set of keys, is JSON.

use std::collections::HashMap;

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};

use super::kind::{json_field, timestamp};
use super::value::Value;
use super::{decimal, fit};

/// Beyond this many keys an object is taken for a map of its own making.
const MOST_KEYS: usize = 256;

/// Digits after the point that an inferred decimal has at least.
const SCALE: usize = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Bool,
    Number,
    Text,
    Bytes,
    Timestamp,
    NaiveTimestamp,
    Date,
    Time,
    Duration,
    List,
    Object,
    Mixed,
}

/// What was seen of one field.
#[derive(Debug, Default)]
struct Seen {
    of: Option<Type>,
    /// A number that was an integer, a float, a Decimal.
    int: bool,
    /// An integer outside of 64 bits.
    big: bool,
    /// An integer that a float64 would round.
    long: bool,
    float: bool,
    decimal: bool,
    /// The most digits before and after the point.
    before: usize,
    after: usize,
    /// A Decimal that is not finite.
    broken: bool,
    items: Option<Box<Seen>>,
    fields: Object,
}

/// Fields in the order in which they first came.
#[derive(Debug, Default)]
struct Object {
    order: Vec<(String, Seen)>,
    index: HashMap<String, usize>,
}

impl Object {
    fn see(&mut self, pairs: &[(String, Value)], limit: usize) {
        for (at, (name, value)) in pairs.iter().enumerate() {
            let here = self.order.get(at).is_some_and(|(known, _)| known == name);
            let index = if here {
                at
            } else if let Some(index) = self.index.get(name) {
                *index
            } else if self.order.len() > limit {
                return;
            } else {
                self.order.push((name.clone(), Seen::default()));
                self.index.insert(name.clone(), self.order.len() - 1);
                self.order.len() - 1
            };
            self.order[index].1.see(value);
        }
    }

    fn fields(self) -> Fields {
        self.order
            .into_iter()
            .map(|(name, seen)| seen.field(&name))
            .collect()
    }
}

impl Seen {
    fn see(&mut self, value: &Value) {
        if matches!(value, Value::Int(_) | Value::Big(_)) && fit::exact_float(value).is_none() {
            self.long = true;
        }
        let of = match value {
            Value::Null => return,
            Value::Bool(_) => Type::Bool,
            Value::Int(number) => {
                self.int = true;
                let digits = number.unsigned_abs().checked_ilog10().map_or(0, |n| n + 1);
                self.before = self.before.max(digits as usize);
                Type::Number
            }
            Value::Big(digits) => {
                self.big = true;
                self.before = self.before.max(digits.trim_start_matches('-').len());
                Type::Number
            }
            Value::Float(_) => {
                self.float = true;
                Type::Number
            }
            Value::Decimal(text) => {
                self.decimal = true;
                match decimal::size(text) {
                    Some((before, after)) => {
                        self.before = self.before.max(before);
                        self.after = self.after.max(after);
                    }
                    None => self.broken = true,
                }
                Type::Number
            }
            Value::Text(_) => Type::Text,
            Value::Bytes(_) => Type::Bytes,
            Value::Timestamp { aware: true, .. } => Type::Timestamp,
            Value::Timestamp { aware: false, .. } => Type::NaiveTimestamp,
            Value::Date(_) => Type::Date,
            Value::Time(_) => Type::Time,
            Value::Duration(_) => Type::Duration,
            Value::List(list) => {
                let items = self.items.get_or_insert_default();
                list.iter().for_each(|item| items.see(item));
                Type::List
            }
            Value::Map(pairs) => {
                self.fields.see(pairs, MOST_KEYS);
                Type::Object
            }
        };
        self.of = match self.of {
            None => Some(of),
            Some(before) if before == of => Some(of),
            Some(_) => Some(Type::Mixed),
        };
    }

    fn field(self, name: &str) -> Field {
        let data_type = match self.of {
            None | Some(Type::Text) => Some(DataType::Utf8),
            Some(Type::Bool) => Some(DataType::Boolean),
            Some(Type::Number) => self.number(),
            Some(Type::Bytes) => Some(DataType::Binary),
            Some(Type::Timestamp) => Some(timestamp(true)),
            Some(Type::NaiveTimestamp) => Some(timestamp(false)),
            Some(Type::Date) => Some(DataType::Date32),
            Some(Type::Time) => Some(DataType::Time64(TimeUnit::Microsecond)),
            Some(Type::Duration) => Some(DataType::Duration(TimeUnit::Microsecond)),
            Some(Type::List) => {
                let item = self.items.map_or_else(Seen::default, |items| *items);
                Some(DataType::List(item.field("item").into()))
            }
            Some(Type::Object) if (1..=MOST_KEYS).contains(&self.fields.order.len()) => {
                Some(DataType::Struct(self.fields.fields()))
            }
            Some(Type::Object | Type::Mixed) => None,
        };
        match data_type {
            Some(data_type) => Field::new(name, data_type, true),
            None => json_field(name, true),
        }
    }

    fn number(&self) -> Option<DataType> {
        if self.float {
            return (!self.decimal && !self.long).then_some(DataType::Float64);
        }
        if !self.decimal && !self.big {
            return Some(DataType::Int64);
        }
        let scale = if self.decimal {
            self.after.max(SCALE)
        } else {
            0
        };
        let fits = !self.broken && self.before + scale <= 38;
        fits.then_some(DataType::Decimal128(38, scale as i8))
    }
}

/// The schema of these records.
pub(crate) fn infer<'a>(records: impl Iterator<Item = &'a [(String, Value)]>) -> Schema {
    let mut all = Object::default();
    for record in records {
        all.see(record, usize::MAX);
    }
    Schema::new(all.fields())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::kind::{Kind, Slot};

    /// The kind's name after these values of one field were seen.
    fn kind(values: &[Value]) -> String {
        let records: Vec<Vec<_>> = values
            .iter()
            .map(|value| vec![("x".to_owned(), value.clone())])
            .collect();
        let schema = infer(records.iter().map(Vec::as_slice));
        assert!(schema.field(0).is_nullable());
        Slot::from_field(schema.field(0)).unwrap().kind.name()
    }

    fn object(names: impl IntoIterator<Item = String>) -> Value {
        Value::Map(
            names
                .into_iter()
                .map(|name| (name, Value::Int(1)))
                .collect(),
        )
    }

    #[test]
    fn types_widen_only_where_nothing_is_lost() {
        use Value::*;
        let text = || Text("a".into());
        let decimal = |s: &str| Decimal(s.into());
        assert_eq!(kind(&[Null]), "string");
        assert_eq!(kind(&[Int(1), Null]), "int64");
        assert_eq!(kind(&[Int(1), Float(0.5)]), "float64");
        assert_eq!(kind(&[Int(1 << 53), Float(0.5)]), "float64");
        assert_eq!(kind(&[Int((1 << 53) + 1), Float(0.5)]), "json");
        assert_eq!(kind(&[Float(0.5), Big(u64::MAX.to_string())]), "json");
        assert_eq!(kind(&[Int(1), Bool(true)]), "json");
        assert_eq!(kind(&[Int(1), text()]), "json");
        assert_eq!(kind(&[Int(1), decimal("0.25")]), "decimal(38,9)");
        assert_eq!(kind(&[decimal("0.1234567890123")]), "decimal(38,13)");
        assert_eq!(kind(&[decimal("0.5"), Float(0.5)]), "json");
        assert_eq!(kind(&[decimal("NaN")]), "json");
        assert_eq!(kind(&[Int(1), Big("9".repeat(30))]), "decimal(38,0)");
        assert_eq!(kind(&[Big("9".repeat(39))]), "json");
        assert_eq!(
            kind(&[
                Timestamp {
                    micros: 0,
                    aware: true
                },
                Timestamp {
                    micros: 0,
                    aware: false
                }
            ]),
            "json"
        );
        assert_eq!(kind(&[Date(0), Null]), "date");
        assert_eq!(
            kind(&[List(vec![]), List(vec![Int(1), Float(1.5)])]),
            "list of float64"
        );
        assert_eq!(kind(&[List(vec![])]), "list of string");
        assert_eq!(kind(&[List(vec![Int(1), text()])]), "list of json");
    }

    #[test]
    fn objects_become_structs_unless_their_keys_have_no_end() {
        let names = |range: std::ops::Range<usize>| range.map(|n| n.to_string());
        assert_eq!(kind(&[object(names(0..2)), object(names(1..3))]), "struct");
        assert_eq!(kind(&[object(names(0..0))]), "json");
        assert_eq!(
            kind(&[object(names(0..200)), object(names(200..400))]),
            "json"
        );
    }

    #[test]
    fn fields_keep_the_order_in_which_they_came() {
        let records = [
            vec![
                ("b".to_owned(), Value::Int(1)),
                ("a".to_owned(), Value::Int(1)),
            ],
            vec![
                ("c".to_owned(), Value::Int(1)),
                ("a".to_owned(), Value::Int(1)),
            ],
        ];
        let schema = infer(records.iter().map(Vec::as_slice));
        let names: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names, ["b", "a", "c"]);
        assert!(matches!(
            Slot::from_field(schema.field(0)).unwrap().kind,
            Kind::Int(_)
        ));
    }
}
