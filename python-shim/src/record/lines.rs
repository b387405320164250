//! Records into JSON lines, with the same schema that Arrow columns have.
//!
//! Every line has every field of the schema; a field that is missing or null
//! is `null`. A `json` field holds its value, not a string of it.

use super::decimal;
use super::fit::{Origin, Scalar, fit, misfit};
use super::json_text;
use super::kind::{Kind, Slot};
use super::value::{Aside, EXTRA, Misfit, Trail, Unknown, Value};

/// The lines so far.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) slots: Box<[Slot]>,
    pub(crate) out: Vec<u8>,
    pub(crate) rows: usize,
    /// Where the last whole record ends.
    whole: usize,
}

impl Lines {
    pub(crate) fn new(slots: Vec<Slot>) -> Self {
        Self {
            slots: slots.into(),
            out: Vec::new(),
            rows: 0,
            whole: 0,
        }
    }

    pub(crate) fn push(
        &mut self,
        pairs: &[(String, Value)],
        origin: Origin,
        aside: &mut Aside,
    ) -> Result<usize, Box<Misfit>> {
        object(
            &mut self.out,
            &self.slots,
            pairs,
            origin,
            aside,
            &Trail::Root,
        )?;
        Ok(self.end_record(aside))
    }

    /// A record's object is written: adds what was put aside and ends the
    /// line. Gives its size.
    pub(crate) fn end_record(&mut self, aside: &mut Aside) -> usize {
        if aside.unknown == Unknown::Extra {
            // Over the object's closing brace. The slot `_extra` is skipped
            // by the writers, for this.
            self.out.pop();
            if self.out.last() != Some(&b'{') {
                self.out.push(b',');
            }
            json_text::string(&mut self.out, EXTRA);
            self.out.push(b':');
            if aside.extra.is_empty() {
                self.out.extend_from_slice(b"null}");
            } else {
                self.out.append(&mut aside.extra);
                self.out.extend_from_slice(b"}}");
            }
        }
        self.out.push(b'\n');
        aside.bytes = 0;
        let size = self.out.len() - self.whole;
        self.whole = self.out.len();
        self.rows += 1;
        size
    }

    /// Undoes all that came after the last whole record.
    pub(crate) fn take_back(&mut self, aside: &mut Aside) {
        aside.bytes = 0;
        aside.extra.clear();
        self.out.truncate(self.whole);
    }

    /// Undoes the last whole record, which was of this size.
    pub(crate) fn take_back_last(&mut self, size: usize, aside: &mut Aside) {
        self.rows -= 1;
        self.whole -= size;
        self.take_back(aside);
    }

    /// All lines so far; the buffer starts again, with the room it had.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.rows = 0;
        self.whole = 0;
        let room = Vec::with_capacity(self.out.len() + self.out.len() / 8);
        std::mem::replace(&mut self.out, room)
    }
}

/// Cuts lines in two at the line's end next to the middle; None if there is
/// but one.
pub(crate) fn halve(lines: &[u8]) -> Option<usize> {
    let middle = lines.len() / 2;
    let before = lines[..middle].iter().rposition(|b| *b == b'\n');
    before
        .or_else(|| {
            let after = lines[middle..].iter().position(|b| *b == b'\n')?;
            Some(middle + after)
        })
        .map(|at| at + 1)
        .filter(|at| *at < lines.len())
}

/// `"name":value` into an object that is being written.
pub(crate) fn begin_field(out: &mut Vec<u8>, key: &[u8], first: bool) {
    if !first {
        out.push(b',');
    }
    out.extend_from_slice(key);
}

fn object(
    out: &mut Vec<u8>,
    slots: &[Slot],
    pairs: &[(String, Value)],
    origin: Origin,
    aside: &mut Aside,
    trail: &Trail<'_>,
) -> Result<(), Box<Misfit>> {
    out.push(b'{');
    let mut first = true;
    let find = |name: &str| pairs.iter().find(|(key, _)| key == name);
    for slot in slots {
        if is_extra(slot, trail, aside) {
            continue;
        }
        begin_field(out, &slot.key, first);
        first = false;
        match find(&slot.name) {
            Some((name, item)) => value(out, slot, item, origin, aside, &Trail::Field(trail, name))
                .map_err(|misfit| misfit.within(name))?,
            None => null(out, slot)
                .map_err(|_| Misfit::new(slot.kind.name(), "no value").within(&slot.name))?,
        }
    }
    out.push(b'}');
    for (name, item) in pairs {
        let known = |slot: &Slot| *slot.name == **name && !is_extra(slot, trail, aside);
        if slots.iter().any(known) {
            continue;
        }
        match aside.unknown {
            Unknown::Error => return Err(Misfit::unknown(name)),
            Unknown::Drop => {}
            Unknown::Extra => {
                let extra = aside.extra_key(&trail.join(name));
                json_text::value(extra, item).map_err(|misfit| misfit.within(name))?;
            }
        }
    }
    Ok(())
}

/// Whether this is the column that [`Lines::end_record`] writes.
pub(crate) fn is_extra(slot: &Slot, trail: &Trail<'_>, aside: &Aside) -> bool {
    aside.unknown == Unknown::Extra && matches!(trail, Trail::Root) && &*slot.name == EXTRA
}

pub(crate) fn null(out: &mut Vec<u8>, slot: &Slot) -> Result<(), Box<Misfit>> {
    if !slot.nullable && !matches!(slot.kind, Kind::Null) {
        return Err(Misfit::new(slot.kind.name(), "None"));
    }
    out.extend_from_slice(b"null");
    Ok(())
}

