//! Requests that the gateway inspects: judged, carried, cut where two servers might cut them in two ways.

mod ends;
mod frames;
mod mutual;
mod sealed;
mod server;

use crate::harness::{FIRST, Harness, PATIENCE, Setup, connect};
use bytes::Bytes;
use caisson_egress::{EgressEvent, Ended};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use server::{Api, Spoken};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A gateway with one inspected host, `api.example.com`, and what is behind it.
struct Inspected {
    harness: Harness,
    api: Api,
}

async fn inspected(
    rest_of_rule: &str,
    spoken: &'static [Spoken],
    answer: server::Answer,
) -> Inspected {
    let api = Api::start("api.example.com", spoken, answer).await;
    let rule = format!(
        "  - {{ host: api.example.com, ports: [{}], networks: [127.0.0.0/8], protocol: https{rest_of_rule} }}\n",
        api.port
    );
    let mut setup = Setup::new(&rule).listen(FIRST, api.port);
    setup.gateway.upstream_authorities = vec![api.authority.clone()];
    let harness = setup.open();
    assert_eq!(harness.look_up("api.example.com").await, FIRST);
    Inspected { harness, api }
}

impl Inspected {
    /// TLS as a worker that trusts the gateway's authority.
    async fn tls(&self, name: &str, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let pem = self.harness.gateway.authority().certificate_pem();
        let root = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        handshake(connect(FIRST, self.api.port).await, name, root, alpn).await
    }

    /// What comes back for these bytes until the gateway ends the connection, and whether it did so cleanly.
    async fn raw(&self, bytes: &[u8]) -> (String, bool) {
        let mut stream = self.tls("api.example.com", &["http/1.1"]).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("an end");
        (String::from_utf8_lossy(&answer).into_owned(), read.is_ok())
    }

    /// A request of HTTP/1.1 whose connection is then closed.
    async fn get(&self, path: &str) -> (String, bool) {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: api.example.com:{}\r\nConnection: close\r\n\r\n",
            self.api.port
        );
        self.raw(head.as_bytes()).await
    }

    async fn refusal(&mut self) -> &'static str {
        loop {
            match self.harness.event().await {
                EgressEvent::Refused { refusal, .. } => return refusal.reason.as_str(),
                EgressEvent::Failed { reason, .. } => return reason.as_str(),
                _ => {}
            }
        }
    }
}

async fn handshake(
    stream: TcpStream,
    name: &str,
    root: CertificateDer<'static>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec())
        .collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connect = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream);
    tokio::time::timeout(PATIENCE, connect)
        .await
        .expect("an answer")
}

fn say(text: &'static str) -> server::Answer {
    server::answer(move |_| async move { Response::new(server::whole(text)) })
}

/// Says what it was asked, as it came.
fn echo() -> server::Answer {
    server::answer(|request: Request<hyper::body::Incoming>| async move {
        let mut told = format!("{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            told.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        told.push_str(&format!("\n{}", String::from_utf8_lossy(&body)));
        Response::new(server::whole(told))
    })
}

#[tokio::test]
async fn a_request_that_a_rule_allows_is_answered_and_is_in_the_audit_log() {
    let inspected = inspected(
        ", http: { methods: [PUT], paths: ['/v1/**'] }",
        &[Spoken::One],
        say("hello"),
    )
    .await;
    let put = b"PUT /v1/orders?token=sesame HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 7\r\nConnection: close\r\n\r\nseven b";
    let (answer, clean) = inspected.raw(put).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"),
        "{answer}"
    );
    assert!(clean);
    let lines = inspected.harness.audit_lines();
    let line = lines
        .iter()
        .find(|line| line["event"] == "request")
        .unwrap();
    assert_eq!(line["method"], "PUT");
    assert_eq!(line["path"], "/v1/orders", "without its query");
    assert_eq!(line["status"], 200);
    assert_eq!(
        (&line["bytes_up"], &line["bytes_down"]),
        (&7.into(), &5.into())
    );
    let rule = line["rule"].as_str().unwrap();
    assert!(rule.ends_with("/shop.yaml:4"), "{rule}");
    assert_eq!(line["address"], "127.0.0.2", "where it was dialled");
    assert_eq!(line["port"], inspected.api.port);
    assert!(
        line["connector"].as_str().unwrap().starts_with("shop@"),
        "{line}"
    );
    assert!(line["ms"].is_u64() && line["throttled_ms"] == 0, "{line}");
    assert_eq!(line["name"], "api.example.com");
    assert_eq!(line["protocol"], "https");
}

