//! One decision: does this value fit this kind, and as what.
//!
//! Both encodings and both sources (Python objects, JSON text) come through
//! here, so they cannot disagree.

use std::borrow::Cow;

use arrow_buffer::i256;
use arrow_schema::TimeUnit;

use super::kind::{Int, Kind};
use super::value::{Misfit, Value};
use super::{decimal, json_text, time};

/// A value in the form its kind keeps. Dates are days, times and durations
/// and timestamps microseconds.
#[derive(Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Bool(bool),
    Int(i64),
    /// Of uint64 alone, and above `i64::MAX`.
    Above(u64),
    Float(f64),
    Decimal(i256),
    Bytes(Cow<'a, [u8]>),
}

/// Where a value came from: JSON has no bytes, so there base64 stands for
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Python,
    Json,
}

/// Fits a value that is neither null nor nested into a kind that is neither
/// null nor nested.
pub(crate) fn fit<'a>(
    kind: &Kind,
    value: &'a Value,
    origin: Origin,
) -> Result<Scalar<'a>, Box<Misfit>> {
    let fitted = match (kind, value) {
        (Kind::Bool, Value::Bool(bool)) => Some(Scalar::Bool(*bool)),
        (Kind::Int(int), Value::Int(number)) => int.holds(*number).then_some(Scalar::Int(*number)),
        (Kind::Int(Int::U64), Value::Big(digits)) => digits.parse().ok().map(Scalar::Above),
        (Kind::Int(int), Value::Float(number)) => whole(*number)
            .filter(|number| int.holds(*number))
            .map(Scalar::Int),
        (Kind::Float32 | Kind::Float64, Value::Float(number)) => Some(Scalar::Float(*number)),
        (Kind::Float64, value @ (Value::Int(_) | Value::Big(_))) => {
            exact_float(value).map(Scalar::Float)
        }
        (Kind::Float32, value @ (Value::Int(_) | Value::Big(_))) => exact_float(value)
            .filter(|number| f64::from(*number as f32) == *number)
            .map(Scalar::Float),
        (Kind::Decimal { precision, scale }, value) => decimal_of(value)
            .and_then(|text| decimal::parse(&text, *precision, *scale))
            .map(Scalar::Decimal),
        (Kind::Text, Value::Text(text)) => Some(Scalar::Bytes(text.as_bytes().into())),
        (Kind::Json, value) => {
            let mut text = Vec::new();
            json_text::value(&mut text, value)?;
            Some(Scalar::Bytes(text.into()))
        }
        (Kind::Binary, Value::Bytes(bytes)) => Some(Scalar::Bytes(bytes.into())),
        (Kind::Binary, Value::Text(text)) if origin == Origin::Json => {
            json_text::from_base64(text).map(|bytes| Scalar::Bytes(bytes.into()))
        }
        (Kind::Date, Value::Date(days)) => Some(Scalar::Int((*days).into())),
        (Kind::Date, Value::Text(text)) => {
            time::parse_date(text).map(|days| Scalar::Int(days.into()))
        }
        (Kind::Time, Value::Time(micros)) => Some(Scalar::Int(*micros)),
        (Kind::Time, Value::Text(text)) => time::parse_time(text).map(Scalar::Int),
        (Kind::Duration(unit), Value::Duration(micros)) => {
            in_range(*unit, *micros).map(Scalar::Int)
        }
        (Kind::Duration(unit), Value::Text(text)) => time::parse_duration(text)
            .and_then(|micros| in_range(*unit, micros))
            .map(Scalar::Int),
        (Kind::Timestamp { unit, aware }, value) => instant(value)
            // A time without a zone is taken for UTC; the reverse would lose it.
            .filter(|(_, zoned)| *aware || !zoned)
            .and_then(|(micros, _)| in_range(*unit, micros))
            .map(Scalar::Int),
        _ => None,
    };
    fitted.ok_or_else(|| misfit(kind, value))
}

/// Text alone, without an owned value: the commonest conversions of records
/// that came as JSON.
pub(crate) fn fit_text(kind: &Kind, text: &str) -> Option<i64> {
    match kind {
        Kind::Timestamp { unit, aware } => time::parse_timestamp(text)
            .filter(|(_, zoned)| *aware || !zoned)
            .and_then(|(micros, _)| in_range(*unit, micros)),
        Kind::Date => time::parse_date(text).map(i64::from),
        Kind::Time => time::parse_time(text),
        _ => None,
    }
}

