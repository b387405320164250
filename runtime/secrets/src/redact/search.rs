//! Finds any of many patterns in a text, at the rate at which memory is read where there is none.
//!
//! A pattern holds, near its beginning, a short run of bytes (a gram) that begins at a multiple of the stride, wherever the
//! pattern stands. So one gram in each stride is looked up in a set of bits; only where it is there, an index tells the few
//! places at which a pattern with this gram would begin, and these are compared. This is the block shift of Wu and Manber
//! ("A fast algorithm for multi-pattern searching", 1994) with a shift that does not vary, which a processor likes better.

use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use zeroize::Zeroizing;

use super::views::Sought;
use crate::memory::Memory;

/// Grams are read as one word and cut.
const WORD: usize = 8;

/// No gram is farther from the beginning of its pattern than so many bytes and a stride.
const FARTHEST: usize = 16;

/// Bytes of a pattern's head: enough to tell it from most text, and fewer than any pattern has.
const HEAD: usize = 3;

/// Words of bits in a set, which is as large as a processor has at hand: half a megabit of grams.
const GRAMS: usize = 1 << 13;

/// The same of heads, of which few are looked up.
const HEADS: usize = 1 << 8;

/// Grams that are looked up in one turn.
const AT_ONCE: usize = 8;

/// Bytes compared for each byte of text, above which the automaton takes over: patterns and text that repeat themselves
/// would cost their product.
const COMPARED_PER_BYTE: usize = 32;

/// Patterns, ready to be looked for.
pub(super) struct Search {
    patterns: Patterns,
    /// Of each pattern, the longest other one that it begins with.
    inner: Vec<Option<usize>>,
    longest: usize,
    sought: Sought,
    stride: Stride,
    /// Runs of bytes in every pattern, at so many places as there are in a stride.
    grams: Grams<GRAMS>,
    /// Where they stand.
    index: Index,
    /// The first bytes of every pattern.
    heads: Grams<HEADS>,
    /// For texts that make comparing slow. Holds copies of the patterns, which the library does not wipe.
    automaton: OnceLock<AhoCorasick>,
}

/// Places from one gram that is looked up to the next.
#[derive(Clone, Copy)]
enum Stride {
    Three,
    Four,
    Eight,
}

impl Stride {
    fn bytes(self) -> usize {
        match self {
            Stride::Three => 3,
            Stride::Four => 4,
            Stride::Eight => 8,
        }
    }

    /// The widest stride that leaves grams of four bytes.
    fn of(shortest: usize) -> Stride {
        match shortest {
            ..=6 => Stride::Three,
            7..12 => Stride::Four,
            12.. => Stride::Eight,
        }
    }
}

impl Search {
    /// Nothing where there is nothing to look for. Patterns have [`super::MIN_BYTES`] or more.
    pub(super) fn of(patterns: Vec<Zeroizing<Vec<u8>>>) -> Option<Search> {
        let patterns = Patterns::of(patterns);
        let shortest = patterns.iter().map(<[u8]>::len).min()?;
        let longest = patterns.iter().map(<[u8]>::len).max()?;
        let stride = Stride::of(shortest);
        let bytes = (shortest + 1 - stride.bytes()).min(WORD);
        let inner = inner(&patterns);
        // Where a pattern begins with another, that one shows the place.
        let shown = (0..patterns.len()).filter(|&index| inner[index].is_none());
        let (mut grams, mut heads) = (Grams::new(bytes), Grams::new(HEAD));
        let mut entries = Zeroizing::new(Vec::with_capacity(patterns.len() * stride.bytes()));
        for index in shown {
            let pattern = patterns.get(index).unwrap_or_default();
            heads.add(word(pattern, 0));
            // The end of a key is its own; it begins as others do, or with a word.
            let first = (pattern.len() + 1 - bytes - stride.bytes()).min(FARTHEST);
            for at in first..first + stride.bytes() {
                let hash = grams.add(word(pattern, at));
                entries.push((hash, at as u32, index as u32));
            }
        }
        let index = Index::of(&mut entries);
        Some(Search {
            inner,
            index,
            sought: Sought::of(patterns.iter()),
            patterns,
            longest,
            stride,
            grams,
            heads,
            automaton: OnceLock::new(),
        })
    }