#[tokio::test]
async fn a_request_that_no_rule_allows_never_reaches_the_upstream_and_says_what_would_allow_it() {
    let mut inspected = inspected(
        ", http: { methods: [GET], paths: ['/v1/**'] }",
        &[Spoken::One],
        say("hello"),
    )
    .await;
    let (answer, _) = inspected.get("/admin").await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    assert!(
        answer.contains("Caisson-Refused: path_not_allowed\r\n"),
        "{answer}"
    );
    assert!(answer.contains("paths: [\"/admin\"]"), "{answer}");
    assert_eq!(inspected.refusal().await, "path_not_allowed");
    let line = inspected.line("refused").await;
    assert_eq!(
        (line["method"].as_str(), line["path"].as_str()),
        (Some("GET"), Some("/admin"))
    );
    let (answer, _) = inspected
        .raw(b"DELETE /v1/orders HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
        .await;
    assert!(
        answer.contains("Caisson-Refused: method_not_allowed\r\n"),
        "{answer}"
    );
    let (answer, _) = inspected.get("/v1/%2e%2e/admin").await;
    assert!(
        answer.contains("Caisson-Refused: path_ambiguous\r\n"),
        "{answer}"
    );
    assert_eq!(inspected.api.seen(), 0);
}

#[tokio::test]
async fn what_could_smuggle_a_request_never_reaches_the_upstream() {
    let mut inspected = inspected("", &[Spoken::One], echo()).await;
    for (bytes, refused) in [
        (&b"POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"[..], "request_malformed"),
        (b"POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG", "request_malformed"),
        (b"GET / HTTP/1.1\r\nHost: api.example.com\r\nHost: evil.example\r\n\r\n", "request_malformed"),
        (b"GET https://evil.example/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "request_malformed"),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", "request_malformed"),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "host_mismatch"),
        (b"GET / HTTP/1.1\r\n\r\n", "request_malformed"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "request_malformed"),
    ] {
        let (answer, _) = inspected.raw(bytes).await;
        assert!(answer.contains(&format!("Caisson-Refused: {refused}\r\n")), "{answer}");
    }
    // Equal ones within a second are told once, and all are counted.
    assert_eq!(inspected.refusal().await, "request_malformed");
    assert_eq!(inspected.harness.session.totals().denied, 8);
    assert_eq!(inspected.api.seen(), 0);
}

#[tokio::test]
async fn a_chunk_that_is_none_breaks_the_request_off() {
    let mut inspected = inspected("", &[Spoken::One], echo()).await;
    let bytes = b"POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n";
    let (answer, _) = inspected.raw(bytes).await;
    assert!(
        answer.contains("Caisson-Refused: request_malformed\r\n"),
        "{answer}"
    );
    assert_eq!(inspected.refusal().await, "request_malformed");
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection_and_are_written_anew() {
    let inspected = inspected("", &[Spoken::One], echo()).await;
    let port = inspected.api.port;
    let text = format!(
        "POST /a HTTP/1.1\r\nhost: API.example.com:{port}\r\nTransfer-Encoding: chunked\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Kept: 2\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"
    );
    let (answers, clean) = inspected.raw(text.as_bytes()).await;
    assert!(clean);
    let first = format!(
        "POST /a\nhost: api.example.com:{port}\nx-kept: 2\ntransfer-encoding: chunked\n\nhello"
    );
    assert!(answers.contains(&first), "{answers}");
    assert!(
        answers.contains(&format!("GET /b\nhost: api.example.com:{port}\n")),
        "{answers}"
    );
    assert_eq!(inspected.api.connections(), 1);
}

#[tokio::test]
async fn bodies_of_any_size_stream_both_ways_without_being_held() {
    let hash = server::answer(|request: Request<hyper::body::Incoming>| async move {
        let mut hash = Sha256::new();
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            hash.update(frame.unwrap().into_data().unwrap());
        }
        let digest = hash.finalize();
        let parts = (0..256).map(move |_| {
            Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(vec![
                7;
                128 << 10
            ])))
        });
        let mut response = Response::new(StreamBody::new(tokio_stream::iter(parts)));
        response
            .headers_mut()
            .insert("x-digest", format!("{digest:x}").parse().unwrap());
        response
    });
    for spoken in [Spoken::One, Spoken::Two] {
        let inspected = inspected("", spoken.alone(), hash.clone()).await;
        let mut client = inspected.client(spoken).await;
        let upload = vec![3u8; 48 << 20];
        let digest = Sha256::digest(&upload);
        let request = inspected.request("POST", "/", upload);
        let mut response = client.send(request).await;
        assert_eq!(response.headers()["x-digest"], format!("{digest:x}"));
        let mut length = 0;
        while let Some(frame) = response.body_mut().frame().await {
            length += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(length, 32 << 20);
    }
}

