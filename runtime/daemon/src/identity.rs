//! Who calls. Every request is authenticated before a service sees it.
//!
//! On the Unix socket the kernel says who it is (SO_PEERCRED, unix(7)): root,
//! the daemon's own user, and users that the configuration names. On TCP it is
//! a client certificate, or a key out of the file of keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use nix::unistd::geteuid;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo};
use tonic::{Request, Status};

/// The caller of a request; slots and calls are counted per tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) tenant: Arc<str>,
    /// Sees and ends the calls of every tenant: root, the daemon's own user,
    /// and keys that are marked so.
    pub(crate) operator: bool,
}

impl Caller {
    /// Whether a tenant's calls are this caller's to see and to end.
    pub(crate) fn may_see(&self, tenant: &str) -> bool {
        self.operator || *self.tenant == *tenant
    }
}

/// One key of the file of keys: its holder and the SHA-256 of the key.
#[derive(Debug, Clone)]
pub struct Key {
    /// The tenant that holds it.
    pub name: String,
    /// SHA-256 of the key's text.
    pub sha256: [u8; 32],
    /// May see and end the calls of others.
    pub operator: bool,
}

/// Who may call.
#[derive(Debug, Clone)]
pub(crate) enum Authenticator {
    /// Users of this host.
    Peers(BTreeSet<u32>),
    /// TCP: whoever holds a key; a client certificate was checked by TLS.
    Tcp { keys: Vec<Key>, certificates: bool },
}

impl Authenticator {
    /// Puts a [`Caller`] into the request, or refuses it.
    pub(crate) fn authenticate(&self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let caller = match self {
            Self::Peers(users) => peer(&request, users)?,
            Self::Tcp { keys, certificates } => remote(&request, keys, *certificates)?,
        };
        request.extensions_mut().insert(caller);
        Ok(request)
    }
}

fn peer(request: &Request<()>, users: &BTreeSet<u32>) -> Result<Caller, Status> {
    let uid = request
        .extensions()
        .get::<UdsConnectInfo>()
        .and_then(|info| info.peer_cred)
        .map(|credentials| credentials.uid())
        .ok_or_else(|| Status::unauthenticated("the kernel did not say who is calling"))?;
    if users.contains(&uid) {
        Ok(Caller {
            tenant: format!("uid:{uid}").into(),
            operator: uid == 0 || uid == geteuid().as_raw(),
        })
    } else {
        Err(Status::permission_denied(format!(
            "user {uid} may not call this daemon; add it to listen.users"
        )))
    }
}

fn remote(request: &Request<()>, keys: &[Key], certificates: bool) -> Result<Caller, Status> {
    if let Some(given) = request.metadata().get("authorization") {
        let given = given
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix("Bearer "))
            .unwrap_or_default();
        if given.is_empty() {
            return Err(Status::unauthenticated(
                "authorization holds no `Bearer KEY`",
            ));
        }
        let digest: [u8; 32] = Sha256::digest(given.as_bytes()).into();
        // Every key is compared, so that the time says nothing about which.
        let holder = keys.iter().fold(None, |found, key| {
            if bool::from(key.sha256.ct_eq(&digest)) {
                Some(key)
            } else {
                found
            }
        });
        return match holder {
            Some(key) => Ok(Caller {
                tenant: format!("key:{}", key.name).into(),
                operator: key.operator,
            }),
            None => Err(Status::unauthenticated(
                "this key is not in the daemon's file of keys",
            )),
        };
    }
    if certificates {
        let certificate = request
            .extensions()
            .get::<TlsConnectInfo<TcpConnectInfo>>()
            .and_then(|info| info.peer_certs())
            .and_then(|chain| {
                chain
                    .first()
                    .map(|leaf| hex(&Sha256::digest(leaf.as_ref())))
            });
        if let Some(digest) = certificate {
            return Ok(Caller {
                tenant: format!("certificate:{digest}").into(),
                operator: false,
            });
        }
    }
    Err(Status::unauthenticated(
        "send `authorization: Bearer KEY` with a key of the daemon's file of keys",
    ))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The caller that the authenticator put there.
pub(crate) fn caller<T>(request: &Request<T>) -> Caller {
    request
        .extensions()
        .get::<Caller>()
        .cloned()
        .unwrap_or_else(|| Caller {
            tenant: "unknown".into(),
            operator: false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key {
            operator: false,
            name: "orchestrator".into(),
            sha256: Sha256::digest(text).into(),
        }
    }

    #[test]
    fn a_request_without_a_key_is_refused_on_tcp() {
        let door = Authenticator::Tcp {
            keys: vec![key("k")],
            certificates: false,
        };
        let refused = door.authenticate(Request::new(())).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    }

    #[test]
    fn only_the_right_key_opens() {
        let door = Authenticator::Tcp {
            keys: vec![key("right")],
            certificates: true,
        };
        let with = |text: &'static str| {
            let mut request = Request::new(());
            request
                .metadata_mut()
                .insert("authorization", text.parse().unwrap());
            door.authenticate(request)
        };
        assert_eq!(
            caller(&with("Bearer right").unwrap()).tenant.as_ref(),
            "key:orchestrator"
        );
        assert!(with("Bearer wrong").is_err());
        assert!(with("right").is_err());
        let empty = Authenticator::Tcp {
            keys: vec![key("")],
            certificates: false,
        };
        let mut request = Request::new(());
        let basic = "Basic x".parse().unwrap();
        request.metadata_mut().insert("authorization", basic);
        assert!(
            empty.authenticate(request).is_err(),
            "the empty key is nobody's"
        );
    }

    #[test]
    fn a_tenants_calls_are_its_own_and_the_operators() {
        let caller = |tenant: &str, operator| Caller {
            tenant: tenant.into(),
            operator,
        };
        assert!(caller("key:a", false).may_see("key:a"));
        assert!(!caller("key:a", false).may_see("key:b"));
        assert!(caller("uid:0", true).may_see("key:b"));
    }

    #[test]
    fn a_caller_whom_the_kernel_does_not_name_is_refused() {
        let door = Authenticator::Peers([0].into());
        assert!(door.authenticate(Request::new(())).is_err());
    }
}
