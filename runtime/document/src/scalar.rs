//! Scalars by the YAML 1.2 core schema (section 10.3.2 of the specification):
//! `yes`, `on` and dates are strings, `0o17` and `0xff` are integers.

use serde_json::{Number, Value};

/// The value of a plain (unquoted, untagged) scalar.
///
/// # Errors
/// What is wrong with a number that JSON cannot hold.
pub(crate) fn plain(text: &str) -> Result<Value, &'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if let Some(value) = integer(text) {
        return value;
    }
    if let Some(value) = float(text) {
        return value;
    }
    Ok(Value::String(text.to_owned()))
}

/// `[-+]? [0-9]+`, `0o [0-7]+` or `0x [0-9a-fA-F]+`; `None` if it is no integer.
pub(crate) fn integer(text: &str) -> Option<Result<Value, &'static str>> {
    const TOO_LARGE: &str = "the integer does not fit 64 bits";
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
                return None;
            }
            return Some(
                u64::from_str_radix(digits, radix)
                    .map(Value::from)
                    .map_err(|_| TOO_LARGE),
            );
        }
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let signed = text.strip_prefix('+').unwrap_or(text);
    Some(
        signed
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_| signed.parse::<u64>().map(Value::from))
            .map_err(|_| TOO_LARGE),
    )
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`, or
/// infinity or not-a-number, which JSON cannot hold; `None` if it is no float.
pub(crate) fn float(text: &str) -> Option<Result<Value, &'static str>> {
    const NOT_FINITE: &str = "infinity and not-a-number cannot be used here";
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(Err(NOT_FINITE));
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if digits.is_empty() || !all_digits(digits) {
            return None;
        }
    }
    let number = text.parse::<f64>().ok()?;
    Some(
        Number::from_f64(number)
            .map(Value::Number)
            .ok_or(NOT_FINITE),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_follow_the_core_schema() {
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("yes", json!("yes")),
            ("on", json!("on")),
            ("2020-01-01", json!("2020-01-01")),
            ("1_000", json!("1_000")),
            ("1:30", json!("1:30")),
            ("012", json!(12)),
            ("0o17", json!(15)),
            ("0xff", json!(255)),
            ("0x", json!("0x")),
            ("-7", json!(-7)),
            ("+7", json!(7)),
            (
                "18446744073709551615",
                json!(18_446_744_073_709_551_615_u64),
            ),
            ("1.5", json!(1.5)),
            ("1.", json!(1.0)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            (".", json!(".")),
            ("e3", json!("e3")),
            ("1.4.2", json!("1.4.2")),
            ("inf", json!("inf")),
        ] {
            assert_eq!(plain(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_number_that_json_cannot_hold_is_refused() {
        assert!(plain(".inf").is_err());
        assert!(plain("-.INF").is_err());
        assert!(plain(".nan").is_err());
        assert!(plain("99999999999999999999999").is_err());
        assert!(plain("1e999").is_err());
    }
}
