//! What a reference reads.

use std::sync::Arc;

use caisson_secrets::*;
use serde_json::json;

use crate::harness::{Server, rules, value};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_versions_is_read_as_it_is() {
    let server = Server::start();
    server.admin.post(
        "sys/mounts/old",
        json!({ "type": "kv", "options": { "version": "1" } }),
    );
    server.admin.post(
        "old/shop",
        json!({ "api_key": "hunter22", "port": 5432, "on": true, "tree": { "a": 1 } }),
    );
    server
        .admin
        .post("old/data/metadata", json!({ "data": "not wrapped" }));
    let provider = server.provider(server.config());
    for (reference, expected) in [
        ("vault:old/shop#api_key", "hunter22"),
        ("vault:old/shop#port", "5432"),
        ("vault:old/shop#on", "true"),
        ("vault:old/data/metadata#data", "not wrapped"),
    ] {
        assert_eq!(value(&provider, reference).await.unwrap(), expected);
    }
    let error = value(&provider, "vault:old/shop#tree").await.unwrap_err();
    assert_eq!(error.fault, ProviderFault::Malformed, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_versions_gives_the_last_or_the_one_that_is_named() {
    let server = Server::start();
    for serial in [2, 3] {
        let key = format!("value-of-version-{serial}");
        server
            .admin
            .post("kv/data/shop", json!({ "data": { "api_key": key } }));
    }
    server
        .admin
        .post("kv/delete/shop", json!({ "versions": [2] }));
    let provider = server.provider(server.config());
    for (reference, expected) in [
        ("vault:kv/data/shop#api_key", "value-of-version-3"),
        ("vault:kv/data/shop@1#api_key", "value-of-version-1"),
    ] {
        assert_eq!(value(&provider, reference).await.unwrap(), expected);
    }
    for (reference, text) in [
        (
            "vault:kv/data/shop@2#api_key",
            "version 2 of kv/data/shop was deleted at 20",
        ),
        (
            "vault:kv/data/shop@9#api_key",
            "nothing is at kv/data/shop in version 9",
        ),
        (
            "vault:kv/data/none#api_key",
            "nothing is at kv/data/none in the vault",
        ),
        ("vault:kv/shop#api_key", "write MOUNT/data/NAME"),
        (
            "vault:kv/data/shop#token",
            "no field \"token\"; there is #api_key",
        ),
    ] {
        let error = value(&provider, reference).await.unwrap_err();
        assert_eq!(error.fault, ProviderFault::NotFound, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    server
        .admin
        .post("kv/destroy/shop", json!({ "versions": [3] }));
    let error = value(&provider, "vault:kv/data/shop#api_key")
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("version 3 of kv/data/shop was destroyed"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_a_part_of_the_path_or_the_daemons_own() {
    let server = Server::start();
    server.admin.post("sys/namespaces/team", json!({}));
    server.admin.post("team/sys/namespaces/a", json!({}));
    server.admin.post(
        "team/a/sys/mounts/store",
        json!({ "type": "kv", "options": { "version": "1" } }),
    );
    server
        .admin
        .post("team/a/store/shop", json!({ "api_key": "of team a" }));
    let provider = server.provider(server.config());
    assert_eq!(
        value(&provider, "vault:team/a/store/shop#api_key")
            .await
            .unwrap(),
        "of team a"
    );

    // A daemon that is at home in the namespace.
    server.admin.post("team/a/sys/policies/acl/daemon", json!({ "policy": "path \"store/*\" { capabilities = [\"read\"] }\npath \"auth/token/create\" { capabilities = [\"update\"] }" }));
    let made = server.admin.post(
        "team/a/auth/token/create",
        json!({ "policies": ["daemon"] }),
    );
    let file = server.file("team-token", made["auth"]["client_token"].as_str().unwrap());
    let config = VaultConfig {
        namespace: Some("team/a".into()),
        ..VaultConfig::new(server.address.clone(), VaultAuth::Token { file })
    };
    let provider = server.provider(config);
    assert_eq!(
        value(&provider, "vault:store/shop#api_key").await.unwrap(),
        "of team a"
    );
    assert!(server.list().pending().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_do_not_grant_is_not_in_the_vaults_audit_log() {
    let server = Server::start();
    let provider = server.provider(server.config());
    let resolver = Resolver::new([Arc::new(provider) as Arc<dyn Provider>]);
    let before = server.audited().len();
    let config = json!({ "k": { "$secret": "vault:kv/data/admin#root" }, "l": { "$secret": "vault:kv/data/shop#api_key" } });
    let refused = resolver
        .resolve("c1", &config, &rules(&["vault:kv/data/shop"]))
        .await;
    assert_eq!(refused.unwrap_err().0.len(), 2);
    assert_eq!(server.audited().len(), before, "the vault was asked");

    let config = json!({ "k": { "$secret": "vault:kv/data/shop#api_key" } });
    let resolved = resolver
        .resolve("c1", &config, &rules(&["vault:kv/data/shop"]))
        .await
        .unwrap();
    resolved.close().await;
    assert_eq!(
        server.count("kv/data/shop"),
        2,
        "the harness wrote, the call read"
    );
    assert_eq!(server.count("kv/data/admin"), 0);
    let log = std::fs::read_to_string(server.dir.path().join("audit.log")).unwrap();
    assert!(
        log.contains("caisson-c1"),
        "the call's name is in the audit log"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reference_reads_the_vaults_own_workings() {
    let server = Server::start();
    let provider = server.provider(server.config());
    for reference in [
        "vault:auth/token/lookup-self#id",
        "vault:sys/health#version",
    ] {
        let error = value(&provider, reference).await.unwrap_err();
        assert_eq!(error.fault, ProviderFault::Denied, "{error}");
    }
    // In a namespace the same looks like any other path.
    server.admin.post("sys/namespaces/team", json!({}));
    let error = value(&provider, "vault:team/auth/token/lookup-self#id")
        .await
        .unwrap_err();
    assert_eq!(error.fault, ProviderFault::Denied, "{error}");
}
