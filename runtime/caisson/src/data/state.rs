//! The state file: the last checkpoint of every stream and partition, and how
//! far the output files were when each was taken.
//!
//! A checkpoint is only stored once what it covers is in the output, so that
//! a run that was cut short is continued: the next one cuts the output back
//! to that length and goes on from the checkpoint. The file is replaced as a
//! whole, never written in place.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use caisson_document::{Document, Schema};
use caisson_proto::v1;
use serde::{Deserialize, Serialize};

use crate::stop::{Result, Stop};

/// Checkpoints may come with every page; the file is replaced no more often.
const EVERY: Duration = Duration::from_millis(500);

const SCHEMA: &str = r#"
type: object
required: [format, checkpoints]
additionalProperties: false
properties:
  format: { const: 1, x-write-instead: "this build reads format 1" }
  complete: { type: boolean }
  outputs: { type: object, additionalProperties: { type: integer, minimum: 0 } }
  checkpoints:
    type: array
    items:
      type: object
      required: [stream]
      additionalProperties: false
      properties:
        stream: { type: string }
        partition: { type: string }
        id: { type: string }
        state: { type: string }
        state_base64: { type: string }
        records: { type: integer, minimum: 0 }
        final: { type: boolean }
"#;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Text {
    format: u32,
    /// The run that wrote this ended well: its output is whole.
    #[serde(default)]
    complete: bool,
    /// Bytes of each output file that the checkpoints cover.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    outputs: BTreeMap<String, u64>,
    checkpoints: Vec<Entry>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Entry {
    stream: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    partition: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    id: String,
    /// The state as it came; it is JSON, but its bytes are the connector's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state_base64: Option<String>,
    #[serde(default)]
    records: u64,
    #[serde(default)]
    r#final: bool,
}

/// Checkpoints on disk.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    checkpoints: BTreeMap<(String, String), v1::Checkpoint>,
    outputs: BTreeMap<String, u64>,
    /// What an earlier run that was cut short left behind.
    unfinished: Option<BTreeMap<String, u64>>,
    written: Option<Instant>,
    dirty: bool,
}

impl StateFile {
    /// Reads the file if it is there; none is the state of a first run.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = Self {
            path: path.to_owned(),
            checkpoints: BTreeMap::new(),
            outputs: BTreeMap::new(),
            unfinished: None,
            written: None,
            dirty: false,
        };
        if !path
            .try_exists()
            .with_context(|| format!("cannot read {}", path.display()))?
        {
            return Ok(file);
        }
        let document = Document::read(path)?;
        let schema = Schema::parse(SCHEMA).map_err(anyhow::Error::from)?;
        let text: Text = document.checked(&schema)?;
        for (index, entry) in text.checkpoints.into_iter().enumerate() {
            let checkpoint = entry.checkpoint().map_err(|message| {
                let fault = document.fault(&format!("/checkpoints/{index}"), message, "");
                Stop::Faults(fault.into())
            })?;
            let key = (checkpoint.stream.clone(), checkpoint.partition.clone());
            file.checkpoints.insert(key, checkpoint);
        }
        file.unfinished = (!text.complete).then_some(text.outputs);
        Ok(file)
    }

    pub(crate) fn checkpoints(&self) -> impl Iterator<Item = &v1::Checkpoint> {
        self.checkpoints.values()
    }

    /// Lengths of the output files of a run that was cut short.
    pub(crate) fn unfinished(&self) -> Option<&BTreeMap<String, u64>> {
        self.unfinished.as_ref()
    }

    /// Takes a checkpoint whose records are in the output, which is `outputs`
    /// long. True when it is time to make the output durable and [`Self::write`].
    pub(crate) fn take(
        &mut self,
        checkpoint: v1::Checkpoint,
        outputs: BTreeMap<String, u64>,
    ) -> bool {
        let key = (checkpoint.stream.clone(), checkpoint.partition.clone());
        self.checkpoints.insert(key, checkpoint);
        self.outputs = outputs;
        self.dirty = true;
        self.written.is_none_or(|at| at.elapsed() >= EVERY)
    }

    /// True if checkpoints were taken that are not on disk.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Replaces the file. `complete` when the run ended well.
    pub(crate) fn write(&mut self, complete: bool) -> Result<()> {
        let text = Text {
            format: 1,
            complete,
            outputs: if complete {
                BTreeMap::new()
            } else {
                self.outputs.clone()
            },
            checkpoints: self.checkpoints.values().map(Entry::of).collect(),
        };
        let mut json = serde_json::to_string_pretty(&text).map_err(anyhow::Error::from)?;
        json.push('\n');
        replace(&self.path, json.as_bytes())
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        self.written = Some(Instant::now());
        self.dirty = false;
        Ok(())
    }
}

