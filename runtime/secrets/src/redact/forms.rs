//! What a secret looks like after an encoding that leaves no choice: itself, base64, hex.
//!
//! Inside a longer text (`user:password`), base64 of a secret depends on where it stands modulo three. Of each alignment,
//! the characters that the secret alone decides are looked for; at each edge up to four bits of it can stay.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{MAX_BYTES, MIN_BYTES};

type Patterns = Vec<Zeroizing<Vec<u8>>>;

/// A line of a longer value is looked for when it has at least this many bytes: logs are often cut into lines.
const MIN_LINE_BYTES: usize = 16;

/// Pieces of values that are longer than [`MAX_BYTES`].
const PIECE_BYTES: usize = 1024;

/// Adds every form of a value, of its lines, and, where it is a JSON document, of the texts in it.
pub(super) fn of(value: &str, patterns: &mut Patterns) {
    add(value.as_bytes(), patterns);
    add(value.trim().as_bytes(), patterns);
    if value.contains('\n') {
        let lines = value.lines().map(str::trim);
        // "-----BEGIN PRIVATE KEY-----" is no secret and says what went wrong.
        for line in lines.filter(|line| line.len() >= MIN_LINE_BYTES && !line.starts_with("-----"))
        {
            add(line.as_bytes(), patterns);
        }
    }
    if value.trim_start().starts_with(['{', '['])
        && let Ok(document) = serde_json::from_str::<Value>(value)
    {
        texts(document, patterns);
    }
}

fn texts(document: Value, patterns: &mut Patterns) {
    match document {
        // The text is moved into zeroizing memory by recursion: a private key inside has lines of its own.
        Value::String(text) => of(&Zeroizing::new(text), patterns),
        Value::Array(items) => items.into_iter().for_each(|item| texts(item, patterns)),
        Value::Object(map) => map.into_iter().for_each(|(_, item)| texts(item, patterns)),
        Value::Number(_) | Value::Null | Value::Bool(_) => {}
    }
}

fn add(value: &[u8], patterns: &mut Patterns) {
    if value.len() < MIN_BYTES {
        return;
    }
    if value.len() > MAX_BYTES {
        // The last piece takes the rest, so that no piece is too short to be looked for.
        let pieces = value.len() / PIECE_BYTES;
        for index in 0..pieces {
            let end = if index + 1 == pieces {
                value.len()
            } else {
                (index + 1) * PIECE_BYTES
            };
            patterns.push(Zeroizing::new(value[index * PIECE_BYTES..end].to_vec()));
        }
        return;
    }
    patterns.push(Zeroizing::new(value.to_vec()));
    for digits in [b"0123456789abcdef", b"0123456789ABCDEF"] {
        let nibbles = value.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        patterns.push(Zeroizing::new(
            nibbles.map(|nibble| digits[usize::from(nibble)]).collect(),
        ));
    }
    for engine in [&STANDARD, &URL_SAFE] {
        (0..3).for_each(|before| base64(engine, value, before, patterns));
    }
}

/// The base64 of a value that `before` bytes (modulo three) stand in front of.
fn base64(engine: &GeneralPurpose, value: &[u8], before: usize, patterns: &mut Patterns) {
    let mut bytes = Zeroizing::new(vec![0; before]);
    bytes.extend_from_slice(value);
    let encoded = Zeroizing::new(engine.encode(&bytes[..]).into_bytes());
    // Characters 0 and 1, or 0 to 2, carry bits of what stands before.
    let start = [0, 2, 3][before];
    // The last character carries bits of what follows, unless the groups come out even.
    let (whole, ended) = match bytes.len() % 3 {
        0 => (encoded.len(), encoded.len()),
        1 => (encoded.len() - 3, encoded.len() - 2),
        _ => (encoded.len() - 2, encoded.len() - 1),
    };
    for end in [whole, ended, encoded.len()] {
        patterns.push(Zeroizing::new(encoded[start..end].to_vec()));
    }
}
