//! Text of logs and cassettes, which anybody may have written, as scalars and comments of YAML.

use std::fmt::Write;

/// A scalar in double quotes: whatever the text is, it is read back as it was and ends nowhere else.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter => push(&mut quoted, letter),
        }
    }
    quoted.push('"');
    quoted
}

/// A part of a comment: it stays on its line.
pub(super) fn comment(text: &str) -> String {
    let mut comment = String::new();
    for letter in text.chars() {
        push(&mut comment, letter);
    }
    comment
}

/// Characters that end a line, cannot be seen or may not stand in YAML (1.2.2, 5.1) are written as escapes.
fn push(text: &mut String, letter: char) {
    match u32::from(letter) {
        0x20..0x7f | 0xa0..0x2028 | 0x2030..0xd800 | 0xe000..0xfeff => text.push(letter),
        code if code < 0x100 => drop(write!(text, "\\x{code:02x}")),
        code if code < 0x1_0000 => drop(write!(text, "\\u{code:04x}")),
        code => drop(write!(text, "\\U{code:08x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caisson_document::Document;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_back_as_it_was(text in any::<String>()) {
            let written = format!("# {}\na: {}\n", comment(&text), quoted(&text));
            prop_assert_eq!(written.lines().count(), 2);
            let read = Document::parse("a.yaml", &written).map_err(|faults| TestCaseError::fail(faults.to_string()))?;
            prop_assert_eq!(read.value(), &serde_json::json!({ "a": text }));
        }
    }
}
