//! Text as a reader would see it after undoing percent-encoding and backslash escapes, with the way back to the source.
//!
//! A view keeps where it differs from its source, and so, for each of its bytes, the bytes of the source that it stands
//! for. What cannot be decoded stands for itself. A reading that finds nothing to decode costs one look for its mark, and a
//! view shows no more of a text than the runs of bytes around its escapes that a find can cover: most text has few escapes,
//! and what a find covers without one, the view before it shows.

use std::ops::{ControlFlow, Deref, Range};

use memchr::{memchr, memchr2};
use zeroize::Zeroizing;

/// Escapes inside escapes twice: JSON in JSON, a URL in JSON, JSON in a URL, a URL in a URL.
const DEPTH: usize = 2;

/// The readings of a source. Each was made from one before it, which it needs for the way back.
pub(super) struct Views<'s> {
    list: Vec<View<'s>>,
    sought: &'s Sought,
    extent: Extent,
    /// What was last read has an escape of a byte beyond ASCII.
    bytes: bool,
}

/// One reading of a source.
pub(super) struct View<'s> {
    /// What this view shows of the text as it reads it; empty where that is nothing of its own.
    pub(super) bytes: Bytes<'s>,
    /// Where it differs from the view from which it was made, in order.
    escapes: Vec<Escape>,
    /// Where that view has other escapes, which this one does not show, in order; of a piece only.
    hidden: Vec<Range<usize>>,
    /// That view, or itself.
    from: usize,
    /// Where in the source an escape begins that the next chunk may complete; the view ends before it.
    open: Option<usize>,
    /// In a whole text: somewhere in it, shown or not, a line ends.
    lines: bool,
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
    /// Those that are shown, and what is left out between them.
    escapes: Vec<Escape>,
    /// The other escapes, if this is a piece.
    hidden: Vec<Range<usize>>,
    /// Where an escape begins that the next chunk may complete.
    open: Option<usize>,
    /// A byte beyond ASCII has an escape of its own.
    bytes: bool,
    /// So has the end of a line.
    lines: bool,
}

impl Undone {
    #[inline(always)]
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
        mut runs: Runs,
        marks: impl Fn(&[u8]) -> Option<usize>,
        token: impl Fn(&[u8]) -> Token,
    ) -> Undone {
        let (text, extent) = (runs.text, runs.extent);
        let mut at = 0;
        while let Some(mark) = marks(&text[at..]).map(|found| at + found) {
            match token(&text[mark..]) {
                Token::Escape(decoded, used) => {
                    at = mark + used;
                    runs.add(mark, used, decoded);
                }
                Token::Incomplete if extent == Extent::Piece => {
                    runs.lead_to(mark);
                    runs.undone.open = Some(mark);
                    return runs.undone;
                }
                Token::Plain | Token::Incomplete => at = mark + 1,
            }
        }
        runs.ended()
    }
}

/// What of a text is shown: around each escape that lives, the run of bytes that may be in a find with it or in an escape,
/// and behind that the byte that ends it, so that no two runs touch. A run that is too short for a find is not shown.
struct Runs<'r> {
    text: &'r [u8],
    sought: &'r Sought,
    extent: Extent,
    undone: Undone,
    /// Whether all of the text is one run: returns are left out where lines end, and here they end in escapes alone.
    whole: bool,
    run: Option<Run>,
    /// Where that begins which is left out before the run, or before the next.
    left: usize,
    /// The place behind the last escape.
    behind: usize,
}

/// A run that has not ended.
#[derive(Clone, Copy)]
struct Run {
    /// How many escapes stand before it.
    escapes: usize,
    /// Where it begins.
    start: usize,
}

