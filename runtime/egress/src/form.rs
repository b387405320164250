//! Queries and forms (application/x-www-form-urlencoded, as the URL standard has it).

/// A name or value of a query, decoded.
pub(crate) fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let digits = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    // What is no text stays as it is spelt: two different ones must not become the same.
    String::from_utf8(bytes).unwrap_or(text)
}

/// A value as it stands in a query or form: everything but letters, digits, `-`, `.`, `_` and `~` as `%XX`.
pub(crate) fn encoded(text: &str) -> String {
    let mut spelt = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                spelt.push(char::from(byte));
            }
            other => spelt.push_str(&format!("%{other:02X}")),
        }
    }
    spelt
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in any::<String>()) {
            prop_assert_eq!(decoded(&encoded(&text)), text);
        }
    }
}