/// The error for a value of the right or wrong type that does not fit.
pub(crate) fn misfit(kind: &Kind, value: &Value) -> Box<Misfit> {
    let found = match (kind, value) {
        (Kind::Int(_), Value::Int(_)) => "int out of range".to_owned(),
        (Kind::Int(_), Value::Float(_)) => "float with a fraction or out of range".to_owned(),
        (Kind::Float32 | Kind::Float64, Value::Int(_) | Value::Big(_)) => {
            "int that would be rounded".to_owned()
        }
        (
            Kind::Decimal { .. },
            Value::Decimal(_) | Value::Int(_) | Value::Big(_) | Value::Float(_),
        ) => {
            let size = decimal_of(value).and_then(|text| decimal::size(&text));
            match size {
                Some((before, after)) => format!(
                    "{} with {before} digits before the point and {after} after it",
                    value.type_name()
                ),
                None => format!("{} that is not finite", value.type_name()),
            }
        }
        (
            Kind::Date
            | Kind::Time
            | Kind::Timestamp { .. }
            | Kind::Duration(_)
            | Kind::Decimal { .. },
            Value::Text(_),
        ) => {
            format!("str that is no {}", kind.name())
        }
        (Kind::Timestamp { .. }, Value::Timestamp { aware, .. })
            if *aware == matches!(kind, Kind::Timestamp { aware: true, .. }) =>
        {
            "datetime out of range".to_owned()
        }
        _ => value.type_name().to_owned(),
    };
    Misfit::new(kind.name(), found)
}

fn whole(number: f64) -> Option<i64> {
    // 2^63 is exact as a float; above it the cast would saturate.
    let inside = number.fract() == 0.0 && (-(2f64.powi(63))..2f64.powi(63)).contains(&number);
    inside.then_some(number as i64)
}

/// The float64 that is this integer to the last digit, if there is one.
pub(crate) fn exact_float(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => {
            Some(*number as f64).filter(|float| *float as i128 == i128::from(*number))
        }
        Value::Big(digits) => digits
            .parse()
            .ok()
            .filter(|float: &f64| format!("{float:.0}") == **digits),
        _ => None,
    }
}

fn decimal_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Decimal(text) | Value::Text(text) | Value::Big(text) => Some(text.into()),
        Value::Int(number) => Some(number.to_string().into()),
        // The shortest digits that name this float: what the source wrote.
        Value::Float(number) if number.is_finite() => Some(number.to_string().into()),
        _ => None,
    }
}

fn instant(value: &Value) -> Option<(i64, bool)> {
    match value {
        Value::Timestamp { micros, aware } => Some((*micros, *aware)),
        Value::Date(days) => Some((i64::from(*days) * time::MICROS_PER_DAY, false)),
        Value::Text(text) => time::parse_timestamp(text),
        _ => None,
    }
}

/// Nanoseconds end in 2262; every other unit holds what microseconds hold.
fn in_range(unit: TimeUnit, micros: i64) -> Option<i64> {
    match unit {
        TimeUnit::Nanosecond => micros.checked_mul(1_000).map(|_| micros),
        _ => Some(micros),
    }
}

/// Microseconds in a column's unit; parts of it are cut off.
pub(crate) fn in_unit(unit: TimeUnit, micros: i64) -> i64 {
    match unit {
        TimeUnit::Second => micros.div_euclid(1_000_000),
        TimeUnit::Millisecond => micros.div_euclid(1_000),
        TimeUnit::Microsecond => micros,
        TimeUnit::Nanosecond => micros.wrapping_mul(1_000),
    }
}

