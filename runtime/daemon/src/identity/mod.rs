//! Who calls. Every request is authenticated before a service sees it, and a
//! service reaches a workspace only through its caller (`access`).
//!
//! On the Unix socket the kernel says who it is (SO_PEERCRED, unix(7)): root,
//! the daemon's own user, and users that the configuration names. On TCP it is
//! a client certificate, or a key out of the file of keys.

mod access;
mod certificate;
mod folder;
mod key;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use nix::unistd::geteuid;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Status};

pub use access::Access;
pub(crate) use access::{Workspace, is_name};
pub(crate) use certificate::fingerprint;
pub use certificate::{Client, ClientId};
pub(crate) use folder::Folder;
pub use key::Key;

/// The caller of a request; slots and calls are counted per tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) tenant: Arc<str>,
    known: Known,
    access: Access,
}

/// What a caller is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// A user of this host.
    User(u32),
    /// The name of a key.
    Key(Arc<str>),
    /// A name for client certificates.
    Client(Arc<str>),
    /// The SHA-256 of a client certificate that has no name.
    Certificate(Arc<str>),
    /// Not authenticated, which does not happen.
    Nobody,
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "user {uid}"),
            Self::Key(name) => write!(f, "key `{name}`"),
            Self::Client(name) => write!(f, "client `{name}`"),
            Self::Certificate(sha256) => write!(f, "the client certificate {sha256}"),
            Self::Nobody => f.write_str("a caller without identity"),
        }
    }
}

impl Caller {
    fn new(known: Known, access: Access) -> Self {
        let tenant = match &known {
            Known::User(uid) => format!("uid:{uid}"),
            Known::Key(name) => format!("key:{name}"),
            Known::Client(name) => format!("client:{name}"),
            Known::Certificate(sha256) => format!("certificate:{sha256}"),
            Known::Nobody => "unknown".to_owned(),
        };
        Self {
            tenant: tenant.into(),
            known,
            access,
        }
    }
}

/// Who may call.
#[derive(Debug, Clone)]
pub(crate) enum Authenticator {
    /// Users of this host.
    Peers(BTreeMap<u32, Access>),
    /// TCP: whoever holds a key; a client certificate was checked by TLS.
    Tcp {
        keys: Vec<Key>,
        /// Where certificates are asked for: what they may do.
        clients: Option<Vec<Client>>,
    },
}

impl Authenticator {
    /// Users of this host: root and the daemon's own are operators.
    pub(crate) fn peers(users: &BTreeMap<u32, Access>) -> Self {
        let mut users = users.clone();
        for operator in [0, geteuid().as_raw()] {
            users.insert(operator, Access::Operator);
        }
        Self::Peers(users)
    }

    /// Puts a [`Caller`] into the request, or refuses it.
    pub(crate) fn authenticate(&self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let caller = match self {
            Self::Peers(users) => peer(&request, users)?,
            Self::Tcp { keys, clients } => remote(&request, keys, clients.as_deref())?,
        };
        request.extensions_mut().insert(caller);
        Ok(request)
    }
}

fn peer(request: &Request<()>, users: &BTreeMap<u32, Access>) -> Result<Caller, Status> {
    let uid = request
        .extensions()
        .get::<UdsConnectInfo>()
        .and_then(|info| info.peer_cred)
        .map(|credentials| credentials.uid())
        .ok_or_else(|| Status::unauthenticated("the kernel did not say who is calling"))?;
    match users.get(&uid) {
        Some(access) => Ok(Caller::new(Known::User(uid), access.clone())),
        None => Err(Status::permission_denied(format!(
            "user {uid} may not call this daemon; add it to listen.users"
        ))),
    }
}

fn remote(
    request: &Request<()>,
    keys: &[Key],
    clients: Option<&[Client]>,
) -> Result<Caller, Status> {
    if let Some(caller) = key::caller(request, keys)? {
        return Ok(caller);
    }
    clients
        .and_then(|clients| certificate::caller(request, clients))
        .ok_or_else(|| {
            Status::unauthenticated(
                "send `authorization: Bearer KEY` with a key of the daemon's file of keys",
            )
        })
}

/// The caller that the authenticator put there.
pub(crate) fn caller<T>(request: &Request<T>) -> Caller {
    request
        .extensions()
        .get::<Caller>()
        .cloned()
        .unwrap_or_else(|| Caller::new(Known::Nobody, Access::nothing()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_whom_the_kernel_does_not_name_is_refused() {
        let door = Authenticator::peers(&BTreeMap::new());
        assert!(door.authenticate(Request::new(())).is_err());
    }

    #[test]
    fn a_request_that_nobody_authenticated_may_do_nothing() {
        let caller = caller(&Request::new(()));
        assert!(caller.workspace("").is_err() && caller.publishes().is_err());
    }
}
