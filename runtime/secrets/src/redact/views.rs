//! Text as a reader would see it after undoing percent-encoding and backslash escapes, with the way back to the source.
//!
//! A view keeps where it differs from its source, and so, for each of its bytes, the bytes of the source that it stands
//! for. What cannot be decoded stands for itself, so a view never loses text. A reading that finds nothing to decode costs
//! one look for its mark, and a view is searched only around what it decoded: most text has few escapes.

use std::ops::{ControlFlow, Deref, Range};

use memchr::{memchr, memchr2, memmem};
use zeroize::Zeroizing;

/// Escapes inside escapes twice: JSON in JSON, a URL in JSON, JSON in a URL, a URL in a URL.
const DEPTH: usize = 2;

/// The readings of a source. Each was made from one before it, which it needs for the way back.
pub(super) struct Views<'s> {
    list: Vec<View<'s>>,
    sought: &'s Sought,
    extent: Extent,
}

/// One reading of a source.
pub(super) struct View<'s> {
    /// The text as this view reads it; empty where it shows nothing of its own.
    pub(super) bytes: Bytes<'s>,
    /// Where a find can stand that the view from which this one was made does not show.
    pub(super) news: Vec<Range<usize>>,
    /// Where it differs from the view from which it was made, in order.
    escapes: Vec<Escape>,
    /// That view, or itself.
    from: usize,
    /// Where in the source an escape begins that the next chunk may complete; the view ends before it.
    open: Option<usize>,
}

/// Text that is the source's, or a view's own and then wiped.
pub(super) enum Bytes<'s> {
    Source(&'s [u8]),
    Own(Zeroizing<Vec<u8>>),
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Source(bytes) => bytes,
            Bytes::Own(bytes) => bytes,
        }
    }
}

/// What a view reads otherwise than the view from which it was made.
#[derive(Clone, Copy)]
struct Escape {
    /// The place of the first decoded byte in this view.
    at: usize,
    /// The place of the first byte in the other view.
    start: usize,
    /// How many bytes there it takes.
    used: usize,
    decoded: Decoded,
}

impl Escape {
    /// The place behind it in this view.
    fn behind(&self) -> usize {
        self.at + usize::from(self.decoded.length)
    }

    /// The place behind it in the other view.
    fn end(&self) -> usize {
        self.start + self.used
    }
}

/// What a reading undoes in a view.
#[derive(Default)]
struct Undone {
    escapes: Vec<Escape>,
    /// Where an escape begins that the next chunk may complete.
    open: Option<usize>,
    /// Something of it may be part of a find, or of another escape.
    lives: bool,
}

impl Undone {
    fn push(&mut self, start: usize, used: usize, decoded: Decoded) {
        let at = match self.escapes.last() {
            Some(last) => last.behind() + (start - last.end()),
            None => start,
        };
        self.escapes.push(Escape {
            at,
            start,
            used,
            decoded,
        });
    }

    /// `marks` finds the bytes at which an escape begins, and `token` decodes what stands there.
    #[inline(always)]
    fn of(
        text: &[u8],
        marks: impl Fn(&[u8]) -> Option<usize>,
        token: impl Fn(&[u8]) -> Token,
        sought: &Sought,
        extent: Extent,
    ) -> Undone {
        let mut undone = Undone::default();
        let mut at = 0;
        while let Some(mark) = marks(&text[at..]).map(|found| at + found) {
            match token(&text[mark..]) {
                Token::Escape(decoded, used) => {
                    undone.lives |= sought.lives(decoded)
                        || extent == Extent::Whole && sought.joins(text, mark, used, decoded);
                    undone.push(mark, used, decoded);
                    at = mark + used;
                }
                Token::Incomplete if extent == Extent::Piece => {
                    undone.open = Some(mark);
                    break;
                }
                Token::Plain | Token::Incomplete => at = mark + 1,
            }
        }
        undone
    }

