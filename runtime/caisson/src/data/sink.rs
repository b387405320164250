//! One output that is open: a file at the place where it goes on, or standard output.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::stop::{Result, Stop};

/// An open output.
pub(crate) struct Open {
    pub(crate) stream: String,
    /// None for standard output.
    pub(crate) path: Option<PathBuf>,
    /// Arrow: the schema that the file begins with.
    pub(crate) schema: Bytes,
    writer: BufWriter<Box<dyn Sink>>,
    pub(crate) length: u64,
    /// The length that the last checkpoint covers.
    pub(crate) covered: u64,
}

/// A file or standard output.
trait Sink: Write {
    /// Makes what was written outlive a crash, where that can be.
    fn make_durable(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn make_durable(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Sink for io::Stdout {
    fn make_durable(&mut self) -> io::Result<()> {
        self.flush()
    }
}

impl Open {
    /// Standard output.
    pub(crate) fn stdout(stream: &str, schema: Bytes) -> Result<Self> {
        Self::begin(stream, None, Box::new(io::stdout()), 0, schema)
    }

    /// A file that goes on after its first `kept` bytes.
    pub(crate) fn file(stream: &str, path: PathBuf, kept: u64, schema: Bytes) -> Result<Self> {
        let at = at(&path, kept);
        let path = Some(path);
        let (file, length) = at.map_err(|error| file_error(&path, error))?;
        Self::begin(stream, path, Box::new(file), length, schema)
    }

    fn begin(
        stream: &str,
        path: Option<PathBuf>,
        sink: Box<dyn Sink>,
        length: u64,
        schema: Bytes,
    ) -> Result<Self> {
        let mut open = Self {
            stream: stream.to_owned(),
            path,
            schema: schema.clone(),
            writer: BufWriter::with_capacity(1 << 16, sink),
            length,
            covered: length,
        };
        if length == 0 {
            open.write(&schema)?;
        }
        Ok(open)
    }

    /// Makes what was written outlive a crash.
    pub(crate) fn make_durable(&mut self) -> Result<()> {
        self.flush()?;
        self.writer
            .get_mut()
            .make_durable()
            .map_err(|error| file_error(&self.path, error))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer
            .write_all(bytes)
            .map_err(|error| file_error(&self.path, error))?;
        self.length += bytes.len() as u64;
        // A reader of a pipe gets each batch when it comes.
        if self.path.is_none() {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.writer
            .flush()
            .map_err(|error| file_error(&self.path, error))
    }
}

/// Adds to a file that is not open.
pub(crate) fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = OpenOptions::new().append(true).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .map_err(|error| file_error(&Some(path.to_owned()), error))
}

/// Cuts a file of an earlier run back to what its checkpoints cover. False if
/// it is not there any more, or shorter: then nothing of it can be continued.
pub(crate) fn cut_back(path: &Path, kept: u64) -> bool {
    let open = OpenOptions::new().write(true).open(path);
    let Ok(file) = open else { return false };
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.len() >= kept)
        && file.set_len(kept).is_ok()
}

pub(crate) fn begins_with(path: &Path, schema: &[u8]) -> bool {
    let mut begins = vec![0; schema.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut begins));
    read.is_ok() && begins == schema
}

/// Opens `path` to go on after `kept` bytes; what was there after them is gone.
fn at(path: &Path, kept: u64) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Ok((file, 0));
    }
    file.set_len(kept)?;
    file.seek(SeekFrom::Start(kept))?;
    Ok((file, kept))
}

/// A file as the state file names it.
pub(crate) fn name_of(path: &Path) -> String {
    path.display().to_string()
}

fn file_error(path: &Option<PathBuf>, error: io::Error) -> Stop {
    match path {
        None if error.kind() == io::ErrorKind::BrokenPipe => Stop::BrokenPipe,
        None => Stop::Other(anyhow::Error::new(error).context("cannot write to standard output")),
        Some(path) => Stop::Other(anyhow::Error::msg(format!(
            "cannot write {}: {error}",
            path.display()
        ))),
    }
}

/// `orders.arrow`, `orders.2.arrow`, …
pub(crate) fn numbered(path: &Path, generation: usize) -> PathBuf {
    if generation == 1 {
        return path.to_owned();
    }
    let mut name = path.file_stem().map(OsString::from).unwrap_or_default();
    name.push(format!(".{generation}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// A stream's name as one that any file system takes; a connector chose it,
/// so nothing in it may lead out of the folder.
pub(crate) fn file_name(stream: &str) -> String {
    let mut name = String::new();
    for byte in stream.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            b'.' if !name.is_empty() => name.push('.'),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    name
}
