//! A value of JSON text written as the encoder writes JSON: no blanks, floats
//! in their shortest form, no needless escapes.

use super::cursor::{Cursor, DEPTH};
use crate::record::json_text;

/// Keys of one object that are compared with each other.
pub(super) const KEYS: usize = 64;

/// None where a Python dict would not hold the same: a key that is there
/// twice, an integer outside of 64 bits, a float that is not finite. `depth`
/// counts the arrays and objects around it.
pub(super) fn write(out: &mut Vec<u8>, text: &mut Cursor<'_>, depth: usize) -> Option<()> {
    match text.peek()? {
        b'"' => json_text::string(out, &text.string()?),
        b'{' if depth < DEPTH => {
            text.take(b'{');
            out.push(b'{');
            let mut keys = Vec::new();
            let mut first = true;
            while text.more(b'}', &mut first)? {
                let key = text.key()?;
                if keys.contains(&key) || keys.len() == KEYS {
                    return None;
                }
                if !keys.is_empty() {
                    out.push(b',');
                }
                json_text::string(out, &key);
                out.push(b':');
                keys.push(key);
                write(out, text, depth + 1)?;
            }
            out.push(b'}');
        }
        b'[' if depth < DEPTH => {
            text.take(b'[');
            out.push(b'[');
            let before = out.len();
            let mut first = true;
            while text.more(b']', &mut first)? {
                if out.len() > before {
                    out.push(b',');
                }
                write(out, text, depth + 1)?;
            }
            out.push(b']');
        }
        b't' => {
            text.word("true")?;
            json_text::boolean(out, true);
        }
        b'f' => {
            text.word("false")?;
            json_text::boolean(out, false);
        }
        b'n' => {
            text.word("null")?;
            out.extend_from_slice(b"null");
        }
        _ => {
            let number = text.number()?;
            match number.int() {
                Some(int) => json_text::int(out, int),
                None if number.whole => return None,
                None => return json_text::float(out, number.float()).then_some(()),
            }
        }
    }
    Some(())
}