    /// The ends of lines, of which base64 may have some, and all that lies farther from them than a find can reach; and
    /// where, in what is left, each run is that a find can cover.
    fn lines(text: &[u8], sought: &Sought) -> (Undone, Vec<Range<usize>>) {
        let (mut undone, mut news) = (Undone::default(), Vec::new());
        let mut leave_out = |from: usize, to: usize| {
            if from < to {
                undone.push(from, to - from, Decoded::NOTHING);
            }
        };
        // Up to `kept` it is decided what is left; up to `at` the text was looked through.
        let (mut kept, mut at, mut left) = (0, 0, 0);
        while let Some(end) = memchr2(b'\r', b'\n', &text[at..]).map(|found| at + found) {
            let least = kept.max(end.saturating_sub(sought.longest - 1));
            let before = (least..end).rev().find(|&at| !sought.has(text[at]));
            let start = before.map_or(least, |at| at + 1);
            let mut last = end;
            at = end;
            // Twice as far as a find reaches, so that this run and the next one share nothing.
            while at < text.len() && at - last <= 2 * sought.longest {
                match text[at] {
                    byte if ends_line(byte) => last = at,
                    byte if !sought.has(byte) => break,
                    _ => {}
                }
                at += 1;
            }
            let run = start..at.min(last + sought.longest);
            if run.len() <= sought.shortest {
                continue;
            }
            leave_out(kept, run.start);
            let from = left;
            for at in run.clone() {
                if ends_line(text[at]) {
                    leave_out(at, at + 1);
                } else {
                    left += 1;
                }
            }
            news.push(from..left);
            kept = run.end;
        }
        leave_out(kept, text.len());
        (undone, news)
    }
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

/// What is looked for decides how a text is read, and where.
pub(super) struct Sought {
    /// The length of the shortest pattern.
    shortest: usize,
    /// The length of the longest pattern.
    longest: usize,
    /// A pattern contains this byte.
    inside: [bool; 256],
    /// So does one, or an escape does.
    alive: [bool; 256],
}

impl Sought {
    pub(super) fn of<'p>(patterns: impl Iterator<Item = &'p [u8]>) -> Sought {
        let (mut shortest, mut longest, mut inside) = (usize::MAX, 0, [false; 256]);
        for pattern in patterns {
            shortest = shortest.min(pattern.len());
            longest = longest.max(pattern.len());
            pattern
                .iter()
                .for_each(|&byte| inside[usize::from(byte)] = true);
        }
        Sought {
            shortest,
            longest,
            alive: alive(inside),
            inside,
        }
    }

    /// For patterns that are small letters and text that is not.
    pub(super) fn without_case(mut self) -> Sought {
        for small in b'a'..=b'z' {
            self.inside[usize::from(small.to_ascii_uppercase())] = self.inside[usize::from(small)];
        }
        self.alive = alive(self.inside);
        self
    }
    /// Whether a pattern contains this byte.
    fn has(&self, byte: u8) -> bool {
        self.inside[usize::from(byte)]
    }

    /// Whether what was decoded can be part of a find, or of an escape.
    fn lives(&self, decoded: Decoded) -> bool {
        let mut bytes = decoded.as_slice().iter();
        bytes.all(|&byte| self.alive[usize::from(byte)])
    }

    /// Whether what was decoded ends a line between two bytes of a find, if their escapes are undone too.
    fn joins(&self, text: &[u8], start: usize, used: usize, decoded: Decoded) -> bool {
        let may = |at: usize| {
            let byte = text.get(at);
            byte.is_some_and(|&byte| self.alive[usize::from(byte)] || ends_line(byte))
        };
        let ends = matches!(decoded.as_slice(), [byte] if ends_line(*byte));
        ends && start.checked_sub(1).is_some_and(may) && may(start + used)
    }

    /// Adds what a find can cover that holds something of `new` or reaches across it. Every byte of it is some pattern's.
    fn extend(&self, ranges: &mut Vec<Range<usize>>, text: &[u8], new: Range<usize>) {
        let inside = |at: usize| self.has(text[at]);
        if !new.clone().all(inside) {
            return;
        }
        let last = ranges.last_mut().filter(|last| new.start <= last.end);
        let from = last.as_ref().map_or(new.start, |last| last.end);
        let most = text.len().min(new.end + self.longest - 1);
        let end = (from..most)
            .find(|&at| !inside(at))
            .unwrap_or(most.max(from));
        if let Some(last) = last {
            last.end = end;
            return;
        }
        let least = new.start.saturating_sub(self.longest - 1);
        let start = (least..new.start).rev().find(|&at| !inside(at));
        let start = start.map_or(least, |at| at + 1);
        ranges.push(start..end);
    }
}

fn alive(mut inside: [bool; 256]) -> [bool; 256] {
    // Quotes and slashes stand for themselves behind a backslash: there they are what they are elsewhere.
    for byte in b"%\\0123456789abcdefABCDEFnrtuUx" {
        inside[usize::from(*byte)] = true;
    }
    inside
}

