//! PostgreSQL's COPY text format: tabs between, a line a row, backslash
//! escapes (PostgreSQL documentation, COPY, "Text Format").

use super::read::{Cell, Reader};
use super::value::Misfit;
use super::{decimal, json_text, time};

/// All rows of these columns; `null` stands for nulls, unescaped. Lists,
/// objects and maps are JSON.
pub(crate) fn rows(
    columns: &[Reader<'_>],
    rows: usize,
    null: &str,
) -> Result<Vec<u8>, Box<Misfit>> {
    let mut out = Vec::new();
    let mut nested = Vec::new();
    for row in 0..rows {
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                out.push(b'\t');
            }
            cell(column, row, null, &mut out, &mut nested)?;
        }
        out.push(b'\n');
    }
    Ok(out)
}

fn cell(
    column: &Reader<'_>,
    row: usize,
    null: &str,
    out: &mut Vec<u8>,
    nested: &mut Vec<u8>,
) -> Result<(), Box<Misfit>> {
    match column.cell(row) {
        Cell::Null => out.extend_from_slice(null.as_bytes()),
        Cell::Bool(value) => out.push(if value { b't' } else { b'f' }),
        Cell::Int(number) => json_text::int(out, number),
        Cell::Above(number) => {
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        }
        Cell::Float(number) => float(out, number, |out| {
            out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
        }),
        Cell::Single(number) => float(out, number.into(), |out| {
            out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
        }),
        Cell::Decimal(number, scale) => decimal::write(out, number, scale),
        Cell::Text(text) | Cell::Json(text) => escaped(out, text.as_bytes()),
        Cell::Bytes(bytes) => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(b"\\\\x");
            for byte in bytes {
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        Cell::Date(days) => time::write_date(out, days),
        Cell::Time(micros) => time::write_time(out, micros),
        Cell::Timestamp(Some(micros), aware) => {
            time::write_timestamp(out, micros, b' ');
            if aware {
                out.extend_from_slice(b"+00");
            }
        }
        Cell::Duration(Some(micros)) => seconds(out, micros),
        Cell::Timestamp(None, _)
        | Cell::Duration(None)
        | Cell::List(..)
        | Cell::Struct(..)
        | Cell::Map(..) => {
            nested.clear();
            column.json(row, nested)?;
            escaped(out, nested);
        }
    }
    Ok(())
}

fn float(out: &mut Vec<u8>, number: f64, finite: impl FnOnce(&mut Vec<u8>)) {
    if number.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if number.is_infinite() {
        out.extend_from_slice(if number < 0.0 {
            b"-Infinity"
        } else {
            b"Infinity"
        });
    } else {
        finite(out);
    }
}

/// An interval in seconds, signed as PostgreSQL reads it: `PT-1.5S`.
fn seconds(out: &mut Vec<u8>, micros: i64) {
    use std::io::Write as _;
    let size = micros.unsigned_abs();
    let sign = if micros < 0 { "-" } else { "" };
    let _ = write!(out, "PT{sign}{}.{:06}S", size / 1_000_000, size % 1_000_000);
}

fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut done = 0;
    for (at, byte) in text.iter().enumerate() {
        let letter = match byte {
            b'\\' => b'\\',
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            0x08 => b'b',
            0x0b => b'v',
            0x0c => b'f',
            _ => continue,
        };
        out.extend_from_slice(&text[done..at]);
        out.extend_from_slice(&[b'\\', letter]);
        done = at + 1;
    }
    out.extend_from_slice(&text[done..]);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, BinaryArray, BooleanArray, Float64Array, RecordBatch, StringArray,
    };

    use super::*;

    #[test]
    fn a_backslash_a_tab_and_a_null_cannot_be_confused() {
        let columns: [(&str, ArrayRef); 4] = [
            (
                "text",
                Arc::new(StringArray::from(vec![Some("a\tb\\N\n"), None, Some("")])),
            ),
            (
                "bool",
                Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
            ),
            (
                "float",
                Arc::new(Float64Array::from(vec![1.5, f64::NAN, f64::NEG_INFINITY])),
            ),
            (
                "bytes",
                Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..], b"", b"a"])),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let text = rows(&Reader::of(&batch).unwrap(), 3, "\\N").unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "a\\tb\\\\N\\n\tt\t1.5\t\\\\x00ff\n\\N\t\\N\tNaN\t\\\\x\n\tf\t-Infinity\t\\\\x61\n"
        );
    }
}
