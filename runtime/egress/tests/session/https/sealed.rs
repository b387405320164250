//! Sealed secrets: what the worker sends, what the upstream gets, and what is stopped on its way.

use super::*;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use caisson_egress::{Place, Sealed};
use caisson_secrets::SecretValue;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use std::io::Write;
use std::sync::Mutex;

const PLACEHOLDER: &str = "sealed7f3kq0zzp4m8w1x9d5r2t6y0u3i7o1a5s9dfgh";
const VALUE: &str = "sk/live+ä\"22";

/// What the upstream got, in the order in which it came.
#[derive(Debug, Clone, Default)]
struct Got(Arc<Mutex<Vec<(String, String)>>>);

impl Got {
    fn last(&self) -> (String, String) {
        self.0.lock().unwrap().last().expect("a request").clone()
    }

    /// Says what it was asked, and remembers it.
    fn answer(&self) -> server::Answer {
        let got = self.clone();
        server::answer(move |request: Request<hyper::body::Incoming>| {
            let got = got.clone();
            async move {
                let mut head = format!("{} {}\n", request.method(), request.uri());
                for (name, value) in request.headers() {
                    head.push_str(&format!(
                        "{name}: {}\n",
                        String::from_utf8_lossy(value.as_bytes())
                    ));
                }
                let body = request
                    .into_body()
                    .collect()
                    .await
                    .map(|body| body.to_bytes());
                let Ok(body) = body else {
                    return Response::new(server::whole("cut"));
                };
                let body = String::from_utf8_lossy(&body).into_owned();
                let told = format!("{head}\n{body}");
                got.0.lock().unwrap().push((head, body));
                Response::new(server::whole(told))
            }
        })
    }
}

async fn with(seal: &str, value: &str, declared: Vec<Place>, spoken: Spoken) -> (Inspected, Got) {
    let got = Got::default();
    let inspected = serving(seal, value, declared, spoken, got.answer()).await;
    (inspected, got)
}

async fn serving(
    seal: &str,
    value: &str,
    declared: Vec<Place>,
    spoken: Spoken,
    answer: server::Answer,
) -> Inspected {
    let api = Api::start("api.example.com", spoken.alone(), answer).await;
    let port = api.port;
    let rule = format!(
        "  - {{ host: '*.example.com', ports: [{port}], networks: [127.0.0.0/8], protocol: https }}\n"
    );
    let mut setup = Setup::new(&rule).listen(FIRST, port);
    setup.policy.push_str(&format!(
        "secrets:\n  api_key:\n    from: ['env:CAISSON_SECRET_KEY']\n    seal: {{ ports: [{port}], {seal} }}\n"
    ));
    setup.sealed = vec![Sealed {
        property: "/api_key".into(),
        placeholder: SecretValue::new(PLACEHOLDER),
        value: SecretValue::new(value).into(),
        declared,
    }];
    setup.gateway.upstream_authorities = vec![api.authority.clone()];
    let harness = setup.open();
    assert_eq!(harness.look_up("api.example.com").await, FIRST);
    Inspected { harness, api }
}

const HOSTS: &str = "hosts: [api.example.com]";

