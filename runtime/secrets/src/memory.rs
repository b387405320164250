//! Memory for secrets: pages of their own that no core file holds, no forked process gets, and that stay in memory where
//! the system allows it.
//!
//! One mapping for each text, so that nothing else shares its pages and nothing has to be allotted in them: a call has a few
//! secrets, and a mapping takes some microseconds (docs/decisions/secret-memory.md).

use std::ops::Deref;
use std::sync::Once;

use memmap2::{Advice, MmapMut};
use zeroize::Zeroize;

/// Bytes that nobody writes once they are here, and that are wiped when dropped.
pub(crate) struct Memory(MmapMut);

impl Memory {
    /// Copies the parts, one behind the other. What they are copied from is the caller's to wipe.
    ///
    /// # Panics
    /// Where there is no memory left, as every allocation does.
    pub(crate) fn of<'p>(parts: impl IntoIterator<Item = &'p [u8]> + Clone) -> Memory {
        let bytes = parts.clone().into_iter().map(<[u8]>::len).sum();
        let mut map = MmapMut::map_anon(bytes).expect("memory for a secret");
        // Before anything is written. A process with as many mappings as it may have cannot have one told apart.
        for advice in [Advice::DontDump, Advice::DontFork] {
            if let Err(cause) = map.advise(advice) {
                tracing::warn!(%cause, ?advice, "memory of a secret is like any other; raise vm.max_map_count");
            }
        }
        if let Err(cause) = map.lock() {
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::debug!(%cause, "secrets may be swapped out; raise RLIMIT_MEMLOCK to keep them in memory");
            });
        }
        let mut rest = &mut map[..];
        for part in parts {
            let (place, behind) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = behind;
        }
        Memory(map)
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    use super::*;

    /// What /proc/self/smaps says of the mapping with this address.
    fn flags(address: usize) -> String {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let bounds = line.split(' ').next().and_then(|word| word.split_once('-'));
            if let Some((start, end)) = bounds
                && let (Ok(start), Ok(end)) = (
                    usize::from_str_radix(start, 16),
                    usize::from_str_radix(end, 16),
                )
            {
                inside = (start..end).contains(&address);
            } else if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
                return format!("{} ", flags.trim());
            }
        }
        panic!("nothing is mapped at {address:#x}");
    }

    #[test]
    fn pages_of_a_secret_are_kept_from_cores_and_forks() {
        let memory = Memory::of([&b"hunter2"[..], b"", b"-hunter2"]);
        assert_eq!(&memory[..], b"hunter2-hunter2");
        let flags = flags(memory.as_ptr() as usize);
        assert!(flags.contains("dd ") && flags.contains("dc "), "{flags}");
        let heap = Box::new(7);
        let others = super::tests::flags(&raw const *heap as usize);
        assert!(!others.contains("dd "), "the control: {others}");
        assert!(Memory::of([]).is_empty());
    }

    #[test]
    fn what_was_dropped_is_gone() {
        let value = b"a secret that is dropped 5d1b";
        let memory = Memory::of([&value[..]]);
        let place = memory.as_ptr() as u64;
        let now = || {
            let mut seen = [0; 29];
            let process = File::open("/proc/self/mem").unwrap();
            process.read_exact_at(&mut seen, place).map(|()| seen).ok()
        };
        assert_eq!(now().as_ref(), Some(value), "the control");
        drop(memory);
        assert_ne!(now().as_ref(), Some(value));
    }

    #[test]
    fn a_core_file_holds_no_secret() {
        const CHILD: &str = "CAISSON_TEST_ABORTS";
        // Put together here, so that neither text stands in the program.
        let text = |what: &str| ["9f3c", what, "in a process that aborts", "4e7d"].join("-");
        if std::env::var_os(CHILD).is_some() {
            let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
            setrlimit(Resource::RLIMIT_CORE, hard, hard).unwrap();
            let mut secret = text("secret").into_bytes();
            let memory = Memory::of([&secret[..]]);
            secret.zeroize();
            let control = std::hint::black_box(text("control"));
            assert_ne!(&memory[..], control.as_bytes());
            std::process::abort();
        }
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
        if pattern.starts_with('|') || pattern.contains('/') {
            eprintln!(
                "cores go elsewhere ({}): only flags say that these pages are left out",
                pattern.trim()
            );
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let name = "memory::tests::a_core_file_holds_no_secret";
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--test-threads=1"])
            .env(CHILD, "1")
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(ended.status.core_dumped(), "{ended:?}");
        let core = fs::read_dir(folder.path()).unwrap().next().unwrap();
        let core = fs::read(core.unwrap().path()).unwrap();
        let holds = |what: &str| memchr::memmem::find(&core, text(what).as_bytes()).is_some();
        assert!(holds("control"), "the control must be in the core");
        assert!(!holds("secret"));
    }
}