impl<'r> Runs<'r> {
    fn of(text: &'r [u8], lines: bool, sought: &'r Sought, extent: Extent) -> Runs<'r> {
        Runs {
            text,
            sought,
            extent,
            whole: extent == Extent::Whole && !lines && memchr(b'\r', text).is_some(),
            undone: Undone::default(),
            run: None,
            left: 0,
            behind: 0,
        }
    }

    #[inline(always)]
    fn add(&mut self, start: usize, used: usize, decoded: Decoded) {
        let end = start + used;
        self.undone.bytes |= decoded.is_byte();
        self.undone.lines |= decoded.as_slice() == b"\n";
        if self.lives(start, decoded) {
            self.lead_to(start);
            self.undone.push(start, used, decoded);
        } else {
            if self.run.is_some() && self.end_run(start) == Some(start) {
                let until_dead = self.sought.until_dead(decoded);
                self.undone.push(start, used, until_dead);
                self.left = end;
            }
            if self.extent == Extent::Piece {
                self.undone.hidden.push(start..end);
            }
        }
        self.behind = end;
    }

    /// Whether what was decoded may be in a find or in an escape, or be left out inside of one.
    #[inline(always)]
    fn lives(&self, start: usize, decoded: Decoded) -> bool {
        let joins = || start > 0 && self.holds(start - 1);
        self.whole
            || match decoded.as_slice() {
                [] => joins(),
                &[byte] if self.extent == Extent::Whole && ends_line(byte) => {
                    self.sought.alive[usize::from(byte)] || joins()
                }
                &[byte] => self.sought.alive[usize::from(byte)],
                _ => self.sought.lives(decoded),
            }
    }

    /// What is undone of all that is shown.
    fn ended(mut self) -> Undone {
        self.end_run(self.text.len());
        if !self.undone.escapes.is_empty() {
            self.leave_out(self.text.len());
        }
        self.undone
    }

    /// Shows the run that leads to a place.
    fn lead_to(&mut self, place: usize) {
        if self.run.is_some() && self.reach(place) == place {
            return;
        }
        self.end_run(place);
        let least = self.left.max(self.behind);
        let before = (least..place).rev().find(|&at| !self.holds(at));
        let escapes = self.undone.escapes.len();
        let start = before.map_or(least, |at| at + 1);
        self.leave_out(start);
        self.run = Some(Run { escapes, start });
    }

    /// How far the run goes on, at most to a place.
    #[inline(always)]
    fn reach(&self, place: usize) -> usize {
        let end = (self.behind..place).find(|&at| !self.holds(at));
        end.unwrap_or(place)
    }

    #[inline(always)]
    fn holds(&self, at: usize) -> bool {
        let byte = self.text[at];
        self.whole
            || self.sought.alive[usize::from(byte)]
            || self.extent == Extent::Whole && ends_line(byte)
    }

    /// Ends a run, at the latest before a place, with the byte behind it. Tells where, if there is one and it is shown.
    fn end_run(&mut self, place: usize) -> Option<usize> {
        let run = self.run.take()?;
        let end = self.reach(place);
        let goes_on = self.extent == Extent::Piece && end == self.text.len();
        if goes_on || end - run.start >= self.sought.shortest {
            self.left = place.min(end + 1);
            return Some(end);
        }
        if self.extent == Extent::Piece {
            let short = self.undone.escapes[run.escapes..].iter();
            let short = short.filter(|escape| self.sought.lives(escape.decoded));
            let short = short.map(|escape| escape.start..escape.end());
            self.undone.hidden.extend(short);
        }
        self.undone.escapes.truncate(run.escapes);
        None
    }

    fn leave_out(&mut self, to: usize) {
        if self.left < to {
            self.undone
                .push(self.left, to - self.left, Decoded::NOTHING);
        }
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
    /// A pattern contains this byte.
    inside: [bool; 256],
    /// So does one, or an escape does.
    alive: [bool; 256],
}

