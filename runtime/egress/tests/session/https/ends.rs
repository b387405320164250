//! Requests and connections that one side ends early, and what must be known of them all the same.

use super::*;
use serde_json::Value;
use std::time::Duration;

/// Takes a request and says nothing.
fn silent() -> server::Answer {
    server::answer(|_| async {
        std::future::pending::<()>().await;
        Response::new(server::whole(""))
    })
}

impl Inspected {
    async fn until(&self, what: impl Fn(&Inspected) -> bool) {
        let begun = std::time::Instant::now();
        while !what(self) {
            assert!(begun.elapsed() < PATIENCE, "it never came");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The first line of this kind.
    pub(super) async fn line(&self, event: &str) -> Value {
        let found = || {
            let lines = self.harness.audit_lines();
            lines.into_iter().find(|line| line["event"] == event)
        };
        self.until(|_| found().is_some()).await;
        found().unwrap()
    }

    fn reload(&self, rest_of_rule: &str) {
        let port = self.api.port;
        self.harness.write_policy(
            "shop.yaml",
            &format!("format: 1\nconnector: shop\negress:\n  - {{ host: api.example.com, ports: [{port}], networks: [127.0.0.0/8], protocol: https{rest_of_rule} }}\n"),
        );
        self.harness.gateway.reload().unwrap();
    }
}

#[tokio::test]
async fn a_request_that_was_sent_is_in_the_audit_log_though_its_worker_hangs_up() {
    for spoken in [Spoken::One, Spoken::Two] {
        let inspected = inspected("", spoken.alone(), silent()).await;
        let mut client = inspected.client(spoken).await;
        let request = inspected.request("DELETE", "/v1/secret-of-the-call", "body");
        let sent = client.send(request);
        tokio::select! {
            _ = sent => unreachable!("nobody answers"),
            () = inspected.until(|inspected| inspected.api.seen() == 1) => {}
        }
        drop(client);
        let line = inspected.line("request").await;
        assert_eq!(line["path"], "/v1/secret-of-the-call", "{line}");
        assert_eq!(
            (&line["method"], &line["broken"]),
            (&"DELETE".into(), &true.into())
        );
        assert!(line.get("status").is_none(), "{line}");
        let closed = inspected.line("closed").await;
        assert!(
            closed["bytes_up"].as_u64().unwrap() > 40,
            "heads count: {closed}"
        );
    }
}

#[tokio::test]
async fn what_a_worker_gave_up_while_it_waited_is_never_sent() {
    let inspected = inspected(
        ", rate: { per_second: 1, burst: 1 }",
        &[Spoken::One],
        say("hello"),
    )
    .await;
    assert!(inspected.get("/").await.0.starts_with("HTTP/1.1 200"));
    let mut stream = inspected
        .tls("api.example.com", &["http/1.1"])
        .await
        .unwrap();
    let post = "POST /orders HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 5\r\n\r\norder";
    stream.write_all(post.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(inspected.api.seen(), 1);
    assert!(inspected.get("/").await.0.starts_with("HTTP/1.1 200"));
    assert_eq!(inspected.api.seen(), 2);
}

#[tokio::test]
async fn a_body_of_a_get_goes_on_whichever_way_it_is_cut() {
    let inspected = inspected("", &[Spoken::One], echo()).await;
    for body in [
        "Transfer-Encoding: chunked\r\n\r\n5\r\nquery\r\n0\r\n\r\n",
        "Content-Length: 5\r\n\r\nquery",
    ] {
        let request = format!(
            "GET /_search HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n{body}"
        );
        let (answer, _) = inspected.raw(request.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("\n\nquery"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn only_the_gateway_says_that_it_was_the_gateway() {
    let forged = server::answer(|_| async {
        let response = Response::builder().header("Caisson-Refused", "no_rule");
        response.body(server::whole("forged")).unwrap()
    });
    let inspected = inspected("", &[Spoken::One], forged).await;
    let (answer, _) = inspected.get("/").await;
    assert!(
        answer.ends_with("forged") && !answer.contains("Caisson-Refused"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_request_that_the_upstream_never_took_is_sent_anew() {
    let first = server::answer(|request: Request<hyper::body::Incoming>| async move {
        if request.uri().path() == "/slow" {
            std::future::pending::<()>().await;
        }
        Response::new(server::whole("hello"))
    });
    let inspected = inspected("", &[Spoken::Two], first).await;
    let Client::Two(mut sender) = inspected.client(Spoken::Two).await else {
        unreachable!()
    };
    let mut slow = sender.clone();
    let mut request = inspected.request("GET", "/slow", "");
    request.headers_mut().remove("host");
    let slow = tokio::spawn(async move { slow.send_request(request).await });
    inspected.until(|inspected| inspected.api.seen() == 1).await;
    inspected.api.leave();
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..2 {
        let mut request = inspected.request("POST", "/", "order");
        request.headers_mut().remove("host");
        let answer = tokio::time::timeout(PATIENCE, sender.send_request(request))
            .await
            .unwrap();
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }
    assert_eq!((inspected.api.seen(), inspected.api.connections()), (3, 2));
    slow.abort();
}

/// A WebSocket that says back what it hears, and never ends.
fn websocket() -> server::Answer {
    server::websocket(|_, io| async move {
        let (mut read, mut write) = tokio::io::split(io);
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
}

async fn read_until(stream: &mut TlsStream<TcpStream>, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
        read.push(byte.expect("an answer").unwrap());
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn a_websocket_that_a_reload_no_longer_allows_is_cut_and_its_bytes_were_counted() {
    let rule = ", http: { websocket: true }";
    let mut inspected = inspected(rule, &[Spoken::One], websocket()).await;
    let mut stream = inspected
        .tls("api.example.com", &["http/1.1"])
        .await
        .unwrap();
    let head = "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[b'x'; 5_000]).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    read_until(&mut stream, &"x".repeat(5_000)).await;
    inspected.reload(", http: { websocket: true, methods: [GET] }");
    stream.write_all(b"still there").await.unwrap();
    read_until(&mut stream, "still there").await;
    inspected.reload("");
    let ended = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 16])).await;
    assert!(
        ended.expect("an end").is_err(),
        "cut, and not ended cleanly"
    );
    assert_eq!(inspected.refusal().await, "upgrade_not_allowed");
    let line = inspected.line("request").await;
    assert_eq!(
        (&line["status"], &line["bytes_up"], &line["bytes_down"]),
        (&101.into(), &5_011.into(), &5_011.into())
    );
}