    /// The length of the longest pattern.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// What of a text can matter to these patterns.
    pub(super) fn sought(&self) -> &Sought {
        &self.sought
    }

    /// How many patterns there are.
    pub(super) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// The same patterns in small letters, for text in small letters.
    pub(super) fn lowercase(&self) -> Search {
        let small = self
            .patterns
            .iter()
            .map(|pattern| Zeroizing::new(pattern.to_ascii_lowercase()));
        let mut search = Search::of(small.collect()).expect("there is a pattern, as there is here");
        search.sought = search.sought.without_case();
        search
    }

    /// Shows where patterns stand, of those that begin at one place the longest: of two secrets that overlap, no half
    /// may stay.
    pub(super) fn find(
        &self,
        text: &[u8],
        see: &mut impl FnMut(Range<usize>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut compared = 0;
        let ended = self.places(text, &mut |at| {
            let found = self.at(&text[at..]);
            if found.longest > 0 {
                see(at..at + found.longest).map_break(|()| None)?;
            }
            compared += found.compared;
            if compared > COMPARED_PER_BYTE * text.len() + self.longest {
                return ControlFlow::Break(Some(at.saturating_sub(self.spread())));
            }
            ControlFlow::Continue(())
        });
        match ended {
            ControlFlow::Break(Some(from)) => self.find_slowly(text, from, see),
            ControlFlow::Break(None) => ControlFlow::Break(()),
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
        }
    }

    /// As [`Search::find`], in a time that does not depend on what the text is.
    fn find_slowly(
        &self,
        text: &[u8],
        from: usize,
        see: &mut impl FnMut(Range<usize>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let automaton = self.automaton.get_or_init(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(self.patterns.iter())
                .expect("some megabytes of patterns fit the automaton's 31-bit states")
        });
        automaton
            .find_overlapping_iter(Input::new(text).range(from..))
            .try_for_each(|found| see(found.range()))
    }

    /// The first place from which on a pattern may have begun that what follows the text completes; or, where telling would
    /// take long, an earlier one.
    pub(super) fn open(&self, text: &[u8]) -> Option<usize> {
        let from = text.len().saturating_sub(self.longest - 1);
        let text = &text[from..];
        let mut compared = 0;
        let mut open = None;
        let mut see = |at: usize| {
            let found = self.at(&text[at..]);
            compared += found.compared;
            if found.goes_on {
                open = Some(open.map_or(at, |open: usize| open.min(at)));
            }
            if compared > COMPARED_PER_BYTE * text.len() + self.longest {
                return ControlFlow::Break(at.saturating_sub(self.spread()));
            }
            ControlFlow::Continue(())
        };
        let slow = self.places(text, &mut see).break_value().or_else(|| {
            // Too near to the end for a whole gram, or a whole head.
            (text.len().saturating_sub(self.reach() - 1)..text.len())
                .filter(|&at| at + self.heads.bytes > text.len() || self.heads.has(word(text, at)))
                .find_map(|at| see(at).break_value())
        });
        let open = [open, slow].into_iter().flatten().min();
        open.map(|at| from + at)
    }

    /// So many bytes of a pattern hold a gram that is looked up, wherever it stands.
    fn reach(&self) -> usize {
        self.spread() + self.grams.bytes
    }

    /// The farthest from its pattern's beginning that a gram is.
    fn spread(&self) -> usize {
        FARTHEST + self.stride.bytes() - 1
    }

    /// Every place, a little out of order, at which a pattern may begin that has [`Search::reach`] bytes or more in the
    /// text.
    fn places<B>(
        &self,
        text: &[u8],
        see: &mut impl FnMut(usize) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut from = 0;
        while let Some(place) = self.grams.next(text, from, self.stride) {
            let gram = word(text, place);
            let entries = self.index.get(self.grams.hash(gram)).iter();
            let same = entries.filter(|entry| self.grams.same(gram, self.patterns.word(**entry)));
            let mut places = same.filter_map(|entry| place.checked_sub(entry.at as usize));
            places.try_for_each(&mut *see)?;
            from = place + self.stride.bytes();
        }
        ControlFlow::Continue(())
    }

    /// Compares what begins with a text.
    fn at(&self, text: &[u8]) -> Found {
        let after = self.patterns.before(text);
        // A pattern that equals the text is complete; one behind it that begins with the text goes on.
        let equal = self.patterns.get(after) == Some(text);
        let behind = self.patterns.get(after + usize::from(equal));
        let goes_on = behind.is_some_and(|pattern| pattern.starts_with(text));
        // The patterns that the text begins with are the one before, or stand inside of it at its beginning.
        let before = if equal {
            Some(after)
        } else {
            after.checked_sub(1)
        };
        let pattern = |index: usize| self.patterns.get(index).unwrap_or_default();
        let compared = before.map_or(0, |index| alike(pattern(index), text));
        let mut longest = before;
        while let Some(index) = longest.filter(|&index| pattern(index).len() > compared) {
            longest = self.inner[index];
        }
        Found {
            longest: longest.map_or(0, |index| pattern(index).len()),
            goes_on,
            compared,
        }
    }
}

/// What begins with a text.
struct Found {
    /// The length of the longest pattern that the text begins with, or zero.
    longest: usize,
    /// The text is the beginning of a longer pattern.
    goes_on: bool,
    /// Bytes that were alike: the time that this took.
    compared: usize,
}

/// Patterns in memory for secrets, sorted and without duplicates.
struct Patterns {
    memory: Memory,
    places: Vec<Range<usize>>,
}

impl Patterns {
    fn of(mut patterns: Vec<Zeroizing<Vec<u8>>>) -> Patterns {
        patterns.sort_by(|a, b| a[..].cmp(&b[..]));
        patterns.dedup_by(|a, b| a[..] == b[..]);
        let mut end = 0;
        let places = patterns.iter().map(|pattern| {
            let start = end;
            end += pattern.len();
            start..end
        });
        Patterns {
            places: places.collect(),
            memory: Memory::of(patterns.iter().map(|pattern| &pattern[..])),
        }
    }

