//! Client certificates: which upstream is shown which, and who never shares a connection or a session with whom.

use super::*;
use crate::signer::{Issued, Signer, sealed};
use caisson_egress::{Reason, Sealed};
use caisson_secrets::SecretValue;
use server::Caller;
use std::sync::Mutex;

const PLACEHOLDER: &str = "sealed7f3kq0zzp4m8w1x9d5r2t6y0u3i7o1a5s9dfgh";

/// Whoever sent a request, in order.
#[derive(Debug, Clone, Default)]
struct Callers(Arc<Mutex<Vec<Caller>>>);

impl Callers {
    fn answer(&self) -> server::Answer {
        let callers = self.clone();
        server::answer(move |request: Request<hyper::body::Incoming>| {
            let caller = request.extensions().get::<Caller>().unwrap().clone();
            callers.0.lock().unwrap().push(caller);
            async move { Response::new(server::whole("hello")) }
        })
    }

    fn all(&self) -> Vec<Caller> {
        self.0.lock().unwrap().clone()
    }
}

/// Another port of the rule, on which nobody is met.
fn other(port: u16) -> u16 {
    if port == u16::MAX { port - 1 } else { port + 1 }
}

fn rule(port: u16) -> String {
    let other = other(port);
    format!(
        "  - {{ host: '*.example.com', ports: [{port}, {other}], networks: [127.0.0.0/8], protocol: https }}\n"
    )
}

/// A call with a client's key before `api`, of a policy that seals it for `host` and `port`.
fn call(api: Api, issued: &Issued, secrets: &str) -> Inspected {
    let mut setup = Setup::new(&rule(api.port)).listen(FIRST, api.port);
    setup.policy.push_str(secrets);
    setup.sealed = vec![Sealed {
        property: "/client_key".into(),
        placeholder: SecretValue::new(PLACEHOLDER),
        value: SecretValue::new(issued.key.as_str()).into(),
        declared: Vec::new(),
    }];
    setup.certificates = vec![issued.shown()];
    setup.gateway.upstream_authorities = vec![api.authority.clone()];
    Inspected {
        harness: setup.open(),
        api,
    }
}

