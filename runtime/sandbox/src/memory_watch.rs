//! Stands in for the cgroup's memory limit: looks at what a worker's processes hold and ends it over the limit.
//!
//! Twenty times a second, of every process below the worker: anonymous memory, swapped or not, and page tables;
//! and what lies in the worker's tmpfs, mapped or not. Orphans of the worker become its children, since it is
//! process 1 of its namespace, so none escapes the walk. Pages that a fork shares count once, which is looked into
//! only where the simple sum is over the limit, for it takes longer. Memory that is shared without a file would be nobody's
//! once it is unmapped in part; a worker without a cgroup cannot have any (`shared_memory.rs`). Not seen, and the
//! cgroup's to see: buffers of pipes and sockets, and what is taken and let go of between two looks.
//!
//! A thread of its own: a worker decides how long a look takes, and nothing else may wait for that.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::statvfs::statvfs;

use crate::sys;

const EVERY_MS: u16 = 50;

/// What is known of a worker's memory, by whoever watches it.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// It was ended for want of memory.
    pub(crate) exhausted: AtomicBool,
    /// The most that was seen, in bytes.
    pub(crate) peak: AtomicU64,
}

/// Watches until the worker has ended; says so in `watched` before it kills.
pub(crate) fn start(
    pid: i32,
    pidfd: Arc<OwnedFd>,
    limit: u64,
    watched: Arc<Watched>,
) -> io::Result<()> {
    std::thread::Builder::new()
        .name("caisson-memory".into())
        .stack_size(128 << 10)
        .spawn(move || watch(pid, &pidfd, limit, &watched))
        .map(drop)
}

fn watch(pid: i32, pidfd: &OwnedFd, limit: u64, watched: &Watched) {
    loop {
        let mut held = memory_bytes(pid);
        if held > limit {
            held = sum(pid, proportional_bytes);
        }
        // Looked at again: the number may have gone to another process meanwhile.
        if sys::is_readable(pidfd.as_fd()) {
            return;
        }
        watched.peak.fetch_max(held, Ordering::SeqCst);
        if held > limit {
            watched.exhausted.store(true, Ordering::SeqCst);
            let _ = sys::kill(pidfd.as_fd());
        }
        let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut ended, PollTimeout::from(EVERY_MS));
    }
}

/// What a process and all below it hold, at most: pages that they share count for each of them.
pub(crate) fn memory_bytes(worker: i32) -> u64 {
    sum(worker, resident_bytes)
}

fn sum(worker: i32, of: fn(i32) -> u64) -> u64 {
    let mut total = tmpfs_bytes(worker);
    let mut open = vec![worker];
    while let Some(pid) = open.pop() {
        total += of(pid);
        let tasks = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            open.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<i32>().ok()),
            );
        }
    }
    total
}

/// A directory of /proc that tells of a process's memory: the process's own, or that of a living thread where the first
/// one has ended and its entry is empty.
fn entry(pid: i32) -> Option<PathBuf> {
    let has_memory = |dir: &PathBuf| status(dir).contains("RssAnon:");
    let own = PathBuf::from(format!("/proc/{pid}"));
    if has_memory(&own) {
        return Some(own);
    }
    let tasks = fs::read_dir(own.join("task")).into_iter().flatten();
    tasks.flatten().map(|task| task.path()).find(has_memory)
}

fn status(dir: &Path) -> String {
    fs::read_to_string(dir.join("status")).unwrap_or_default()
}

/// Own pages and page tables, from proc_pid_status(5).
fn resident_bytes(pid: i32) -> u64 {
    entry(pid).map_or(0, |dir| {
        kilobytes(&status(&dir), &["RssAnon", "VmSwap", "VmPTE"])
    })
}

/// The same with a page that n processes share as an n-th of it, from proc_pid_smaps_rollup(5).
fn proportional_bytes(pid: i32) -> u64 {
    let Some(dir) = entry(pid) else { return 0 };
    match fs::read_to_string(dir.join("smaps_rollup")) {
        Ok(rollup) if rollup.contains("Pss_Anon:") => {
            kilobytes(&rollup, &["Pss_Anon", "SwapPss"]) + kilobytes(&status(&dir), &["VmPTE"])
        }
        // It may have ended, or may not be looked into.
        _ => resident_bytes(pid),
    }
}

/// What lies in the worker's own file systems.
fn tmpfs_bytes(worker: i32) -> u64 {
    let root = entry(worker).map(|dir| dir.join("root"));
    root.iter()
        .flat_map(|root| ["tmp", "dev/shm"].map(|name| root.join(name)))
        .filter_map(|dir| statvfs(&dir).ok())
        .map(|found| (found.blocks() - found.blocks_free()) * found.fragment_size())
        .sum()
}

fn kilobytes(status: &str, names: &[&str]) -> u64 {
    let one = |name: &&str| {
        let line = status.lines().find_map(|line| line.strip_prefix(*name))?;
        line.trim_start_matches(':')
            .trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .ok()
    };
    names.iter().filter_map(one).sum::<u64>() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_first_thread_ended_still_has_its_memory() {
        let fork = "import ctypes, threading, time; held = b'x' * (64 << 20); \
                    threading.Thread(target=time.sleep, args=(60,)).start(); print('there', flush=True); \
                    ctypes.CDLL(None).syscall(60, 0)";
        let mut child = std::process::Command::new("/usr/bin/python3")
            .args(["-I", "-S", "-c", fork])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("python3");
        let pid = child.id().cast_signed();
        let zombie = || status(Path::new(&format!("/proc/{pid}"))).contains("Z (zombie)");
        while !zombie() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let held = [resident_bytes(pid), proportional_bytes(pid)];
        child.kill().expect("killed");
        child.wait().expect("an end");
        assert!(held.iter().all(|&held| held >= 64 << 20), "{held:?}");
    }

    #[test]
    fn anonymous_and_swapped_memory_count_and_mapped_files_do_not() {
        let status = "RssAnon:\t    100 kB\nRssFile:\t 9000 kB\nVmSwap:\t      4 kB\n";
        assert_eq!(kilobytes(status, &["RssAnon", "VmSwap"]), 104 * 1024);
        let rollup = "Rss:  900 kB\nPss_Anon:   50 kB\nPss_File: 7 kB\nSwapPss:  1 kB\n";
        assert_eq!(kilobytes(rollup, &["Pss_Anon", "SwapPss"]), 51 * 1024);
    }
}
