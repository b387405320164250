//! `listen`: where the API listens and who may call.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use caisson_document::{Document, Fault};

use super::keys::keys;
use super::rights::{clients, users};
use super::wire::WireListen;
use crate::identity::{Access, Client, Key};

/// Where the API listens.
#[derive(Debug, Clone)]
pub enum Listen {
    /// A Unix socket; callers are known by their user id.
    Unix {
        /// Its path.
        path: PathBuf,
        /// Users besides root and the daemon's own, which are operators.
        users: BTreeMap<u32, Access>,
    },
    /// TCP: with client certificates, keys, or both.
    Tcp {
        /// Where.
        address: SocketAddr,
        /// Required off loopback.
        tls: Option<Tls>,
        /// Who may call with a key.
        keys: Vec<Key>,
    },
}

/// TLS of the API.
#[derive(Debug, Clone)]
pub struct Tls {
    /// PEM, leaf first.
    pub certificate: String,
    /// PEM.
    pub key: String,
    /// PEM: what signs callers' certificates.
    pub client_ca: Option<String>,
    /// What holders of certificates may do; the first that fits.
    pub clients: Vec<Client>,
}

impl Listen {
    /// TCP does not start without mutual TLS or keys, and off loopback not
    /// without TLS: what is wrong and what to write instead.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let Self::Tcp { address, tls, keys } = self else {
            return Ok(());
        };
        let mutual = tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if !mutual && keys.is_empty() {
            return Err((
                "nobody would be asked who they are",
                "add `keys: FILE` or `tls.client_ca: FILE`, or listen on a Unix socket",
            ));
        }
        if tls.is_none() && !address.ip().is_loopback() {
            return Err((
                "keys would cross the network in the clear",
                "add `tls`, or listen on loopback",
            ));
        }
        Ok(())
    }
}

pub(super) fn listen(
    document: &Document,
    wire: WireListen,
    base: &Path,
    data_dir: &Path,
    own_files: &mut Vec<PathBuf>,
    faults: &mut Vec<Fault>,
) -> Listen {
    let named = !wire.users.is_empty();
    let users = users(document, wire.users, faults);
    let Some(tcp) = wire.tcp else {
        for (key, given) in [("tls", wire.tls.is_some()), ("keys", wire.keys.is_some())] {
            if given {
                faults.push(document.fault(
                    &format!("/listen/{key}"),
                    "is only used with `tcp`",
                    "add `tcp: ADDRESS:PORT` or remove it",
                ));
            }
        }
        let path = wire
            .unix
            .map_or_else(|| data_dir.join("caisson.sock"), |path| base.join(path));
        return Listen::Unix { path, users };
    };
    if wire.unix.is_some() {
        faults.push(document.fault(
            "/listen/unix",
            "stands beside `tcp`",
            "listen on one of the two",
        ));
    }
    if named {
        faults.push(document.key_fault(
            "/listen/users",
            "is only used with `unix`: on TCP there are no users",
            "name callers in the file of `keys` or under `tls.clients`",
        ));
    }
    let address = tcp.parse().unwrap_or_else(|_| {
        faults.push(document.fault(
            "/listen/tcp",
            "is no address with a port",
            "write for example 127.0.0.1:7443",
        ));
        SocketAddr::from(([127, 0, 0, 1], 0))
    });
    let mut read = |pointer: &str, path: &String| {
        let path = base.join(path);
        own_files.push(path.clone());
        std::fs::read_to_string(path).unwrap_or_else(|error| {
            faults.push(document.fault(
                pointer,
                format!("cannot be read: {error}"),
                "name a readable file",
            ));
            String::new()
        })
    };
    let keys_text = wire.keys.as_ref().map(|path| read("/listen/keys", path));
    let mut tls = None;
    let mut named = Vec::new();
    if let Some(wire) = wire.tls {
        named = wire.clients;
        tls = Some(Tls {
            certificate: read("/listen/tls/certificate", &wire.certificate),
            key: read("/listen/tls/key", &wire.key),
            client_ca: wire
                .client_ca
                .as_ref()
                .map(|path| read("/listen/tls/client_ca", path)),
            clients: Vec::new(),
        });
    }
    if let Some(tls) = &mut tls {
        if tls.client_ca.is_none() && !named.is_empty() {
            faults.push(document.key_fault(
                "/listen/tls/clients",
                "is only used with `client_ca`: nobody is asked for a certificate",
                "add `client_ca: FILE` or remove it",
            ));
        }
        tls.clients = clients(document, named, faults);
    }
    let keys = match (&wire.keys, keys_text) {
        (Some(path), Some(text)) => keys(&base.join(path).to_string_lossy(), &text, faults),
        _ => Vec::new(),
    };
    let listen = Listen::Tcp { address, tls, keys };
    if let Err((message, help)) = listen.check() {
        faults.push(document.fault("/listen/tcp", message, help));
    }
    listen
}
