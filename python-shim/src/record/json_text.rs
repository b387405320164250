//! JSON (RFC 8259) written straight into a buffer.
//!
//! Decimals as strings, 64-bit integers as numbers, timestamps RFC 3339 in
//! UTC with microseconds, bytes as base64, NaN and infinities refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::time;
use super::value::{Misfit, Value};

/// What stands for each byte that may not stand for itself: 0 for none, `u`
/// for six characters, else the letter behind a backslash.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table[0x08] = b'b';
    table[0x0c] = b'f';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// Whether one of eight bytes needs an escape: below 0x20, a quote or a
/// backslash (Mycroft's test for a zero byte; never misses one, and what it
/// finds too much the slow way sorts out).
fn suspicious(eight: u64) -> bool {
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let low = eight.wrapping_sub(ONES * 0x20) & !eight;
    (low | zero(eight ^ (ONES * 0x22)) | zero(eight ^ (ONES * 0x5c))) & TOPS != 0
}

/// A quoted string.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut done = 0;
    let mut at = 0;
    while at < bytes.len() {
        if let Some(eight) = bytes[at..].first_chunk::<8>()
            && !suspicious(u64::from_le_bytes(*eight))
        {
            at += 8;
            continue;
        }
        let end = bytes.len().min(at + 8);
        while at < end {
            let escape = ESCAPES[usize::from(bytes[at])];
            if escape != 0 {
                out.extend_from_slice(&bytes[done..at]);
                out.push(b'\\');
                out.push(escape);
                if escape == b'u' {
                    const HEX: &[u8; 16] = b"0123456789abcdef";
                    out.extend_from_slice(b"00");
                    out.push(HEX[usize::from(bytes[at] >> 4)]);
                    out.push(HEX[usize::from(bytes[at] & 15)]);
                }
                done = at + 1;
            }
            at += 1;
        }
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}

pub(crate) fn int(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

pub(crate) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// A finite float in its shortest form; false if it is not finite.
#[must_use]
pub(crate) fn float(out: &mut Vec<u8>, number: f64) -> bool {
    let finite = number.is_finite();
    if finite {
        out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
    }
    finite
}

/// The error for a float that JSON cannot hold.
pub(crate) fn not_finite(expected: &str) -> Box<Misfit> {
    Misfit::new(
        format!("{expected} that JSON can hold"),
        "float that is not finite",
    )
}

pub(crate) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len() + 1;
    out.push(b'"');
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The room is exact, so this cannot fail.
    let written = STANDARD
        .encode_slice(bytes, &mut out[start..])
        .unwrap_or_default();
    out.truncate(start + written);
    out.push(b'"');
}

pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// `"2024-05-01T12:00:00.000000Z"`, without the Z if there is no zone.
pub(crate) fn timestamp(out: &mut Vec<u8>, micros: i64, aware: bool) {
    out.push(b'"');
    time::write_timestamp(out, micros, b'T');
    if aware {
        out.push(b'Z');
    }
    out.push(b'"');
}

pub(crate) fn date(out: &mut Vec<u8>, days: i64) {
    out.push(b'"');
    time::write_date(out, days);
    out.push(b'"');
}

pub(crate) fn time_of_day(out: &mut Vec<u8>, micros: i64) {
    out.push(b'"');
    time::write_time(out, micros);
    out.push(b'"');
}

pub(crate) fn duration(out: &mut Vec<u8>, micros: i64) {
    out.push(b'"');
    time::write_duration(out, micros);
    out.push(b'"');
}

/// Any value, without a schema.
pub(crate) fn value(out: &mut Vec<u8>, value: &Value) -> Result<(), Box<Misfit>> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => boolean(out, *value),
        Value::Int(number) => int(out, *number),
        Value::Big(digits) => out.extend_from_slice(digits.as_bytes()),
        Value::Float(number) => {
            if !float(out, *number) {
                return Err(not_finite("json"));
            }
        }
        Value::Text(text) | Value::Decimal(text) => string(out, text),
        Value::Bytes(bytes) => base64(out, bytes),
        Value::Timestamp { micros, aware } => timestamp(out, *micros, *aware),
        Value::Date(days) => date(out, (*days).into()),
        Value::Time(micros) => time_of_day(out, *micros),
        Value::Duration(micros) => duration(out, *micros),
        Value::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                self::value(out, item).map_err(|misfit| misfit.at(index))?;
            }
            out.push(b']');
        }
        Value::Map(pairs) => {
            out.push(b'{');
            for (index, (name, item)) in pairs.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                string(out, name);
                out.push(b':');
                self::value(out, item).map_err(|misfit| misfit.within(name))?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_string_is_read_back_by_another_parser(text in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn control_characters_are_found_wherever_they_stand(before in 0usize..20, byte in 0u8..0x80, after in 0usize..20) {
            let text = format!("{}{}{}", "é".repeat(before), char::from(byte), "x".repeat(after));
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn a_finite_float_is_read_back_exactly(number in any::<f64>()) {
            let mut out = Vec::new();
            if float(&mut out, number) {
                prop_assert_eq!(std::str::from_utf8(&out).unwrap().parse::<f64>().unwrap(), number);
            } else {
                prop_assert!(!number.is_finite());
            }
        }

        #[test]
        fn bytes_survive_base64(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let mut out = Vec::new();
            base64(&mut out, &bytes);
            let text: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(from_base64(&text), Some(bytes));
        }
    }

    #[test]
    fn nan_is_refused_wherever_it_hides() {
        let nested = Value::Map(vec![(
            "a".into(),
            Value::List(vec![Value::Int(1), Value::Float(f64::NAN)]),
        )]);
        let misfit = value(&mut Vec::new(), &nested).unwrap_err();
        assert_eq!(misfit.field(), "a[1]");
    }
}
