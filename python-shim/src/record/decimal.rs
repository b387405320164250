//! Decimals between text and scaled integers, exactly.

use arrow_buffer::i256;

/// A decimal's text taken apart.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i32,
}

fn split(text: &str) -> Option<Parts<'_>> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], rest[at + 1..].parse().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let valid = !(whole.is_empty() && fraction.is_empty())
        && whole
            .bytes()
            .chain(fraction.bytes())
            .all(|b| b.is_ascii_digit());
    valid.then_some(Parts {
        negative,
        whole,
        fraction,
        exponent,
    })
}

/// How many digits stand before and after the point, zeros at the outer ends
/// not counted; None if it is no finite decimal.
pub(crate) fn size(text: &str) -> Option<(usize, usize)> {
    let parts = split(text)?;
    let whole = parts.whole.len() as i64;
    let all = format!("{}{}", parts.whole, parts.fraction);
    let Some(first) = all.find(|c| c != '0') else {
        return Some((0, 0));
    };
    let last = all.trim_end_matches('0').len();
    let point = whole + i64::from(parts.exponent);
    let before = (point - first as i64).max(0);
    let after = (last as i64 - point).max(0);
    Some((before as usize, after as usize))
}

/// The integer that is `text` times ten to the `scale`; None if digits would
/// be lost or there are more than `precision`.
pub(crate) fn parse(text: &str, precision: u8, scale: i8) -> Option<i256> {
    let parts = split(text)?;
    let shift = i64::from(scale) + i64::from(parts.exponent);
    // Digits to keep of whole+fraction: all up to the point, moved by `shift`.
    let keep = parts.whole.len() as i64 + shift;
    let digits = parts.whole.bytes().chain(parts.fraction.bytes());
    let total = (parts.whole.len() + parts.fraction.len()) as i64;
    if keep > total + i64::from(precision) + 1 && digits.clone().any(|d| d != b'0') {
        return None;
    }
    let mut kept = String::with_capacity(80);
    for (at, digit) in digits.enumerate() {
        if (at as i64) < keep {
            if !(kept.is_empty() && digit == b'0') {
                kept.push(char::from(digit));
            }
        } else if digit != b'0' {
            return None;
        }
    }
    if !kept.is_empty() {
        for _ in total..keep {
            kept.push('0');
        }
    }
    if kept.len() > usize::from(precision) {
        return None;
    }
    if kept.is_empty() {
        return Some(i256::ZERO);
    }
    let number = if kept.len() <= 38 {
        i256::from_i128(kept.parse().ok()?)
    } else {
        i256::from_string(&kept)?
    };
    Some(if parts.negative { -number } else { number })
}

/// Plain notation, never an exponent: `-12.50`.
pub(crate) fn write(out: &mut Vec<u8>, number: i256, scale: i8) {
    let text = match number.to_i128() {
        Some(small) => small.to_string(),
        None => number.to_string(),
    };
    let digits = text.strip_prefix('-').unwrap_or(&text);
    if digits.len() != text.len() {
        out.push(b'-');
    }
    if scale <= 0 {
        out.extend_from_slice(digits.as_bytes());
        if digits != "0" {
            out.extend(std::iter::repeat_n(b'0', usize::from(scale.unsigned_abs())));
        }
        return;
    }
    let scale = scale as usize;
    if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        out.extend_from_slice(whole.as_bytes());
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    } else {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', scale - digits.len()));
        out.extend_from_slice(digits.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(number: i256, scale: i8) -> String {
        let mut out = Vec::new();
        write(&mut out, number, scale);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn a_decimal_survives_its_text(number in -(10i128.pow(37))..10i128.pow(37), scale in 0i8..38) {
            let number = i256::from_i128(number);
            prop_assert_eq!(parse(&written(number, scale), 38, scale), Some(number));
        }

        #[test]
        fn no_text_makes_the_parser_panic(any in "[-+0-9.eE]{0,30}", scale in -5i8..40) {
            let _ = (parse(&any, 38, scale), size(&any));
        }
    }

    #[test]
    fn exponents_move_the_point_and_lost_digits_are_refused() {
        let is = |text: &str, scale, number: i128| {
            assert_eq!(
                parse(text, 38, scale),
                Some(i256::from_i128(number)),
                "{text}"
            )
        };
        is("1E+2", 0, 100);
        is("1.5e-3", 4, 15);
        is("-0.10", 1, -1);
        is("0E-20", 2, 0);
        is("007", 0, 7);
        for (text, scale) in [
            ("0.001", 2),
            ("1e40", 0),
            ("NaN", 2),
            ("", 2),
            (".", 2),
            ("1e999999999999", 2),
        ] {
            assert_eq!(parse(text, 38, scale), None, "{text}");
        }
    }

    #[test]
    fn size_counts_the_digits_that_matter() {
        assert_eq!(size("0.0010"), Some((0, 3)));
        assert_eq!(size("1200"), Some((4, 0)));
        assert_eq!(size("1.2E+3"), Some((4, 0)));
        assert_eq!(size("-12.50"), Some((2, 1)));
        assert_eq!(size("Infinity"), None);
    }

    #[test]
    fn seventy_six_digits_fit() {
        let text = "9".repeat(76);
        assert_eq!(written(parse(&text, 76, 0).unwrap(), 0), text);
        assert_eq!(parse(&text, 38, 0), None);
    }
}
