//! A gateway with one session, and the worker's side of it.

use caisson_egress::{
    AuditConfig, CallContext, ConnectorId, EgressEvent, Gateway, GatewayConfig, Name, Origin,
    Policies, Session, WorkerSockets,
};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name as WireName, RData, RecordType};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;

/// Long enough for a loaded machine; reached only by a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The address that the first name looked up gets.
pub(crate) const FIRST: Ipv4Addr = Ipv4Addr::new(127, 18, 1, 1);
/// Where upstreams of the tests live.
pub(crate) const UPSTREAM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A secret of the call.
pub(crate) const SECRET: &str = "Sesame-Open-22";

pub(crate) struct Harness {
    pub(crate) gateway: Gateway,
    pub(crate) session: Session,
    pub(crate) events: mpsc::Receiver<EgressEvent>,
    pub(crate) policies: PathBuf,
    pub(crate) audit: PathBuf,
    pub(crate) dns_udp: u16,
    pub(crate) dns_udp_v6: u16,
    pub(crate) dns_tcp: u16,
    pub(crate) watch: std::os::unix::net::UnixDatagram,
    context: CallContext,
    listen: Vec<SocketAddrV4>,
    _dir: tempfile::TempDir,
}

pub(crate) struct Setup {
    pub(crate) policy: String,
    pub(crate) config: Value,
    pub(crate) listen: Vec<SocketAddrV4>,
    pub(crate) gateway: GatewayConfig,
    pub(crate) sealed: Vec<caisson_egress::Sealed>,
    pub(crate) certificates: Vec<caisson_egress::ClientCertificate>,
}

impl Setup {
    /// `egress` is the list under `egress:`; every name of the tests stands for [`UPSTREAM`].
    pub(crate) fn new(egress: &str) -> Self {
        let hosts = [
            "api.example.com",
            "db.example.com",
            "mixed.example.com",
            "cloud.example.com",
            "private.example.com",
        ];
        let mut hosts: HashMap<Name, Vec<_>> = hosts
            .iter()
            .map(|name| (Name::parse(name).unwrap(), vec![UPSTREAM.into()]))
            .collect();
        let mut set = |name: &str, addresses: &[&str]| {
            hosts.insert(
                Name::parse(name).unwrap(),
                addresses.iter().map(|text| text.parse().unwrap()).collect(),
            );
        };
        set("mixed.example.com", &["10.9.8.7", "127.0.0.2"]);
        set("cloud.example.com", &["169.254.169.254"]);
        set("private.example.com", &["10.9.8.7"]);
        set("nowhere.example.com", &[]);
        Self {
            policy: format!("format: 1\nconnector: shop\negress:\n{egress}"),
            config: json!({}),
            listen: Vec::new(),
            sealed: Vec::new(),
            certificates: Vec::new(),
            gateway: GatewayConfig {
                hosts,
                stand_ins: Ipv4Addr::new(127, 18, 0, 0),
                ..GatewayConfig::default()
            },
        }
    }

    pub(crate) fn listen(mut self, address: Ipv4Addr, port: u16) -> Self {
        self.listen.push(SocketAddrV4::new(address, port));
        self
    }

    /// Attached, not yet open.
    pub(crate) fn attach(self) -> Harness {
        let dir = tempfile::tempdir().unwrap();
        let policies = dir.path().join("policies");
        std::fs::create_dir(&policies).unwrap();
        std::fs::write(policies.join("shop.yaml"), &self.policy).unwrap();
        let audit = dir.path().join("audit.jsonl");
        let gateway = Gateway::new(GatewayConfig {
            policies: Policies::Directory(policies.clone()),
            audit: Some(AuditConfig::at(audit.clone())),
            ..self.gateway
        })
        .unwrap();
        let context = CallContext {
            bounds: Default::default(),
            sealed: self.sealed.into(),
            certificates: self.certificates.into(),
            payer: caisson_egress::Payer::new([], "default/shop"),
            party: "default/shop".into(),
            call_id: "call-1".into(),
            worker: 7,
            connector: ConnectorId {
                name: "shop".into(),
                version: "1.4.2".parse().unwrap(),
                origin: Origin::OwnFolder,
                workspace: "default".into(),
            },
            config: self.config,
            redactor: std::sync::Arc::new(caisson_secrets::Redactor::new([(
                "key",
                &caisson_secrets::SecretValue::new(SECRET),
            )])),
        };
        let worker = Worker::new(&self.listen);
        let mut session = gateway.attach(context.clone(), worker.sockets);
        let events = session.events().unwrap();
        Harness {
            gateway,
            session,
            events,
            policies,
            audit,
            dns_udp: worker.dns_udp,
            dns_udp_v6: worker.dns_udp_v6,
            dns_tcp: worker.dns_tcp,
            watch: worker.watch,
            context,
            listen: self.listen,
            _dir: dir,
        }
    }

    pub(crate) fn open(self) -> Harness {
        let harness = self.attach();
        harness.session.open();
        harness
    }
}

/// A worker's sockets, and where they are.
struct Worker {
    sockets: WorkerSockets,
    dns_udp: u16,
    dns_udp_v6: u16,
    dns_tcp: u16,
    watch: std::os::unix::net::UnixDatagram,
}

