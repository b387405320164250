//! Stands in for the cgroup's memory limit: looks at what a worker's processes hold and ends it over the limit.
//!
//! Anonymous and shared memory of every process below the worker, twenty times a second. Orphans of the worker
//! become its children, since it is process 1 of its namespace, so none escapes the walk.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::sys;

const EVERY: Duration = Duration::from_millis(50);

/// Watches until the worker has ended; sets `hit` before it kills.
pub(crate) async fn watch(pid: i32, pidfd: Arc<OwnedFd>, limit: u64, hit: Arc<AtomicBool>) {
    let mut ticks = tokio::time::interval(EVERY);
    while !sys::is_readable(pidfd.as_fd()) {
        ticks.tick().await;
        if memory_bytes(pid) > limit {
            hit.store(true, Ordering::SeqCst);
            let _ = sys::kill(pidfd.as_fd());
        }
    }
}

/// What a process and all below it hold.
pub(crate) fn memory_bytes(pid: i32) -> u64 {
    let mut total = 0;
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        total += of_one(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default());
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

fn of_one(status: &str) -> u64 {
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':')
            .trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .ok()
    };
    ["RssAnon", "RssShmem"]
        .into_iter()
        .filter_map(kilobytes)
        .sum::<u64>()
        * 1024
}

#[cfg(test)]
mod tests {
    use super::of_one;

    #[test]
    fn anonymous_and_shared_memory_count_and_mapped_files_do_not() {
        assert_eq!(
            of_one("RssAnon:\t    100 kB\nRssFile:\t 9000 kB\nRssShmem:\t      4 kB\n"),
            104 * 1024
        );
    }
}
