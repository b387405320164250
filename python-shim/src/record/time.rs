//! Dates and times as numbers and as RFC 3339 text.
//!
//! Civil dates after Howard Hinnant, "chrono-Compatible Low-Level Date
//! Algorithms". Resolution is the microsecond: further digits are cut off.

use std::io::Write as _;

pub(crate) const MICROS_PER_SECOND: i64 = 1_000_000;
pub(crate) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse: (year, month, day).
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Reads fixed-width digits and marks from the front.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn digits(&mut self, count: usize) -> Option<i64> {
        let head = self.0.get(..count)?;
        let mut number = 0;
        for digit in head {
            if !digit.is_ascii_digit() {
                return None;
            }
            number = number * 10 + i64::from(digit - b'0');
        }
        self.0 = &self.0[count..];
        Some(number)
    }

    fn mark(&mut self, mark: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == mark).then_some(())?;
        self.0 = rest;
        Some(())
    }

    fn date(&mut self) -> Option<i64> {
        let year = self.digits(4)?;
        self.mark(b'-')?;
        let month = self.digits(2)?;
        self.mark(b'-')?;
        let day = self.digits(2)?;
        let valid = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
        valid.then(|| days_from_civil(year, month, day))
    }

    fn time(&mut self) -> Option<i64> {
        let hour = self.digits(2)?;
        self.mark(b':')?;
        let minute = self.digits(2)?;
        let mut second = 0;
        let mut micros = 0;
        if self.mark(b':').is_some() {
            second = self.digits(2)?;
            if self.mark(b'.').or_else(|| self.mark(b',')).is_some() {
                let count = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
                let kept = count.min(6);
                micros = self.digits(kept)? * 10_i64.pow(6 - kept as u32);
                self.0 = &self.0[count - kept..];
                (count > 0).then_some(())?;
            }
        }
        // A leap second is the first of the next minute.
        let valid = hour < 24 && minute < 60 && second <= 60;
        valid.then_some(((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros)
    }

    /// Seconds east of UTC; None where no zone stands.
    fn offset(&mut self) -> Option<Option<i64>> {
        let Some((first, rest)) = self.0.split_first() else {
            return Some(None);
        };
        self.0 = rest;
        let sign = match first {
            b'Z' | b'z' => return Some(Some(0)),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.digits(2)?;
        let minutes = if self.0.is_empty() {
            0
        } else {
            let _ = self.mark(b':');
            self.digits(2)?
        };
        (hours < 24 && minutes < 60).then_some(Some(sign * (hours * 60 + minutes) * 60))
    }

    fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// `2024-05-01T12:00:00.5+02:00` and its usual relatives (a blank for the T,
/// no seconds, no zone, a date alone): microseconds since 1970, and whether a
/// zone stood there.
pub(crate) fn parse_timestamp(text: &str) -> Option<(i64, bool)> {
    let mut scan = Scan(text.as_bytes());
    let days = scan.date()?;
    if scan.0.is_empty() {
        return Some((days * MICROS_PER_DAY, false));
    }
    scan.mark(b'T')
        .or_else(|| scan.mark(b't'))
        .or_else(|| scan.mark(b' '))?;
    let time = scan.time()?;
    let offset = scan.offset()?;
    scan.end()?;
    let micros = days * MICROS_PER_DAY + time;
    Some(match offset {
        None => (micros, false),
        Some(seconds) => (micros - seconds * MICROS_PER_SECOND, true),
    })
}

/// `2024-05-01`: days since 1970-01-01.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let mut scan = Scan(text.as_bytes());
    let days = scan.date()?;
    scan.end()?;
    i32::try_from(days).ok()
}

/// `12:00`, `12:00:00.5`: microseconds since midnight.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let mut scan = Scan(text.as_bytes());
    let micros = scan.time()?;
    scan.end()?;
    (micros < MICROS_PER_DAY).then_some(micros)
}

/// `PT3.5S`, `-PT60S`: the form that [`write_duration`] gives.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text),
    };
    let number = text.strip_prefix("PT")?.strip_suffix('S')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let micros: i64 = format!("{fraction:0<6}").parse().ok()?;
    let seconds: i64 = whole.parse().ok()?;
    Some(
        sign * seconds
            .checked_mul(MICROS_PER_SECOND)?
            .checked_add(micros)?,
    )
}

