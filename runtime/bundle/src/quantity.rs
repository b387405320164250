//! Sizes (`5MiB`) and durations (`2h`) as people write them, parsed once and
//! carried as types.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes, written `512`, `64KiB`, `5MiB`, `2GiB`, `1TiB`, or with `kB`, `MB`, `GB`
/// for powers of ten (IEC 80000-13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// A span of time, written `250ms`, `30s`, `5m`, `2h`, `7d` or several together: `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// The text is no size or no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct QuantityError(&'static str);

const SIZE: QuantityError = QuantityError("a size such as 512KiB, 5MiB or 2GiB");
const SPAN: QuantityError = QuantityError("a duration such as 30s, 5m, 2h or 1h30m");

const SIZE_UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

const SPAN_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

impl FromStr for Size {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| SIZE)?;
        let unit = unit.strip_prefix(' ').unwrap_or(unit);
        let factor = match unit {
            "" => 1,
            unit => {
                let found = SIZE_UNITS.iter().find(|(name, _)| *name == unit);
                found.ok_or(SIZE)?.1
            }
        };
        number.checked_mul(factor).map(Size).ok_or(SIZE)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZE_UNITS[..4]
            .iter()
            .rev()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match exact {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl FromStr for Span {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rest = text;
        let mut total: u64 = 0;
        if rest.is_empty() {
            return Err(SPAN);
        }
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, after) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| SPAN)?;
            let letters = after.len()
                - after
                    .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                    .len();
            let (unit, after) = after.split_at(letters);
            let found = SPAN_UNITS.iter().find(|(name, _)| *name == unit);
            let millis = number.checked_mul(found.ok_or(SPAN)?.1).ok_or(SPAN)?;
            total = total.checked_add(millis).ok_or(SPAN)?;
            rest = after;
        }
        Ok(Span(Duration::from_millis(total)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, factor) in SPAN_UNITS.iter().rev() {
            if rest >= *factor {
                write!(f, "{}{name}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

macro_rules! as_text {
    ($type:ty, $number:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum Written {
                    Number(u64),
                    Text(String),
                }
                let text = match Written::deserialize(deserializer)? {
                    Written::Number(number) => format!("{number}{}", $number),
                    Written::Text(text) => text,
                };
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

as_text!(Size, "");
as_text!(Span, "s");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_as_people_write_them() {
        for (text, bytes, back) in [
            ("512", 512, "512B"),
            ("64KiB", 65_536, "64KiB"),
            ("5MiB", 5 << 20, "5MiB"),
            ("5 MiB", 5 << 20, "5MiB"),
            ("2GiB", 2 << 30, "2GiB"),
            ("3MB", 3_000_000, "3000000B"),
            ("0B", 0, "0B"),
        ] {
            let size: Size = text.parse().expect(text);
            assert_eq!((size.0, size.to_string().as_str()), (bytes, back));
        }
        for text in ["", "MiB", "5Mib", "5M", "-1", "1.5MiB", "99999999999999TiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_and_written_as_people_write_them() {
        for (text, millis, back) in [
            ("250ms", 250, "250ms"),
            ("30s", 30_000, "30s"),
            ("90m", 5_400_000, "1h30m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("2h", 7_200_000, "2h"),
            ("0s", 0, "0s"),
        ] {
            let span: Span = text.parse().expect(text);
            assert_eq!(
                (span.0.as_millis(), span.to_string().as_str()),
                (millis, back)
            );
        }
        for text in ["", "h", "2", "2hours", "-1s", "1.5h", "99999999999999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
