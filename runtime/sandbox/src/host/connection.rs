//! The launcher process and the socket to it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::launcher::PARENT_VARIABLE;
use crate::launcher::protocol::{self, Reply, Request};
use crate::{LaunchError, sys};

/// A running launcher. Dropping it closes the socket, upon which the launcher ends; workers live on.
pub(super) struct Connection {
    control: AsyncFd<OwnedFd>,
    child: Option<Child>,
}

impl Connection {
    pub(super) async fn start(exe: &Path) -> Result<Connection, LaunchError> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
            .map_err(|e| LaunchError::io("a socket pair for the launcher", e))?;
        // The launcher waits on its end.
        nix::fcntl::fcntl(
            &theirs,
            nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()),
        )
        .map_err(|e| LaunchError::io("a blocking socket for the launcher", e))?;
        let child = spawn_from_lasting_thread(exe.to_owned(), theirs).await?;
        let control = sys::readable(ours)
            .map_err(|e| LaunchError::io("watching the launcher's socket", e))?;
        Ok(Connection {
            control,
            child: Some(child),
        })
    }

    pub(super) fn has_ended(&self) -> bool {
        use nix::sys::socket::{MsgFlags, recv};
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        !matches!(
            recv(self.control.get_ref().as_raw_fd(), &mut [0], flags),
            Err(nix::Error::EAGAIN)
        )
    }

    pub(super) async fn ask(
        &self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Reply, Vec<OwnedFd>), LaunchError> {
        let gone = |e: std::io::Error| LaunchError::LauncherGone(e.to_string());
        protocol::send(self.control.get_ref().as_fd(), request, fds).map_err(gone)?;
        let (bytes, fds) = self
            .control
            .async_io(Interest::READABLE, |socket| sys::receive(socket.as_fd()))
            .await
            .map_err(gone)?;
        if bytes.is_empty() {
            return Err(LaunchError::LauncherGone("it closed its socket".into()));
        }
        let reply =
            serde_json::from_slice(&bytes).map_err(|e| LaunchError::LauncherGone(e.to_string()))?;
        Ok((reply, fds))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // It ends when the socket closes, right after this; somebody must reap it.
        std::thread::spawn(move || child.wait());
    }
}

struct Order {
    exe: PathBuf,
    control: OwnedFd,
    answer: tokio::sync::oneshot::Sender<std::io::Result<Child>>,
}

/// The death signal of launcher and workers follows the *thread* that started the launcher. So one thread starts
/// every launcher of this process and never ends before it.
async fn spawn_from_lasting_thread(exe: PathBuf, control: OwnedFd) -> Result<Child, LaunchError> {
    static THREAD: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let orders = THREAD.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        let spawned = std::thread::Builder::new()
            .name("caisson-launcher".into())
            .spawn(move || {
                while let Ok(Order {
                    exe,
                    control,
                    answer,
                }) = taken.recv()
                {
                    let _ = answer.send(spawn(&exe, control));
                }
            });
        drop(spawned);
        orders
    });
    let what = "starting the launcher";
    let (answer, answered) = tokio::sync::oneshot::channel();
    orders
        .send(Order {
            exe,
            control,
            answer,
        })
        .map_err(|_| LaunchError::io(what, std::io::Error::other("its thread is gone")))?;
    let child = answered
        .await
        .map_err(|_| LaunchError::io(what, std::io::Error::other("its thread is gone")))?;
    child.map_err(|e| LaunchError::io(what, e))
}

fn spawn(exe: &Path, control: OwnedFd) -> std::io::Result<Child> {
    Command::new(exe)
        .arg("launcher")
        .env_clear()
        .env(PARENT_VARIABLE, std::process::id().to_string())
        .envs(caisson_without::handed_on())
        .current_dir("/")
        .stdin(Stdio::from(control))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
}