    fn len(&self) -> usize {
        self.places.len()
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        Some(&self.memory[self.places.get(index)?.clone()])
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| &self.memory[place.clone()])
    }

    /// The gram of an entry.
    fn word(&self, entry: Entry) -> u64 {
        word(
            self.get(entry.pattern as usize).unwrap_or_default(),
            entry.at as usize,
        )
    }

    /// How many sort before a text.
    fn before(&self, text: &[u8]) -> usize {
        self.places
            .partition_point(|place| self.memory[place.clone()] < *text)
    }
}

/// Of each pattern, the longest other one that it begins with: it stands somewhere before.
fn inner(patterns: &Patterns) -> Vec<Option<usize>> {
    let mut inner: Vec<Option<usize>> = Vec::with_capacity(patterns.len());
    for (index, pattern) in patterns.iter().enumerate() {
        let begins = |other| {
            let other = patterns.get(other);
            other.is_some_and(|other| pattern.starts_with(other))
        };
        let mut longest = index.checked_sub(1);
        while let Some(other) = longest.filter(|&other| !begins(other)) {
            longest = inner[other];
        }
        inner.push(longest);
    }
    inner
}

/// How many bytes two texts have in common at their beginning.
fn alike(a: &[u8], b: &[u8]) -> usize {
    const RUN: usize = 32;
    let runs = a.chunks_exact(RUN).zip(b.chunks_exact(RUN));
    let same = RUN * runs.take_while(|(a, b)| a == b).count();
    let rest = a[same..].iter().zip(&b[same..]);
    same + rest
        .take_while(|(a, b)| a.cmp(b) == Ordering::Equal)
        .count()
}

/// The eight bytes at a place; zeros stand for those behind the end.
#[inline(always)]
fn word(text: &[u8], at: usize) -> u64 {
    if let Some(bytes) = text[at..].first_chunk::<WORD>() {
        return u64::from_le_bytes(*bytes);
    }
    let mut bytes = [0; WORD];
    bytes[..text.len() - at].copy_from_slice(&text[at..]);
    u64::from_le_bytes(bytes)
}

