//! One message to the worker's DNS, over UDP or TCP.
//!
//! Input: the message.

use caisson_egress::{Guard, Name, Policy, Target, Verdict, fuzzing::Worker};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, RecordType};
use std::cell::LazyCell;
use std::collections::HashMap;
use std::net::IpAddr;
use tokio::runtime::Runtime;

/// What is allowed, and what each name stands for. Nobody is asked for other names.
const HOSTS: [(&str, &[&str]); 7] = [
    ("api.example.com", &["93.184.215.14"]),
    ("a.b", &["2606:4700::1111", "93.184.215.14"]),
    ("xn--e1afmkfd.example", &["10.20.0.1"]),
    ("localhost", &["127.0.0.1", "::1"]),
    // Allowed by name, and nothing behind the name may be dialled.
    ("inside.example", &["10.30.0.1"]),
    ("cloud.example", &["169.254.169.254", "fd00:ec2::254"]),
    ("nowhere.example", &[]),
];

const POLICY: &str = "\
format: 1
connector: shop
egress:
  - { host: api.example.com, ports: [443], protocol: tls }
  - { host: a.b, ports: [443], protocol: tcp }
  - { host: xn--e1afmkfd.example, ports: [443], networks: [10.20.0.0/16], protocol: tcp }
  - { host: localhost, ports: [443], networks: [127.0.0.0/8], protocol: tcp }
  - { host: inside.example, ports: [443], protocol: tcp }
  - { host: cloud.example, ports: [443], networks: [169.254.0.0/16, \"fd00::/8\"], protocol: tcp }
  - { host: nowhere.example, ports: [443], protocol: tcp }
  - { host: \"*.wild.example\", ports: [443], protocol: tcp }
";

/// Names that must get an address, for a reading of the policy apart from its reader.
const ANSWERED: [&str; 4] = [
    "api.example.com",
    "a.b",
    "xn--e1afmkfd.example",
    "localhost",
];

/// Largest answer (DNS flag day 2020), and largest one to somebody who did not say that he takes more (RFC 1035, 4.2.1).
const LARGEST: (usize, usize) = (1232, 512);

struct Server {
    runtime: Runtime,
    worker: Worker,
}

thread_local! {
    // One server for all inputs, as for all questions of a worker: what one leaves behind, the next one meets.
    static SERVER: LazyCell<Server> = LazyCell::new(server);
}

fn server() -> Server {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let hosts = HOSTS.map(|(name, addresses)| {
        let addresses = addresses
            .iter()
            .map(|text| text.parse().expect("an address"));
        (Name::parse(name).expect("a name"), addresses.collect())
    });
    let policy = Policy::parse("shop.yaml", POLICY).expect("a policy");
    let config = serde_json::Value::Null;
    let worker = runtime.block_on(async {
        Worker::new(Some(policy), config, HashMap::from(hosts), Guard::default())
    });
    Server { runtime, worker }
}

/// An answer parses, belongs to its question, keeps to its size, and is an address only for a name that is allowed; the
/// relay takes that address for that name; and asking again changes nothing.
pub fn dns_packet(data: &[u8]) {
    SERVER.with(|server| answer(server, data));
}

fn answer(server: &Server, data: &[u8]) {
    let ask = || server.runtime.block_on(server.worker.ask(data));
    let request = Message::from_vec(data);
    let Some(bytes) = ask() else {
        let is_response = data.get(2).is_some_and(|flags| flags & 0x80 != 0);
        assert!(data.len() < 12 || is_response, "a query without an answer");
        return;
    };
    assert_eq!(ask().as_ref(), Some(&bytes), "the same again");

    let reply = Message::from_vec(&bytes).expect("an answer parses");
    assert_eq!(reply.metadata.message_type, MessageType::Response);
    assert_eq!(
        reply.metadata.id.to_be_bytes(),
        data[..2],
        "the question's number"
    );
    assert!(!reply.metadata.truncation && reply.authorities.is_empty());
    assert!(reply.answers.len() <= 1, "one answer at most");
    let Ok(request) = request else {
        assert_eq!(reply.metadata.response_code, ResponseCode::FormErr);
        return assert!(reply.answers.is_empty());
    };
    let largest = if request.edns.is_some() {
        LARGEST.0
    } else {
        LARGEST.1
    };
    assert!(bytes.len() <= largest, "{} bytes", bytes.len());
    assert_eq!(reply.edns.is_some(), request.edns.is_some());

    let address = reply.answers.iter().find_map(|record| match record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    });
    let asked = match request.queries.as_slice() {
        [query] if request.metadata.op_code == OpCode::Query => {
            assert_eq!(reply.queries, request.queries, "the question comes back");
            allowed(query)
        }
        _ => None,
    };
    assert_eq!(address.is_some(), asked.is_some(), "{request:?}\n{reply:?}");
    if let (Some(address), Some(asked)) = (address, asked) {
        assert!(address.octets()[0] == 198 && address.octets()[1] & 0xfe == 18);
        let (target, verdict) = server.worker.connect(IpAddr::V4(address), 443);
        assert!(
            matches!(verdict, Verdict::Allow(_)),
            "what DNS answers, the relay lets pass: {verdict:?}"
        );
        let name = Name::parse(asked).expect("a name");
        assert_eq!(target, Target::Name(name));
    }
}

/// The allowed name whose address the query asks for.
fn allowed(query: &Query) -> Option<&'static str> {
    if query.query_class != DNSClass::IN
        || !matches!(query.query_type, RecordType::A | RecordType::ANY)
    {
        return None;
    }
    ANSWERED.into_iter().find(|name| {
        let labels = name.split('.').map(str::as_bytes);
        let asked = query.name.iter().map(<[u8]>::to_ascii_lowercase);
        labels.map(<[u8]>::to_vec).eq(asked)
    })
}