async fn asked(inspected: &Inspected, spoken: Spoken) -> Option<String> {
    let mut client = inspected.client(spoken).await;
    let request = inspected.request("GET", "/v1/orders", Bytes::new());
    let answer = client.try_send(request).await.ok()?;
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    Some(String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_gets_it_in_both_versions_of_http() {
    let signer = Signer::new();
    let own = signer.issue("client.example");
    for spoken in [Spoken::One, Spoken::Two] {
        let callers = Callers::default();
        let api = Api::verifying(
            "api.example.com",
            spoken.alone(),
            callers.answer(),
            signer.demand(false),
        )
        .await;
        let secrets = sealed("api.example.com", api.port);
        let inspected = call(api, &own, &secrets);
        inspected.harness.look_up("api.example.com").await;
        assert_eq!(
            asked(&inspected, spoken).await.as_deref(),
            Some("hello"),
            "{spoken:?}"
        );
        let shown = callers.all().pop().unwrap().certificate;
        assert_eq!(shown.as_ref(), Some(&own.der), "{spoken:?}");
    }
}

#[tokio::test]
async fn without_a_seal_the_failure_says_what_the_server_wants_and_what_to_write() {
    let signer = Signer::new();
    let own = signer.issue("client.example");
    for spoken in [Spoken::One, Spoken::Two] {
        for is_port in [false, true] {
            let demand = signer.demand(false);
            let api = Api::verifying("api.example.com", spoken.alone(), say("hello"), demand).await;
            let port = api.port;
            let elsewhere = match is_port {
                true => sealed("api.example.com", other(port)),
                false => sealed("db.example.com", port),
            };
            let mut inspected = call(api, &own, &elsewhere);
            inspected.harness.look_up("api.example.com").await;
            assert_eq!(asked(&inspected, spoken).await, None);
            let (reason, detail) = failure(&mut inspected).await;
            assert_eq!(reason, Reason::ClientCertificateWanted, "{detail}");
            let wanted =
                format!("seal: {{ hosts: [api.example.com], ports: [{port}], place: client_key");
            assert!(
                detail.contains("asked for a client certificate"),
                "{detail}"
            );
            assert!(detail.contains(&wanted), "{detail}");
            assert_eq!(inspected.api.seen(), 0);
        }
    }
}

#[tokio::test]
async fn a_certificate_that_the_server_does_not_take_is_a_failure_of_tls() {
    let foreign = Signer::new().issue("client.example");
    let api = Api::verifying(
        "api.example.com",
        &[Spoken::One],
        say("hello"),
        Signer::new().demand(false),
    )
    .await;
    let secrets = sealed("api.example.com", api.port);
    let mut inspected = call(api, &foreign, &secrets);
    inspected.harness.look_up("api.example.com").await;
    assert_eq!(asked(&inspected, Spoken::One).await, None);
    let (reason, detail) = failure(&mut inspected).await;
    assert_eq!(reason, Reason::TlsFailed, "{detail}");
    assert!(
        !detail.contains("asked for a client certificate"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_that_and_no_asker() {
    let signer = Signer::new();
    let own = signer.issue("client.example");
    let demand = signer.demand(false);
    let mut api = Api::verifying("api.example.com", &[Spoken::One], say("hello"), demand).await;
    api.authority = inspected("", &[Spoken::One], say("")).await.api.authority;
    let secrets = sealed("db.example.com", api.port);
    let mut inspected = call(api, &own, &secrets);
    inspected.harness.look_up("api.example.com").await;
    assert!(inspected.tls("api.example.com", &[]).await.is_err());
    let (reason, detail) = failure(&mut inspected).await;
    assert_eq!(reason, Reason::TlsFailed, "{detail}");
    assert!(!detail.contains("asked for"), "{detail}");
}

async fn failure(inspected: &mut Inspected) -> (Reason, String) {
    loop {
        if let EgressEvent::Failed { reason, detail, .. } = inspected.harness.event().await {
            return (reason, detail);
        }
    }
}

#[tokio::test]
async fn a_host_that_asks_and_is_not_named_is_shown_nothing() {
    let signer = Signer::new();
    let own = signer.issue("client.example");
    let callers = Callers::default();
    let api = Api::verifying(
        "api.example.com",
        &[Spoken::One],
        callers.answer(),
        signer.demand(true),
    )
    .await;
    let secrets = sealed("db.example.com", api.port);
    let inspected = call(api, &own, &secrets);
    inspected.harness.look_up("api.example.com").await;
    assert_eq!(
        asked(&inspected, Spoken::One).await.as_deref(),
        Some("hello")
    );
    assert_eq!(callers.all()[0].certificate, None);
}

#[tokio::test]
async fn calls_share_neither_connections_nor_sessions_across_certificates() {
    let signer = Signer::new();
    let (own, other) = (signer.issue("one.example"), signer.issue("two.example"));
    let callers = Callers::default();
    let demand = signer.demand(true);
    let api = Api::verifying("api.example.com", &[Spoken::One], callers.answer(), demand).await;
    let secrets = sealed("api.example.com", api.port);
    let mut inspected = call(api, &own, &secrets);
    // Calls of one daemon, one after the other: with a key, with another one, with none, and with the first one again.
    let own_again = own.shown();
    for certificates in [
        None,
        Some(vec![other.shown()]),
        Some(vec![]),
        Some(vec![own_again]),
    ] {
        if let Some(certificates) = certificates {
            inspected.harness = inspected.harness.follow(certificates).await;
        }
        inspected.harness.look_up("api.example.com").await;
        for _ in 0..2 {
            assert!(asked(&inspected, Spoken::One).await.is_some());
        }
    }
    let of = |caller: &Caller| (caller.certificate.clone(), caller.resumed);
    let seen: Vec<_> = callers.all().iter().map(of).collect();
    let expected = [&own, &other, &own].map(|issued| Some(issued.der.clone()));
    let [first, second, last] = expected;
    let calls = [first, second, None, last].into_iter();
    // Within a call a session is resumed; the first handshake of each call is a whole one.
    let expected: Vec<_> = calls
        .flat_map(|call| [(call.clone(), false), (call, true)])
        .collect();
    assert_eq!(seen, expected);
    let mut connections: Vec<_> = callers
        .all()
        .iter()
        .map(|caller| caller.connection)
        .collect();
    connections.dedup();
    assert_eq!(
        connections.len(),
        8,
        "a connection of the worker has one upstream of its own"
    );
}

#[tokio::test]
async fn a_seal_that_is_taken_out_of_the_policy_ends_the_connections_that_showed_its_certificate() {
    let signer = Signer::new();
    let own = signer.issue("client.example");
    let callers = Callers::default();
    let demand = signer.demand(true);
    let api = Api::verifying("api.example.com", &[Spoken::One], callers.answer(), demand).await;
    let (port, secrets) = (api.port, sealed("api.example.com", api.port));
    let mut inspected = call(api, &own, &secrets);
    inspected.harness.look_up("api.example.com").await;
    let mut client = inspected.client(Spoken::One).await;
    let request = || inspected.request("GET", "/v1/orders", Bytes::new());
    assert!(client.try_send(request()).await.is_ok());
    let policy = format!("format: 1\nconnector: shop\negress:\n{}", rule(port));
    // A policy that says the same of it keeps the connection.
    inspected.harness.write_policy(
        "shop.yaml",
        &format!("{policy}{secrets}limits: {{ pids: 9 }}\n"),
    );
    inspected.harness.gateway.reload().unwrap();
    assert!(client.try_send(request()).await.is_ok());
    inspected.harness.write_policy("shop.yaml", &policy);
    inspected.harness.gateway.reload().unwrap();
    loop {
        if let EgressEvent::Closed { ended, .. } = inspected.harness.event().await {
            assert_eq!(ended, Ended::PolicyChanged);
            break;
        }
    }
    assert!(asked(&inspected, Spoken::One).await.is_some());
    let shown: Vec<_> = callers
        .all()
        .into_iter()
        .map(|caller| caller.certificate)
        .collect();
    assert_eq!(shown, [Some(own.der.clone()), Some(own.der), None]);
}

#[tokio::test]
async fn the_placeholder_of_a_key_is_blocked_in_requests_to_its_own_host_too() {
    let signer = Signer::new();
    let own = signer.issue("client.example");
    let demand = signer.demand(false);
    let api = Api::verifying("api.example.com", &[Spoken::One], say("hello"), demand).await;
    let secrets = sealed("api.example.com", api.port);
    let mut inspected = call(api, &own, &secrets);
    inspected.harness.look_up("api.example.com").await;
    let mut client = inspected.client(Spoken::One).await;
    let mut request = inspected.request("GET", "/v1/orders", Bytes::new());
    let field = format!("Bearer {PLACEHOLDER}");
    request
        .headers_mut()
        .insert("authorization", field.parse().unwrap());
    let answer = client.try_send(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(inspected.refusal().await, "secret_misplaced");
    assert_eq!(inspected.api.seen(), 0);
}