impl Worker {
    fn new(listen: &[SocketAddrV4]) -> Self {
        let dns_udp = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        nix::sys::socket::setsockopt(&dns_udp, nix::sys::socket::sockopt::Ipv4PacketInfo, &true)
            .unwrap();
        let dns_udp_v6 = std::net::UdpSocket::bind("[::]:0").unwrap();
        nix::sys::socket::setsockopt(
            &dns_udp_v6,
            nix::sys::socket::sockopt::Ipv6RecvPacketInfo,
            &true,
        )
        .unwrap();
        let port_v6 = dns_udp_v6.local_addr().unwrap().port();
        let dns_tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ports = (
            dns_udp.local_addr().unwrap().port(),
            dns_tcp.local_addr().unwrap().port(),
        );
        let (watch, watched) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let tcp = listen.iter().map(|&address| {
            (
                address.port(),
                std::net::TcpListener::bind(address).unwrap(),
            )
        });
        let sockets = WorkerSockets {
            tcp: tcp.collect(),
            dns_udp: vec![dns_udp, dns_udp_v6],
            dns_tcp: vec![dns_tcp],
            watch: Some(OwnedFd::from(watched)),
        };
        Self {
            sockets,
            dns_udp: ports.0,
            dns_udp_v6: port_v6,
            dns_tcp: ports.1,
            watch,
        }
    }
}

impl Harness {
    /// Ends the call, and begins one of the same daemon that has other certificates to show.
    pub(crate) async fn follow(self, certificates: Vec<caisson_egress::ClientCertificate>) -> Self {
        self.session.close().await;
        let context = CallContext {
            certificates: certificates.into(),
            ..self.context
        };
        let worker = Worker::new(&self.listen);
        let mut session = self.gateway.attach(context.clone(), worker.sockets);
        let events = session.events().unwrap();
        session.open();
        Self {
            session,
            events,
            dns_udp: worker.dns_udp,
            dns_udp_v6: worker.dns_udp_v6,
            dns_tcp: worker.dns_tcp,
            watch: worker.watch,
            context,
            ..self
        }
    }

    pub(crate) async fn event(&mut self) -> EgressEvent {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event")
            .expect("the session lives")
    }

    /// The reason of the next event, which must be a refusal or failure.
    pub(crate) async fn reason(&mut self) -> &'static str {
        match self.event().await {
            EgressEvent::Refused { refusal, .. } => refusal.reason.as_str(),
            EgressEvent::Failed { reason, .. } => reason.as_str(),
            other => panic!("expected a refusal: {other:?}"),
        }
    }

    /// Asks over UDP at `server` and requires the answer to come from there.
    pub(crate) async fn ask_at(&self, server: impl Into<IpAddr>, question: &[u8]) -> Message {
        let (server, own, port) = match server.into() {
            IpAddr::V4(v4) => (IpAddr::V4(v4), "0.0.0.0:0", self.dns_udp),
            IpAddr::V6(v6) => (IpAddr::V6(v6), "[::]:0", self.dns_udp_v6),
        };
        let socket = UdpSocket::bind(own).await.unwrap();
        // A connected socket drops what comes from any other address.
        socket.connect((server, port)).await.unwrap();
        socket.send(question).await.unwrap();
        let mut buffer = [0; 2048];
        let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer))
            .await
            .expect("an answer")
            .unwrap();
        Message::from_vec(&buffer[..length]).unwrap()
    }

    pub(crate) async fn ask(&self, name: &str, kind: RecordType) -> Message {
        self.ask_at(Ipv4Addr::new(127, 0, 0, 53), &question(name, kind))
            .await
    }

    /// The address that stands for `name`.
    pub(crate) async fn look_up(&self, name: &str) -> Ipv4Addr {
        let answer = self.ask(name, RecordType::A).await;
        match &answer
            .answers
            .first()
            .unwrap_or_else(|| panic!("{name} has an address: {answer:?}"))
            .data
        {
            RData::A(address) => address.0,
            other => panic!("no address: {other:?}"),
        }
    }

    pub(crate) fn write_policy(&self, file: &str, text: &str) {
        // As editors do: beside, then renamed.
        let beside = self.policies.join(format!(".{file}.new"));
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, self.policies.join(file)).unwrap();
    }

    pub(crate) fn audit_lines(&self) -> Vec<Value> {
        self.gateway.audit().flush();
        let text = std::fs::read_to_string(&self.audit).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

pub(crate) fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(
        WireName::from_ascii(format!("{name}.")).unwrap(),
        kind,
    ));
    message.to_vec().unwrap()
}

/// An upstream on a free port of [`UPSTREAM`].
pub(crate) async fn upstream() -> (TcpListener, u16) {
    let listener = TcpListener::bind((UPSTREAM, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port of [`UPSTREAM`] on which nobody listens.
pub(crate) async fn closed_port() -> u16 {
    upstream().await.1
}

pub(crate) async fn connect(address: Ipv4Addr, port: u16) -> TcpStream {
    let connect = TcpStream::connect(SocketAddr::from((address, port)));
    tokio::time::timeout(PATIENCE, connect)
        .await
        .expect("an answer")
        .unwrap()
}

/// Requires the peer to reset the connection, rather than to end it cleanly.
pub(crate) async fn assert_reset(stream: &mut TcpStream) {
    use tokio::io::AsyncReadExt;
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 16]))
        .await
        .expect("an end");
    let error = read.expect_err("a reset, not an end of stream");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
