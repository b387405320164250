//! Answers that come in pages, each small enough for a gRPC client's default
//! of 4 MiB a message.

use caisson_state::Bound;
use prost::Message;

/// Entries on a page, at most.
const MOST: u32 = 1000;
/// Bytes of a page's entries, at most. What is largest beside them is one
/// connection, of 1 MiB.
const BYTES: u64 = 2 << 20;

/// What a page may hold: as many as were asked for, or `usual`.
pub(super) fn bound(asked: u32, usual: u32) -> Bound {
    let entries = if asked == 0 { usual } else { asked };
    Bound {
        entries: entries.min(MOST),
        bytes: BYTES,
    }
}

/// The same for lists that are always long enough.
pub(super) fn long(asked: u32) -> Bound {
    bound(asked, MOST)
}

/// The token of a request, if it has one.
pub(super) fn token(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// The first entries that fit the page, and whether there are more.
pub(super) fn cut<T: Message>(entries: impl Iterator<Item = T>, bound: Bound) -> (Vec<T>, bool) {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for entry in entries {
        bytes += entry.encoded_len() as u64;
        let full = page.len() >= bound.entries as usize || bytes > bound.bytes;
        if full && !page.is_empty() {
            return (page, true);
        }
        page.push(entry);
    }
    (page, false)
}
