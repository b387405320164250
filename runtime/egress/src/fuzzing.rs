//! Doors for tests/fuzz and for this crate's properties: what a worker can make this crate do, without sockets.
//!
//! Not part of the API. Nothing here decides: each door calls what the gateway itself calls.

use crate::Verdict;
use crate::dns::answer;
use crate::gateway::{CallContext, Gateway, GatewayConfig, Policies};
use crate::guard::Guard;
use crate::host::Target;
use crate::name::Name;
use crate::policy::{ConnectorId, Origin, Policy, PolicySet, Protocol};
use crate::reason::Reason;
use crate::relay::{Hello, HelloError, judge, still_allowed};
use crate::session::{Session, WorkerSockets};
use crate::shared::QueryRate;
use caisson_secrets::Redactor;
use serde_json::Value;
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

/// The gateway's side of one worker whose call has begun.
#[derive(Debug)]
pub struct Worker {
    session: Session,
    _gateway: Gateway,
}

impl Worker {
    /// A worker under `policy`; only names of `hosts` and localhost have addresses, and nobody is asked for others. Needs a
    /// running tokio runtime.
    ///
    /// # Panics
    /// Never: a gateway with policies in memory and no audit log opens nothing.
    #[must_use]
    pub fn new(
        policy: Option<Policy>,
        config: Value,
        hosts: HashMap<Name, Vec<IpAddr>>,
        guard: Guard,
    ) -> Self {
        let many = NonZeroU32::new(1_000_000).expect("not zero");
        let gateway = Gateway::new(GatewayConfig {
            policies: Policies::Fixed(set(policy)),
            hosts,
            queries: QueryRate {
                per_second: many,
                burst: many,
            },
            ..GatewayConfig::default()
        })
        .expect("a gateway that opens nothing");
        gateway.upstream().resolver.close();
        gateway.upstream().hold(guard);
        let context = CallContext {
            bounds: Default::default(),
            sealed: Arc::default(),
            certificates: Arc::default(),
            payer: crate::Payer::new([], "default/shop"),
            party: "default/shop".into(),
            call_id: "call".into(),
            worker: 1,
            connector: ConnectorId {
                name: "shop".into(),
                version: semver::Version::new(1, 0, 0),
                workspace: "default".into(),
                origin: Origin::Published("sha256:0".into()),
            },
            config,
            redactor: Arc::new(Redactor::new([])),
        };
        let session = gateway.attach(context, WorkerSockets::default());
        session.open();
        Self {
            session,
            _gateway: gateway,
        }
    }

    /// Puts another policy in force, as a reload does.
    pub fn reload(&self, policy: Option<Policy>) {
        self.session.shared().apply(&set(policy));
    }

    /// The DNS server's answer to the bytes of one message.
    pub async fn ask(&self, message: &[u8]) -> Option<Vec<u8>> {
        answer(self.session.shared(), message, None).await
    }

    /// The relay's judgement of a connection.
    #[must_use]
    pub fn connect(&self, dialled: IpAddr, port: u16) -> (Target, Verdict) {
        judge(self.session.shared(), dialled, port)
    }

    /// Whether an open connection stays open under the policy now in force.
    #[must_use]
    pub fn keeps(&self, target: &Target, port: u16, address: IpAddr, protocol: Protocol) -> bool {
        still_allowed(self.session.shared(), target, port, &[address], protocol)
    }
}

/// A policy alone, for every connector.
fn set(policy: Option<Policy>) -> PolicySet {
    let named = policy.map(|mut policy| {
        policy.selector.connector = "shop".into();
        policy.selector.versions = None;
        policy.selector.digest = None;
        policy.selector.workspace = None;
        policy
    });
    PolicySet::of(named).unwrap_or_default()
}

/// What the relay makes of a connection that begins with these pieces and then ends: every byte, for the upstream, or why
/// not (no reason where nothing at all came).
///
/// # Errors
/// The connection does not begin with a ClientHello that names `expected`.
pub fn client_hello<'a>(
    expected: &Name,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, (Option<Reason>, String)> {
    let why = |error| match error {
        HelloError::Refused(reason, detail) => (Some(reason), detail),
        HelloError::Gone(error) => (None, error.to_string()),
    };
    let mut hello = Hello::new(expected);
    for piece in pieces {
        if hello.push(piece).map_err(why)? {
            return Ok(hello.into_seen());
        }
    }
    Err(why(hello.broken_off()))
}