/// In a whole source, what ends a line may stand inside of a find.
fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// How escapes are read. `\xe9` is a byte in `repr` of bytes and a character in `ascii` of a text: both are tried.
#[derive(Clone, Copy)]
enum Reading {
    /// In a form, + is a space.
    Plus,
    Percent,
    Backslash,
    Characters,
}

impl<'s> Views<'s> {
    /// Shows every view of a source that shows something of its own. Of a piece all of them are kept, for
    /// [`Views::cut`]; of a whole source only those that lead to the next.
    pub(super) fn visit(
        source: &'s [u8],
        sought: &'s Sought,
        extent: Extent,
        see: &mut impl FnMut(&Views<'s>, usize) -> ControlFlow<()>,
    ) -> (Views<'s>, ControlFlow<()>) {
        let mut views = Views::of(source, sought, extent);
        let flow = views.all(see);
        (views, flow)
    }

    /// The source, and the source with the dots between labels left out: a long value is spread over several labels.
    pub(super) fn of_name(source: &'s [u8], sought: &'s Sought) -> Views<'s> {
        let mut views = Views::of(source, sought, Extent::Whole);
        let nothing = |_: &[u8]| Token::Escape(Decoded::NOTHING, 1);
        let undone = Undone::of(
            source,
            |text| mark(b'.', text),
            nothing,
            sought,
            Extent::Whole,
        );
        views.push(0, undone, None);
        views
    }

    fn of(source: &'s [u8], sought: &'s Sought, extent: Extent) -> Views<'s> {
        let all = 0..source.len();
        let whole = View {
            bytes: Bytes::Source(source),
            news: vec![all],
            escapes: Vec::new(),
            from: 0,
            open: None,
        };
        Views {
            list: vec![whole],
            sought,
            extent,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The view of a number.
    pub(super) fn view(&self, view: usize) -> &View<'s> {
        &self.list[view]
    }

    /// The bytes of the source that a byte of a view stands for.
    pub(super) fn source(&self, mut view: usize, index: usize) -> Range<usize> {
        let mut range = index..index + 1;
        while view != 0 {
            let View { escapes, from, .. } = &self.list[view];
            let other = |index: usize| {
                let before = escapes.partition_point(|escape| escape.at <= index);
                match before.checked_sub(1).map(|before| escapes[before]) {
                    Some(escape) if index < escape.behind() => escape.start..escape.end(),
                    Some(escape) => {
                        let start = escape.end() + (index - escape.behind());
                        start..start + 1
                    }
                    None => index..index + 1,
                }
            };
            range = other(range.start).start..other(range.end - 1).end;
            view = *from;
        }
        range
    }

    /// The last place up to `at` where this piece can be cut: not behind an escape that the next piece may complete, nor
    /// inside of one in any view, or that would read the rest as something else.
    pub(super) fn cut(&self, at: usize) -> usize {
        let open = self.list.iter().filter_map(|view| view.open);
        let mut cut = open.fold(at, usize::min);
        while let Some(earlier) = (1..self.list.len())
            .map(|view| self.boundary(view, cut))
            .find(|&at| at < cut)
        {
            cut = earlier;
        }
        cut
    }

    /// The beginning of a view's escape that `at` (a place in the source) would cut in two, or `at` itself.
    fn boundary(&self, view: usize, at: usize) -> usize {
        let View { escapes, from, .. } = &self.list[view];
        let start = |escape: &Escape| self.source(*from, escape.start).start;
        let before = escapes.partition_point(|escape| start(escape) < at);
        match before.checked_sub(1).map(|before| &escapes[before]) {
            Some(escape) if self.source(*from, escape.end() - 1).end > at => start(escape),
            _ => at,
        }
    }

