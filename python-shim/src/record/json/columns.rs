//! Records of JSON text into Arrow columns, without an object between.
//!
//! This is the way of what is ordinary. Where a record has anything to think
//! about (a field that the schema does not have, a key that is there twice, a
//! value that may not fit), the answer is None: the caller takes it back and
//! goes by way of a dict, whose rules decide and whose errors are raised.

use std::borrow::Cow;

use super::cursor::{Cursor, DEPTH, Number};
use super::free;
use crate::record::columns::{Column, Columns, Nested, missing};
use crate::record::fit::{Origin, fit, fit_text};
use crate::record::kind::Kind;
use crate::record::value::{Aside, EXTRA, Unknown, Value};

/// Integers up to here are floats to the last digit.
const EXACT: u64 = 1 << 53;

/// Columns that are looked through for each field that none of them has.
const WIDE: usize = 64;

/// Adds the record that begins here and gives its size; None if it is not
/// ordinary, with parts of it in the columns. `depth` counts the arrays and
/// objects around it. A record that was added is plain JSON: the text need not
/// have been looked at before.
pub(crate) fn push(
    columns: &mut Columns,
    text: &mut Cursor<'_>,
    aside: &mut Aside,
    depth: usize,
) -> Option<usize> {
    let rows = columns.rows;
    fields(&mut columns.columns, rows, text, aside, depth, true)?;
    Some(columns.end_record(aside))
}

fn fields(
    columns: &mut [Column],
    rows: usize,
    text: &mut Cursor<'_>,
    aside: &mut Aside,
    depth: usize,
    outermost: bool,
) -> Option<()> {
    if depth >= DEPTH || !text.take(b'{') {
        return None;
    }
    let mut expected = 0;
    let mut last: Option<usize> = None;
    let mut seen = 0;
    let mut first = true;
    while text.more(b'}', &mut first)? {
        text.peek()?;
        // Usually in the schema's order, or in that of the record before.
        let here = columns
            .get(expected)
            .is_some_and(|column| text.take_all(&column.slot.key));
        let index = if here {
            expected
        } else {
            let key = text.key()?;
            let found = columns.iter().position(|column| *column.slot.name == *key);
            let Some(index) = found else {
                if aside.unknown != Unknown::Drop || columns.len() > WIDE {
                    return None;
                }
                text.skip(depth + 1)?;
                continue;
            };
            if let Some(last) = last {
                columns[last].next = index;
            }
            index
        };
        let column = &mut columns[index];
        let twice = column.len() != rows;
        let kept = outermost && aside.unknown == Unknown::Extra && *column.slot.name == *EXTRA;
        if twice || kept {
            return None;
        }
        value(column, text, aside, depth + 1)?;
        seen += 1;
        expected = match column.next {
            0 => index + 1,
            next => next,
        };
        last = Some(index);
    }
    if seen < columns.len() {
        missing(columns, rows).ok()?;
    }
    Some(())
}

fn value(
    column: &mut Column,
    text: &mut Cursor<'_>,
    aside: &mut Aside,
    depth: usize,
) -> Option<()> {
    let first = text.peek()?;
    if first == b'n' {
        text.word("null")?;
        return column.null().ok();
    }
    let done = match (&column.slot.kind, first) {
        (Kind::Text, b'"') => {
            let string = text.string()?;
            aside.bytes += string.len();
            column.text(string.as_bytes())
        }
        (Kind::Int(kind), b'-' | b'0'..=b'9') => {
            let number = text.number()?.int()?;
            kind.holds(number) && column.int(number)
        }
        (kind @ (Kind::Float64 | Kind::Float32), b'-' | b'0'..=b'9') => {
            let number = float(text.number()?, matches!(kind, Kind::Float32))?;
            column.float(number)
        }
        (Kind::Bool, b't' | b'f') => {
            let value = first == b't';
            text.word(if value { "true" } else { "false" })?;
            column.boolean(value)
        }
        (kind @ (Kind::Timestamp { .. } | Kind::Date | Kind::Time), b'"') => {
            let moment = fit_text(kind, &text.string()?)?;
            column.int(moment)
        }
        (Kind::Json, _) => {
            let written = column.written(|out| free::write(out, text, depth).ok_or(()));
            aside.bytes += written.ok()?;
            true
        }
        (Kind::List(_), b'[') | (Kind::Struct(_) | Kind::Map(_), b'{') => {
            return nested(column, text, aside, depth);
        }
        (Kind::Decimal { .. } | Kind::Duration(_), _) => {
            let value = scalar(text)?;
            let scalar = fit(&column.slot.kind, &value, Origin::Python).ok()?;
            column.scalar(scalar, aside);
            true
        }
        _ => false,
    };
    done.then_some(())
}

/// A number for a column of floats, if none of it is lost.
fn float(number: Number<'_>, single: bool) -> Option<f64> {
    if !number.whole {
        return Some(number.float());
    }
    let int = number.int()?;
    (!single && int.unsigned_abs() <= EXACT).then_some(int as f64)
}

/// A string or a number that is no part of anything.
fn scalar(text: &mut Cursor<'_>) -> Option<Value> {
    Some(match text.peek()? {
        b'"' => Value::Text(text.string()?.into_owned()),
        b'-' | b'0'..=b'9' => {
            let number = text.number()?;
            match number.whole {
                true => Value::Int(number.int()?),
                false => Value::Float(number.float()),
            }
        }
        _ => return None,
    })
}

fn nested(
    column: &mut Column,
    text: &mut Cursor<'_>,
    aside: &mut Aside,
    depth: usize,
) -> Option<()> {
    if depth >= DEPTH {
        return None;
    }
    let mut first = true;
    match column.nested().1 {
        Nested::List(items) => {
            let width = items.slot.kind.width();
            text.take(b'[');
            while text.more(b']', &mut first)? {
                value(items, text, aside, depth + 1)?;
                aside.bytes += width;
            }
        }
        Nested::Struct(columns, rows) => fields(columns, rows, text, aside, depth, false)?,
        Nested::Map(keys, values) => {
            let width = values.slot.kind.width() + 4;
            let mut names: Vec<Cow<'_, str>> = Vec::new();
            text.take(b'{');
            while text.more(b'}', &mut first)? {
                let name = text.key()?;
                if names.contains(&name) || names.len() == free::KEYS {
                    return None;
                }
                value(values, text, aside, depth + 1)?;
                keys.text(name.as_bytes());
                aside.bytes += name.len() + width;
                names.push(name);
            }
        }
        Nested::None => return None,
    }
    column.close();
    Some(())
}
