//! How often each entry was met: a fault that was never made tests nothing, and somebody should say so.

use super::FaultScript;
use std::fmt;

/// What became of one entry so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// The script as it was named to the reader.
    pub file: String,
    /// Line of the entry, from 1.
    pub line: usize,
    /// The key of its fault.
    pub fault: &'static str,
    /// How many look-ups, connections or requests its `match` has counted.
    pub matched: u64,
    /// How many of them it was made for.
    pub made: u64,
}

impl FaultScript {
    /// All entries in the order of the file.
    pub fn met(&self) -> Vec<Met> {
        let met = self.entries.iter().map(|entry| Met {
            file: self.file.clone(),
            line: entry.line,
            fault: entry.key,
            matched: entry.matches.seen.get(),
            made: entry.made.get(),
        });
        met.collect()
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            fault,
            matched,
            made,
        } = self;
        write!(f, "{file}:{line}: {fault}: matched {matched}, made {made}")
    }
}