/// Writes beside the file, makes it durable, and puts it in the file's place.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()
}

impl Entry {
    fn of(checkpoint: &v1::Checkpoint) -> Self {
        let text = String::from_utf8(checkpoint.state.clone());
        Self {
            stream: checkpoint.stream.clone(),
            partition: checkpoint.partition.clone(),
            id: checkpoint.id.clone(),
            state_base64: text
                .as_ref()
                .err()
                .map(|error| BASE64.encode(error.as_bytes())),
            state: text.ok(),
            records: checkpoint.records,
            r#final: checkpoint.r#final,
        }
    }

    fn checkpoint(self) -> Result<v1::Checkpoint, &'static str> {
        let state = match (self.state, self.state_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(text)) => BASE64
                .decode(text)
                .map_err(|_| "state_base64 is not base64")?,
            _ => return Err("expected either `state` or `state_base64`"),
        };
        Ok(v1::Checkpoint {
            stream: self.stream,
            partition: self.partition,
            id: self.id,
            state,
            records: self.records,
            r#final: self.r#final,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(stream: &str, state: &[u8]) -> v1::Checkpoint {
        v1::Checkpoint {
            stream: stream.into(),
            id: "c1".into(),
            state: state.to_vec(),
            records: 3,
            ..Default::default()
        }
    }

    #[test]
    fn what_was_written_is_read_back_byte_for_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.json");
        let mut file = StateFile::open(&path).expect("a first run has no file");
        let json = br#"{"n": 12345678901234567890123, "z": 1.10}"#;
        file.take(
            checkpoint("orders", json),
            [("out.jsonl".to_owned(), 99)].into(),
        );
        file.take(
            checkpoint("raw", &[0, 255, 1]),
            [("out.jsonl".to_owned(), 120)].into(),
        );
        file.write(false).expect("written");
        let again = StateFile::open(&path).expect("read");
        let states: Vec<_> = again.checkpoints().map(|c| c.state.clone()).collect();
        assert_eq!(states, [json.to_vec(), vec![0, 255, 1]]);
        assert_eq!(
            again.unfinished(),
            Some(&[("out.jsonl".to_owned(), 120)].into())
        );
    }

    #[test]
    fn a_run_that_ended_well_leaves_nothing_to_continue() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.json");
        let mut file = StateFile::open(&path).expect("a first run has no file");
        assert!(
            file.take(checkpoint("orders", b"{}"), BTreeMap::new()),
            "the first is written at once"
        );
        file.write(true).expect("written");
        assert!(
            !file.take(checkpoint("orders", b"{}"), BTreeMap::new()),
            "the next one can wait"
        );
        assert_eq!(StateFile::open(&path).expect("read").unfinished(), None);
    }

    #[test]
    fn every_fault_of_a_state_file_is_reported_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.json");
        std::fs::write(
            &path,
            "{\"format\": 2,\n \"checkpoints\": [{\"stream\": 4, \"sate\": \"\"}]}",
        )
        .expect("written");
        let Err(Stop::Faults(faults)) = StateFile::open(&path) else {
            panic!("it is not valid")
        };
        let lines: Vec<_> = faults.0.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 2, 2], "{faults}");
    }

    #[test]
    fn the_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.json");
        let mut file = StateFile::open(&path).expect("a first run has no file");
        file.write(true).expect("written");
        let held = std::fs::File::open(&path).expect("open");
        file.take(checkpoint("orders", b"{}"), BTreeMap::new());
        file.write(true).expect("written");
        let old = std::io::read_to_string(held).expect("readable");
        assert!(
            !old.contains("orders"),
            "a reader never sees a half-written file"
        );
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    }
}