#[tokio::test]
async fn http_2_is_spoken_where_both_speak_it_and_judged_the_same() {
    let inspected = inspected(
        ", http: { methods: [GET] }",
        &[Spoken::Two, Spoken::One],
        echo(),
    )
    .await;
    let mut client = inspected.client(Spoken::Two).await;
    let mut request = inspected.request("GET", "/a?b=c", "");
    request
        .headers_mut()
        .insert("te", "trailers".parse().unwrap());
    let answer = client.send(request).await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(
        body.windows(12).any(|seen| seen == b"te: trailers"),
        "{body:?}"
    );
    let expected = format!("GET https://api.example.com:{}/a?b=c\n", inspected.api.port);
    assert!(body.starts_with(expected.as_bytes()), "{body:?}");
    let answer = client.send(inspected.request("POST", "/a", "x")).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(answer.headers()["caisson-refused"], "method_not_allowed");
    let mut other = inspected.request("GET", "/", "");
    *other.uri_mut() = "https://evil.example/".parse().unwrap();
    assert_eq!(
        client.send(other).await.status(),
        StatusCode::MISDIRECTED_REQUEST
    );
    assert_eq!(inspected.api.seen(), 1);
    // Whoever speaks HTTP/1.1 only still can.
    let (answer, _) = inspected.get("/").await;
    assert!(answer.contains("GET /\n"), "{answer}");
}

#[tokio::test]
async fn a_name_that_is_not_the_connections_own_gets_no_handshake() {
    let mut inspected = inspected("", &[Spoken::One], say("hello")).await;
    assert!(inspected.tls("evil.example.com", &[]).await.is_err());
    assert_eq!(inspected.refusal().await, "sni_mismatch");
    let mut plain = connect(FIRST, inspected.api.port).await;
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(inspected.refusal().await, "not_tls");
    assert_eq!(inspected.api.seen(), 0);
}

#[tokio::test]
async fn an_upstream_that_cannot_be_verified_is_a_failure_with_its_cause() {
    let api = Api::start("other.example.com", &[Spoken::One], say("hello")).await;
    let rule = format!(
        "  - {{ host: api.example.com, ports: [{}], networks: [127.0.0.0/8], protocol: https }}\n",
        api.port
    );
    let mut setup = Setup::new(&rule).listen(FIRST, api.port);
    setup.gateway.upstream_authorities = vec![api.authority.clone()];
    let mut inspected = Inspected {
        harness: setup.open(),
        api,
    };
    inspected.harness.look_up("api.example.com").await;
    assert!(inspected.tls("api.example.com", &[]).await.is_err());
    let EgressEvent::Failed { reason, detail, .. } = inspected.harness.event().await else {
        panic!("failed")
    };
    assert_eq!(reason.as_str(), "tls_failed");
    assert!(detail.contains("api.example.com"), "{detail}");
    assert_eq!(inspected.api.seen(), 0);
}

