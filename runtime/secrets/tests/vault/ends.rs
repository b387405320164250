//! That what a call was given ends with it, however it ends, and not before.

use std::sync::Arc;
use std::time::Duration;

use caisson_secrets::*;
use serde_json::json;

use crate::harness::{Server, rules, soon, value};

const SHOP: &str = "vault:kv/data/shop#api_key";

async fn resolve(provider: &VaultProvider) -> Resolved {
    let resolver = Resolver::new([Arc::new(provider.clone()) as Arc<dyn Provider>]);
    let config = json!({ "k": { "$secret": SHOP } });
    resolver
        .resolve("c1", &config, &rules(&["vault:kv/**"]))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calls_token_is_its_own_and_is_revoked_when_the_call_ends() {
    let server = Server::start();
    let provider = server.provider(server.config());
    let resolved = resolve(&provider).await;
    let accessor = server.noted();
    let looked = server.admin.post(
        "auth/token/lookup-accessor",
        json!({ "accessor": accessor }),
    );
    let data = &looked["data"];
    assert_eq!(
        (&data["display_name"], &data["meta"], &data["creation_ttl"]),
        (
            &json!("token-caisson-c1"),
            &json!({ "call": "c1" }),
            &json!(300)
        )
    );
    assert_eq!(
        (&data["orphan"], &data["policies"]),
        (&json!(false), &json!(["daemon", "default"]))
    );
    resolved.into_leases().close().await;
    assert!(!server.lives(&accessor));
    assert!(server.list().pending().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calls_token_is_revoked_when_its_handle_is_dropped() {
    let server = Server::start();
    let provider = server.provider(server.config());
    let resolved = resolve(&provider).await;
    let accessor = server.noted();
    drop(resolved);
    assert!(soon(
        || !server.lives(&accessor) && server.list().pending().unwrap().is_empty()
    ));

    // Also one that nobody came to hold.
    let session = provider.open("c2").await.unwrap();
    let accessor = server.noted();
    drop(session);
    assert!(soon(|| !server.lives(&accessor)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_while_the_vault_answers_leaves_no_token() {
    let server = Server::start();
    let provider = server.provider(server.config());
    value(&provider, SHOP).await.unwrap();
    for micros in [100, 500, 1000, 2000, 4000, 8000] {
        let open = provider.open("c1");
        let _ = tokio::time::timeout(Duration::from_micros(micros), open).await;
    }
    let listed = || {
        let listed = server
            .admin
            .ask("GET", "auth/token/accessors?list=true", None)
            .1;
        listed["data"]["keys"].as_array().map_or(0, Vec::len)
    };
    // The root's and the daemon's stay.
    assert!(soon(|| listed() == 2), "{}", listed());
    assert!(soon(|| server.list().pending().unwrap().is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crashed_daemon_left_is_revoked_by_the_next_and_running_calls_are_not() {
    let server = Server::start();
    let provider = server.provider(server.config());
    let session = provider.open("c1").await.unwrap();
    let left = server.noted();
    // As after a crash: nobody closes it.
    std::mem::forget(session);
    assert_eq!(provider.revoke_pending().await, Ok(0), "the call runs");
    drop(provider);

    let next = server.provider(server.config());
    let resolved = resolve(&next).await;
    let pending = server.list().pending().unwrap();
    let runs = pending.iter().find(|accessor| **accessor != left).unwrap();
    server.list().note("NoSuchAccessorAnyMore").unwrap();
    assert_eq!(next.revoke_pending().await, Ok(2));
    assert!(!server.lives(&left) && server.lives(runs));
    resolved.close().await;
    assert!(server.list().pending().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_revoked_is_revoked_when_the_vault_is_back() {
    let server = Server::start();
    let config = server.config();
    let provider = server.provider(config.clone());
    let resolved = resolve(&provider).await;
    let accessor = server.noted();
    // A rate limit stands for a vault that is away: one in memory does not come back.
    server.admin.post(
        "sys/quotas/rate-limit/none",
        json!({ "path": "auth/token", "rate": 0.001, "interval": "1h", "block_interval": "1h" }),
    );
    let limited = || {
        server
            .admin
            .ask(
                "POST",
                "auth/token/lookup-accessor",
                Some(json!({ "accessor": accessor })),
            )
            .0
            == 429
    };
    assert!(soon(limited));
    resolved.close().await;
    assert_eq!(server.noted(), accessor, "it is still to be revoked");
    assert_eq!(
        server
            .admin
            .ask("DELETE", "sys/quotas/rate-limit/none", None)
            .0,
        204
    );
    assert!(soon(|| server.list().pending().unwrap().is_empty()));
    assert!(!server.lives(&accessor));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calls_token_is_prolonged_at_two_thirds_of_its_life() {
    let server = Server::start();
    let config = VaultConfig {
        token_ttl: Duration::from_secs(3),
        ..server.config()
    };
    let provider = server.provider(config);
    let resolved = resolve(&provider).await;
    let accessor = server.noted();
    assert_eq!(server.count("auth/token/renew-self"), 0);
    assert!(
        soon(|| server.count("auth/token/renew-self") >= 2),
        "after 2 and 4 s"
    );
    assert!(server.lives(&accessor), "after more than 3 s");
    assert_eq!(*resolved.leases().watch().borrow(), None);
    resolved.close().await;
    assert!(!server.lives(&accessor));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_with_a_token_that_somebody_revoked_may_be_tried_again() {
    let server = Server::start();
    let provider = server.provider(server.config());
    let mut session = provider.open("c1").await.unwrap();
    let request = json!({ "accessor": server.noted() });
    server.admin.post("auth/token/revoke-accessor", request);
    let error = session.read("kv/data/shop").await.unwrap_err();
    assert!(error.retryable(), "{error}");
    assert!(
        error.to_string().contains("the call's token is gone"),
        "{error}"
    );
    session.close().await.unwrap();
    assert!(server.list().pending().unwrap().is_empty());
}
