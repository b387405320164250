//! One DNS question becomes one answer.

use super::asked::{tell_elsewhere, tell_malformed};
use crate::decision::{Attempt, Refusal, Transport, Verdict, refused_addresses};
use crate::event::Endpoint;
use crate::fault::DnsFault;
use crate::host::Target;
use crate::name::Name;
use crate::reason::Reason;
use crate::shared::Shared;
use crate::stand_in::Full;
use caisson_without::{Part, without};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, PTR};
use hickory_proto::rr::{DNSClass, Name as WireName, RData, Record, RecordType};
use std::net::{IpAddr, Ipv4Addr};

/// Seconds for which a worker may keep an answer: short, since the true addresses are those of the last lookup.
const TTL: u32 = 5;
/// UDP payload that the gateway takes (DNS flag day 2020).
const PAYLOAD: u16 = 1232;

/// What a question comes to.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Address(Ipv4Addr),
    Name(Name),
    Nothing,
    Code(ResponseCode),
}

/// Answers one message that was sent to the address `asked`; `None` where no answer is due (a response, or no DNS at
/// all).
pub(crate) async fn answer(
    shared: &Shared,
    bytes: &[u8],
    asked: Option<IpAddr>,
) -> Option<Vec<u8>> {
    tell_elsewhere(shared, asked);
    let request = match Message::from_vec(bytes) {
        Ok(request) if request.metadata.message_type == MessageType::Query => request,
        Ok(_) => {
            tell_malformed(shared, asked);
            return None;
        }
        Err(_) => {
            tell_malformed(shared, asked);
            let id = u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?);
            let is_query = bytes.len() >= 12 && bytes[2] & 0x80 == 0;
            let reply = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
            return if is_query { reply.to_vec().ok() } else { None };
        }
    };
    let id = request.metadata.id;
    let mut reply = Message::response(id, request.metadata.op_code);
    reply.metadata.recursion_desired = request.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    if request.edns.is_some() {
        let mut own = Edns::new();
        own.set_max_payload(PAYLOAD);
        reply.set_edns(own);
    }
    let answer = match request.queries.as_slice() {
        _ if !shared.admits_query() => Answer::Code(ResponseCode::Refused),
        _ if request.metadata.op_code != OpCode::Query => Answer::Code(ResponseCode::NotImp),
        [query] => {
            reply.add_query(query.clone());
            of_question(shared, query).await
        }
        _ => Answer::Code(ResponseCode::FormErr),
    };
    let data = match answer {
        Answer::Address(address) => Some(RData::A(A(address))),
        Answer::Name(name) => WireName::from_ascii(format!("{name}."))
            .ok()
            .map(|name| RData::PTR(PTR(name))),
        Answer::Nothing => None,
        Answer::Code(code) => {
            reply.metadata.response_code = code;
            None
        }
    };
    if let (Some(data), Some(query)) = (data, request.queries.first()) {
        reply.add_answer(Record::from_rdata(query.name.clone(), TTL, data));
    }
    reply.to_vec().ok()
}

async fn of_question(shared: &Shared, query: &Query) -> Answer {
    let refuse = |host: Option<String>, refusal| {
        shared.reporter.refused(Endpoint::dns(host), refusal);
        Answer::Code(ResponseCode::NXDomain)
    };
    if let Some(refusal) = shared.not_started() {
        shared
            .reporter
            .refused(Endpoint::dns(Some(printable(&query.name))), refusal);
        return Answer::Code(ResponseCode::Refused);
    }
    if query.query_class != DNSClass::IN {
        return Answer::Code(ResponseCode::Refused);
    }
    if let Some(address) = reverse(&query.name) {
        return match shared.stand_ins.name_of(address) {
            Some((name, _)) if query.query_type == RecordType::PTR => Answer::Name(name),
            Some(_) => Answer::Nothing,
            None => Answer::Code(ResponseCode::NXDomain),
        };
    }
    let name = match Name::from_labels(query.name.iter()) {
        Ok(name) => name,
        Err(error) => {
            let refusal = Refusal::flat(Reason::NameInvalid, error.to_string());
            return refuse(Some(printable(&query.name)), refusal);
        }
    };
    let host = || Some(name.to_string());
    if shared
        .sealing
        .as_ref()
        .is_some_and(|sealing| sealing.is_in(&name))
    {
        let detail = format!(
            "the name {name} has a sealed secret's placeholder in it, and none is put into names; write reveal: true"
        );
        return refuse(host(), Refusal::flat(Reason::SecretMisplaced, detail));
    }
    let target = Target::Name(name.clone());
    let attempt = Attempt {
        target: &target,
        port: None,
        transport: Transport::Tcp,
        addresses: None,
    };
    if let Verdict::Refuse(refusal) = shared.decide(&attempt)
        && !without(Part::Dns)
    {
        return refuse(host(), refusal);
    }
    // Before it is said that there is no IPv6 address: a client that asks for both makes two look-ups.
    let is_lookup = matches!(
        query.query_type,
        RecordType::A | RecordType::AAAA | RecordType::ANY
    );
    let script = shared.upstream.faults.as_ref().filter(|_| is_lookup);
    if let Some(fault) = script.and_then(|script| script.of_lookup(&name)) {
        let detail = format!("the fault script lets the look-up of {name} fail");
        shared
            .reporter
            .failed(Endpoint::dns(host()), Reason::DnsFailed, detail);
        return Answer::Code(match fault {
            DnsFault::Nxdomain => ResponseCode::NXDomain,
            DnsFault::Servfail => ResponseCode::ServFail,
        });
    }
    if !matches!(query.query_type, RecordType::A | RecordType::ANY) {
        return Answer::Nothing;
    }
    if shared.upstream.played().is_some() {
        // What is answered out of a cassette needs no address of its own.
        return given(shared, &name, Vec::new());
    }
    let addresses = match shared
        .upstream
        .resolver
        .resolve(&name, &shared.share.look_ups)
        .await
    {
        Ok(addresses) => addresses,
        Err(error) => {
            shared
                .reporter
                .failed(Endpoint::dns(host()), Reason::DnsFailed, error.to_string());
            return Answer::Code(ResponseCode::ServFail);
        }
    };
    let attempt = Attempt {
        addresses: Some(&addresses),
        ..attempt
    };
    let verdict = shared.decide(&attempt);
    report_refused_addresses(shared, &name, &attempt);
    if let Verdict::Refuse(_) = verdict
        && !without(Part::Dns)
    {
        return Answer::Code(ResponseCode::NXDomain);
    }
    given(shared, &name, addresses)
}

