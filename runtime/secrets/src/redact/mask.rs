//! Secrets masked in records, which keep their length and stay what they are.

use super::Redactor;

impl Redactor {
    /// JSON lines of the same length with secrets masked: each byte of them becomes `*`, inside of strings alone, so that the
    /// lines stay JSON and numbers what they are. `None` where there is none.
    pub fn mask_lines(&self, lines: &[u8]) -> Option<Vec<u8>> {
        let found = self.0.found(lines);
        if found.is_empty() {
            return None;
        }
        let mut masked = lines.to_vec();
        let mut finds = found.iter().peekable();
        let (mut at, mut inside) = (0, false);
        while finds.peek().is_some() && at < lines.len() {
            // A character or an escape, whole.
            let length = match &lines[at..] {
                [b'"' | b'\n', ..] => 1,
                [b'\\', b'u', ..] if inside => 6,
                [b'\\', ..] if inside => 2,
                rest => {
                    1 + rest[1..]
                        .iter()
                        .take_while(|&&byte| byte & 0xc0 == 0x80)
                        .count()
                }
            };
            let end = lines.len().min(at + length);
            match lines[at] {
                b'"' => inside = !inside,
                // No string goes on behind its line, whatever the line is.
                b'\n' => inside = false,
                _ if inside && finds.peek().is_some_and(|find| find.start < end) => {
                    masked[at..end].fill(b'*');
                }
                _ => {}
            }
            at = end;
            while finds.next_if(|find| find.end <= at).is_some() {}
        }
        (masked != lines).then_some(masked)
    }

    /// As [`Redactor::mask_lines`], for texts that lie side by side between bytes that are none: an uncompressed message of
    /// Arrow's IPC format. What holds JSON together stays. A secret of fewer than twelve digits and nothing else is not looked
    /// for: neighbouring values would make it up.
    pub fn mask_columns(&self, message: &[u8]) -> Option<Vec<u8>> {
        const DIGITS: usize = 12;
        let found = self.0.found(message);
        if found.is_empty() {
            return None;
        }
        let mut masked = message.to_vec();
        for find in found {
            let secret = &message[find.clone()];
            if secret.len() < DIGITS && secret.iter().all(u8::is_ascii_digit) {
                continue;
            }
            let goes_on = |at: usize| message.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
            let start = (find.start.saturating_sub(3)..=find.start)
                .rev()
                .find(|&at| !goes_on(at));
            let end = (find.end..=find.end + 3).find(|&at| !goes_on(at));
            let whole = start.unwrap_or(find.start)..end.unwrap_or(find.end);
            let hidden = masked[whole].iter_mut();
            hidden
                .filter(|byte| !b"\"\\{}[]:,".contains(byte))
                .for_each(|byte| *byte = b'*');
        }
        (masked != message).then_some(masked)
    }
}

#[cfg(test)]
mod tests {
    use crate::redact::tests::redactor;
    use serde_json::Value;

    #[test]
    fn lines_are_masked_and_stay_json() {
        let document = r#"{"user":"reader","password":"hunter2-hunter2"}"#;
        let r = redactor(&[
            "hunter2\"é22",
            "\"quoted-9\"",
            "4711.0815",
            "nine-lives",
            document,
        ]);
        let lines = concat!(
            r#"{"a":"so: hunter2\"é22!","n":4711.0815,"m":"4711.0815"}"#,
            "\n",
            r#"{"a":"aHVudGVyMiLDqTIy","b":"\nnine-lives","c":"\nine-lives","quoted-9":"quoted-9"}"#,
            "\n",
            r#"{"cfg":{"user":"reader","password":"hunter2-hunter2"},"e":"\u0068unter2\u0022\u00e922"}"#,
            "\n",
        );
        let masked = String::from_utf8(r.mask_lines(lines.as_bytes()).unwrap()).unwrap();
        assert_eq!(masked.len(), lines.len());
        let read = |line| serde_json::from_str::<Value>(line).unwrap();
        let lines: Vec<Value> = masked.lines().map(read).collect();
        assert_eq!(lines[0]["a"], "so: *************!");
        assert_eq!(lines[0]["n"].to_string(), "4711.0815");
        assert_eq!(lines[0]["m"], "*********");
        assert_eq!(lines[1]["a"], "*".repeat(16));
        assert_eq!(lines[1]["b"], "\n**********");
        for secret in ["hunter2", "nine-lives"] {
            assert!(!masked.contains(secret), "{masked}");
        }
        assert!(r.mask_lines(b"{\"a\":\"nothing of the kind\"}\n").is_none());
        // Broken, or none at all: nothing is promised but that it ends.
        for odd in [
            "\"4711.0815",
            "\"\\",
            "\"4711.0815\\u",
            "4711.0815",
            "\"\n4711.0815\"",
        ] {
            let _ = r.mask_lines(odd.as_bytes());
        }
    }

    #[test]
    fn columns_are_masked_and_stay_text() {
        let r = redactor(&["hunter2é22", "471108", "471108151200"]);
        let mut message = vec![0xff, 0x00];
        message.extend("nohunter2é22no471108 471108151200".bytes());
        let masked = r.mask_columns(&message).unwrap();
        assert_eq!(masked[..2], [0xff, 0]);
        assert_eq!(&masked[2..], b"no***********no471108 ************");
        let document = redactor(&[r#"{"user":"reader","pin":"1234567"}"#]);
        let column = br#"x{"user":"reader","pin":"1234567"}y"#;
        let masked = document.mask_columns(column).unwrap();
        assert!(serde_json::from_slice::<Value>(&masked[1..masked.len() - 1]).is_ok());
        assert!(r.mask_columns(b"nothing of the kind").is_none());
    }
}
