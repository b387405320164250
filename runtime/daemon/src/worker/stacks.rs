//! Where the threads of a worker stand when it stalls or runs out of time.
//!
//! A worker that is asked writes its stacks to a pipe of their own. It runs somebody else's code, so they are a text
//! like any other of its texts: bounded, redacted, and waited for only so long; a worker that tells nothing ends all
//! the same.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use caisson_sandbox::Process;
use caisson_secrets::Redactor;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What a stalled worker gets to tell its stacks; one with a deadline has its grace.
const PATIENCE: Duration = Duration::from_millis(500);
/// For the end of the pipe, once the worker is dead.
const END: Duration = Duration::from_secs(1);
/// Most that is passed on, in bytes.
const TEXT: usize = 64 << 10;
/// Read from the pipe at once.
const CHUNK: usize = 16 << 10;

/// The stacks of one worker, once it was asked for them.
pub(super) struct Stacks {
    pipe: Option<OwnedFd>,
    redactor: Arc<Redactor>,
    reading: Option<JoinHandle<String>>,
}

impl Stacks {
    pub(super) fn new(pipe: OwnedFd, redactor: Arc<Redactor>) -> Self {
        Self {
            pipe: Some(pipe),
            redactor,
            reading: None,
        }
    }

    /// Asks the worker; once. What it answers is read beside everything else.
    pub(super) fn ask(&mut self, process: &Process) {
        if let Some(pipe) = self.pipe.take() {
            self.reading = Some(tokio::spawn(read(pipe, self.redactor.clone())));
            process.ask_for_stacks();
        }
    }

    /// Gives a worker that was asked the time to answer.
    pub(super) async fn wait(&mut self) {
        if let Some(reading) = &mut self.reading
            && let Ok(told) = timeout(PATIENCE, &mut *reading).await
        {
            // It ended meanwhile.
            let told = told.unwrap_or_default();
            *reading = tokio::spawn(async { told });
        }
    }

    /// What a dead worker told; nothing if it was not asked.
    pub(super) async fn told(&mut self) -> String {
        match self.reading.take() {
            None => String::new(),
            Some(reading) => match timeout(END, reading).await {
                Ok(Ok(told)) => told,
                _ => String::new(),
            },
        }
    }
}

/// Everything up to the end of the pipe, redacted; what is over the limit is read too, so that nobody waits for room.
async fn read(pipe: OwnedFd, redactor: Arc<Redactor>) -> String {
    let Ok(mut receiver) = pipe::Receiver::from_owned_fd(pipe) else {
        return String::new();
    };
    let mut stream = redactor.stream();
    let (mut text, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    loop {
        match receiver.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) if text.len() <= TEXT => text.extend(stream.push(&chunk[..read])),
            Ok(_) => {}
        }
    }
    if text.len() <= TEXT {
        text.extend(stream.finish());
    }
    cut(&text)
}

fn cut(text: &[u8]) -> String {
    if text.len() <= TEXT {
        return String::from_utf8_lossy(text).trim().to_owned();
    }
    let kept = &text[..TEXT];
    let end = kept.iter().rposition(|byte| *byte == b'\n').unwrap_or(TEXT);
    let kept = String::from_utf8_lossy(&kept[..end]);
    format!("{}\n… (more)", kept.trim())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    async fn passed_on(write: impl FnOnce(&mut std::fs::File) + Send + 'static) -> String {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let writer = std::thread::spawn(move || write(&mut std::fs::File::from(writer)));
        let secret = caisson_secrets::SecretValue::new("canary-7");
        let redactor = Redactor::new([("key", &secret)]);
        let told = read(reader, Arc::new(redactor)).await;
        writer.join().unwrap();
        told
    }

    #[tokio::test]
    async fn a_secret_in_a_name_is_redacted_also_where_it_comes_in_two_parts() {
        let told = passed_on(|pipe| {
            pipe.write_all(b"  File \"a.py\", line 1 in load_can")
                .unwrap();
            pipe.write_all(b"ary-7\n").unwrap();
        });
        let told = told.await;
        assert!(
            told.contains("line 1 in load_") && !told.contains("canary"),
            "{told}"
        );
    }

    #[tokio::test]
    async fn a_flood_is_read_to_its_end_and_cut_at_a_line_without_the_start_of_a_secret() {
        let told = passed_on(|pipe| {
            for _ in 0..100_000 {
                pipe.write_all(b"  File \"a.py\", line 1 in canary-7\n")
                    .unwrap();
            }
        });
        let told = told.await;
        assert!(
            told.len() <= TEXT + 16 && told.ends_with("… (more)"),
            "{}",
            told.len()
        );
        assert!(!told.contains("cana"));
    }
}