/// The address that stands for a name from now on.
fn given(shared: &Shared, name: &Name, addresses: Vec<IpAddr>) -> Answer {
    match shared.stand_ins.give(name, addresses) {
        Ok(address) => Answer::Address(address),
        Err(Full) => {
            let detail = format!(
                "the worker has looked up {} names, the most it may",
                crate::stand_in::MAX_NAMES
            );
            shared.reporter.refused(
                Endpoint::dns(Some(name.to_string())),
                crate::decision::Refusal::flat(Reason::TooManyNames, detail),
            );
            Answer::Code(ResponseCode::Refused)
        }
    }
}

/// Every answer of the upstream is judged, and each one that may not be dialled is told, whether or not another passes.
/// `localhost` has both loopback addresses by definition, so its second one is no news.
fn report_refused_addresses(shared: &Shared, name: &Name, attempt: &Attempt<'_>) {
    let Some(bound) = shared.policy.borrow().clone() else {
        return;
    };
    let refused = refused_addresses(&bound, &shared.upstream.guard(), attempt);
    let all = attempt
        .addresses
        .is_some_and(|addresses| addresses.len() == refused.len());
    if name.as_str() == "localhost" && !all {
        return;
    }
    for (address, refusal) in refused {
        let to = Endpoint {
            address: Some(address),
            ..Endpoint::dns(Some(name.to_string()))
        };
        shared.reporter.refused(to, refusal);
    }
}

/// The address of a name under in-addr.arpa or ip6.arpa that stands for one address.
fn reverse(name: &WireName) -> Option<IpAddr> {
    let network = name.parse_arpa_name().ok()?;
    (network.prefix_len() == network.max_prefix_len()).then(|| network.addr())
}

/// A name that may hold anything, safe to print. The reporter bounds its length, after redaction.
fn printable(name: &WireName) -> String {
    let labels = name
        .iter()
        .map(|label| label.escape_ascii().to_string().replace('.', "\\."));
    labels.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultScript;
    use crate::gateway::{CallContext, Gateway, GatewayConfig, Policies};
    use crate::policy::{ConnectorId, Origin};
    use crate::session::WorkerSockets;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_client_that_wants_both_families_makes_two_look_ups() {
        let dir = tempfile::tempdir().unwrap();
        let policy = "format: 1\nconnector: shop\negress:\n  - { host: a.com, ports: [443], protocol: tls }\n";
        std::fs::write(dir.path().join("shop.yaml"), policy).unwrap();
        let script = "format: 1\nfaults:\n\
                      \x20 - { match: { host: a.com, times: 1 }, dns: nxdomain }\n\
                      \x20 - { match: { host: a.com, nth: 3 }, dns: servfail }\n";
        let gateway = Gateway::new(GatewayConfig {
            policies: Policies::Directory(dir.path().to_owned()),
            faults: Some(Arc::new(FaultScript::parse("f.yaml", script).unwrap())),
            ..GatewayConfig::default()
        })
        .unwrap();
        let context = CallContext {
            bounds: Default::default(),
            sealed: std::sync::Arc::default(),
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
        let session = gateway.attach(context, WorkerSockets::default());
        session.open();
        let mut answers = Vec::new();
        for asked in [
            RecordType::AAAA,
            RecordType::MX,
            RecordType::AAAA,
            RecordType::A,
        ] {
            let mut query = Query::new();
            query.set_name(WireName::from_ascii("a.com.").unwrap());
            query.set_query_type(asked);
            answers.push(of_question(session.shared(), &query).await);
        }
        assert_eq!(
            answers,
            [
                Answer::Code(ResponseCode::NXDomain),
                Answer::Nothing,
                Answer::Nothing,
                Answer::Code(ResponseCode::ServFail),
            ]
        );
    }
}