#[tokio::test]
async fn a_worker_that_pins_another_certificate_is_told_to_be_relayed() {
    let mut inspected = inspected("", &[Spoken::One], say("hello")).await;
    let root = inspected.api.authority.clone();
    let stream = connect(FIRST, inspected.api.port).await;
    assert!(
        handshake(stream, "api.example.com", root, &[])
            .await
            .is_err()
    );
    let EgressEvent::Refused { refusal, .. } = inspected.harness.event().await else {
        panic!("refused")
    };
    assert_eq!(refusal.reason.as_str(), "certificate_pinned");
    assert!(
        refusal.detail.contains("protocol: tls"),
        "{}",
        refusal.detail
    );
}

#[tokio::test]
async fn an_upstream_that_breaks_off_breaks_the_workers_connection_off() {
    let broken = server::answer(|_| async {
        let parts = [
            Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(b"half"))),
            Err(std::io::Error::other("gone")),
        ];
        Response::new(StreamBody::new(tokio_stream::iter(parts)))
    });
    let mut inspected = inspected("", &[Spoken::One], broken).await;
    let (answer, clean) = inspected.get("/").await;
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    assert!(!clean, "half an answer is never taken for a whole one");
    let mut ended = None;
    while ended.is_none() {
        if let EgressEvent::Closed { ended: how, .. } = inspected.harness.event().await {
            ended = Some(how);
        }
    }
    assert_eq!(ended, Some(Ended::Reset));
}

#[tokio::test]
async fn a_worker_that_waits_for_100_continue_gets_it_and_a_refused_one_does_not() {
    let inspected = inspected(", http: { paths: ['/upload'] }", &[Spoken::One], echo()).await;
    let ask = async |path: &str| {
        let mut stream = inspected.tls("api.example.com", &[]).await.unwrap();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut first = vec![0; 12];
        stream.read_exact(&mut first).await.unwrap();
        if first == b"HTTP/1.1 100" {
            stream.write_all(b"hello").await.unwrap();
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        String::from_utf8([first, rest].concat()).unwrap()
    };
    let answer = ask("/upload").await;
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
            && answer.ends_with("hello"),
        "{answer}"
    );
    assert!(ask("/other").await.starts_with("HTTP/1.1 403"));
}

#[tokio::test]
async fn an_answer_comes_as_the_upstream_sends_it_and_events_only_where_the_rule_lets_them() {
    let events = server::answer(|_| async {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let event = http_body::Frame::data(Bytes::from_static(b"data: 1\n\n"));
            sender
                .send(Ok::<_, std::convert::Infallible>(event))
                .await
                .unwrap();
            // Nothing more, for ever.
            sender.closed().await;
        });
        let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
        let mut response = Response::new(body.boxed_unsync());
        response.headers_mut().insert(
            "content-type",
            "text/event-stream; charset=utf-8".parse().unwrap(),
        );
        response
    });
    let open = inspected("", &[Spoken::One], events.clone()).await;
    let mut stream = open.tls("api.example.com", &[]).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
        .await
        .unwrap();
    let mut seen = String::new();
    while !seen.contains("data: 1\n\n") {
        let mut buffer = [0; 1024];
        let length = tokio::time::timeout(PATIENCE, stream.read(&mut buffer))
            .await
            .expect("an event")
            .unwrap();
        seen.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    let mut closed = inspected(", http: { event_stream: false }", &[Spoken::One], events).await;
    let (answer, _) = closed.get("/").await;
    assert!(
        answer.contains("Caisson-Refused: event_stream_not_allowed"),
        "{answer}"
    );
    assert_eq!(closed.refusal().await, "event_stream_not_allowed");
}

#[tokio::test]
async fn a_connection_becomes_a_websocket_where_the_rule_says_so() {
    let upgrade = server::websocket(|_, mut io| async move {
        let mut four = [0; 4];
        io.read_exact(&mut four).await.unwrap();
        io.write_all(&four).await.unwrap();
        io.shutdown().await.unwrap();
    });
    let head = b"GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping";
    let open = inspected(
        ", http: { websocket: true }",
        &[Spoken::One],
        upgrade.clone(),
    )
    .await;
    let (answer, clean) = open.raw(head).await;
    assert!(
        answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n")
            && answer.ends_with("\r\n\r\nping"),
        "{answer}"
    );
    assert!(clean);
    let mut closed = inspected("", &[Spoken::One], upgrade).await;
    let (answer, _) = closed.raw(head).await;
    assert!(
        answer.contains("Caisson-Refused: upgrade_not_allowed"),
        "{answer}"
    );
    assert_eq!(closed.refusal().await, "upgrade_not_allowed");
}

