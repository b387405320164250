//! One worker's group, from its making to its removal.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::plan::CgroupPlan;

/// A group that exists. Dropping it removes nothing; [`Cgroup::remove`] does.
#[derive(Debug)]
pub struct Cgroup {
    dirs: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the directories and writes the limits.
    ///
    /// # Errors
    /// When one cannot be made or written; nothing is left behind then.
    pub fn create(plan: &CgroupPlan) -> io::Result<Cgroup> {
        let group = Cgroup {
            dirs: plan.dirs.clone(),
        };
        let made = group.fill(plan);
        if made.is_err() {
            group.remove();
        }
        made.map(|()| group)
    }

    pub(crate) fn existing(dirs: Vec<PathBuf>) -> Cgroup {
        Cgroup { dirs }
    }

    fn fill(&self, plan: &CgroupPlan) -> io::Result<()> {
        let named = |path: &Path, e: io::Error| {
            io::Error::new(e.kind(), format!("{}: {e}", path.display()))
        };
        for dir in &self.dirs {
            fs::create_dir(dir).map_err(|e| named(dir, e))?;
        }
        for value in &plan.values {
            match fs::write(&value.file, &value.value) {
                Err(e) if value.required => return Err(named(&value.file, e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Was any process of the group killed for want of memory?
    pub fn oom_killed(&self) -> bool {
        self.counter("memory.events", "oom_kill") > 0
            || self.counter("memory.oom_control", "oom_kill") > 0
    }

    /// Was a process or thread refused by the limit?
    pub fn pids_limit_hit(&self) -> bool {
        self.counter("pids.events", "max") > 0
    }

    /// Processor time of all its processes, ended ones included.
    pub fn cpu_seconds(&self) -> Option<f64> {
        let v2 = self
            .read("cpu.stat")
            .is_some_and(|text| text.contains("usage_usec"));
        if v2 {
            return Some(self.counter("cpu.stat", "usage_usec") as f64 / 1e6);
        }
        Some(self.read("cpuacct.usage")?.trim().parse::<f64>().ok()? / 1e9)
    }

    /// Time for which its processes were held back because the group had used its share of the processors.
    pub fn cpu_throttled_seconds(&self) -> f64 {
        // v2 counts microseconds, v1 nanoseconds.
        self.counter("cpu.stat", "throttled_usec") as f64 / 1e6
            + self.counter("cpu.stat", "throttled_time") as f64 / 1e9
    }

    /// The most memory that was ever in use, with page cache. v2 tells since Linux 5.19.
    pub fn memory_peak_bytes(&self) -> Option<u64> {
        ["memory.peak", "memory.max_usage_in_bytes"]
            .iter()
            .find_map(|file| self.read(file)?.trim().parse().ok())
    }

    /// Memory in use now, with page cache.
    pub fn memory_bytes(&self) -> Option<u64> {
        ["memory.current", "memory.usage_in_bytes"]
            .iter()
            .find_map(|file| self.read(file)?.trim().parse().ok())
    }

    /// Tells when the group runs out of memory: v1 alone, which has no oom.group, so that the whole worker can be
    /// killed when one of its processes was.
    pub fn oom_event(&self) -> Option<OwnedFd> {
        let dir = self
            .dirs
            .iter()
            .find(|dir| dir.join("memory.oom_control").exists())?;
        let control = fs::File::open(dir.join("memory.oom_control")).ok()?;
        let flags =
            nix::sys::eventfd::EfdFlags::EFD_CLOEXEC | nix::sys::eventfd::EfdFlags::EFD_NONBLOCK;
        let event: OwnedFd = nix::sys::eventfd::EventFd::from_flags(flags).ok()?.into();
        let registration = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
        fs::write(dir.join("cgroup.event_control"), registration).ok()?;
        Some(event)
    }

    /// The processes in it.
    pub fn processes(&self) -> Vec<i32> {
        let read = |dir: &PathBuf| fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        let mut all: Vec<i32> = self
            .dirs
            .iter()
            .flat_map(|dir| {
                read(dir)
                    .lines()
                    .filter_map(|l| l.parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Sends SIGKILL to everything in it.
    pub fn kill(&self) {
        // v2 kills a group whole, also what is being forked; v1 is told process by process.
        let whole = |dir: &PathBuf| fs::write(dir.join("cgroup.kill"), "1").is_ok();
        if self.dirs.iter().all(whole) {
            return;
        }
        for pid in self.processes() {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }

    /// Removes the directories, waiting a little for the kernel to let go of processes that just ended. Returns
    /// whether all are gone.
    pub fn remove(&self) -> bool {
        let until = Instant::now() + Duration::from_millis(500);
        loop {
            let left = self
                .dirs
                .iter()
                .filter(|dir| fs::remove_dir(dir).is_err() && dir.exists())
                .count();
            if left == 0 {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn read(&self, file: &str) -> Option<String> {
        self.dirs
            .iter()
            .find_map(|dir| fs::read_to_string(dir.join(file)).ok())
    }

    /// A line `name value` of a file; 0 when there is none.
    fn counter(&self, file: &str, name: &str) -> u64 {
        let text = self.read(file).unwrap_or_default();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or(0)
    }
}
