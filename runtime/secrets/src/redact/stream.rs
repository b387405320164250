//! Redaction of text that arrives in chunks: holds back only what may be the beginning of a secret.
//!
//! The output does not depend on how the text was cut; a property test holds it.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::views::{self, Extent};
use super::{Inner, MARKER};

/// Bytes that are looked through at once: the views of a text take many times its length.
const PIECE: usize = 16 << 10;

/// Redacts one stream of text. Push chunks, then take the rest with [`StreamRedactor::finish`].
pub struct StreamRedactor {
    inner: Arc<Inner>,
    held: Zeroizing<Vec<u8>>,
    /// So many bytes at the front of `held` are part of a secret whose marker is already out; they are kept because
    /// another secret may begin inside it.
    covered: usize,
    found: bool,
}

impl StreamRedactor {
    pub(super) fn new(inner: Arc<Inner>) -> StreamRedactor {
        StreamRedactor {
            inner,
            held: Zeroizing::new(Vec::new()),
            covered: 0,
            found: false,
        }
    }

    /// Takes a chunk and gives all that is safe to give.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        if self.inner.automaton.is_none() {
            return chunk.to_vec();
        }
        let mut out = Vec::with_capacity(chunk.len());
        for piece in chunk.chunks(PIECE) {
            // Grown by hand, so that the old allocation is wiped.
            let mut grown = Zeroizing::new(Vec::with_capacity(self.held.len() + piece.len()));
            grown.extend_from_slice(&self.held);
            grown.extend_from_slice(piece);
            self.held = grown;
            self.advance(Extent::Piece, &mut out);
        }
        out
    }

    /// Gives what was held back; the text has ended.
    pub fn finish(mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.advance(Extent::Last, &mut out);
        out
    }

    /// Whether a secret was found so far.
    pub fn has_found(&self) -> bool {
        self.found
    }

    /// Whether a secret was found; the text has ended.
    pub fn finish_found(mut self) -> bool {
        self.advance(Extent::Last, &mut Vec::new());
        self.found
    }

    /// How many bytes are held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    fn advance(&mut self, extent: Extent, out: &mut Vec<u8>) {
        let views = views::all(&self.held, self.inner.spaces, extent);
        let ranges = self.inner.ranges(&views);
        let mut cut = self.held.len();
        if extent == Extent::Piece {
            for view in &views {
                cut = [self.inner.first_open(view), view.open]
                    .into_iter()
                    .flatten()
                    .fold(cut, usize::min);
            }
            // No view may be cut inside one of its escapes, or it would read the rest as something else.
            while let Some(earlier) = views
                .iter()
                .map(|view| view.boundary(cut))
                .find(|&at| at < cut)
            {
                cut = earlier;
            }
        }
        let mut from = self.covered;
        for range in ranges.into_iter().take_while(|range| range.start < cut) {
            self.found = true;
            // A find that begins inside what is covered prolongs it.
            if range.start >= self.covered {
                out.extend_from_slice(&self.held[from..range.start]);
                out.extend_from_slice(MARKER.as_bytes());
            }
            from = from.max(range.end);
        }
        if from < cut {
            out.extend_from_slice(&self.held[from..cut]);
        }
        self.covered = from.saturating_sub(cut);
        self.held = Zeroizing::new(self.held[cut..].to_vec());
    }
}

#[cfg(test)]
mod tests {
    use crate::redact::Redactor;
    use crate::value::SecretValue;

    fn redactor(values: &[&str]) -> Redactor {
        let values: Vec<_> = values
            .iter()
            .map(|value| SecretValue::new(*value))
            .collect();
        Redactor::new(values.iter().map(|value| ("k", value)))
    }

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
