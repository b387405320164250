//! YAML 1.2 text into a value with marks: one document, string keys, core
//! schema scalars, bounded aliases.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::Value;

use crate::build::{Builder, MAX_DEPTH, RawFault, Size};
use crate::mark::{Mark, Marks};
use crate::scalar;

/// Parses one YAML document. Faults come with what could be read beside them.
pub(crate) fn parse(text: &str) -> (Value, Marks, Vec<RawFault>) {
    let mut reader = Reader::default();
    // One event after the other: the parser's own `load` calls itself once for each level of nesting, so that a text of
    // nothing but `- - - -` would end the process.
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => reader.event(event, span),
            Err(error) => {
                let mark = Mark {
                    line: error.marker().line().max(1),
                    column: error.marker().col() + 1,
                };
                let message = format!("not valid YAML: {}", error.info());
                reader.builder.stop(within(text, mark), message);
            }
        }
        if reader.builder.stopped {
            break;
        }
    }
    reader.builder.finish()
}

/// The parser ends every text with a line break, so that its end may be a line that the file does not have, and counts
/// on in a directive that it skips: then the end of the last line, or of this one.
fn within(text: &str, mark: Mark) -> Mark {
    let text = text.replace("\r\n", "\n");
    let lines: Vec<&str> = text.split(['\n', '\r']).collect();
    let line = mark.line.clamp(1, lines.len());
    let end = lines[line - 1].chars().count() + 1;
    let column = if mark.line > line {
        end
    } else {
        mark.column.min(end)
    };
    Mark { line, column }
}

#[derive(Default)]
struct Reader {
    builder: Builder,
    anchors: HashMap<usize, (Value, Size)>,
    documents: usize,
}

impl Reader {
    fn event(&mut self, event: Event<'_>, span: Span) {
        let mark = Mark {
            line: span.start.line().max(1),
            column: span.start.col() + 1,
        };
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.builder.stop(
                        mark,
                        "a second document begins here; a file holds one".to_owned(),
                    );
                }
            }
            Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag, mark),
            Event::SequenceStart(anchor, tag) => self.open(false, anchor, tag, mark),
            Event::MappingStart(anchor, tag) => self.open(true, anchor, tag, mark),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(closed) = self.builder.close(mark) {
                    self.anchors
                        .insert(closed.anchor, (closed.value, closed.size));
                }
            }
            Event::Alias(anchor) => self.alias(anchor, mark),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        mark: Mark,
    ) {
        let value = resolve(&text, style, tag.as_deref());
        if self.builder.expects_key() {
            let refusal = match &value {
                Ok(Value::String(key)) if key == "<<" && style == ScalarStyle::Plain => Some((
                    "merge keys are YAML 1.1".to_owned(),
                    "write the keys out, or repeat a whole value with an alias".to_owned(),
                )),
                Ok(Value::String(_)) => None,
                Ok(_) => Some((
                    "a key must be a string".to_owned(),
                    "put it in quotation marks".to_owned(),
                )),
                Err(message) => Some((message.clone(), String::new())),
            };
            self.builder.key(text.into_owned(), mark, refusal);
            return;
        }
        let value = value.unwrap_or_else(|message| {
            let (pointer, _) = self.builder.place();
            self.builder.faults.push(RawFault {
                mark,
                pointer,
                message,
                help: String::new(),
            });
            Value::Null
        });
        let size = Size::of(&value);
        if anchor > 0 && self.builder.repeat(size, mark) {
            self.anchors.insert(anchor, (value.clone(), size));
        }
        self.builder.value(value, mark);
    }

    fn open(&mut self, mapping: bool, anchor: usize, tag: Option<Cow<'_, Tag>>, mark: Mark) {
        if self.builder.expects_key() {
            self.builder.stop(
                mark,
                "a key must be a string, not a list or mapping".to_owned(),
            );
            return;
        }
        let expected = if mapping { "map" } else { "seq" };
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && tag.suffix == expected))
        {
            let (pointer, _) = self.builder.place();
            self.builder.faults.push(RawFault {
                mark,
                pointer,
                message: unknown_tag(&tag),
                help: "leave the tag out".to_owned(),
            });
        }
        self.builder.open(mapping, anchor, mark);
    }

    fn alias(&mut self, anchor: usize, mark: Mark) {
        if self.builder.expects_key() {
            self.builder
                .stop(mark, "a key must be a string, not an alias".to_owned());
            return;
        }
        // An anchor that is not closed yet stands for a value that holds itself.
        let Some((value, size)) = self.anchors.get(&anchor) else {
            self.builder.stop(
                mark,
                "the alias stands inside the value that it repeats".to_owned(),
            );
            return;
        };
        if size.depth + self.builder.depth() > MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            self.builder.stop(mark, message);
        } else if self.builder.repeat(*size, mark) {
            self.builder.copy(value.clone(), mark);
        }
    }
}

/// The value of a scalar by its style and tag.
fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain {
            scalar::plain(text).map_err(str::to_owned)
        } else {
            Ok(Value::String(text.to_owned()))
        };
    };
    if !tag.is_yaml_core_schema() {
        // `!` alone means: a string, whatever it looks like.
        return if tag.handle.is_empty() && tag.suffix == "!" {
            Ok(Value::String(text.to_owned()))
        } else {
            Err(unknown_tag(tag))
        };
    }
    let wrong = || format!("the value does not fit its tag !!{}", tag.suffix);
    match tag.suffix.as_str() {
        "str" => Ok(Value::String(text.to_owned())),
        "int" => scalar::integer(text)
            .ok_or_else(wrong)?
            .map_err(str::to_owned),
        "float" => scalar::float(text)
            .ok_or_else(wrong)?
            .map_err(str::to_owned),
        "bool" | "null" => {
            let value = scalar::plain(text).map_err(str::to_owned)?;
            let fits = if tag.suffix == "bool" {
                value.is_boolean()
            } else {
                value.is_null()
            };
            if fits { Ok(value) } else { Err(wrong()) }
        }
        _ => Err(unknown_tag(tag)),
    }
}

fn unknown_tag(tag: &Tag) -> String {
    let suffix: String = tag
        .suffix
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(24)
        .collect();
    format!("the tag !{suffix} has no meaning here")
}
