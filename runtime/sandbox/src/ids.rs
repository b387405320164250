//! One id per worker, out of the configured range: no two living workers of this host share one, of whichever
//! instance they are.

use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::Flock;

use crate::instance::{host_dir, try_lock};
use crate::plan::OuterIds;
use crate::{LaunchError, Layer};

/// Hands out ids.
#[derive(Debug)]
pub(crate) enum Ids {
    /// A privileged daemon: any id of the range.
    Range { range: Range<u32>, next: AtomicU32 },
    /// An ordinary user: itself.
    Own,
}

/// An id in use; free again when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) outer: OuterIds,
    _lock: Option<Flock<File>>,
}

impl Ids {
    pub(crate) fn new(range: Range<u32>, privileged: bool) -> Result<Ids, LaunchError> {
        if privileged {
            if range.is_empty() || range.contains(&0) || range.contains(&u32::MAX) {
                return Err(LaunchError::NoFreeId(format!("{range:?}")));
            }
            return Ok(Ids::Range {
                next: AtomicU32::new(range.start),
                range,
            });
        }
        if nix::unistd::geteuid().is_root() {
            return Err(LaunchError::MissingLayer {
                layer: Layer::Identity,
                detail: "uid 0 without CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID can map a worker only to uid 0".into(),
                mend: "start the daemon as an ordinary user, or give it these capabilities".into(),
            });
        }
        Ok(Ids::Own)
    }

    pub(crate) fn lease(&self) -> Result<Lease, LaunchError> {
        let Ids::Range { range, next } = self else {
            let outer = OuterIds {
                uid: nix::unistd::geteuid().as_raw(),
                gid: nix::unistd::getegid().as_raw(),
                privileged: false,
            };
            return Ok(Lease { outer, _lock: None });
        };
        let dir = host_dir()?.join("ids");
        std::fs::create_dir_all(&dir).map_err(|e| LaunchError::io(dir.display().to_string(), e))?;
        let size = range.end - range.start;
        for _ in 0..size {
            let id = range.start
                + next
                    .fetch_add(1, Ordering::Relaxed)
                    .wrapping_sub(range.start)
                    % size;
            if let Some(lock) = try_lock(&dir.join(id.to_string()))? {
                let outer = OuterIds {
                    uid: id,
                    gid: id,
                    privileged: true,
                };
                return Ok(Lease {
                    outer,
                    _lock: Some(lock),
                });
            }
        }
        Err(LaunchError::NoFreeId(format!("{range:?}")))
    }
}
