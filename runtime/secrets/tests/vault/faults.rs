//! What the daemon is told when it gets nothing, and whether trying again may help.

use std::time::Duration;

use caisson_secrets::*;
use serde_json::json;

use crate::harness::{Server, free_port, value};

const SHOP: &str = "vault:kv/data/shop#api_key";

#[tokio::test(flavor = "multi_thread")]
async fn a_path_outside_the_daemons_policy_is_denied_with_the_words_to_write() {
    let server = Server::start();
    let provider = server.provider(server.config());
    let error = value(&provider, "vault:secret/data/x#y").await.unwrap_err();
    assert_eq!(error.fault, ProviderFault::Denied);
    assert_eq!(
        error.to_string(),
        "the vault does not let the daemon read secret/data/x; write into the daemon's policy in the vault: path \"secret/data/x\" { capabilities = [\"read\"] }"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_may_make_no_tokens_is_told_what_its_policy_lacks() {
    let server = Server::start();
    let (_, auth) = server.token(json!({ "policies": ["default"] }));
    let provider = server.provider(VaultConfig::new(server.address.clone(), auth));
    let error = value(&provider, SHOP).await.unwrap_err();
    assert_eq!(error.fault, ProviderFault::Denied);
    assert!(
        error.to_string().contains("path \"auth/token/create\""),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_vault_is_to_be_unsealed() {
    let server = Server::start();
    let provider = server.provider(server.config());
    server.admin.post("sys/seal", json!({}));
    let error = value(&provider, SHOP).await.unwrap_err();
    assert!(error.retryable(), "{error}");
    let told = format!(
        "the vault at {} is sealed; unseal it, and try again",
        server.address
    );
    assert_eq!(error.to_string(), told);
}

/// A provider of a vault at `address`, with a token that nobody checks.
fn elsewhere(address: String) -> (tempfile::TempDir, VaultProvider) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "s.token").unwrap();
    let config = VaultConfig {
        timeout: Duration::from_millis(300),
        ..VaultConfig::new(address, VaultAuth::Token { file })
    };
    let list = RevocationDir::new(dir.path().join("list")).unwrap();
    let provider = VaultProvider::new(config, std::sync::Arc::new(list)).unwrap();
    (dir, provider)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_does_not_answer_is_given_up_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (_dir, provider) = elsewhere(format!("http://{}", silent.local_addr().unwrap()));
    let error = value(&provider, SHOP).await.unwrap_err();
    assert!(error.retryable(), "{error}");
    assert!(
        error.to_string().contains("did not answer within 0.3 s"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_one_login_are_told_of_its_failure_together() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (_dir, provider) = elsewhere(format!("http://{}", silent.local_addr().unwrap()));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let provider = provider.clone();
            tokio::spawn(async move { provider.open("c1").await.err().unwrap() })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().retryable());
    }
    silent.set_nonblocking(true).unwrap();
    let connections = std::iter::from_fn(|| silent.accept().ok()).count();
    assert!(connections < 5, "{connections} logins for 20 calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_is_not_there_may_come_back() {
    let (_dir, provider) = elsewhere(format!("http://127.0.0.1:{}", free_port()));
    let error = value(&provider, SHOP).await.unwrap_err();
    assert!(
        error.retryable() && error.to_string().contains("cannot be reached"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_followed_to_its_leader_and_nowhere_else() {
    let server = Server::start();
    let leader = server.address.clone();
    for (location, reached) in [
        (leader, true),
        ("http://192.0.2.1:8200".to_owned(), false),
        ("https://127.0.0.1:1".to_owned(), false),
    ] {
        let standby = standby(location);
        let config = VaultConfig {
            address: standby,
            ..server.config()
        };
        let outcome = value(&server.provider(config), SHOP).await;
        assert_eq!(outcome.is_ok(), reached, "{outcome:?}");
        if let Err(error) = outcome {
            assert!(
                error
                    .to_string()
                    .contains("redirects to where its secrets may not go"),
                "{error}"
            );
        }
    }
}

/// Redirects everything to `leader`.
fn standby(leader: String) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 65536]);
            let _ = write!(
                stream,
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: {leader}/v1/elsewhere\r\ncontent-length: 0\r\n\r\n"
            );
        }
    });
    address
}