    fn all(
        &mut self,
        see: &mut impl FnMut(&Views<'s>, usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.show(0, see)?;
        self.deeper(0, DEPTH, see)?;
        // A + is %2B: the plus goes first.
        if let Some(plus) = self.read(0, Reading::Plus) {
            self.show(plus, see)?;
            if let Some(view) = self.read(plus, Reading::Percent) {
                self.show(view, see)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn deeper(
        &mut self,
        view: usize,
        depth: usize,
        see: &mut impl FnMut(&Views<'s>, usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(depth) = depth.checked_sub(1) else {
            return ControlFlow::Continue(());
        };
        for reading in [Reading::Percent, Reading::Backslash, Reading::Characters] {
            if let Some(decoded) = self.read(view, reading) {
                self.show(decoded, see)?;
                self.deeper(decoded, depth, see)?;
                if self.extent != Extent::Piece {
                    self.list.truncate(decoded);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn show(
        &mut self,
        view: usize,
        see: &mut impl FnMut(&Views<'s>, usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        see(self, view)?;
        let bytes = &self.list[view].bytes;
        if self.extent == Extent::Whole && memchr(b'\n', bytes).is_some() {
            let (undone, news) = Undone::lines(bytes, self.sought);
            if !news.is_empty() {
                let joined = self.push(view, undone, Some(news));
                see(self, joined)?;
                self.list.truncate(joined);
            }
        }
        ControlFlow::Continue(())
    }

    /// Reads a view once more, or not, where that shows nothing else.
    ///
    /// A reading that undoes nothing gives the same again, and what it could lead to is read from the view itself. So it is
    /// where all that it undoes is dead, as a quote is where no secret has one: neither a find nor an escape holds it, so
    /// all of them stand between, where that view has them too. Only where it can be cut is kept of such a reading.
    fn read(&mut self, view: usize, reading: Reading) -> Option<usize> {
        let text = &self.list[view].bytes[..];
        let (sought, extent) = (self.sought, self.extent);
        let space = |_: &[u8]| Token::Escape(Decoded::byte(b' '), 1);
        let slash = |text: &[u8]| mark(b'\\', text);
        let undone = match reading {
            Reading::Plus if !sought.has(b' ') => return None,
            Reading::Plus => Undone::of(text, |text| mark(b'+', text), space, sought, extent),
            Reading::Percent => Undone::of(text, |text| mark(b'%', text), percent, sought, extent),
            Reading::Backslash => Undone::of(text, slash, backslash, sought, extent),
            Reading::Characters if !has_characters(text) => return None,
            Reading::Characters => Undone::of(text, slash, characters, sought, extent),
        };
        if undone.lives || undone.open.is_some() {
            return Some(self.push(view, undone, None));
        }
        if extent == Extent::Piece && !undone.escapes.is_empty() {
            self.list.push(View {
                bytes: Bytes::Source(&[]),
                news: Vec::new(),
                escapes: undone.escapes,
                from: view,
                open: None,
            });
        }
        None
    }

    /// Adds what a view is with a reading undone.
    fn push(&mut self, from: usize, undone: Undone, news: Option<Vec<Range<usize>>>) -> usize {
        let text = &self.list[from].bytes;
        let end = undone.open.unwrap_or(text.len());
        // Nothing becomes longer by being decoded, so this is never moved.
        let mut bytes = Zeroizing::new(Vec::with_capacity(end));
        let mut done = 0;
        for escape in &undone.escapes {
            bytes.extend_from_slice(&text[done..escape.start]);
            match escape.decoded.as_slice() {
                [byte] => bytes.push(*byte),
                decoded => bytes.extend_from_slice(decoded),
            }
            done = escape.end();
        }
        bytes.extend_from_slice(&text[done..end]);
        let news = news.unwrap_or_else(|| {
            let mut news = Vec::new();
            for escape in &undone.escapes {
                self.sought
                    .extend(&mut news, &bytes, escape.at..escape.behind());
            }
            news.retain(|news| news.len() >= self.sought.shortest);
            news
        });
        let open = undone.open.map(|at| self.source(from, at).start);
        self.list.push(View {
            bytes: Bytes::Own(bytes),
            news,
            open: open.or(self.list[from].open),
            escapes: undone.escapes,
            from,
        });
        self.list.len() - 1
    }
}

/// Where a mark is next. Where there are many, the next one is near.
fn mark(mark: u8, text: &[u8]) -> Option<usize> {
    const NEAR: usize = 4;
    let near = text.iter().take(NEAR).position(|&byte| byte == mark);
    near.or_else(|| Some(NEAR + memchr(mark, text.get(NEAR..)?)?))
}

/// Whether `\x` of a byte that is no character stands somewhere: elsewhere both readings of it are the same.
fn has_characters(text: &[u8]) -> bool {
    memmem::find_iter(text, b"\\x").any(|at| {
        matches!(
            text.get(at + 2),
            Some(b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F')
        )
    })
}

/// What stands at the beginning of a text.
pub(super) enum Token {
    Plain,
    /// What is decoded, and the bytes that stand for it.
    Escape(Decoded, usize),
    Incomplete,
}

/// At most four bytes: one character.
#[derive(Clone, Copy)]
pub(super) struct Decoded {
    bytes: [u8; 4],
    length: u8,
}

impl Decoded {
    const NOTHING: Decoded = Decoded {
        bytes: [0; 4],
        length: 0,
    };

    fn byte(byte: u8) -> Decoded {
        Decoded {
            bytes: [byte, 0, 0, 0],
            length: 1,
        }
    }

    fn char(c: char) -> Decoded {
        let mut bytes = [0; 4];
        let length = c.encode_utf8(&mut bytes).len() as u8;
        Decoded { bytes, length }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
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
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return Hex::Not,
        };
        number = number * 16 + u32::from(digit);
    }
    Hex::Is(number)
}

/// RFC 3986, section 2.1.
pub(super) fn percent(text: &[u8]) -> Token {
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
pub(super) fn backslash(text: &[u8]) -> Token {
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
pub(super) fn characters(text: &[u8]) -> Token {
    match backslash(text) {
        Token::Escape(Decoded { bytes, length: 1 }, used) if bytes[0] >= 0x80 => {
            Token::Escape(Decoded::char(char::from(bytes[0])), used)
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

    /// Every view of a source, where every byte is some pattern's.
    fn views(source: &str, extent: Extent) -> Vec<(String, Option<usize>)> {
        let every: Vec<u8> = (0..=255).collect();
        let sought = Sought::of([&every[..], &every[..6]].into_iter());
        let mut seen = Vec::new();
        let _ = Views::visit(source.as_bytes(), &sought, extent, &mut |views, view| {
            let View { bytes, open, .. } = views.view(view);
            seen.push((String::from_utf8_lossy(bytes).into_owned(), *open));
            ControlFlow::Continue(())
        });
        seen
    }

    fn readings(source: &str) -> Vec<String> {
        let views = views(source, Extent::Whole);
        views.into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn escapes_are_undone_and_what_is_none_stays() {
        assert_eq!(readings("a%41%zz%4")[1], "aA%zz%4");
        assert_eq!(
            readings(r#"\"\\\/\u00e4\ud83d\ude00\x41\U0001f600\q\ud83d"#)[1],
            "\"\\/ä\u{1f600}A\u{1f600}\\q\\ud83d"
        );
        assert_eq!(readings("a+b%2B").last().unwrap(), "a b+");
        assert_eq!(
            readings("a\r\nb-and-more\n"),
            ["a\r\nb-and-more\n", "ab-and-more"]
        );
        assert_eq!(readings("plain"), ["plain"]);
    }

    #[test]
    fn what_no_find_can_hold_is_not_read() {
        let sought = Sought::of([&b"hunter22"[..]].into_iter());
        let count = |source: &[u8]| {
            let mut count = 0;
            let _ = Views::visit(source, &sought, Extent::Whole, &mut |_, _| {
                count += 1;
                ControlFlow::Continue(())
            });
            count
        };
        assert_eq!(count(br#"{\"name\": \"of a shop\", 50%, %20%3A}"#), 1);
        assert_eq!(count(b"a line\n{another}\n"), 1);
        assert_eq!(count(br"\x68unter22"), 2);
        assert_eq!(count(b"hunt\ner22"), 2);
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
            assert_eq!(views(source, Extent::Piece)[1].1, Some(at), "{source}");
            assert_eq!(views(source, Extent::Last).len(), 1, "{source}");
        }
    }

    #[test]
    fn a_cut_is_moved_to_the_beginning_of_an_escape() {
        let sought = Sought::of([&b"hunter22"[..]].into_iter());
        let go_on = &mut |_: &Views, _| ControlFlow::Continue(());
        // The second escape is one that no find can hold.
        let (views, _) = Views::visit(b"a%65b%20c", &sought, Extent::Piece, go_on);
        let cuts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|at| views.cut(at));
        assert_eq!(cuts, [0, 1, 1, 1, 4, 5, 5, 5, 8, 9]);
        let (views, _) = Views::visit(b"a%20b", &sought, Extent::Piece, go_on);
        assert_eq!([1, 2, 3, 4].map(|at| views.cut(at)), [1, 1, 1, 4]);
    }
}
