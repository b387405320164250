//! Watching the policies' directory, so that a saved file takes effect by itself.
//!
//! The directory is watched, not its files: editors and Kubernetes replace files by renaming. Changes are let come to rest
//! first, since a file is often written in several steps; a file caught half-written is refused and read again at the next
//! change.

use crate::gateway::Inner;
use crate::readable::Readable;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The directory must be at rest for this long.
const REST: Duration = Duration::from_millis(150);
/// A directory that never rests is read after this.
const PATIENCE: Duration = Duration::from_millis(500);
// A saved file takes effect within a second, however restless its directory is.
const _: () = assert!(PATIENCE.as_millis() + REST.as_millis() < 1_000);
/// How often a directory that went away is looked for.
const LOST: Duration = Duration::from_secs(1);

/// A directory under watch.
pub(crate) struct Watched {
    path: PathBuf,
    inotify: Inotify,
    /// A second descriptor of the same watch, for the runtime to wait on.
    readable: Readable,
}

impl Watched {
    /// Begins to watch; every change from now on is seen.
    ///
    /// # Errors
    /// The system's error, such as a directory that is not there.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let readable = Readable::new(inotify.as_fd().try_clone_to_owned()?)?;
        let watched = Self {
            path: path.to_owned(),
            inotify,
            readable,
        };
        watched.add()?;
        Ok(watched)
    }

    fn add(&self) -> io::Result<()> {
        let changes = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        self.inotify.add_watch(&self.path, changes)?;
        Ok(())
    }

    /// Waits for changes; true where the watch itself was lost.
    async fn changed(&self) -> io::Result<bool> {
        let events = self
            .readable
            .read(|_| Ok(self.inotify.read_events()?))
            .await?;
        let lost = AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_MOVE_SELF;
        Ok(events.iter().any(|event| event.mask.intersects(lost)))
    }

    /// Waits until the directory has changed and come to rest; true where the watch was lost.
    async fn settled(&self) -> io::Result<bool> {
        let mut lost = self.changed().await?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            match tokio::time::timeout(REST, self.changed()).await {
                Ok(more) => lost |= more?,
                Err(_) => break,
            }
        }
        Ok(lost)
    }
}

/// Reloads after every change, until the gateway is gone.
pub(crate) async fn watch_directory(
    watched: Watched,
    gateway: Weak<Inner>,
    stopped: CancellationToken,
) {
    loop {
        let settled = tokio::select! {
            settled = watched.settled() => settled,
            () = stopped.cancelled() => return,
        };
        match settled {
            Ok(lost) => {
                if !reload(&gateway).await {
                    return;
                }
                if lost && !find_again(&watched, &gateway, &stopped).await {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(%error, path = %watched.path.display(), "policies are no longer watched; reload by hand");
                return;
            }
        }
    }
}

/// A directory that was removed or replaced is watched again when it is there.
async fn find_again(watched: &Watched, gateway: &Weak<Inner>, stopped: &CancellationToken) -> bool {
    while let Err(error) = watched.add() {
        tracing::warn!(%error, path = %watched.path.display(), "the policies' directory is gone; the policies in force stay");
        tokio::select! {
            () = tokio::time::sleep(LOST) => {}
            () = stopped.cancelled() => return false,
        }
    }
    reload(gateway).await
}

/// False where the gateway is gone.
async fn reload(gateway: &Weak<Inner>) -> bool {
    let Some(gateway) = gateway.upgrade() else {
        return false;
    };
    // Reading files may wait for a disk.
    match tokio::task::spawn_blocking(move || gateway.reload()).await {
        Ok(Ok(())) => tracing::info!("policies reloaded"),
        Ok(Err(faults)) => tracing::error!(%faults, "policies refused; the ones in force stay"),
        Err(error) => tracing::error!(%error, "policies could not be reloaded"),
    }
    true
}
