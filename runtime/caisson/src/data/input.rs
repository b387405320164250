//! The records of a Write: from a file or standard input, in batches.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;

use super::arrow::Batches;
use super::jsonl::Lines;
use crate::args::RecordFormat;
use crate::stop::Result;

/// A batch as it is sent.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) data: Bytes,
    pub(crate) records: u64,
}

/// Where records come from; not opened yet.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    path: PathBuf,
    pub(crate) format: RecordFormat,
}

/// Open records.
pub(crate) enum Records {
    Arrow(Box<Batches>),
    Jsonl(Box<Lines<BufReader<Box<dyn Read + Send>>>>),
}

impl Input {
    pub(crate) fn new(path: &Path, format: RecordFormat) -> Self {
        Self {
            path: path.to_owned(),
            format,
        }
    }

    /// Opens the file and reads what stands before the records.
    pub(crate) fn open(&self) -> Result<Records> {
        let stdin = self.path.as_os_str() == "-";
        let (name, reader): (String, Box<dyn Read + Send>) = if stdin {
            ("standard input".to_owned(), Box::new(std::io::stdin()))
        } else {
            let name = self.path.display().to_string();
            let file = File::open(&self.path).with_context(|| format!("cannot read {name}"))?;
            (name, Box::new(file))
        };
        Ok(match self.format {
            RecordFormat::Arrow => Records::Arrow(Box::new(Batches::new(&name, reader)?)),
            RecordFormat::Jsonl => Records::Jsonl(Box::new(Lines::new(
                &name,
                BufReader::with_capacity(1 << 16, reader),
            ))),
        })
    }
}

impl Records {
    /// The encapsulated Arrow schema; empty for JSON lines.
    pub(crate) fn schema(&self) -> Bytes {
        match self {
            Records::Arrow(batches) => batches.schema(),
            Records::Jsonl(_) => Bytes::new(),
        }
    }

    /// The next batch; none at the end.
    pub(crate) fn piece(&mut self) -> Result<Option<Piece>> {
        match self {
            Records::Arrow(batches) => batches.piece(),
            Records::Jsonl(lines) => lines.piece(),
        }
    }
}
