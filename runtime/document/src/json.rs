//! JSON text (RFC 8259) into a value with marks. serde_json says whether the
//! text is JSON; the walk over the text that it accepted only finds places
//! and duplicate keys, and so may be simple.

use serde_json::Value;

use crate::build::{Builder, RawFault};
use crate::mark::{Mark, Marks};

/// Parses one JSON document.
pub(crate) fn parse(text: &str) -> (Value, Marks, Vec<RawFault>) {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let mark = place(text, &error);
        return (Value::Null, Marks::default(), vec![not_json(mark, &error)]);
    }
    let mut walk = Walk {
        text,
        at: 0,
        mark: Mark::START,
        builder: Builder::default(),
    };
    walk.run();
    walk.builder.finish()
}

/// Where serde_json gave up. It counts a column in bytes, and a place counts it in characters.
fn place(text: &str, error: &serde_json::Error) -> Mark {
    let line = error.line().max(1);
    let before = text
        .split('\n')
        .nth(line - 1)
        .map_or(&[][..], str::as_bytes)
        .iter()
        .take(error.column().saturating_sub(1));
    // Every character has one byte that continues no other.
    let characters = before.filter(|&&byte| byte & 0xc0 != 0x80).count();
    Mark {
        line,
        column: characters + 1,
    }
}

fn not_json(mark: Mark, error: &serde_json::Error) -> RawFault {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    RawFault {
        mark,
        pointer: String::new(),
        message: format!("not valid JSON: {message}"),
        help: String::new(),
    }
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    mark: Mark,
    builder: Builder,
}

impl Walk<'_> {
    fn run(&mut self) {
        while let Some(byte) = self.text.as_bytes().get(self.at).copied() {
            if self.builder.stopped {
                return;
            }
            let (start, mark) = (self.at, self.mark);
            match byte {
                b'{' | b'[' => {
                    self.advance(1);
                    self.builder.open(byte == b'{', 0, mark);
                }
                b'}' | b']' => {
                    self.advance(1);
                    self.builder.close(mark);
                }
                b'"' => {
                    self.skip_string();
                    let token = &self.text[start..self.at];
                    let string: String = serde_json::from_str(token).unwrap_or_default();
                    if self.builder.expects_key() {
                        self.builder.key(string, mark, None);
                    } else {
                        self.builder.value(Value::String(string), mark);
                    }
                }
                b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => self.advance(1),
                _ => {
                    while self
                        .text
                        .as_bytes()
                        .get(self.at)
                        .is_some_and(|byte| !b",]} \t\r\n".contains(byte))
                    {
                        self.advance(1);
                    }
                    match serde_json::from_str(&self.text[start..self.at]) {
                        Ok(value) => self.builder.value(value, mark),
                        Err(error) => {
                            self.builder.faults.push(not_json(mark, &error));
                            return;
                        }
                    }
                }
            }
        }
    }

    fn skip_string(&mut self) {
        self.advance(1);
        while let Some(byte) = self.text.as_bytes().get(self.at).copied() {
            self.advance(if byte == b'\\' { 2 } else { 1 });
            if byte == b'"' {
                return;
            }
        }
    }

    /// Moves on by `count` characters, which never begin inside one.
    fn advance(&mut self, count: usize) {
        for _ in 0..count {
            let Some(character) = self.text[self.at..].chars().next() else {
                return;
            };
            self.at += character.len_utf8();
            if character == '\n' {
                self.mark = Mark {
                    line: self.mark.line + 1,
                    column: 1,
                };
            } else {
                self.mark.column += 1;
            }
        }
    }
}
