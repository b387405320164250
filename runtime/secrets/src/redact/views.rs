//! Text as a reader would see it after undoing percent-encoding and backslash escapes, with the way back to the source.
//!
//! A view keeps, for each of its bytes, the bytes of the source that it stands for. What cannot be decoded stands for
//! itself, so a view never loses text.

use std::ops::Range;

use zeroize::Zeroizing;

/// Escapes inside escapes twice: JSON in JSON, a URL in JSON, JSON in a URL, a URL in a URL.
const DEPTH: usize = 2;

/// One reading of a source.
#[derive(Clone)]
pub(super) struct View {
    /// The text as this view reads it.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// Where each byte comes from, in order; nothing where the view is the source itself.
    spans: Option<Vec<(usize, usize)>>,
    /// Where in the source an escape begins that the next chunk may complete; the view ends before it.
    pub(super) open: Option<usize>,
}

impl View {
    fn of(source: &[u8]) -> View {
        View {
            bytes: Zeroizing::new(source.to_vec()),
            spans: None,
            open: None,
        }
    }

    /// The bytes of the source that the byte at `index` stands for.
    pub(super) fn source(&self, index: usize) -> Range<usize> {
        match &self.spans {
            None => index..index + 1,
            Some(spans) => spans[index].0..spans[index].1,
        }
    }

    /// The beginning of the escape that `at` (a place in the source) would cut in two, or `at` itself.
    pub(super) fn boundary(&self, at: usize) -> usize {
        let Some(spans) = &self.spans else { return at };
        let before = spans.partition_point(|span| span.0 < at);
        match before.checked_sub(1).map(|index| spans[index]) {
            Some((start, end)) if end > at => start,
            _ => at,
        }
    }

    /// Reads this view once more. `token` decodes what stands at the beginning of a text.
    fn decode(&self, last: bool, token: impl Fn(&[u8]) -> Token) -> View {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.bytes.len()));
        let mut spans = Vec::with_capacity(self.bytes.len());
        let (mut at, mut open) = (0, self.open);
        while at < self.bytes.len() {
            let (decoded, used) = match token(&self.bytes[at..]) {
                Token::Plain => (Decoded::byte(self.bytes[at]), 1),
                Token::Escape(decoded, used) => (decoded, used),
                Token::Incomplete if last => (Decoded::byte(self.bytes[at]), 1),
                Token::Incomplete => {
                    open = Some(self.source(at).start);
                    break;
                }
            };
            let span = (self.source(at).start, self.source(at + used - 1).end);
            for &byte in decoded.as_slice() {
                bytes.push(byte);
                spans.push(span);
            }
            at += used;
        }
        View {
            bytes,
            spans: Some(spans),
            open,
        }
    }
}

/// The source, and the source with the dots between labels left out: a long value is spread over several labels.
pub(super) fn of_name(source: &[u8]) -> [View; 2] {
    let whole = View::of(source);
    let joined = whole.decode(true, |text| match text[0] {
        b'.' => Token::Escape(Decoded([0; 4], 0), 1),
        _ => Token::Plain,
    });
    [whole, joined]
}

/// How much of a text a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it. A line's end may stand inside of a pattern: base64 is broken into lines (RFC 2045, section 6.8).
    Whole,
    /// A piece that another follows, which may complete its last escape.
    Piece,
    /// The last piece.
    Last,
}

/// Shows every view that differs from another, and holds no more than lead to it: each takes many times its source.
/// `spaces`: a pattern contains one, so `+` may stand for one.
pub(super) fn visit(source: &[u8], spaces: bool, extent: Extent, see: &mut impl FnMut(&View)) {
    let whole = View::of(source);
    let last = extent != Extent::Piece;
    let see = &mut |view: &View| {
        see(view);
        if extent == Extent::Whole && view.bytes.contains(&b'\n') {
            see(&view.decode(last, |text| match text[0] {
                b'\r' | b'\n' => Token::Escape(Decoded([0; 4], 0), 1),
                _ => Token::Plain,
            }));
        }
    };
    see(&whole);
    deeper(&whole, DEPTH, last, see);
    // In a form, + is a space, and a + is %2B: the plus goes first.
    if spaces && source.contains(&b'+') {
        let plus = whole.decode(last, |text| match text[0] {
            b'+' => Token::Escape(Decoded::byte(b' '), 1),
            _ => Token::Plain,
        });
        see(&plus.decode(last, percent));
    }
}

fn deeper(view: &View, depth: usize, last: bool, see: &mut impl FnMut(&View)) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    // Most texts have neither, and one byte is found fastest.
    let has = |mark: &[u8]| {
        view.bytes.contains(&mark[0]) && view.bytes.windows(mark.len()).any(|text| text == mark)
    };
    // `\xe9` is a byte in `repr` of bytes and a character in `ascii` of a text: both readings are tried.
    let readings: [(&[u8], Reading); 3] =
        [(b"%", percent), (b"\\", backslash), (b"\\x", characters)];
    for (_, token) in readings.into_iter().filter(|(mark, _)| has(mark)) {
        let decoded = view.decode(last, token);
        see(&decoded);
        deeper(&decoded, depth, last, see);
    }
}

/// Every view at once, of a source that is small.
pub(super) fn all(source: &[u8], spaces: bool, extent: Extent) -> Vec<View> {
    let mut views = Vec::new();
    visit(source, spaces, extent, &mut |view| views.push(view.clone()));
    views
}

/// What stands at the beginning of a text.
type Reading = fn(&[u8]) -> Token;

enum Token {
    Plain,
    Escape(Decoded, usize),
    Incomplete,
}

/// At most four bytes: one character.
struct Decoded([u8; 4], usize);