fn two(out: &mut Vec<u8>, number: i64) {
    out.push(b'0' + (number / 10) as u8);
    out.push(b'0' + (number % 10) as u8);
}

/// `2024-05-01`. Years outside of 0000..9999 carry a sign (ISO 8601).
pub(crate) fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_from_days(days);
    if (0..=9_999).contains(&year) {
        two(out, year / 100);
        two(out, year % 100);
    } else {
        let _ = write!(out, "{year:+07}");
    }
    out.push(b'-');
    two(out, month);
    out.push(b'-');
    two(out, day);
}

/// `12:00:00.000000`.
pub(crate) fn write_time(out: &mut Vec<u8>, micros: i64) {
    let seconds = micros / MICROS_PER_SECOND;
    two(out, seconds / 3_600);
    out.push(b':');
    two(out, seconds / 60 % 60);
    out.push(b':');
    two(out, seconds % 60);
    out.push(b'.');
    let fraction = micros % MICROS_PER_SECOND;
    two(out, fraction / 10_000);
    two(out, fraction / 100 % 100);
    two(out, fraction % 100);
}

/// `2024-05-01T12:00:00.000000`, without a zone.
pub(crate) fn write_timestamp(out: &mut Vec<u8>, micros: i64, between: u8) {
    write_date(out, micros.div_euclid(MICROS_PER_DAY));
    out.push(between);
    write_time(out, micros.rem_euclid(MICROS_PER_DAY));
}

/// ISO 8601 in seconds, `PT93784.500000S`.
pub(crate) fn write_duration(out: &mut Vec<u8>, micros: i64) {
    let size = micros.unsigned_abs();
    let _ = write!(
        out,
        "{}PT{}.{:06}S",
        if micros < 0 { "-" } else { "" },
        size / 1_000_000,
        size % 1_000_000
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn a_timestamp_survives_its_text(micros in -62_135_596_800_000_000i64..253_402_300_799_999_999) {
            let mut written = text(|out| write_timestamp(out, micros, b'T'));
            prop_assert_eq!(parse_timestamp(&written), Some((micros, false)));
            written.push('Z');
            prop_assert_eq!(parse_timestamp(&written), Some((micros, true)));
        }

        #[test]
        fn a_date_survives_its_numbers(days in -10_000_000i64..10_000_000) {
            let (year, month, day) = civil_from_days(days);
            prop_assert_eq!(days_from_civil(year, month, day), days);
        }

        #[test]
        fn a_duration_survives_its_text(micros in -(1i64 << 60)..(1i64 << 60)) {
            prop_assert_eq!(parse_duration(&text(|out| write_duration(out, micros))), Some(micros));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(any in "\\PC{0,40}") {
            let _ = (parse_timestamp(&any), parse_date(&any), parse_time(&any), parse_duration(&any));
        }
    }

    #[test]
    fn the_usual_forms_are_read() {
        let noon = Some((1_714_564_800_000_000, true));
        for form in [
            "2024-05-01T12:00:00Z",
            "2024-05-01 12:00:00.000Z",
            "2024-05-01T14:00:00+02:00",
            "2024-05-01T14:00+0200",
            "2024-05-01T12:00:00.000000999+00",
        ] {
            assert_eq!(parse_timestamp(form), noon, "{form}");
        }
        for form in [
            "2024-02-30T00:00:00Z",
            "2024-05-01T25:00:00Z",
            "2024-05-01T12:00:00.Z",
            "2024-05-01T12",
            "x",
        ] {
            assert_eq!(parse_timestamp(form), None, "{form}");
        }
    }
}
