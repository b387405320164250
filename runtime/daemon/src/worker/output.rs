//! What a worker writes to stdout and stderr, as log lines.
//!
//! Lines are cut at 8 KiB and limited in number and size, so that a flood costs
//! neither memory nor disk; what is dropped is counted.

use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use caisson_proto::v1::{self, log::Level};
use caisson_secrets::Redactor;
use caisson_without::{Part, without};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

/// Longest line in bytes; the rest of a longer one becomes the next line.
const LINE: usize = 8192;
/// Read from the pipe at once.
const CHUNK: usize = 16 << 10;
/// Lines a second, and how many at once.
const RATE: NonZeroU32 = NonZeroU32::new(500).expect("not zero");
const BURST: NonZeroU32 = NonZeroU32::new(2000).expect("not zero");
/// Bytes a second, and how many at once.
const BYTES: NonZeroU32 = NonZeroU32::new(1 << 20).expect("not zero");
const BYTES_BURST: NonZeroU32 = NonZeroU32::new(8 << 20).expect("not zero");

/// The quota that stdout, stderr and Python's logging share.
pub(crate) struct LogQuota {
    lines: DefaultDirectRateLimiter,
    bytes: DefaultDirectRateLimiter,
    dropped: AtomicU64,
}

impl LogQuota {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            lines: RateLimiter::direct(Quota::per_second(RATE).allow_burst(BURST)),
            bytes: RateLimiter::direct(Quota::per_second(BYTES).allow_burst(BYTES_BURST)),
            dropped: AtomicU64::new(0),
        })
    }

    /// Whether one more line of so many bytes may pass; counts it if not.
    pub(crate) fn admits(&self, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let fits = NonZeroU32::new(bytes)
            .is_none_or(|bytes| matches!(self.bytes.check_n(bytes), Ok(Ok(()))));
        let passes = fits && self.lines.check().is_ok() || without(Part::LogQuota);
        if !passes {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        passes
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn drop_line(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads one pipe until it closes: redacts, then cuts into lines, so that a
/// secret cannot hide across two of them. `stderr` lines are warnings.
pub(crate) fn collect(
    pipe: OwnedFd,
    name: &'static str,
    redactor: &Redactor,
    quota: Arc<LogQuota>,
    lines: mpsc::Sender<v1::Log>,
) {
    let mut redactor = redactor.stream();
    tokio::spawn(async move {
        let Ok(mut receiver) = pipe::Receiver::from_owned_fd(pipe) else {
            return;
        };
        let mut cut = Lines::default();
        let mut chunk = vec![0; CHUNK];
        let send = |line: String| {
            if !line.is_empty()
                && quota.admits(line.len())
                && lines.try_send(log(name, line)).is_err()
            {
                quota.drop_line();
            }
        };
        loop {
            match receiver.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(read) => cut.push(&redactor.push(&chunk[..read]), send),
            }
        }
        cut.push(&redactor.finish(), send);
        cut.push(b"\n", send);
    });
}

fn log(name: &str, message: String) -> v1::Log {
    let level = if name == "stderr" {
        Level::Warn
    } else {
        Level::Info
    };
    v1::Log {
        level: level.into(),
        logger: name.to_owned(),
        message,
        fields_json: String::new(),
    }
}

/// Cuts bytes into lines of at most [`LINE`] bytes.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, bytes: &[u8], send: impl Fn(String)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.0.extend_from_slice(piece);
            while self.0.len() > LINE || self.0.last() == Some(&b'\n') {
                let rest = self.0.split_off(self.0.len().min(LINE));
                let line = std::mem::replace(&mut self.0, rest);
                send(
                    String::from_utf8_lossy(&line)
                        .trim_end_matches(['\n', '\r'])
                        .to_owned(),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn lines_are_whole_however_the_pipe_cuts_them_and_long_ones_are_cut() {
        let seen = RefCell::new(Vec::new());
        let mut lines = Lines::default();
        let send = |line| seen.borrow_mut().push(line);
        lines.push(b"one\ntw", send);
        lines.push(b"o\r\n", send);
        lines.push(&vec![b'x'; LINE + 5], send);
        lines.push(b"\n", send);
        let seen = seen.into_inner();
        assert_eq!(seen[..2], ["one", "two"]);
        assert_eq!((seen[2].len(), seen[3].len()), (LINE, 5));
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let quota = LogQuota::new();
        let passed = (0..10_000).filter(|_| quota.admits(10)).count() as u64;
        assert!(passed < 5_000);
        assert_eq!(quota.dropped(), 10_000 - passed);
    }

    #[test]
    fn few_lines_that_are_large_are_a_flood_too() {
        let quota = LogQuota::new();
        let passed = (0..1_000).filter(|_| quota.admits(64 << 10)).count();
        assert!(passed < 500, "{passed}");
        assert!(!quota.admits(usize::MAX));
    }
}