#[tokio::test]
async fn a_reload_cuts_what_it_does_not_allow_and_judges_the_next_request_of_what_it_keeps() {
    let mut inspected = inspected("", &[Spoken::One], say("hello")).await;
    let port = inspected.api.port;
    let policy = |rest: &str| {
        format!(
            "format: 1\nconnector: shop\negress:\n  - {{ host: api.example.com, ports: [{port}], networks: [127.0.0.0/8], protocol: https{rest} }}\n"
        )
    };
    let mut stream = inspected.tls("api.example.com", &[]).await.unwrap();
    let mut ask = async || {
        stream
            .write_all(b"GET /v1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
            .await?;
        let mut buffer = vec![0; 4096];
        let length = tokio::time::timeout(PATIENCE, stream.read(&mut buffer))
            .await
            .expect("an answer")?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    assert!(ask().await.unwrap().starts_with("HTTP/1.1 200"));
    inspected
        .harness
        .write_policy("shop.yaml", &policy(", http: { paths: [/v2] }"));
    inspected.harness.gateway.reload().unwrap();
    assert!(ask().await.unwrap().starts_with("HTTP/1.1 403"));
    assert_eq!(inspected.refusal().await, "path_not_allowed");
    let mut idle = inspected.tls("api.example.com", &[]).await.unwrap();
    inspected
        .harness
        .write_policy("shop.yaml", &policy("").replace("https", "tcp"));
    inspected.harness.gateway.reload().unwrap();
    let ended = tokio::time::timeout(PATIENCE, idle.read(&mut [0; 16]))
        .await
        .expect("an end");
    assert!(ended.is_err(), "cut, and not ended cleanly: {ended:?}");
}

/// One of both HTTPs, towards the gateway.
enum Client {
    One(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Two(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Inspected {
    async fn client(&self, spoken: Spoken) -> Client {
        let stream = self.tls("api.example.com", &[spoken.alpn()]).await.unwrap();
        match spoken {
            Spoken::One => {
                let (sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream))
                        .await
                        .unwrap();
                tokio::spawn(connection);
                Client::One(sender)
            }
            Spoken::Two => {
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                let io = TokioIo::new(stream);
                let (sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                        .await
                        .unwrap();
                tokio::spawn(connection);
                Client::Two(sender)
            }
        }
    }

    fn request(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(format!("https://api.example.com:{}{path}", self.api.port))
            .header("host", format!("api.example.com:{}", self.api.port))
            .body(Full::new(body.into()))
            .unwrap()
    }
}

impl Client {
    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Response<hyper::body::Incoming> {
        let answer = match self {
            Self::One(sender) => {
                *request.uri_mut() = request.uri().path().parse().unwrap();
                tokio::time::timeout(PATIENCE, sender.send_request(request)).await
            }
            Self::Two(sender) => {
                request.headers_mut().remove("host");
                tokio::time::timeout(PATIENCE, sender.send_request(request)).await
            }
        };
        answer.expect("an answer").unwrap()
    }
}

/// Says "too many requests" to the first `times` requests, with these headers, and answers the rest.
fn busy(times: usize, headers: &'static [(&'static str, &'static str)]) -> server::Answer {
    let left = Arc::new(std::sync::atomic::AtomicUsize::new(times));
    server::answer(move |request: Request<hyper::body::Incoming>| {
        let left = Arc::clone(&left);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let spend = |left: usize| left.checked_sub(1);
            use std::sync::atomic::Ordering::Relaxed;
            if left.fetch_update(Relaxed, Relaxed, spend).is_err() {
                return Response::new(Full::new(body));
            }
            let mut response = Response::builder().status(StatusCode::TOO_MANY_REQUESTS);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            response.body(server::whole("later")).unwrap()
        }
    })
}

#[tokio::test]
async fn an_idempotent_request_is_sent_again_where_the_rule_says_so_and_the_client_never_hears_of_it()
 {
    let mut inspected = inspected(
        ", on_429: retry",
        &[Spoken::One],
        busy(2, &[("retry-after", "1")]),
    )
    .await;
    let put = b"PUT / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    let begun = std::time::Instant::now();
    let (answer, _) = inspected.raw(put).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"),
        "{answer}"
    );
    assert!(begun.elapsed() >= std::time::Duration::from_secs(2));
    assert_eq!(inspected.api.seen(), 3);
    let mut causes = Vec::new();
    while causes.len() < 2 {
        if let EgressEvent::Throttled {
            cause, until_ms, ..
        } = inspected.harness.event().await
        {
            assert!(until_ms.is_some());
            causes.push(cause);
        }
    }
    assert_eq!(causes, ["429 Retry-After", "429 Retry-After"]);
    let lines = inspected.harness.audit_lines();
    let line = lines
        .iter()
        .find(|line| line["event"] == "request")
        .unwrap();
    assert!(line["throttled_ms"].as_u64().unwrap() >= 2_000, "{line}");
}

#[tokio::test]
async fn over_http_2_a_request_is_sent_again_too() {
    let later = busy(2, &[("retry-after", "1")]);
    let inspected = inspected(", on_429: retry", Spoken::Two.alone(), later).await;
    let mut client = inspected.client(Spoken::Two).await;
    let begun = std::time::Instant::now();
    let answer = client.send(inspected.request("PUT", "/", "hello")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "hello");
    assert!(begun.elapsed() >= std::time::Duration::from_secs(2));
    assert_eq!(inspected.api.seen(), 3);
}

#[tokio::test]
async fn an_answer_that_serves_and_says_that_nothing_is_left_makes_the_next_request_wait() {
    let spent = server::answer(|_| async {
        let response = Response::builder()
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", "2");
        response.body(server::whole("the last one")).unwrap()
    });
    let inspected = inspected("", &[Spoken::One], spent).await;
    assert!(inspected.get("/").await.0.starts_with("HTTP/1.1 200"));
    let begun = std::time::Instant::now();
    assert!(inspected.get("/").await.0.starts_with("HTTP/1.1 200"));
    assert!(
        begun.elapsed() >= std::time::Duration::from_millis(1_900),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn what_is_not_idempotent_and_a_rule_that_does_not_say_so_hand_the_answer_on() {
    for (rule, request) in [
        (
            ", on_429: retry",
            "POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        (
            "",
            "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n",
        ),
    ] {
        let inspected = inspected(rule, &[Spoken::One], busy(1, &[("retry-after", "1")])).await;
        let (answer, _) = inspected.raw(request.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
            "{answer}"
        );
        let begun = std::time::Instant::now();
        let (answer, _) = inspected.get("/").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            begun.elapsed() >= std::time::Duration::from_millis(500),
            "the next one waits, whoever sends it"
        );
    }
}

#[tokio::test]
async fn a_wait_that_does_not_fit_is_not_waited_for() {
    let mut inspected = inspected(
        ", on_429: retry",
        &[Spoken::One],
        busy(9, &[("retry-after", "7200")]),
    )
    .await;
    let (answer, _) = inspected.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(answer.contains("QUOTA_EXHAUSTED"), "{answer}");
    loop {
        if let EgressEvent::Exhausted {
            until_ms, cause, ..
        } = inspected.harness.event().await
        {
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap();
            assert!(until_ms > u64::try_from(now.as_millis()).unwrap() + 7_000_000);
            assert_eq!(cause, "429 Retry-After");
            break;
        }
    }
    assert_eq!(inspected.api.seen(), 1);
}

#[tokio::test]
async fn the_rate_of_the_rule_holds_for_all_connections_together() {
    let inspected = inspected(
        ", rate: { per_second: 10, burst: 2 }",
        &[Spoken::One],
        say("hello"),
    )
    .await;
    let begun = std::time::Instant::now();
    for _ in 0..7 {
        assert!(inspected.get("/").await.0.starts_with("HTTP/1.1 200"));
    }
    // Two at once, and five at ten a second.
    assert!(
        begun.elapsed() >= std::time::Duration::from_millis(480),
        "{:?}",
        begun.elapsed()
    );
}