impl Inspected {
    /// An answer's status and body.
    async fn ask(
        &self,
        spoken: Spoken,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> (u16, String) {
        let mut client = self.client(spoken).await;
        let mut request = self.request(method, path, body);
        for (name, value) in fields {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let sent = client.try_send(request).await;
        let Ok(response) = sent else {
            return (0, String::new());
        };
        let status = response.status().as_u16();
        let body = response.into_body().collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}

impl Client {
    pub(super) async fn try_send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<hyper::body::Incoming>> {
        let answer = match self {
            Self::One(sender) => {
                let target = request.uri().path_and_query().unwrap().as_str();
                *request.uri_mut() = target.parse().unwrap();
                tokio::time::timeout(PATIENCE, sender.send_request(request)).await
            }
            Self::Two(sender) => {
                request.headers_mut().remove("host");
                tokio::time::timeout(PATIENCE, sender.send_request(request)).await
            }
        };
        answer.expect("an answer")
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

#[tokio::test]
async fn the_value_is_put_in_where_the_policy_says_and_the_worker_never_sees_it() {
    for spoken in [Spoken::One, Spoken::Two] {
        let ascii = "sk-live-123+/=";
        let (inspected, got) = with(HOSTS, ascii, vec![], spoken).await;
        let bearer = format!("Bearer {PLACEHOLDER}");
        let (status, told) = inspected
            .ask(spoken, "GET", "/v1", &[("authorization", &bearer)], "")
            .await;
        assert_eq!(status, 200);
        assert!(
            got.last()
                .0
                .contains(&format!("authorization: Bearer {ascii}\n")),
            "{got:?}"
        );
        assert!(
            told.contains("authorization: Bearer [redacted]") && !told.contains(ascii),
            "{told}"
        );
        let basic = format!(
            "Basic {}",
            BASE64_STANDARD.encode(format!("{PLACEHOLDER}:"))
        );
        inspected
            .ask(spoken, "GET", "/v1", &[("authorization", &basic)], "")
            .await;
        let expected = BASE64_STANDARD.encode(format!("{ascii}:"));
        assert!(
            got.last()
                .0
                .contains(&format!("authorization: Basic {expected}\n")),
            "{got:?}"
        );
    }
}

#[tokio::test]
async fn every_place_has_its_own_spelling() {
    for spoken in [Spoken::One, Spoken::Two] {
        let (query, got) = with(
            &format!("{HOSTS}, place: 'query:api key'"),
            VALUE,
            vec![],
            spoken,
        )
        .await;
        query
            .ask(
                spoken,
                "GET",
                &format!("/v1?a=%41&api%20key={PLACEHOLDER}&b"),
                &[],
                "",
            )
            .await;
        let head = got.last().0;
        assert!(
            head.lines()
                .next()
                .unwrap()
                .ends_with("/v1?a=%41&api%20key=sk%2Flive%2B%C3%A4%2222&b"),
            "{head}"
        );

        let (form, got) = with(
            &format!("{HOSTS}, place: form:client_secret"),
            VALUE,
            vec![],
            spoken,
        )
        .await;
        let body = format!("grant_type=client_credentials&client_secret={PLACEHOLDER}&scope=a+b");
        form.ask(spoken, "POST", "/token", &[FORM], body.clone())
            .await;
        let expected = body.replace(PLACEHOLDER, "sk%2Flive%2B%C3%A4%2222");
        let (head, sent) = got.last();
        assert_eq!(sent, expected);
        assert!(
            head.contains(&format!("content-length: {}\n", expected.len())),
            "{head}"
        );

        let (json, got) = with(
            &format!("{HOSTS}, place: json:/auth/keys/1"),
            VALUE,
            vec![],
            spoken,
        )
        .await;
        let body = format!("{{ \"n\": 1.50, \"auth\" : {{\"keys\":[\"x\",\"{PLACEHOLDER}\"]}}}}");
        json.ask(spoken, "POST", "/login", &[JSON], body.clone())
            .await;
        assert_eq!(got.last().1, body.replace(PLACEHOLDER, "sk/live+ä\\\"22"));
        let zipped = gzip(body.as_bytes());
        json.ask(
            spoken,
            "POST",
            "/login",
            &[JSON, ("content-encoding", "gzip")],
            zipped,
        )
        .await;
        let (head, sent) = got.last();
        assert_eq!(sent, body.replace(PLACEHOLDER, "sk/live+ä\\\"22"));
        assert!(!head.contains("content-encoding"), "{head}");
    }
}

#[tokio::test]
async fn it_is_the_operator_who_names_a_place_and_what_the_connector_declares_is_offered() {
    let place = Place::Header("x-api-key".parse().unwrap());
    let (mut inspected, got) = with(HOSTS, "sk-1234567", vec![place], Spoken::One).await;
    let (status, _) = inspected
        .ask(Spoken::One, "GET", "/", &[("x-api-key", PLACEHOLDER)], "")
        .await;
    assert_eq!((status, got.0.lock().unwrap().len()), (403, 0));
    let offered = loop {
        if let EgressEvent::Refused { refusal, .. } = inspected.harness.event().await {
            break refusal.rule_to_add.unwrap();
        }
    };
    assert_eq!(
        offered,
        "  seal: { hosts: [api.example.com], place: \"header:x-api-key\" }\n"
    );
    let named = format!("{HOSTS}, place: 'header:X-Api-Key'");
    let (inspected, got) = with(&named, "sk-1234567", vec![], Spoken::One).await;
    inspected
        .ask(Spoken::One, "GET", "/", &[("x-api-key", PLACEHOLDER)], "")
        .await;
    assert!(got.last().0.contains("x-api-key: sk-1234567\n"), "{got:?}");
}

#[tokio::test]
async fn a_part_of_a_stored_value_cannot_be_asked_for_and_what_has_no_body_stays_as_it_is() {
    let answering = server::answer(|request: Request<hyper::body::Incoming>| async move {
        let ranged = request.headers().contains_key("range");
        let mut response = Response::builder()
            .header("content-encoding", "gzip")
            .header("x-ranged", ranged.to_string());
        let body = if request.method() == "HEAD" {
            response = response.header("content-length", "77");
            Bytes::new()
        } else {
            Bytes::new()
        };
        let frames = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(
            http_body::Frame::data(body),
        )]);
        response.body(StreamBody::new(frames)).unwrap()
    });
    let inspected = serving(HOSTS, "sk-live-123", vec![], Spoken::One, answering).await;
    let mut client = inspected.client(Spoken::One).await;
    for (range, passed) in [("bytes=0-3", "false"), ("id ..; max=10", "true")] {
        let mut request = inspected.request("GET", "/", "");
        request
            .headers_mut()
            .insert("range", range.parse().unwrap());
        let response = client.try_send(request).await.unwrap();
        assert_eq!(response.headers()["x-ranged"], passed, "{range}");
        let body = response.into_body().collect().await.unwrap();
        assert!(body.to_bytes().is_empty());
    }
    let response = client
        .try_send(inspected.request("HEAD", "/", ""))
        .await
        .unwrap();
    assert_eq!(response.headers()["content-length"], "77");
    assert_eq!(response.headers()["content-encoding"], "gzip");
}

#[tokio::test]
async fn a_seal_that_a_reload_took_away_counts_for_requests_that_wait() {
    let (inspected, got) = with(HOSTS, "sk-live-123", vec![], Spoken::One).await;
    let port = inspected.api.port;
    let policy = |secrets: &str| {
        format!(
            "format: 1\nconnector: shop\negress:\n  - {{ host: '*.example.com', ports: [{port}], networks: [127.0.0.0/8], protocol: https, rate: {{ per_second: 1, burst: 1 }} }}\n{secrets}"
        )
    };
    let sealed = format!(
        "secrets:\n  api_key: {{ from: ['env:CAISSON_SECRET_KEY'], seal: {{ ports: [{port}], {HOSTS} }} }}\n"
    );
    inspected
        .harness
        .write_policy("shop.yaml", &policy(&sealed));
    inspected.harness.gateway.reload().unwrap();
    let key: &[(&str, &str)] = &[("authorization", PLACEHOLDER)];
    assert_eq!(inspected.ask(Spoken::One, "GET", "/", key, "").await.0, 200);
    let waits = inspected.ask(Spoken::One, "GET", "/", key, "");
    let reloads = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        inspected.harness.write_policy("shop.yaml", &policy(""));
        inspected.harness.gateway.reload().unwrap();
    };
    let ((status, _), ()) = tokio::join!(waits, reloads);
    assert_eq!((status, got.0.lock().unwrap().len()), (403, 1));
}

/// What it is, a path, fields and a body.
type Way = (&'static str, String, Vec<(&'static str, String)>, Vec<u8>);

/// Ways to carry a placeholder where no value belongs.
fn elsewhere() -> Vec<Way> {
    let base64 = |pad: usize| BASE64_STANDARD.encode(format!("{}{PLACEHOLDER}", "x".repeat(pad)));
    let percent: String = PLACEHOLDER
        .bytes()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    let escaped: String = PLACEHOLDER
        .chars()
        .map(|c| format!("\\u{:04x}", c as u32))
        .collect();
    let hex: String = PLACEHOLDER
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut ways = vec![
        ("the path", format!("/v1/{PLACEHOLDER}"), vec![], vec![]),
        (
            "the path, escaped",
            format!("/v1/{percent}"),
            vec![],
            vec![],
        ),
        ("the query", format!("/v1?q={PLACEHOLDER}"), vec![], vec![]),
        (
            "a query's name",
            format!("/v1?{PLACEHOLDER}=1"),
            vec![],
            vec![],
        ),
        (
            "another field",
            "/".into(),
            vec![("x-note", PLACEHOLDER.into())],
            vec![],
        ),
        (
            "a cookie",
            "/".into(),
            vec![("cookie", format!("a=1; k={}", base64(1)))],
            vec![],
        ),
        (
            "a field's name",
            "/".into(),
            vec![("sealed7f3kq0zzp4m8w1x9d5r2t6y0u3i7o1a5s9dfgh", "1".into())],
            vec![],
        ),
    ];
    for (what, body) in [
        ("raw", PLACEHOLDER.to_owned()),
        ("base64 0", base64(0)),
        ("base64 1", base64(1)),
        ("base64 2", base64(2)),
        ("percent", percent),
        ("json", format!("{{\"a\":\"{escaped}\"}}")),
        ("hex", hex),
        (
            "far behind",
            format!("{}{PLACEHOLDER}", "x".repeat(300_000)),
        ),
    ] {
        ways.push((what, "/v1".into(), vec![], body.clone().into_bytes()));
        ways.push((
            what,
            "/v1".into(),
            vec![("content-encoding", "gzip".into())],
            gzip(body.as_bytes()),
        ));
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(body.as_bytes()).unwrap();
        ways.push((
            what,
            "/v1".into(),
            vec![("content-encoding", "deflate".into())],
            zlib.finish().unwrap(),
        ));
    }
    ways.push((
        "a coding that is not read",
        "/v1".into(),
        vec![("content-encoding", "br".into())],
        b"x".to_vec(),
    ));
    ways
}

#[tokio::test]
async fn a_placeholder_elsewhere_is_stopped_and_told() {
    for spoken in [Spoken::One, Spoken::Two] {
        let (mut inspected, got) = with(HOSTS, "sk-live-123", vec![], spoken).await;
        for (what, path, fields, body) in elsewhere() {
            let before = got.0.lock().unwrap().len();
            let fields: Vec<(&str, &str)> = fields
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let (status, _) = inspected.ask(spoken, "POST", &path, &fields, body).await;
            assert!(status == 403 || status == 0, "{what}: {status}");
            assert_eq!(
                got.0.lock().unwrap().len(),
                before,
                "{what} went through whole"
            );
        }
        // Equal ones are told once a second.
        assert_eq!(inspected.refusal().await, "secret_misplaced");
        assert!(got.0.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_value_is_bound_to_host_method_and_path() {
    let seal = "hosts: [api.example.com], methods: [GET], paths: [/v1/**]";
    let (inspected, got) = with(seal, "sk-live-123", vec![], Spoken::One).await;
    let key: &[(&str, &str)] = &[("authorization", PLACEHOLDER)];
    for (method, path, expected) in [
        ("GET", "/v1/a", 200),
        ("POST", "/v1/a", 403),
        ("GET", "/v2/a", 403),
        ("GET", "/v1/..%2fv2", 403),
    ] {
        let (status, _) = inspected.ask(Spoken::One, method, path, key, "").await;
        assert_eq!(status, expected, "{method} {path}");
    }
    assert_eq!(got.0.lock().unwrap().len(), 1);
    let other = "hosts: [db.example.com]";
    let (inspected, got) = with(other, "sk-live-123", vec![], Spoken::One).await;
    let (status, _) = inspected.ask(Spoken::One, "GET", "/", key, "").await;
    assert_eq!((status, got.0.lock().unwrap().len()), (403, 0));
}

#[tokio::test]
async fn fields_that_some_upstreams_take_for_method_or_target_do_not_widen_a_seal() {
    let seal = "hosts: [api.example.com], methods: [GET, POST], paths: [/v1/**]";
    let (inspected, got) = with(seal, "sk-live-123", vec![], Spoken::One).await;
    for (name, value) in [
        ("x-http-method-override", "DELETE"),
        ("x-original-url", "/v2"),
        ("x-rewrite-url", "/v1/../v2"),
    ] {
        let fields = [("authorization", PLACEHOLDER), (name, value)];
        let (status, _) = inspected
            .ask(Spoken::One, "POST", "/v1/a", &fields, "")
            .await;
        assert_eq!(status, 403, "{name}");
    }
    assert!(got.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn trailers_come_behind_the_last_byte_and_without_the_value() {
    let trailing = server::answer(|request: Request<hyper::body::Incoming>| async move {
        let value = request.headers()["authorization"].clone();
        let frames = [
            http_body::Frame::data(Bytes::from_static(b"hello sk-live")),
            http_body::Frame::trailers(http::HeaderMap::from_iter([(
                "x-key".parse().unwrap(),
                value,
            )])),
        ];
        let frames = futures_util::stream::iter(frames.map(Ok::<_, std::convert::Infallible>));
        Response::new(StreamBody::new(frames))
    });
    let inspected = serving(HOSTS, "sk-live-123", vec![], Spoken::Two, trailing).await;
    let mut client = inspected.client(Spoken::Two).await;
    let mut request = inspected.request("GET", "/", "");
    request
        .headers_mut()
        .insert("authorization", PLACEHOLDER.parse().unwrap());
    let response = client.try_send(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-key"], "[redacted]");
    assert_eq!(body.to_bytes(), "hello sk-live");
}

#[tokio::test]
async fn a_placeholder_that_is_split_over_writes_is_one_all_the_same() {
    let (inspected, got) = with(HOSTS, "sk-live-123", vec![], Spoken::One).await;
    let mut stream = inspected
        .tls("api.example.com", &["http/1.1"])
        .await
        .unwrap();
    let head = "POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for byte in PLACEHOLDER.bytes() {
        let chunk = [b"1\r\n".as_slice(), &[byte], b"\r\n"].concat();
        if stream.write_all(&chunk).await.is_err() {
            break;
        }
        stream.flush().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let _ = stream.write_all(b"0\r\n\r\n").await;
    let ended = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 64]))
        .await
        .expect("an end");
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    assert!(got.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_that_a_value_may_belong_into_has_a_longest_length() {
    let (inspected, got) = with(
        &format!("{HOSTS}, place: json:/key"),
        "sk-live-123",
        vec![],
        Spoken::One,
    )
    .await;
    let body = |pad: usize| {
        format!(
            "{{\"pad\":\"{}\",\"key\":\"{PLACEHOLDER}\"}}",
            "x".repeat(pad)
        )
    };
    let around = (1 << 20) - body(0).len();
    let (status, _) = inspected
        .ask(Spoken::One, "POST", "/", &[JSON], body(around))
        .await;
    assert_eq!(status, 200);
    assert!(got.last().1.ends_with("\"key\":\"sk-live-123\"}"));
    let (status, told) = inspected
        .ask(Spoken::One, "POST", "/", &[JSON], body(around + 1))
        .await;
    assert!(
        status == 403 && told.contains("more than 1 MiB"),
        "{status} {told}"
    );
}

#[tokio::test]
async fn a_stored_placeholder_that_is_read_back_gives_nothing() {
    let stored = server::answer(|_| async { Response::new(server::whole(PLACEHOLDER)) });
    let inspected = serving(HOSTS, "sk-live-123", vec![], Spoken::One, stored).await;
    let (status, told) = inspected.ask(Spoken::One, "GET", "/", &[], "").await;
    assert_eq!((status, told.as_str()), (200, PLACEHOLDER));
}

#[tokio::test]
async fn what_an_upstream_says_back_is_scrubbed_in_whatever_coding_it_comes() {
    for (coding, spoken) in [
        ("", Spoken::One),
        ("gzip", Spoken::One),
        ("gzip", Spoken::Two),
    ] {
        let echoes = server::answer(move |request: Request<hyper::body::Incoming>| async move {
            assert_eq!(request.headers()["accept-encoding"], "gzip");
            let value = request.headers()["authorization"].clone();
            let text = format!("{}{}", "x".repeat(100_000), value.to_str().unwrap());
            let body = if coding.is_empty() {
                text.into_bytes()
            } else {
                gzip(text.as_bytes())
            };
            let mut response = Response::builder()
                .header("x-echo", value)
                .header("content-length", body.len());
            if !coding.is_empty() {
                response = response.header("content-encoding", coding);
            }
            response.body(server::whole(body)).unwrap()
        });
        let inspected = serving(HOSTS, "sk-live-123", vec![], spoken, echoes).await;
        let fields = [
            ("authorization", PLACEHOLDER),
            ("accept-encoding", "gzip, br"),
        ];
        let (status, told) = inspected.ask(spoken, "GET", "/", &fields, "").await;
        assert_eq!(status, 200);
        assert!(
            told.ends_with("xxx[redacted]") && told.len() == 100_010,
            "{}",
            told.len()
        );
    }
}

#[tokio::test]
async fn a_placeholder_in_a_message_of_a_websocket_ends_it_and_no_extension_is_agreed_on() {
    let (got, left) = (Got::default(), Arc::new(tokio::sync::Notify::new()));
    let (heard, over) = (got.clone(), Arc::clone(&left));
    let upgrade = server::websocket(move |fields, mut io| {
        let (heard, over) = (heard.clone(), Arc::clone(&over));
        async move {
            let extensions = fields.get("sec-websocket-extensions");
            let mut bytes = [0; 256];
            while let Ok(length @ 1..) = io.read(&mut bytes).await {
                let said = (format!("{extensions:?}"), format!("{:?}", &bytes[..length]));
                heard.0.lock().unwrap().push(said);
                io.write_all(&bytes[..length]).await.unwrap();
            }
            over.notify_one();
        }
    });
    let mut inspected = serving(HOSTS, "sk-live-123", vec![], Spoken::One, upgrade).await;
    let port = inspected.api.port;
    inspected.harness.write_policy("shop.yaml", &format!(
        "format: 1\nconnector: shop\negress:\n  - {{ host: '*.example.com', ports: [{port}], networks: [127.0.0.0/8], protocol: https, http: {{ websocket: true }} }}\n"
    ));
    inspected.harness.gateway.reload().unwrap();
    let mut stream = inspected
        .tls("api.example.com", &["http/1.1"])
        .await
        .unwrap();
    let head = "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let masked = |text: &str| {
        let bytes = text.bytes().zip([1, 2, 3, 4].into_iter().cycle());
        let bytes: Vec<u8> = bytes.map(|(byte, mask)| byte ^ mask).collect();
        [&[0x81, 0x80 | bytes.len() as u8, 1, 2, 3, 4], &bytes[..]].concat()
    };
    stream.write_all(&masked("hello")).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(&masked("hello")) {
        answer.push(
            tokio::time::timeout(PATIENCE, stream.read_u8())
                .await
                .expect("an answer")
                .unwrap(),
        );
    }
    stream.write_all(&masked(PLACEHOLDER)).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 16])).await;
    assert!(
        ended.expect("an end").is_err(),
        "cut, and not ended cleanly"
    );
    assert_eq!(inspected.refusal().await, "secret_misplaced");
    let over = tokio::time::timeout(PATIENCE, left.notified()).await;
    over.expect("the upstream's side is over");
    let got = got.0.lock().unwrap();
    assert_eq!(
        *got,
        [("None".to_owned(), format!("{:?}", masked("hello")))]
    );
}
