//! How the daemon proves itself to the vault.

use caisson_secrets::*;
use serde_json::json;

use crate::harness::{Server, approle, soon, value};
use crate::kubernetes::{TokenReview, service_account_token};
use crate::pki::Pki;

const SHOP: &str = "vault:kv/data/shop#api_key";

#[tokio::test(flavor = "multi_thread")]
async fn by_a_token_in_a_file_that_is_read_anew_when_it_is_gone() {
    let server = Server::start();
    let (token, auth) = server.token(json!({}));
    let provider = server.provider(VaultConfig::new(server.address.clone(), auth));
    assert_eq!(value(&provider, SHOP).await.unwrap(), "value-of-version-1");
    server
        .admin
        .post("auth/token/revoke", json!({ "token": token }));
    let error = value(&provider, SHOP).await.unwrap_err();
    assert_eq!(error.fault, ProviderFault::Denied, "{error}");
    let told = error.to_string();
    assert!(
        told.contains("the daemon's login by the token in /")
            && told.contains("write a token that is valid"),
        "{told}"
    );
    assert!(!told.contains(&token), "{told}");
    server.token(json!({}));
    assert_eq!(value(&provider, SHOP).await.unwrap(), "value-of-version-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_an_approle_once_for_many_calls() {
    let server = Server::start();
    let auth = approle(
        &server,
        json!({ "token_policies": "daemon", "token_ttl": "1h" }),
    );
    let provider = server.provider(VaultConfig::new(server.address.clone(), auth.clone()));
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let provider = provider.clone();
            tokio::spawn(async move { value(&provider, SHOP).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "value-of-version-1");
    }
    assert_eq!(server.count("auth/machines/login"), 1);
    assert!(server.list().pending().unwrap().is_empty());

    // A daemon that stops takes its token and those of its calls with it.
    let session = provider.open("c1").await.unwrap();
    let accessor = server.noted();
    assert!(server.lives(&accessor));
    provider.log_out().await.unwrap();
    assert!(!server.lives(&accessor));
    drop(session);

    // Nor does it matter who ended the token: the next call logs in.
    assert_eq!(value(&provider, SHOP).await.unwrap(), "value-of-version-1");
    assert_eq!(server.count("auth/machines/login"), 2);
    server
        .admin
        .post("sys/leases/revoke-prefix/auth/machines/login", json!({}));
    assert_eq!(value(&provider, SHOP).await.unwrap(), "value-of-version-1");
    assert_eq!(server.count("auth/machines/login"), 3);

    let VaultAuth::AppRole { secret_id_file, .. } = &auth else {
        unreachable!()
    };
    std::fs::write(secret_id_file, "a-wrong-secret-id").unwrap();
    let provider = server.provider(VaultConfig::new(server.address.clone(), auth));
    let told = value(&provider, SHOP).await.unwrap_err().to_string();
    assert!(
        told.contains("the daemon's login by AppRole at auth/machines")
            && told.contains("write a secret id that is valid"),
        "{told}"
    );
    assert!(!told.contains("a-wrong-secret-id"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_prolonged_and_then_replaced_before_its_longest_life_is_over() {
    let server = Server::start();
    let role = json!({ "token_policies": "daemon", "token_ttl": "3s", "token_max_ttl": "7s" });
    let auth = approle(&server, role);
    let provider = server.provider(VaultConfig::new(server.address.clone(), auth));
    assert_eq!(value(&provider, SHOP).await.unwrap(), "value-of-version-1");
    assert_eq!(server.count("auth/token/renew-self"), 0);
    assert!(soon(|| server.count("auth/token/renew-self") > 0));
    assert_eq!(server.count("auth/machines/login"), 1);
    assert!(soon(|| server.count("auth/machines/login") > 1));
    assert_eq!(value(&provider, SHOP).await.unwrap(), "value-of-version-1");
    drop(provider);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_service_account_of_kubernetes() {
    let server = Server::start();
    let api = TokenReview::start();
    server
        .admin
        .post("sys/auth/kubernetes", json!({ "type": "kubernetes" }));
    server.admin.post("auth/kubernetes/config", json!({
        "kubernetes_host": api.address, "disable_local_ca_jwt": true, "kubernetes_ca_cert": Pki::new().authority(), "token_reviewer_jwt": service_account_token(),
    }));
    server.admin.post(
        "auth/kubernetes/role/daemon",
        json!({
            "bound_service_account_names": "daemon", "bound_service_account_namespaces": "caisson",
            "token_policies": "daemon", "token_ttl": "1h",
        }),
    );
    let auth = |role: &str| VaultAuth::Kubernetes {
        mount: "kubernetes".into(),
        role: role.into(),
        jwt_file: server.file("jwt", &service_account_token()),
    };
    let provider = server.provider(VaultConfig::new(server.address.clone(), auth("daemon")));
    assert_eq!(value(&provider, SHOP).await.unwrap(), "value-of-version-1");
    let provider = server.provider(VaultConfig::new(server.address.clone(), auth("none")));
    let told = value(&provider, SHOP).await.unwrap_err().to_string();
    assert!(
        told.contains("look whether the role lists the daemon's service account"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_certificate_over_tls_with_an_authority_of_ones_own() {
    let pki = Pki::new();
    let port = crate::harness::free_port();
    let server = Server::with(|dir| pki.listener(dir, port));
    server
        .admin
        .post("sys/auth/cert", json!({ "type": "cert" }));
    server.admin.post(
        "auth/cert/certs/daemon",
        json!({
            "certificate": pki.authority(), "token_policies": "daemon", "token_ttl": "1h",
        }),
    );
    let (certificate, key) = pki.client("daemon");
    let auth = VaultAuth::Cert {
        mount: "cert".into(),
        role: Some("daemon".into()),
        certificate: server.file("client.pem", &certificate),
        key: server.file("client.key", &key),
    };
    let config = VaultConfig {
        ca: Some(server.file("ca.pem", pki.authority())),
        ..VaultConfig::new(format!("https://127.0.0.1:{port}"), auth)
    };
    let provider = server.provider(config.clone());
    assert_eq!(value(&provider, SHOP).await.unwrap(), "value-of-version-1");

    // Another authority's certificate is none of the daemon's.
    let (certificate, key) = Pki::new().client("daemon");
    let strange = VaultConfig {
        auth: VaultAuth::Cert {
            mount: "cert".into(),
            role: None,
            certificate: server.file("strange.pem", &certificate),
            key: server.file("strange.key", &key),
        },
        ..config.clone()
    };
    let error = value(&server.provider(strange), SHOP).await.unwrap_err();
    assert_eq!(error.fault, ProviderFault::Denied, "{error}");

    // And a vault whose certificate another authority signed is no vault of the daemon's.
    let strange = VaultConfig {
        ca: Some(server.file("other.pem", Pki::new().authority())),
        ..config
    };
    let error = value(&server.provider(strange), SHOP).await.unwrap_err();
    assert_eq!(error.fault, ProviderFault::Denied, "{error}");
    assert!(
        error
            .to_string()
            .contains("as ca in the vault's configuration"),
        "{error}"
    );
}
