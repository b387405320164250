//! Which address a message was sent to. Every address of a worker's network leads here, so a worker that asks 8.8.8.8
//! gets the gateway's answer; that it tried is worth telling.

use crate::decision::Refusal;
use crate::event::Endpoint;
use crate::reason::Reason;
use crate::shared::Shared;
use std::net::IpAddr;

/// DNS's port.
const PORT: u16 = 53;

/// Tells of a message to an address that is not loopback. The worker's network has loopback addresses only, and its
/// resolv.conf names one.
pub(super) fn tell_elsewhere(shared: &Shared, asked: Option<IpAddr>) {
    let Some(address) = asked.map(|address| address.to_canonical()) else {
        return;
    };
    if !address.is_loopback() {
        let detail = format!("DNS goes through the gateway; nothing was sent to {address}");
        let refusal = Refusal::flat(Reason::DnsElsewhere, detail);
        shared.reporter.refused(endpoint(address), refusal);
    }
}

/// Tells, once for each address, of bytes that are no query.
pub(super) fn tell_malformed(shared: &Shared, asked: Option<IpAddr>) {
    let Some(address) = asked.map(|address| address.to_canonical()) else {
        return;
    };
    if shared.is_first_malformed(address) {
        let detail = format!("what was sent to port {PORT} of {address} is no DNS query");
        let refusal = Refusal::flat(Reason::DnsMalformed, detail);
        shared.reporter.refused(endpoint(address), refusal);
    }
}

fn endpoint(address: IpAddr) -> Endpoint {
    Endpoint {
        address: Some(address),
        port: Some(PORT),
        ..Endpoint::dns(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EgressEvent;
    use crate::gateway::{CallContext, Gateway, GatewayConfig};
    use crate::policy::{ConnectorId, Origin};
    use crate::session::WorkerSockets;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_question_to_a_foreign_address_is_told_and_one_to_loopback_is_not() {
        let gateway = Gateway::new(GatewayConfig::default()).unwrap();
        let context = CallContext {
            bounds: Default::default(),
            sealed: Arc::default(),
            certificates: Arc::default(),
            payer: crate::Payer::new([], "default/shop"),
            party: "default/shop".into(),
            call_id: "c".into(),
            worker: 1,
            connector: ConnectorId {
                name: "shop".into(),
                version: semver::Version::new(1, 0, 0),
                origin: Origin::OwnFolder,
                workspace: "default".into(),
            },
            config: serde_json::Value::Null,
            redactor: Arc::new(caisson_secrets::Redactor::new([])),
        };
        let mut session = gateway.attach(context, WorkerSockets::default());
        let mut events = session.events().unwrap();
        for address in ["127.0.0.53", "::1", "::ffff:127.0.0.1", "8.8.8.8"] {
            tell_elsewhere(session.shared(), Some(address.parse().unwrap()));
        }
        tell_elsewhere(
            session.shared(),
            Some("2001:4860:4860::8888".parse().unwrap()),
        );
        let mut told = Vec::new();
        while let Ok(EgressEvent::Refused { to, refusal, .. }) = events.try_recv() {
            assert_eq!((to.port, refusal.reason), (Some(53), Reason::DnsElsewhere));
            told.push(refusal.detail);
        }
        assert_eq!(
            told,
            [
                "DNS goes through the gateway; nothing was sent to 8.8.8.8",
                "DNS goes through the gateway; nothing was sent to 2001:4860:4860::8888",
            ]
        );
    }
}
