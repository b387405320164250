//! Building a value out of parse events, with the bounds that keep a hostile
//! text from growing: depth, number of nodes (aliases count for all that they
//! repeat) and duplicate keys.

use serde_json::{Map, Value};

use crate::mark::{Mark, Marks, join, quoted};

/// A list or mapping may stand inside at most this many others.
pub(crate) const MAX_DEPTH: usize = 100;
/// A document holds at most this many values, aliases counted in full.
pub(crate) const MAX_NODES: usize = 100_000;
/// Bytes that the places of all values and keys have together: every place repeats the keys around it, so that one long
/// key over many values would fill the memory.
const MAX_PLACES: usize = 16 << 20;
/// Bytes of text that anchors keep and aliases repeat.
const MAX_REPEATED: usize = 16 << 20;

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

/// How much a value is when it is copied.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    /// Values in it, itself included.
    pub(crate) nodes: usize,
    /// Bytes of its texts and keys.
    pub(crate) bytes: usize,
    /// Lists and mappings inside each other.
    pub(crate) depth: usize,
}

impl Size {
    pub(crate) fn of(value: &Value) -> Self {
        let (own, inside): (usize, Vec<Self>) = match value {
            Value::String(text) => (text.len(), Vec::new()),
            Value::Array(items) => (0, items.iter().map(Self::of).collect()),
            Value::Object(entries) => (
                entries.keys().map(String::len).sum(),
                entries.values().map(Self::of).collect(),
            ),
            _ => (0, Vec::new()),
        };
        let holds = value.is_array() || value.is_object();
        Self {
            nodes: 1 + inside.iter().map(|size| size.nodes).sum::<usize>(),
            bytes: own + inside.iter().map(|size| size.bytes).sum::<usize>(),
            depth: usize::from(holds) + inside.iter().map(|size| size.depth).max().unwrap_or(0),
        }
    }
}

/// A node that has just been closed, for whoever keeps anchors.
pub(crate) struct Closed {
    pub(crate) anchor: usize,
    pub(crate) value: Value,
    pub(crate) size: Size,
}

/// Collects events into one value, its marks and its faults.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    stack: Vec<Frame>,
    root: Option<Value>,
    nodes: usize,
    places: usize,
    repeated: usize,
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
        if !self.has_place_for(text.len(), mark) {
            return;
        }
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

    /// Takes a scalar.
    pub(crate) fn value(&mut self, value: Value, mark: Mark) {
        if self.count(1, mark) {
            self.copy(value, mark);
        }
    }

    /// Takes a finished value that has been counted.
    pub(crate) fn copy(&mut self, value: Value, mark: Mark) {
        if !self.has_place_for(0, mark) {
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
        if !self.count(1, mark) || !self.has_place_for(0, mark) {
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

    /// Closes the innermost list or mapping. Gives a copy when it has an anchor and there is room for one.
    pub(crate) fn close(&mut self, mark: Mark) -> Option<Closed> {
        if self.stopped {
            return None;
        }
        let Frame { open, anchor, .. } = self.stack.pop()?;
        let value = match open {
            Open::List(items) => Value::Array(items),
            Open::Mapping { entries, .. } => Value::Object(entries),
        };
        let size = if anchor > 0 {
            Size::of(&value)
        } else {
            Size::default()
        };
        let closed = (anchor > 0 && self.repeat(size, mark)).then(|| Closed {
            anchor,
            value: value.clone(),
            size,
        });
        self.put(value);
        closed
    }

    /// How many lists and mappings are open.
    pub(crate) fn depth(&self) -> usize {
        self.stack.len()
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

    /// Counts a copy that an anchor keeps or an alias makes, before it is made; false if there is no room for it.
    pub(crate) fn repeat(&mut self, size: Size, mark: Mark) -> bool {
        self.repeated = self.repeated.saturating_add(size.bytes);
        if self.repeated > MAX_REPEATED && !self.stopped {
            self.stop(mark, "anchors repeat too much text".to_owned());
        }
        self.count(size.nodes, mark)
    }

    /// Counts the place of a key, or of a value, before it is written down.
    fn has_place_for(&mut self, key: usize, mark: Mark) -> bool {
        if self.stopped {
            return false;
        }
        let around = self.stack.last().map_or(0, |frame| {
            let own = match &frame.open {
                Open::Mapping { key: Some(key), .. } => key.text.len(),
                _ => 0,
            };
            frame.pointer.len() + own
        });
        self.places = self.places.saturating_add(around + key);
        if self.places > MAX_PLACES {
            self.stop(mark, "its keys are too long for so many values".to_owned());
            return false;
        }
        true
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
