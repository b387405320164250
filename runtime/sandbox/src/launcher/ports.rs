//! Further listeners for a living worker, by a helper that joins its namespaces.
//!
//! Joining a user namespace needs a single-threaded process with the ids of its maker: neither a rootless nor a
//! threaded daemon can. The helper is a fork that opens, hands over and ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::{Kept, protocol};
use crate::enforce::network::{self, SocketKind};
use crate::plan::MAX_PORTS;
use crate::sys::{self, Side};

/// What the helper answers.
type Answer = Result<Vec<SocketKind>, String>;

pub(super) fn open(
    kept: &mut Kept,
    wanted: &[u16],
) -> Result<(Vec<SocketKind>, Vec<OwnedFd>), String> {
    let ports: Vec<u16> = wanted
        .iter()
        .copied()
        .filter(|port| !kept.ports.contains(port))
        .collect();
    if kept.ports.len() + ports.len() > MAX_PORTS {
        return Err(format!(
            "the worker would listen on {} ports, at most {MAX_PORTS} are possible",
            kept.ports.len() + ports.len()
        ));
    }
    let text = |e: io::Error| format!("opening further ports: {e}");
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .map_err(|e| text(e.into()))?;
    match sys::clone(0, libc::SIGCHLD).map_err(text)? {
        Side::Made => {
            drop(ours);
            let opened = join(kept).and_then(|()| {
                network::tcp_listeners(&ports, network::has_v6())
                    .map_err(|(what, e)| io::Error::new(e.kind(), format!("{what}: {e}")))
            });
            let answer: Answer = opened
                .as_ref()
                .map(|sockets| sockets.list())
                .map_err(ToString::to_string);
            let fds = opened
                .as_ref()
                .map(|sockets| sockets.fds())
                .unwrap_or_default();
            let _ = protocol::send(theirs.as_fd(), &answer, &fds);
            sys::exit(0)
        }
        Side::Maker { pidfd, .. } => {
            drop(theirs);
            let heard = sys::receive(ours.as_fd());
            sys::reap(pidfd.as_fd(), true).map_err(text)?;
            let (bytes, fds) = heard.map_err(text)?;
            let list = serde_json::from_slice::<Answer>(&bytes).map_err(|e| e.to_string())??;
            kept.ports.extend(&ports);
            if let Some(watch) = &kept.watch {
                network::attach_watch_filter(watch.as_fd(), &kept.ports).map_err(text)?;
            }
            Ok((list, fds))
        }
    }
}

fn join(kept: &Kept) -> io::Result<()> {
    setns(&kept.user, CloneFlags::CLONE_NEWUSER)?;
    setns(&kept.net, CloneFlags::CLONE_NEWNET)?;
    Ok(())
}