/// The inverse, None where it overflows.
pub(crate) fn from_unit(unit: TimeUnit, number: i64) -> Option<i64> {
    match unit {
        TimeUnit::Second => number.checked_mul(1_000_000),
        TimeUnit::Millisecond => number.checked_mul(1_000),
        TimeUnit::Microsecond => Some(number),
        TimeUnit::Nanosecond => Some(number.div_euclid(1_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTC: Kind = Kind::Timestamp {
        unit: TimeUnit::Microsecond,
        aware: true,
    };

    fn fits(kind: &Kind, value: Value) -> bool {
        fit(kind, &value, Origin::Python).is_ok()
    }

    #[test]
    fn what_would_lose_something_is_refused() {
        let money = Kind::Decimal {
            precision: 10,
            scale: 2,
        };
        assert!(fits(&money, Value::Decimal("1.50".into())));
        assert!(fits(&money, Value::Float(19.99)));
        assert!(fits(&money, Value::Int(3)));
        assert!(!fits(&money, Value::Decimal("1.505".into())));
        assert!(!fits(&money, Value::Decimal("NaN".into())));
        assert!(!fits(&money, Value::Bool(true)));
        assert!(fits(&Kind::Int(Int::I64), Value::Float(3.0)));
        assert!(!fits(&Kind::Int(Int::I64), Value::Float(3.5)));
        assert!(!fits(&Kind::Int(Int::I64), Value::Float(9.3e18)));
        assert!(!fits(&Kind::Int(Int::I8), Value::Int(128)));
        assert!(!fits(&Kind::Int(Int::I64), Value::Bool(true)));
        assert!(!fits(&Kind::Int(Int::I64), Value::Text("3".into())));
        assert!(fits(&Kind::Int(Int::U64), Value::Big(u64::MAX.to_string())));
        assert!(!fits(
            &Kind::Int(Int::I64),
            Value::Big(u64::MAX.to_string())
        ));
        for (kind, bits) in [(Kind::Float64, 53), (Kind::Float32, 24)] {
            for sign in [1, -1] {
                assert!(fits(&kind, Value::Int(sign * (1 << bits))));
                assert!(!fits(&kind, Value::Int(sign * ((1 << bits) + 1))));
                assert!(fits(&kind, Value::Int(sign << 62)));
            }
            assert!(fits(&kind, Value::Int(i64::MIN)));
            assert!(!fits(&kind, Value::Int(i64::MAX)));
            assert!(fits(&kind, Value::Big("-18446744073709551616".into())));
            assert!(!fits(&kind, Value::Big(u64::MAX.to_string())));
            assert!(!fits(&kind, Value::Big("9".repeat(400))));
        }
        assert!(!fits(&Kind::Text, Value::Int(1)));
        assert!(!fits(&Kind::Binary, Value::Text("YQ==".into())));
        assert!(!fits(
            &Kind::Date,
            Value::Timestamp {
                micros: 0,
                aware: true
            }
        ));
    }

    #[test]
    fn a_zone_is_never_thrown_away() {
        let naive = Kind::Timestamp {
            unit: TimeUnit::Microsecond,
            aware: false,
        };
        assert!(fits(
            &UTC,
            Value::Timestamp {
                micros: 0,
                aware: false
            }
        ));
        assert!(fits(&UTC, Value::Text("2024-05-01T12:00:00+02:00".into())));
        assert!(!fits(
            &naive,
            Value::Timestamp {
                micros: 0,
                aware: true
            }
        ));
        assert!(!fits(&naive, Value::Text("2024-05-01T12:00:00Z".into())));
    }

    #[test]
    fn nanoseconds_end_in_2262() {
        let nanos = Kind::Timestamp {
            unit: TimeUnit::Nanosecond,
            aware: true,
        };
        assert!(fits(&nanos, Value::Text("2262-01-01".into())));
        assert!(!fits(&nanos, Value::Text("2263-01-01".into())));
    }

    #[test]
    fn the_error_says_what_was_wrong_but_never_the_value() {
        let money = Kind::Decimal {
            precision: 10,
            scale: 2,
        };
        let error = fit(&money, &Value::Decimal("1.505".into()), Origin::Python).unwrap_err();
        assert_eq!(error.expected, "decimal(10,2)");
        assert_eq!(
            error.found,
            "Decimal with 1 digits before the point and 3 after it"
        );
        let error = fit(&UTC, &Value::Text("secret".into()), Origin::Python).unwrap_err();
        assert_eq!(error.found, "str that is no timestamp");
    }
}
