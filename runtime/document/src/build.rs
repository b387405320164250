//! Building a value out of parse events, with the bounds that keep a hostile
//! text from growing: depth, number of nodes (aliases count for all that they
//! repeat) and duplicate keys.

use serde_json::{Map, Value};

use crate::mark::{Mark, Marks, join, quoted};

/// A list or mapping may stand inside at most this many others.
pub(crate) const MAX_DEPTH: usize = 100;
/// A document holds at most this many values, aliases counted in full.
pub(crate) const MAX_NODES: usize = 100_000;

/// A fault before it knows its file and its path.
#[derive(Debug)]
pub(crate) struct RawFault {
    pub(crate) mark: Mark,
    pub(crate) pointer: String,
    pub(crate) message: String,
    pub(crate) help: String,
}

#[derive(Debug)]
enum Open {
    List(Vec<Value>),
    Mapping {
        entries: Map<String, Value>,
        key: Option<Key>,
    },
}

#[derive(Debug)]
struct Key {
    text: String,
    /// A key that was refused still takes its value, which is dropped.
    refused: bool,
}

#[derive(Debug)]
struct Frame {
    open: Open,
    pointer: String,
    anchor: usize,
}

/// A node that has just been closed, for whoever keeps anchors.
pub(crate) struct Closed {
    pub(crate) anchor: usize,
    pub(crate) value: Value,
}

/// Collects events into one value, its marks and its faults.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    stack: Vec<Frame>,
    root: Option<Value>,
    nodes: usize,
    pub(crate) marks: Marks,
    pub(crate) faults: Vec<RawFault>,
    /// Set when a bound was passed: what follows is ignored.
    pub(crate) stopped: bool,
}

impl Builder {
    /// True when the next scalar is the key of a mapping.
    pub(crate) fn expects_key(&self) -> bool {
        matches!(
            self.stack.last(),
            Some(Frame {
                open: Open::Mapping { key: None, .. },
                ..
            })
        )
    }

    /// Takes the key of the next entry.
    pub(crate) fn key(&mut self, text: String, mark: Mark, refusal: Option<(String, String)>) {
        let Some(Frame {
            open: Open::Mapping { entries, key },
            pointer,
            ..
        }) = self.stack.last_mut()
        else {
            return;
        };
        let place = join(pointer, &text);
        let mut refused = false;
        if let Some((message, help)) = refusal {
            refused = true;
            let pointer = pointer.clone();
            self.faults.push(RawFault {
                mark,
                pointer,
                message,
                help,
            });
        } else if entries.contains_key(&text) {
            refused = true;
            let first = self.marks.keys.get(&place).map_or(0, |mark| mark.line);
            self.faults.push(RawFault {
                mark,
                pointer: pointer.clone(),
                message: format!("duplicate key {}", quoted(&text)),
                help: format!("it stands already on line {first}; keep one of them"),
            });
        } else {
            self.marks.keys.insert(place, mark);
        }
        *key = Some(Key { text, refused });
    }

    /// Takes a finished value: a scalar, or the repetition of an anchor with `nodes` values in it.
    pub(crate) fn value(&mut self, value: Value, mark: Mark, nodes: usize) {
        if !self.count(nodes, mark) {
            return;
        }
        let (pointer, refused) = self.place();
        if !refused {
            self.marks.values.insert(pointer, mark);
        }
        self.put(value);
    }

    /// Opens a list (`mapping` false) or a mapping.
    pub(crate) fn open(&mut self, mapping: bool, anchor: usize, mark: Mark) {
        if !self.count(1, mark) {
            return;
        }
        if self.stack.len() >= MAX_DEPTH {
            self.stop(mark, format!("nested deeper than {MAX_DEPTH} levels"));
            return;
        }
        let (pointer, refused) = self.place();
        if !refused {
            self.marks.values.insert(pointer.clone(), mark);
        }
        let open = if mapping {
            Open::Mapping {
                entries: Map::new(),
                key: None,
            }
        } else {
            Open::List(Vec::new())
        };
        self.stack.push(Frame {
            open,
            pointer,
            anchor,
        });
    }

    /// Closes the innermost list or mapping. Gives it back when it has an anchor.
    pub(crate) fn close(&mut self) -> Option<Closed> {
        if self.stopped {
            return None;
        }
        let Frame { open, anchor, .. } = self.stack.pop()?;
        let value = match open {
            Open::List(items) => Value::Array(items),
            Open::Mapping { entries, .. } => Value::Object(entries),
        };
        let closed = (anchor > 0).then(|| Closed {
            anchor,
            value: value.clone(),
        });
        self.put(value);
        closed
    }

    /// How many lists and mappings are open.
    pub(crate) fn depth(&self) -> usize {
        self.stack.len()
    }

    /// How many more values there is room for.
    pub(crate) fn room(&self) -> usize {
        MAX_NODES.saturating_sub(self.nodes)
    }

    /// The finished value; null for an empty text.
    pub(crate) fn finish(self) -> (Value, Marks, Vec<RawFault>) {
        (self.root.unwrap_or(Value::Null), self.marks, self.faults)
    }

    /// The pointer of the value that comes next, and whether its key was refused.
    pub(crate) fn place(&self) -> (String, bool) {
        match self.stack.last() {
            None => (String::new(), false),
            Some(Frame {
                open: Open::List(items),
                pointer,
                ..
            }) => (join(pointer, &items.len().to_string()), false),
            Some(Frame {
                open: Open::Mapping { key, .. },
                pointer,
                ..
            }) => match key {
                Some(key) => (join(pointer, &key.text), key.refused),
                None => (pointer.clone(), true),
            },
        }
    }

    /// Gives up at `mark`. What encloses it is not finished, so the fault has no path.
    pub(crate) fn stop(&mut self, mark: Mark, message: String) {
        self.faults.push(RawFault {
            mark,
            pointer: String::new(),
            message,
            help: String::new(),
        });
        self.stopped = true;
    }

    fn count(&mut self, nodes: usize, mark: Mark) -> bool {
        if self.stopped {
            return false;
        }
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            self.stop(
                mark,
                format!("more than {MAX_NODES} values, repeated anchors counted in full"),
            );
            return false;
        }
        true
    }

    fn put(&mut self, value: Value) {
        match self.stack.last_mut() {
            None => self.root = Some(value),
            Some(Frame {
                open: Open::List(items),
                ..
            }) => items.push(value),
            Some(Frame {
                open: Open::Mapping { entries, key },
                ..
            }) => {
                if let Some(key) = key.take().filter(|key| !key.refused) {
                    entries.insert(key.text, value);
                }
            }
        }
    }
}
