//! One question, asked in every way that there is.

use crate::generate::{Rule, policy};
use caisson_egress::{Allowed, Guard, Name, Policy, Protocol, Target, Verdict, fuzzing::Worker};
use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The daemon's own sockets; `oracle` knows them too.
pub(crate) fn own_sockets() -> Vec<SocketAddr> {
    ["127.0.0.1:7070", "[::]:9443"]
        .map(|text| text.parse().unwrap())
        .to_vec()
}

pub(crate) fn guard() -> Guard {
    Guard::new(own_sockets(), vec!["203.0.113.7".parse().unwrap()])
}

/// The policy of these rules.
pub(crate) fn read(rules: &[Rule]) -> Arc<Policy> {
    Arc::new(Policy::parse("shop.json", &policy(rules)).unwrap())
}

pub(crate) fn config(host: &str) -> Value {
    json!({ "host": host })
}

/// A worker that looks a name up and connects, as its C library would.
pub(crate) struct Enforcement {
    runtime: tokio::runtime::Runtime,
    worker: Worker,
}

impl Enforcement {
    /// `names` stand for `resolved`, in whatever spelling they are looked up.
    pub(crate) fn of(policy: &Policy, config: &Value, names: &[&str], resolved: &[IpAddr]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let hosts: HashMap<Name, Vec<IpAddr>> = names
            .iter()
            .filter_map(|name| Some((Name::parse(name).ok()?, resolved.to_vec())))
            .collect();
        let worker = runtime
            .block_on(async { Worker::new(Some(policy.clone()), config.clone(), hosts, guard()) });
        Self { runtime, worker }
    }

    /// Whether a connection to `host` and `port` would be relayed: looked up where it is a name, dialled where it is an
    /// address.
    pub(crate) fn reaches(&self, host: &str, port: u16) -> bool {
        self.opens(host, port).is_some()
    }

    /// The connection that would be relayed.
    pub(crate) fn opens(&self, host: &str, port: u16) -> Option<(Target, Allowed)> {
        match self.worker.connect(self.dials(host)?, port) {
            (target, Verdict::Allow(allowed)) => Some((target, allowed)),
            (_, Verdict::Refuse(_)) => None,
        }
    }

    pub(crate) fn reload(&self, policy: &Policy) {
        self.worker.reload(Some(policy.clone()));
    }

    pub(crate) fn keeps(
        &self,
        target: &Target,
        port: u16,
        address: IpAddr,
        protocol: Protocol,
    ) -> bool {
        self.worker.keeps(target, port, address, protocol)
    }

    /// What the worker's connect names.
    fn dials(&self, host: &str) -> Option<IpAddr> {
        let inner = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .filter(|inner| inner.contains(':'))
            .unwrap_or(host);
        inner.parse().ok().or_else(|| self.look_up(host))
    }

    /// The address that DNS gives for the name.
    pub(crate) fn look_up(&self, host: &str) -> Option<IpAddr> {
        let answer = self.runtime.block_on(self.worker.ask(&question(host)?))?;
        let answer = Message::from_vec(&answer).unwrap();
        answer.answers.iter().find_map(|record| match record.data {
            RData::A(address) => Some(address.0.into()),
            _ => None,
        })
    }
}

/// An A query for the bytes of `host`, cut at its dots; none where DNS cannot carry them.
fn question(host: &str) -> Option<Vec<u8>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut name = Vec::new();
    for label in host.split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| (1..64).contains(length))?;
        name.push(length);
        name.extend(label.bytes());
    }
    name.push(0);
    let header = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let kind = [0, 1, 0, 1];
    (name.len() <= 255).then(|| [&header[..], &name, &kind].concat())
}