/// A value by its slot's kind.
pub(crate) fn value(
    out: &mut Vec<u8>,
    slot: &Slot,
    value: &Value,
    origin: Origin,
    aside: &mut Aside,
    trail: &Trail<'_>,
) -> Result<(), Box<Misfit>> {
    match (&slot.kind, value) {
        (_, Value::Null) => null(out, slot),
        (Kind::Json, value) => json_text::value(out, value),
        (Kind::List(item), Value::List(list)) => {
            out.push(b'[');
            for (index, element) in list.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                self::value(
                    out,
                    item,
                    element,
                    origin,
                    aside,
                    &Trail::Item(trail, index),
                )
                .map_err(|misfit| misfit.at(index))?;
            }
            out.push(b']');
            Ok(())
        }
        (Kind::Struct(slots), Value::Map(pairs)) => object(out, slots, pairs, origin, aside, trail),
        (Kind::Map(item), Value::Map(pairs)) => {
            out.push(b'{');
            for (index, (name, element)) in pairs.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                json_text::string(out, name);
                out.push(b':');
                self::value(
                    out,
                    item,
                    element,
                    origin,
                    aside,
                    &Trail::Field(trail, name),
                )
                .map_err(|misfit| misfit.within(name))?;
            }
            out.push(b'}');
            Ok(())
        }
        (Kind::List(_) | Kind::Struct(_) | Kind::Map(_) | Kind::Null, _) => {
            Err(misfit(&slot.kind, value))
        }
        (kind, value) => scalar(out, kind, fit(kind, value, origin)?),
    }
}

/// A fitted value by its kind.
pub(crate) fn scalar(
    out: &mut Vec<u8>,
    kind: &Kind,
    scalar: Scalar<'_>,
) -> Result<(), Box<Misfit>> {
    match (kind, scalar) {
        (_, Scalar::Bool(value)) => json_text::boolean(out, value),
        (Kind::Float32, Scalar::Float(number)) => {
            // The shortest digits of what a float32 column would keep.
            let number = number as f32;
            if !number.is_finite() {
                return Err(json_text::not_finite("float32"));
            }
            out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
        }
        (_, Scalar::Float(number)) => {
            if !json_text::float(out, number) {
                return Err(json_text::not_finite(&kind.name()));
            }
        }
        (_, Scalar::Above(number)) => {
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        }
        (Kind::Decimal { scale, .. }, Scalar::Decimal(number)) => {
            out.push(b'"');
            decimal::write(out, number, *scale);
            out.push(b'"');
        }
        (kind, Scalar::Int(number)) => int(out, kind, number),
        (Kind::Binary, Scalar::Bytes(bytes)) => json_text::base64(out, &bytes),
        (_, Scalar::Bytes(bytes)) => {
            json_text::string(out, &String::from_utf8_lossy(&bytes));
        }
        (_, Scalar::Decimal(_)) => debug_assert!(false, "decimals come of their kind"),
    }
    Ok(())
}

/// An integer, days, or microseconds, by its kind.
pub(crate) fn int(out: &mut Vec<u8>, kind: &Kind, number: i64) {
    match kind {
        Kind::Date => json_text::date(out, number),
        Kind::Time => json_text::time_of_day(out, number),
        Kind::Timestamp { aware, .. } => json_text::timestamp(out, number, *aware),
        Kind::Duration(_) => json_text::duration(out, number),
        _ => json_text::int(out, number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(
        slots: Vec<Slot>,
        pairs: &[(&str, Value)],
        unknown: Unknown,
    ) -> Result<String, Box<Misfit>> {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let mut lines = Lines::new(slots);
        lines.push(&pairs, Origin::Python, &mut Aside::new(unknown))?;
        Ok(String::from_utf8(lines.finish()).unwrap())
    }

    fn slots() -> Vec<Slot> {
        vec![
            Slot::new("a", Kind::Int(super::super::kind::Int::I64), false),
            Slot::new("b", Kind::Text, true),
        ]
    }

    #[test]
    fn a_line_has_every_field_of_the_schema() {
        assert_eq!(
            line(slots(), &[("a", Value::Int(1))], Unknown::Error).unwrap(),
            "{\"a\":1,\"b\":null}\n"
        );
        let missing = line(slots(), &[], Unknown::Error).unwrap_err();
        assert_eq!(
            (missing.field().as_str(), missing.found.as_str()),
            ("a", "no value")
        );
    }

    #[test]
    fn unknown_fields_are_an_error_dropped_or_kept() {
        let record = [("a", Value::Int(1)), ("c", Value::Bool(true))];
        assert_eq!(
            line(slots(), &record, Unknown::Error).unwrap_err().field(),
            "c"
        );
        assert_eq!(
            line(slots(), &record, Unknown::Drop).unwrap(),
            "{\"a\":1,\"b\":null}\n"
        );
        let mut with_extra = slots();
        with_extra.push(Slot::new(EXTRA, Kind::Json, true));
        assert_eq!(
            line(with_extra, &record, Unknown::Extra).unwrap(),
            "{\"a\":1,\"b\":null,\"_extra\":{\"c\":true}}\n"
        );
    }

    #[test]
    fn lines_are_halved_at_a_lines_end() {
        assert_eq!(halve(b"a\nb\nc\n"), Some(2));
        assert_eq!(halve(b"aaaaaaaa\nb\n"), Some(9));
        assert_eq!(halve(b"a\nbbbbbbbb\n"), Some(2));
        assert_eq!(halve(b"aaaaaa\n"), None);
    }
}
