//! Records in files and pipes, and the checkpoints beside them.

mod arrow;
mod input;
mod jsonl;
mod output;
mod sink;
mod state;

pub(crate) use input::{Input, Records};
pub(crate) use output::{Output, Target};
pub(crate) use state::StateFile;

use std::path::Path;

use crate::args::RecordFormat;

/// A batch aims at so many bytes.
pub(crate) const BATCH_TARGET: usize = 1 << 20;

/// No batch is larger: 3.5 MiB, as the API promises.
pub(crate) const BATCH_MAX: usize = 3_670_016;

/// The format that a file's name stands for.
pub(crate) fn format_of(path: &Path, told: Option<RecordFormat>) -> RecordFormat {
    let by_name = || match path.extension().and_then(|ext| ext.to_str()) {
        Some("arrow" | "arrows" | "ipc") => RecordFormat::Arrow,
        _ => RecordFormat::Jsonl,
    };
    told.unwrap_or_else(by_name)
}
