//! The audit log: one JSON object per line, appended to one file by one thread, rotated by size.
//!
//! Nobody who serves a worker ever waits for the disk. What could not be written is counted, and the count is public.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Thread;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Lines that may wait for the disk.
const QUEUE: usize = 16_384;
/// Lines that wait for whoever reads along.
const WATCHED: usize = 4_096;
/// A line that comes this soon after others waits, so that many are written at once.
const GATHERED: Duration = Duration::from_millis(5);

/// Where the audit log goes.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// The file.
    pub path: PathBuf,
    /// Rotated when it would grow beyond this, bytes.
    pub max_bytes: u64,
    /// Files kept, the current one included.
    pub keep: usize,
}

impl AuditConfig {
    /// Four files of 64 MiB.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self {
            path,
            max_bytes: 64 << 20,
            keep: 4,
        }
    }
}

/// Somebody who reads along. Whoever is too slow misses lines, and keeps nobody waiting.
#[derive(Debug)]
pub struct AuditWatch(broadcast::Receiver<Arc<str>>);

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// One object, without its line end.
    Line(Arc<str>),
    /// So many were missed.
    LeftOut(u64),
}

impl AuditWatch {
    /// The next line; `None` once the log has ended.
    pub async fn next(&mut self) -> Option<Watched> {
        match self.0.recv().await {
            Ok(line) => Some(Watched::Line(line)),
            Err(RecvError::Lagged(lines)) => Some(Watched::LeftOut(lines)),
            Err(RecvError::Closed) => None,
        }
    }
}

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// A handle on the log. Clones share it; the writer ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Audit {
    writer: Option<Writer>,
    unwritten: Arc<AtomicU64>,
    watched: broadcast::Sender<Arc<str>>,
}

#[derive(Debug, Clone)]
struct Writer {
    sender: SyncSender<Message>,
    thread: Thread,
}