impl Decoded {
    fn byte(byte: u8) -> Decoded {
        Decoded([byte, 0, 0, 0], 1)
    }

    fn char(c: char) -> Decoded {
        let mut bytes = [0; 4];
        let length = c.encode_utf8(&mut bytes).len();
        Decoded(bytes, length)
    }

    fn as_slice(&self) -> &[u8] {
        &self.0[..self.1]
    }
}

enum Hex {
    Is(u32),
    Not,
    Incomplete,
}

fn hex(text: &[u8], digits: usize) -> Hex {
    let mut number = 0;
    for index in 0..digits {
        let Some(&byte) = text.get(index) else {
            return Hex::Incomplete;
        };
        let Some(digit) = char::from(byte).to_digit(16) else {
            return Hex::Not;
        };
        number = number * 16 + digit;
    }
    Hex::Is(number)
}

/// RFC 3986, section 2.1.
fn percent(text: &[u8]) -> Token {
    if text[0] != b'%' {
        return Token::Plain;
    }
    match hex(&text[1..], 2) {
        Hex::Is(byte) => Token::Escape(Decoded::byte(byte as u8), 3),
        Hex::Not => Token::Plain,
        Hex::Incomplete => Token::Incomplete,
    }
}

/// RFC 8259, section 7, and what Python's `repr` writes besides.
fn backslash(text: &[u8]) -> Token {
    if text[0] != b'\\' {
        return Token::Plain;
    }
    let Some(&letter) = text.get(1) else {
        return Token::Incomplete;
    };
    let byte = match letter {
        b'"' | b'\'' | b'\\' | b'/' => letter,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'x' => {
            return match hex(&text[2..], 2) {
                Hex::Is(byte) => Token::Escape(Decoded::byte(byte as u8), 4),
                Hex::Not => Token::Plain,
                Hex::Incomplete => Token::Incomplete,
            };
        }
        b'u' => return unicode(text),
        b'U' => {
            return match hex(&text[2..], 8) {
                Hex::Is(number) => char::from_u32(number)
                    .map_or(Token::Plain, |c| Token::Escape(Decoded::char(c), 10)),
                Hex::Not => Token::Plain,
                Hex::Incomplete => Token::Incomplete,
            };
        }
        _ => return Token::Plain,
    };
    Token::Escape(Decoded::byte(byte), 2)
}

/// As [`backslash`], with `\xe9` the character of that number: Python's `ascii` and `backslashreplace`, JavaScript.
fn characters(text: &[u8]) -> Token {
    match backslash(text) {
        Token::Escape(Decoded([byte @ 0x80..=0xff, ..], 1), used) => {
            Token::Escape(Decoded::char(char::from(byte)), used)
        }
        token => token,
    }
}

/// `\u00e4`, or two of them for a character beyond the first plane.
fn unicode(text: &[u8]) -> Token {
    let high = match hex(&text[2..], 4) {
        Hex::Is(number) => number,
        Hex::Not => return Token::Plain,
        Hex::Incomplete => return Token::Incomplete,
    };
    if let Some(c) = char::from_u32(high) {
        return Token::Escape(Decoded::char(c), 6);
    }
    if !(0xd800..0xdc00).contains(&high) {
        return Token::Plain;
    }
    let rest = &text[6..];
    if rest.len() < 2 && b"\\u".starts_with(rest) {
        return Token::Incomplete;
    }
    if !rest.starts_with(b"\\u") {
        return Token::Plain;
    }
    match hex(&rest[2..], 4) {
        Hex::Is(low) if (0xdc00..0xe000).contains(&low) => {
            let number = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            char::from_u32(number).map_or(Token::Plain, |c| Token::Escape(Decoded::char(c), 12))
        }
        Hex::Is(_) | Hex::Not => Token::Plain,
        Hex::Incomplete => Token::Incomplete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(source: &str) -> Vec<String> {
        all(source.as_bytes(), true, Extent::Whole)
            .iter()
            .map(|view| String::from_utf8_lossy(&view.bytes).into_owned())
            .collect()
    }

    #[test]
    fn escapes_are_undone_and_what_is_none_stays() {
        assert_eq!(readings("a%41%zz%4")[1], "aA%zz%4");
        assert_eq!(
            readings(r#"\n\"\\\/\u00e4\ud83d\ude00\x41\U0001f600\q\ud83d"#)[1],
            "\n\"\\/ä\u{1f600}A\u{1f600}\\q\\ud83d"
        );
        assert_eq!(readings("a+b%2B").last().unwrap(), "a b+");
        assert_eq!(readings("a\r\nb\n"), ["a\r\nb\n", "ab"]);
        assert_eq!(readings("plain"), ["plain"]);
    }

    #[test]
    fn an_escape_that_the_next_chunk_may_complete_is_left_open() {
        for (source, at) in [
            ("ab%", 2),
            ("ab%4", 2),
            ("ab\\", 2),
            ("a\\u00e", 1),
            ("a\\ud83d", 1),
            ("a\\ud83d\\ude0", 1),
            ("\\x4", 0),
        ] {
            assert_eq!(
                all(source.as_bytes(), false, Extent::Piece)[1].open,
                Some(at),
                "{source}"
            );
            assert_eq!(
                all(source.as_bytes(), false, Extent::Last)[1].open,
                None,
                "{source}"
            );
        }
    }

    #[test]
    fn a_cut_is_moved_to_the_beginning_of_an_escape() {
        let view = &all(b"a%41b", false, Extent::Last)[1];
        assert_eq!(
            [0, 1, 2, 3, 4, 5].map(|at| view.boundary(at)),
            [0, 1, 1, 1, 4, 5]
        );
    }
}
