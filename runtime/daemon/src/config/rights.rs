//! What callers may do, as `listen.users` and `listen.tls.clients` say it.

use std::collections::BTreeMap;

use caisson_document::{Document, Fault};
use nix::unistd::geteuid;

use super::wire::{WireClient, WireRights, WireUser};
use crate::identity::{Access, Client, ClientId, fingerprint};

/// The users of the Unix socket, besides root and the daemon's own.
pub(super) fn users(
    document: &Document,
    wire: Vec<WireUser>,
    faults: &mut Vec<Fault>,
) -> BTreeMap<u32, Access> {
    let mut users = BTreeMap::new();
    for (index, user) in wire.into_iter().enumerate() {
        let at = format!("/listen/users/{index}");
        let (uid, access) = match user {
            WireUser::Uid(uid) => (uid, Access::default()),
            WireUser::Entry { uid, rights } => {
                let access = access(document, &at, rights, faults);
                if (uid == 0 || uid == geteuid().as_raw()) && access != Access::Operator {
                    faults.push(document.fault(
                        &at,
                        format!("user {uid} is an operator whatever is written here"),
                        "leave it out; root and the daemon's own user may do everything",
                    ));
                }
                (uid, access)
            }
        };
        if users.insert(uid, access).is_some() {
            faults.push(document.fault(
                &at,
                format!("user {uid} stands here twice"),
                "leave one of the two",
            ));
        }
    }
    users
}

/// The client certificates that have a name.
pub(super) fn clients(
    document: &Document,
    wire: Vec<WireClient>,
    faults: &mut Vec<Fault>,
) -> Vec<Client> {
    let mut clients = Vec::new();
    for (index, client) in wire.into_iter().enumerate() {
        let at = format!("/listen/tls/clients/{index}");
        let access = access(document, &at, client.rights, faults);
        let id = match (client.sha256, client.san) {
            (Some(text), None) => match fingerprint(&text) {
                Some(sha256) => ClientId::Sha256(sha256),
                None => {
                    faults.push(document.fault(
                        &format!("{at}/sha256"),
                        "is no SHA-256",
                        "write what `openssl x509 -in client.pem -noout -fingerprint -sha256` prints after the =",
                    ));
                    continue;
                }
            },
            (None, Some(name)) => ClientId::Name(name),
            _ => {
                faults.push(document.fault(
                    &at,
                    "does not say which certificates, or says it twice",
                    "write either sha256: FINGERPRINT or san: NAME, a DNS name or URI of the certificate",
                ));
                continue;
            }
        };
        let name = client.name;
        clients.push(Client { name, id, access });
    }
    clients
}

fn access(document: &Document, at: &str, rights: WireRights, faults: &mut Vec<Fault>) -> Access {
    let WireRights {
        workspaces,
        publish,
        operator,
    } = rights;
    if operator {
        if workspaces.is_some() || publish {
            faults.push(document.fault(
                &format!("{at}/operator"),
                "stands beside rights that every operator has",
                "leave out workspaces and publish, or operator",
            ));
        }
        return Access::Operator;
    }
    let Access::Workspaces { names, .. } = Access::default() else {
        return Access::default();
    };
    Access::Workspaces {
        names: workspaces.map_or(names, |names| names.into_iter().collect()),
        publish,
    }
}