impl Audit {
    /// Opens the file and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread started.
    pub fn start(config: AuditConfig) -> io::Result<Self> {
        let unwritten = Arc::new(AtomicU64::new(0));
        let (sender, receiver) = sync_channel(QUEUE);
        let mut log = Log {
            file: None,
            written: 0,
            config,
        };
        log.open()?;
        let watched = broadcast::Sender::new(WATCHED);
        // Weak, so that the log ends for whoever reads along when its last handle is gone.
        let (count, along) = (Arc::clone(&unwritten), watched.downgrade());
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || write_all(log, &receiver, &count, &along))?
            .thread()
            .clone();
        Ok(Self {
            writer: Some(Writer { sender, thread }),
            unwritten,
            watched,
        })
    }

    /// A log that keeps nothing.
    #[must_use]
    pub fn none() -> Self {
        Self {
            writer: None,
            unwritten: Arc::default(),
            watched: broadcast::Sender::new(1),
        }
    }

    /// Lines that could not be written so far.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// Every line from now on, as it is written.
    #[must_use]
    pub fn watch(&self) -> AuditWatch {
        AuditWatch(self.watched.subscribe())
    }

    /// Appends one object, soon.
    pub(crate) fn write(&self, line: &impl serde::Serialize) {
        let Some(Writer { sender, .. }) = &self.writer else {
            return;
        };
        let sent = serde_json::to_vec(line).is_ok_and(|mut bytes| {
            if self.watched.receiver_count() > 0
                && let Ok(text) = std::str::from_utf8(&bytes)
            {
                // Nobody may be there any more.
                let _ = self.watched.send(text.into());
            }
            bytes.push(b'\n');
            sender.try_send(Message::Line(bytes)).is_ok()
        });
        if !sent {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has what was written so far appended now.
    pub(crate) fn hurry(&self) {
        if let Some(Writer { thread, .. }) = &self.writer {
            thread.unpark();
        }
    }

    /// Waits until everything written before is in the file. Blocks.
    pub fn flush(&self) {
        let Some(Writer { sender, thread }) = &self.writer else {
            return;
        };
        let (done, wait) = sync_channel(1);
        if sender.send(Message::Flush(done)).is_ok() {
            thread.unpark();
            // The writer drops `done` after the flush or at its end; either way this returns.
            let _ = wait.recv();
        }
    }
}

/// Lines that were not written, told in the log itself as soon as it takes lines again.
#[derive(serde::Serialize)]
struct Unwritten {
    time: String,
    event: &'static str,
    lines: u64,
}

fn write_all(
    mut log: Log,
    receiver: &Receiver<Message>,
    unwritten: &AtomicU64,
    along: &broadcast::WeakSender<Arc<str>>,
) {
    let mut told = 0;
    while let Ok(first) = receiver.recv() {
        let lost = unwritten.load(Ordering::Relaxed);
        if lost > told {
            let line = unwritten_line(lost - told);
            if log.append(format!("{line}\n").as_bytes()).is_ok() {
                told = lost;
                // Nobody may be there.
                let _ = along.upgrade().map(|along| along.send(line.into()));
            }
        }
        let mut waiting = Vec::new();
        for message in std::iter::once(first).chain(receiver.try_iter().take(QUEUE)) {
            match message {
                Message::Line(line) => {
                    if let Err(error) = log.append(&line) {
                        if unwritten.fetch_add(1, Ordering::Relaxed) == 0 {
                            tracing::error!(%error, path = %log.config.path.display(), "the audit log cannot be written");
                        }
                        log.file = None;
                    }
                }
                Message::Flush(done) => waiting.push(done),
            }
        }
        if let Some(file) = &mut log.file
            && let Err(error) = file.flush()
        {
            tracing::error!(%error, "the audit log cannot be flushed");
        }
        drop(waiting);
        std::thread::park_timeout(GATHERED);
    }
}

fn unwritten_line(lines: u64) -> String {
    let line = Unwritten {
        time: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        event: "unwritten",
        lines,
    };
    serde_json::to_string(&line).unwrap_or_default()
}

struct Log {
    config: AuditConfig,
    file: Option<BufWriter<File>>,
    written: u64,
}

impl Log {
    fn open(&mut self) -> io::Result<&mut BufWriter<File>> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.config.path)?;
        self.written = file.metadata()?.len();
        Ok(self.file.insert(BufWriter::new(file)))
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.file.is_none() {
            self.open()?;
        }
        if self.written > 0 && self.written + length > self.config.max_bytes {
            self.rotate()?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.open()?,
        };
        file.write_all(line)?;
        self.written += length;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        if let Some(mut file) = self.file.take() {
            file.flush()?;
        }
        let keep = self.config.keep.max(1);
        for number in (1..keep).rev() {
            let from = if number == 1 {
                self.config.path.clone()
            } else {
                numbered(&self.config.path, number - 1)
            };
            match std::fs::rename(&from, numbered(&self.config.path, number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if keep == 1 {
            std::fs::remove_file(&self.config.path)?;
        }
        self.open().map(|_| ())
    }
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::time::Instant;

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn the_log_rotates_by_size_and_keeps_as_many_files_as_it_was_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let audit = Audit::start(AuditConfig {
            path: path.clone(),
            max_bytes: 40,
            keep: 3,
        })
        .unwrap();
        for number in 0..10 {
            audit.write(&json!({"number": number, "pad": "0123456"}));
        }
        audit.flush();
        assert_eq!(audit.unwritten(), 0);
        let kept: Vec<_> = [numbered(&path, 2), numbered(&path, 1), path]
            .iter()
            .map(|path| lines(path)[0]["number"].as_u64().unwrap())
            .collect();
        assert_eq!(kept, [7, 8, 9]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_is_written_without_a_hurry_is_written_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let audit = Audit::start(AuditConfig::at(path.clone())).unwrap();
        let begun = Instant::now();
        for number in 1..=3 {
            audit.write(&json!(number));
            while lines(&path).len() < number {
                assert!(begun.elapsed() < Duration::from_secs(20));
                std::thread::yield_now();
            }
        }
    }

    #[tokio::test]
    async fn whoever_reads_along_hears_every_line_or_how_many_it_missed() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::start(AuditConfig::at(dir.path().join("audit.jsonl"))).unwrap();
        audit.write(&json!("before"));
        let mut watch = audit.watch();
        audit.write(&json!({"number": 1}));
        assert_eq!(
            watch.next().await,
            Some(Watched::Line(r#"{"number":1}"#.into()))
        );
        for number in 0..WATCHED + 3 {
            audit.write(&json!(number));
        }
        assert_eq!(watch.next().await, Some(Watched::LeftOut(3)));
        assert_eq!(watch.next().await, Some(Watched::Line("3".into())));
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let audit = Audit::start(AuditConfig {
            path: path.clone(),
            max_bytes: 1,
            keep: 2,
        })
        .unwrap();
        std::fs::create_dir_all(numbered(&path, 1).join("full")).unwrap();
        audit.write(&json!(1));
        audit.write(&json!(2));
        audit.flush();
        assert_eq!(audit.unwritten(), 1);
        let mut watch = audit.watch();
        std::fs::remove_dir_all(numbered(&path, 1)).unwrap();
        audit.write(&json!(3));
        audit.flush();
        assert_eq!(lines(&path), [json!(3)]);
        let told = &lines(&numbered(&path, 1))[0];
        assert_eq!(
            (&told["event"], &told["lines"]),
            (&json!("unwritten"), &json!(1))
        );
        let heard = std::iter::from_fn(|| watch.0.try_recv().ok());
        let heard: Vec<Value> = heard
            .map(|line| serde_json::from_str(&line).unwrap())
            .collect();
        assert_eq!(heard, [json!(3), told.clone()]);
        assert_eq!(audit.unwritten(), 1);
    }
}