impl Sought {
    pub(super) fn of<'p>(patterns: impl Iterator<Item = &'p [u8]>) -> Sought {
        let (mut shortest, mut inside) = (usize::MAX, [false; 256]);
        for pattern in patterns {
            shortest = shortest.min(pattern.len());
            pattern
                .iter()
                .for_each(|&byte| inside[usize::from(byte)] = true);
        }
        let alive = alive(inside);
        Sought {
            shortest,
            alive,
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
        decoded.length > 0 && bytes.all(|&byte| self.alive[usize::from(byte)])
    }

    /// What was decoded, no farther than its first byte that can be in neither.
    fn until_dead(&self, decoded: Decoded) -> Decoded {
        let mut bytes = decoded.as_slice().iter();
        let dead = bytes.position(|&byte| !self.alive[usize::from(byte)]);
        Decoded {
            length: dead.map_or(decoded.length, |dead| dead as u8 + 1),
            ..decoded
        }
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
    /// What ends a line may stand inside of base64.
    Lines,
    /// A name's dots may stand anywhere.
    Dots,
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
        views.read(0, Reading::Dots);
        views
    }

    fn of(source: &'s [u8], sought: &'s Sought, extent: Extent) -> Views<'s> {
        let whole = View {
            bytes: Bytes::Source(source),
            escapes: Vec::new(),
            hidden: Vec::new(),
            from: 0,
            open: None,
            lines: extent == Extent::Whole && memchr(b'\n', source).is_some(),
        };
        Views {
            list: vec![whole],
            sought,
            extent,
            bytes: false,
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
        let View {
            escapes,
            hidden,
            from,
            ..
        } = &self.list[view];
        let start = |escape: usize| self.source(*from, escape).start;
        let shown = escapes.partition_point(|escape| start(escape.start) < at);
        let shown = shown.checked_sub(1).map(|before| escapes[before]);
        let shown = shown.filter(|escape| self.sought.lives(escape.decoded));
        let shown = shown.map(|escape| escape.start..escape.end());
        let apart = hidden.partition_point(|escape| start(escape.start) < at);
        let apart = apart.checked_sub(1).map(|before| hidden[before].clone());
        let mut cut = shown.into_iter().chain(apart);
        cut.find(|escape| self.source(*from, escape.end - 1).end > at)
            .map_or(at, |escape| start(escape.start))
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
        let mut bytes = false;
        for reading in [Reading::Percent, Reading::Backslash, Reading::Characters] {
            // Elsewhere both readings of a backslash are the same.
            if matches!(reading, Reading::Characters) && !bytes {
                break;
            }
            let decoded = self.read(view, reading);
            bytes = self.bytes;
            if let Some(decoded) = decoded {
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
        if self.extent == Extent::Whole
            && self.list[view].lines
            && let Some(joined) = self.read(view, Reading::Lines)
        {
            see(self, joined)?;
            self.list.truncate(joined);
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
        let runs = Runs::of(text, self.list[view].lines, sought, extent);
        let space = |_: &[u8]| Token::Escape(Decoded::byte(b' '), 1);
        let nothing = |_: &[u8]| Token::Escape(Decoded::NOTHING, 1);
        let slash = |text: &[u8]| mark(b'\\', text);
        let undone = match reading {
            Reading::Plus if !sought.has(b' ') => return None,
            Reading::Plus => Undone::of(runs, |text| mark(b'+', text), space),
            Reading::Percent => Undone::of(runs, |text| mark(b'%', text), percent),
            Reading::Backslash => Undone::of(runs, slash, backslash),
            Reading::Characters => Undone::of(runs, slash, characters),
            Reading::Lines => {
                let end = |text: &[u8]| memchr2(b'\r', b'\n', text);
                Undone::of(runs, end, nothing)
            }
            Reading::Dots => Undone::of(runs, |text| mark(b'.', text), nothing),
        };
        self.bytes = undone.bytes;
        if !undone.escapes.is_empty() || undone.open.is_some() {
            return Some(self.push(view, undone));
        }
        if !undone.hidden.is_empty() {
            self.list.push(View {
                bytes: Bytes::Source(&[]),
                escapes: Vec::new(),
                hidden: undone.hidden,
                from: view,
                open: None,
                lines: false,
            });
        }
        None
    }

    /// Adds what a view is with a reading undone.
    fn push(&mut self, from: usize, undone: Undone) -> usize {
        let text = &self.list[from].bytes;
        let end = undone.open.unwrap_or(text.len());
        let last = undone.escapes.last();
        let length = last.map_or(end, |last| last.behind() + (end - last.end()));
        // As much as it takes: what is moved leaves a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
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
        let open = undone.open.map(|at| self.source(from, at).start);
        self.list.push(View {
            bytes: Bytes::Own(bytes),
            open: open.or(self.list[from].open),
            escapes: undone.escapes,
            hidden: undone.hidden,
            lines: undone.lines || self.list[from].lines,
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

    /// A byte beyond ASCII, which is no character.
    fn is_byte(&self) -> bool {
        self.length == 1 && !self.bytes[0].is_ascii()
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
mod tests;
