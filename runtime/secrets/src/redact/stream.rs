//! Redaction of text that arrives in chunks: holds back only what may be the beginning of a secret.
//!
//! The output does not depend on how the text was cut; a property test holds it.

use std::ops::ControlFlow;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::views::{Extent, Views};
use super::{Inner, MARKER, Ranges};

/// Bytes that are looked through at once: the views of a text can take many times its length.
const PIECE: usize = 32 << 10;

/// Redacts one stream of text. Push chunks, then take the rest with [`StreamRedactor::finish`].
pub struct StreamRedactor {
    inner: Arc<Inner>,
    held: Zeroizing<Vec<u8>>,
    /// So many bytes at the front of `held` are part of a secret whose marker is already out; they are kept because
    /// another secret may begin inside it.
    covered: usize,
    found: bool,
    seen: bool,
    /// Bytes that are looked through at once, or twice the longest pattern.
    piece: usize,
}

impl StreamRedactor {
    pub(super) fn new(inner: Arc<Inner>) -> StreamRedactor {
        StreamRedactor::in_pieces(inner, PIECE)
    }

    pub(super) fn in_pieces(inner: Arc<Inner>, piece: usize) -> StreamRedactor {
        StreamRedactor {
            piece,
            inner,
            held: Zeroizing::new(Vec::new()),
            covered: 0,
            found: false,
            seen: false,
        }
    }

    /// Takes a chunk and gives all that is safe to give.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        let Some(search) = &self.inner.search else {
            return chunk.to_vec();
        };
        let piece = self.piece.max(2 * search.longest());
        let mut out = Vec::with_capacity(self.held.len() + chunk.len());
        let mut rest = chunk;
        while !rest.is_empty() {
            // What is held back is looked through with what follows it; the rest of a chunk, where it lies.
            let before = self.held.len();
            if before == 0 {
                let (source, more) = rest.split_at(piece.min(rest.len()));
                let cut = self.advance(source, Extent::Piece, &mut out);
                rest = if cut == 0 || more.is_empty() {
                    self.held = Zeroizing::new(source[cut..].to_vec());
                    more
                } else {
                    &rest[cut..]
                };
            } else {
                let (bridge, more) = rest.split_at((piece / 4).min(rest.len()));
                let joined = Zeroizing::new([&self.held[..], bridge].concat());
                let cut = self.advance(&joined, Extent::Piece, &mut out);
                rest = if cut < before || more.is_empty() {
                    self.held = Zeroizing::new(joined[cut..].to_vec());
                    more
                } else {
                    self.held = Zeroizing::default();
                    &rest[cut - before..]
                };
            }
        }
        out
    }

    /// Gives what was held back; the text has ended.
    pub fn finish(mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.advance_held(&mut out);
        out
    }

    /// Whether a secret was found so far.
    pub fn has_found(&self) -> bool {
        self.found
    }

    /// Whether a secret was found so far, or one that is held back because a longer one may come of it.
    pub fn has_seen(&self) -> bool {
        self.seen
    }

    /// Whether a secret was found; the text has ended.
    pub fn finish_found(mut self) -> bool {
        self.advance_held(&mut Vec::new());
        self.found
    }

    /// How many bytes are held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    fn advance_held(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        self.advance(&held, Extent::Last, out);
    }

    /// Gives what is safe to give of a source, and tells where the rest begins that is not.
    fn advance(&mut self, source: &[u8], extent: Extent, out: &mut Vec<u8>) -> usize {
        let mut ranges = Ranges::default();
        let mut cut = source.len();
        if let Some(search) = &self.inner.search {
            let see = &mut |views: &Views, view: usize| {
                ranges.add_all(search, views, view);
                if extent == Extent::Piece
                    && let Some(open) = search.open(&views.view(view).bytes)
                {
                    cut = cut.min(views.source(view, open).start);
                }
                ControlFlow::Continue(())
            };
            let (views, _) = Views::visit(source, search.sought(), extent, see);
            if extent == Extent::Piece {
                cut = views.cut(cut);
            }
        }
        self.seen |= !ranges.is_empty();
        let mut from = self.covered;
        for range in ranges
            .merged()
            .into_iter()
            .take_while(|range| range.start < cut)
        {
            self.found = true;
            // A find that begins inside what is covered prolongs it.
            if range.start >= self.covered {
                out.extend_from_slice(&source[from..range.start]);
                out.extend_from_slice(MARKER.as_bytes());
            }
            from = from.max(range.end);
        }
        if from < cut {
            out.extend_from_slice(&source[from..cut]);
        }
        self.covered = from.saturating_sub(cut);
        cut
    }
}

#[cfg(test)]
mod tests {
    use crate::redact::tests::redactor;

    #[test]
    fn only_what_may_begin_a_secret_is_held_back() {
        let mut stream = redactor(&["hunter22"]).stream();
        assert_eq!(stream.push(b"the password is hun"), b"the password is ");
        assert_eq!(stream.push(b"ting"), b"hunting");
        assert_eq!(stream.push(b" then hunter2"), b" then ");
        assert_eq!(
            stream.push(b"2 and a plain line\n"),
            b"[redacted] and a plain line\n"
        );
        assert_eq!(stream.held(), 0);
        assert_eq!(stream.push(b"ends in hunter2"), b"ends in ");
        assert_eq!(stream.finish(), b"hunter2");
    }

    #[test]
    fn a_flood_of_overlapping_secrets_is_one_marker_in_little_memory() {
        let mut stream = redactor(&["aaaaaaaa"]).stream();
        let mut out = stream.push(&[b'a'; 100]);
        for _ in 0..1000 {
            out.extend(stream.push(&[b'a'; 100]));
            assert!(stream.held() < 100, "{}", stream.held());
        }
        out.extend(stream.push(b"b"));
        out.extend(stream.finish());
        assert_eq!(out, b"[redacted]b");
    }

    #[test]
    fn a_cut_for_one_secret_does_not_misread_the_escapes_of_another() {
        // The first secret may begin at the second backslash; a cut there would pair the backslashes differently.
        let redactor = redactor(&[r"\\\\bzzzz", "\u{8}secret7"]);
        let mut stream = redactor.stream();
        let mut out = stream.push(br"\\\\\b");
        out.extend(stream.push(b"secret7 end"));
        out.extend(stream.finish());
        assert_eq!(String::from_utf8(out).unwrap(), r"\\\\[redacted] end");
    }

    #[test]
    fn a_stream_without_secrets_holds_nothing() {
        let mut stream = redactor(&[]).stream();
        assert_eq!(stream.push(b"50%"), b"50%");
        assert_eq!(stream.held(), 0);
    }
}