/// A set of short runs of bytes. It may hold a run that was never added, one of some hundred.
struct Grams<const ROWS: usize> {
    /// How long each run is; of a word, what lies beyond is not heeded.
    bytes: usize,
    /// What a word is multiplied by, to a hash of its gram.
    factor: u64,
    bits: Box<[u64; ROWS]>,
}

impl<const ROWS: usize> Grams<ROWS> {
    fn new(bytes: usize) -> Self {
        Self {
            bytes,
            factor: 0x9e37_79b9_7f4a_7c15 << (8 * (WORD - bytes)),
            bits: vec![0; ROWS].try_into().expect("there are so many rows"),
        }
    }

    /// Fibonacci hashing: the upper bits of a product depend on every bit of the gram, and on none beyond.
    #[inline(always)]
    fn hash(&self, word: u64) -> u64 {
        word.wrapping_mul(self.factor)
    }

    /// The row of a hash, and its place there.
    #[inline(always)]
    fn bit(hash: u64) -> (usize, u64) {
        const COLUMNS: u32 = u64::BITS;
        let row = hash >> (u64::BITS - ROWS.ilog2());
        let column = hash >> (u64::BITS - ROWS.ilog2() - COLUMNS.ilog2());
        (row as usize, column % u64::from(COLUMNS))
    }

    /// Whether two words begin with the same gram.
    fn same(&self, word: u64, other: u64) -> bool {
        (word ^ other) << (8 * (WORD - self.bytes)) == 0
    }

    /// Gives the hash.
    fn add(&mut self, word: u64) -> u64 {
        let hash = self.hash(word);
        let (row, column) = Self::bit(hash);
        self.bits[row] |= 1 << column;
        hash
    }

    #[inline(always)]
    fn has(&self, word: u64) -> bool {
        let (row, column) = Self::bit(self.hash(word));
        self.bits[row] >> column & 1 != 0
    }

    /// The first place of a text with a gram of this set, from one on in strides.
    fn next(&self, text: &[u8], from: usize, stride: Stride) -> Option<usize> {
        match stride {
            Stride::Three => self.next_by::<3>(text, from),
            Stride::Four => self.next_by::<4>(text, from),
            Stride::Eight => self.next_by::<8>(text, from),
        }
    }

    #[inline(always)]
    fn next_by<const STRIDE: usize>(&self, text: &[u8], mut at: usize) -> Option<usize> {
        while let Some(block) = text.get(at..at + (AT_ONCE - 1) * STRIDE + WORD) {
            for index in 0..AT_ONCE {
                if self.has(word(block, index * STRIDE)) {
                    return Some(at + index * STRIDE);
                }
            }
            at += AT_ONCE * STRIDE;
        }
        while at + self.bytes <= text.len() {
            if self.has(word(text, at)) {
                return Some(at);
            }
            at += STRIDE;
        }
        None
    }
}

/// Where a gram stands.
#[derive(Clone, Copy)]
struct Entry {
    pattern: u32,
    at: u32,
}

/// Where the grams stand, by their hash. Holds no byte of a pattern: those stay in their own memory.
struct Index {
    shift: u32,
    /// Where the entries of each bucket end.
    ends: Vec<u32>,
    entries: Vec<Entry>,
}

impl Index {
    /// Of the hash of each gram, which tells the gram, its place in a pattern, and which pattern that is. Of the patterns
    /// that have a gram at the same place, one is enough.
    fn of(grams: &mut Vec<(u64, u32, u32)>) -> Index {
        grams.sort_unstable();
        grams.dedup_by_key(|&mut (hash, at, _)| (hash, at));
        let buckets = grams.len().next_power_of_two();
        let shift = u64::BITS - buckets.ilog2();
        let mut ends = vec![0; buckets];
        for &(hash, ..) in &*grams {
            ends[(hash >> shift) as usize] += 1;
        }
        let mut end = 0;
        for here in &mut ends {
            end += *here;
            *here = end;
        }
        let entries = grams.iter().map(|&(_, at, pattern)| Entry { pattern, at });
        Index {
            shift,
            ends,
            entries: entries.collect(),
        }
    }

    /// All that have a hash, and others.
    fn get(&self, hash: u64) -> &[Entry] {
        let bucket = (hash >> self.shift) as usize;
        let start = bucket.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.entries[start as usize..self.ends[bucket] as usize]
    }
}
