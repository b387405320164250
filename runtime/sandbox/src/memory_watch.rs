//! Stands in for the cgroup's memory limit: looks at what a worker's processes hold and ends it over the limit.
//!
//! Twenty times a second, of every process below the worker: anonymous memory, swapped or not; shared anonymous
//! mappings by their size, because their pages stay when nobody has them resident; and what lies in the worker's
//! tmpfs, mapped or not. Orphans of the worker become its children, since it is process 1 of its namespace, so
//! none escapes the walk. Not seen, and the cgroup's to see: buffers of pipes and sockets, and pages of a shared
//! mapping of which all but a part was unmapped again between two looks.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use crate::sys;

const EVERY: Duration = Duration::from_millis(50);

/// Watches until the worker has ended; sets `hit` before it kills.
pub(crate) async fn watch(pid: i32, pidfd: Arc<OwnedFd>, limit: u64, hit: Arc<AtomicBool>) {
    let mut ticks = tokio::time::interval(EVERY);
    let mut shared = Shared::default();
    while !sys::is_readable(pidfd.as_fd()) {
        ticks.tick().await;
        // Looked at again: the number may have gone to another process meanwhile.
        if held(pid, &mut shared) > limit && !sys::is_readable(pidfd.as_fd()) {
            hit.store(true, Ordering::SeqCst);
            let _ = sys::kill(pidfd.as_fd());
        }
    }
}

/// What a process and all below it hold.
pub(crate) fn memory_bytes(pid: i32) -> u64 {
    held(pid, &mut Shared::default())
}

fn held(worker: i32, shared: &mut Shared) -> u64 {
    let mut total = tmpfs_bytes(worker);
    let mut open = vec![worker];
    while let Some(pid) = open.pop() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        total += kilobytes(&status, &["RssAnon", "VmSwap"]);
        match fs::read_to_string(format!("/proc/{pid}/maps")) {
            Ok(maps) => shared.look(&maps),
            // Of a process that may not be looked into, what is resident must do.
            Err(_) => total += kilobytes(&status, &["RssShmem"]),
        }
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
    total + shared.settle()
}

/// What lies in the worker's own file systems.
fn tmpfs_bytes(worker: i32) -> u64 {
    ["tmp", "dev/shm"]
        .into_iter()
        .filter_map(|name| statvfs(format!("/proc/{worker}/root/{name}").as_str()).ok())
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

/// Shared anonymous memory by inode: one mapping in many processes counts once, and for as long as a part of it
/// is mapped it counts as large as it was ever seen, since its pages go with the last part only.
#[derive(Default)]
struct Shared(HashMap<u64, Seen>);

#[derive(Default)]
struct Seen {
    bytes: u64,
    now: bool,
}

impl Shared {
    fn look(&mut self, maps: &str) {
        for (inode, bytes) in maps.lines().filter_map(shared_anonymous) {
            let seen = self.0.entry(inode).or_default();
            seen.bytes = seen.bytes.max(bytes);
            seen.now = true;
        }
    }

    /// The sum, after one round of looking; forgets what nobody maps any more.
    fn settle(&mut self) -> u64 {
        self.0.retain(|_, seen| std::mem::take(&mut seen.now));
        self.0.values().map(|seen| seen.bytes).sum()
    }
}

/// Inode and least size of the object behind a line of proc_pid_maps(5), when it is shared anonymous memory.
fn shared_anonymous(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let (mode, offset, _device, inode) =
        (words.next()?, words.next()?, words.next()?, words.next()?);
    let name: Vec<&str> = words.collect();
    // A file of that name in a granted directory ends in no "(deleted)" while it is there, and counting one that
    // was removed harms nobody but the worker.
    let is_anonymous = matches!(name[..], [] | ["/dev/zero", "(deleted)"])
        || name[0].starts_with("[anon_shmem:")
        || name[0].starts_with("/SYSV");
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    (mode.ends_with('s') && is_anonymous)
        .then(|| Some((inode.parse().ok()?, hex(offset)? + hex(to)? - hex(from)?)))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_and_swapped_memory_count_and_mapped_files_do_not() {
        let status = "RssAnon:\t    100 kB\nRssFile:\t 9000 kB\nVmSwap:\t      4 kB\n";
        assert_eq!(kilobytes(status, &["RssAnon", "VmSwap"]), 104 * 1024);
    }

    #[test]
    fn shared_anonymous_mappings_count_once_and_stay_as_large_as_they_were() {
        let whole = "7f0000000000-7f0000100000 rw-s 00000000 00:01 77   /dev/zero (deleted)\n\
                     7f0000200000-7f0000300000 rw-p 00000000 00:00 0\n\
                     7f0000400000-7f0000500000 rw-s 00000000 08:01 9    /srv/lake/file\n";
        let part = "7f0000000000-7f0000001000 rw-s 00000000 00:01 77   /dev/zero (deleted)\n";
        let named = "7f0000000000-7f0000001000 rw-s 00001000 00:01 78   [anon_shmem:x] (deleted)\n";
        let mut shared = Shared::default();
        shared.look(whole);
        shared.look(whole);
        assert_eq!(shared.settle(), 1 << 20);
        shared.look(part);
        shared.look(named);
        assert_eq!(shared.settle(), (1 << 20) + 8192);
        assert_eq!(shared.settle(), 0);
    }
}
