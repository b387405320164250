//! A place in JSON text, and the grammar from there on.
//!
//! Every step is None where the text is not as RFC 8259 wants it, so that the
//! same steps check a text the first time and read it later.

use std::borrow::Cow;

/// Arrays and objects may be nested this deep, and dicts and lists no less:
/// what one lane takes, the other does.
pub(crate) const DEPTH: usize = 100;

/// Digits of one number: CPython refuses to convert an int of 4,300.
const DIGITS: usize = 4_000;

/// A number as it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Number<'a> {
    pub(crate) text: &'a str,
    /// Neither a fraction nor an exponent.
    pub(crate) whole: bool,
}

impl Number<'_> {
    /// A whole number of at most 64 bits.
    pub(crate) fn int(self) -> Option<i64> {
        if !self.whole {
            return None;
        }
        let digits = self.text.as_bytes();
        if digits.len() > 18 {
            return self.text.parse().ok();
        }
        let (negative, digits) = match digits.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, digits),
        };
        let number = digits
            .iter()
            .fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
        Some(if negative { -number } else { number })
    }

    /// The nearest float, as Python reads it.
    pub(crate) fn float(self) -> f64 {
        self.text.parse().unwrap_or(f64::NAN)
    }
}

/// A place in a text that is UTF-8.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The next byte that is no blank; stays before it.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        match self.bytes().get(self.at) {
            Some(byte) if *byte > b' ' => Some(*byte),
            _ => self.behind_blanks(),
        }
    }

    fn behind_blanks(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Over this byte, if it is the next one that is no blank.
    #[inline]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Over these bytes, if exactly they stand here.
    #[inline]
    pub(crate) fn take_all(&mut self, bytes: &[u8]) -> bool {
        let found = self.bytes()[self.at..].starts_with(bytes);
        if found {
            self.at += bytes.len();
        }
        found
    }

    /// In an array or object that ends with `end`: whether another part
    /// follows. `first` is true before the first one, and false from then on.
    #[inline]
    pub(crate) fn more(&mut self, end: u8, first: &mut bool) -> Option<bool> {
        if std::mem::take(first) {
            return Some(!self.take(end));
        }
        match self.peek()? {
            b',' => {
                self.at += 1;
                Some(true)
            }
            found if found == end => {
                self.at += 1;
                Some(false)
            }
            _ => None,
        }
    }

    /// Between the quotes of a string, as it stands, and whether it has
    /// escapes; they are looked at too.
    #[inline]
    fn quoted(&mut self) -> Option<(&'a str, bool)> {
        if !self.take(b'"') {
            return None;
        }
        let bytes = self.bytes();
        let start = self.at;
        let mut at = start + unremarkable(bytes.get(start..)?);
        let mut escaped = false;
        loop {
            match *bytes.get(at)? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    at += escape(&bytes[at..])?.0;
                    at += unremarkable(bytes.get(at..)?);
                }
                0..0x20 => return None,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        Some((self.text.get(start..at)?, escaped))
    }

    /// A string.
    #[inline]
    pub(crate) fn string(&mut self) -> Option<Cow<'a, str>> {
        let (text, escaped) = self.quoted()?;
        if escaped {
            return unescaped(text).map(Cow::Owned);
        }
        Some(Cow::Borrowed(text))
    }

    /// A member's name, and over the colon behind it.
    pub(crate) fn key(&mut self) -> Option<Cow<'a, str>> {
        let key = self.string()?;
        self.take(b':').then_some(key)
    }

    /// A number.
    #[inline]
    pub(crate) fn number(&mut self) -> Option<Number<'a>> {
        self.peek()?;
        let bytes = &self.bytes()[self.at..];
        let digits = |from: usize| {
            let rest = bytes.get(from..).unwrap_or_default();
            rest.iter().take_while(|b| b.is_ascii_digit()).count()
        };
        let mut end = usize::from(bytes[0] == b'-');
        let whole = digits(end);
        if whole == 0 || (whole > 1 && bytes[end] == b'0') || whole > DIGITS {
            return None;
        }
        end += whole;
        let integer = end;
        if bytes.get(end) == Some(&b'.') {
            let fraction = digits(end + 1);
            if fraction == 0 {
                return None;
            }
            end += 1 + fraction;
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent == 0 {
                return None;
            }
            end += 1 + sign + exponent;
        }
        let text = self.text.get(self.at..self.at + end)?;
        self.at += end;
        Some(Number {
            text,
            whole: end == integer,
        })
    }

    /// `true`, `false` or `null`.
    #[inline]
    pub(crate) fn word(&mut self, word: &str) -> Option<()> {
        self.take_all(word.as_bytes()).then_some(())
    }

    /// Over any value; `depth` counts the arrays and objects around it.
    pub(crate) fn skip(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => {
                self.quoted()?;
            }
            b'{' if depth < DEPTH => {
                self.at += 1;
                let mut first = true;
                while self.more(b'}', &mut first)? {
                    self.quoted()?;
                    if !self.take(b':') {
                        return None;
                    }
                    self.skip(depth + 1)?;
                }
            }
            b'[' if depth < DEPTH => {
                self.at += 1;
                let mut first = true;
                while self.more(b']', &mut first)? {
                    self.skip(depth + 1)?;
                }
            }
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            b'n' => self.word("null")?,
            _ => {
                self.number()?;
            }
        }
        Some(())
    }
}

/// How many bytes stand for themselves: neither a quote, nor a backslash, nor
/// a control character. May stop early before fewer than sixteen bytes.
#[inline]
fn unremarkable(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(sixteen) = bytes[at..].first_chunk::<16>() {
        let found = remarkable(sixteen);
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += 16;
    }
    at
}

/// A bit for each byte that does not stand for itself.
#[cfg(target_arch = "x86_64")]
#[inline]
fn remarkable(bytes: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8,
    };

    let word = u128::from_le_bytes(*bytes);
    // SAFETY: SSE2 is part of x86-64; there is no pointer in this.
    unsafe {
        let bytes = _mm_set_epi64x((word >> 64) as i64, word as i64);
        let quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let controls = _mm_cmpeq_epi8(bytes, _mm_min_epu8(bytes, _mm_set1_epi8(0x1f)));
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, backslashes), controls)) as u32
    }
}

/// The same where there is nothing better.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn remarkable(bytes: &[u8; 16]) -> u32 {
    let mut found = 0;
    for (at, byte) in bytes.iter().enumerate() {
        found |= u32::from(matches!(byte, b'"' | b'\\' | 0..0x20)) << at;
    }
    found
}

/// The length of the escape that begins here, and what it means. Half of a
/// surrogate pair means nothing.
fn escape(bytes: &[u8]) -> Option<(usize, char)> {
    let simple = match *bytes.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let high = hex(bytes.get(2..6)?)?;
            if !(0xd800..0xdc00).contains(&high) {
                return char::from_u32(high).map(|char| (6, char));
            }
            if bytes.get(6..8)? != b"\\u" {
                return None;
            }
            let low = hex(bytes.get(8..12)?)?;
            if !(0xdc00..0xe000).contains(&low) {
                return None;
            }
            let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            return char::from_u32(code).map(|char| (12, char));
        }
        _ => return None,
    };
    Some((2, simple))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        Some(number * 16 + char::from(*digit).to_digit(16)?)
    })
}

/// A string's text with its escapes undone.
fn unescaped(mut text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    while let Some(at) = text.find('\\') {
        out.push_str(&text[..at]);
        let (length, char) = escape(&text.as_bytes()[at..])?;
        out.push(char);
        text = text.get(at + length..)?;
    }
    out.push_str(text);
    Some(out)
}
