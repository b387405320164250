//! Which references are honoured, who is asked, and what is held when the call ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use caisson_secrets::*;
use serde_json::{Value, json};

/// A vault in memory that writes down everything it is asked.
#[derive(Clone, Default)]
struct Vault {
    asked: Arc<Mutex<Vec<String>>>,
    silent: bool,
}

impl Vault {
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn note(&self, what: String) -> usize {
        let mut asked = self.asked.lock().unwrap();
        asked.push(what);
        asked.len()
    }
}

#[async_trait]
impl Provider for Vault {
    fn scheme(&self) -> Scheme {
        Scheme::Vault
    }

    async fn open(&self, call: &str) -> Result<Box<dyn Session>, ProviderError> {
        self.note(format!("open {call}"));
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Session for Vault {
    async fn read(&mut self, path: &str) -> Result<Content, ProviderError> {
        let serial = self.note(format!("read {path}"));
        if self.silent {
            std::future::pending::<()>().await;
        }
        if path == "kv/none" {
            return Err(ProviderError::not_found("nothing there", "write it"));
        }
        let fields = [
            ("user", format!("user-{serial}")),
            ("password", format!("password-{serial}")),
        ];
        let fields: BTreeMap<_, _> = fields
            .into_iter()
            .map(|(k, v)| {
                (
                    k.to_owned(),
                    Some(zeroize::Zeroizing::new(v.into_boxed_str())),
                )
            })
            .collect();
        Ok(Content::Fields(fields))
    }

    async fn close(&mut self) -> Result<(), ProviderError> {
        self.note("close".to_owned());
        Ok(())
    }
}

fn rule(name: &str, from: &[&str], reveal: bool) -> SecretRule {
    let from: Vec<_> = from.iter().map(|text| (*text).to_owned()).collect();
    SecretRule::parse(name, &from, reveal).unwrap()
}

fn with_vault() -> (Arc<Vault>, Resolver) {
    let vault = Arc::new(Vault::default());
    (vault.clone(), Resolver::new([vault as Arc<dyn Provider>]))
}

#[tokio::test]
async fn references_to_one_path_are_one_read_in_one_session() {
    let (vault, resolver) = with_vault();
    let config = json!({
        "host": "db.example.com",
        "user": { "$secret": "vault:database/creds/ro#user" },
        "password": { "$secret": "vault:database/creds/ro#password" },
    });
    let rules = [
        rule("user", &["vault:database/creds/ro"], true),
        rule("password", &["vault:database/creds/*"], true),
    ];
    let resolved = resolver.resolve("c1", &config, &rules).await.unwrap();
    assert_eq!(
        shown(&resolved, &config),
        json!({ "host": "db.example.com", "user": "user-2", "password": "password-2" })
    );
    assert_eq!(resolved.sealed().count(), 0);
    assert!(!format!("{resolved:?}").contains("password-2"));
    resolved.close().await;
    assert_eq!(
        vault.asked(),
        ["open c1", "read database/creds/ro", "close"]
    );
}

#[tokio::test]
async fn what_the_policy_does_not_list_is_refused_before_any_provider_is_asked() {
    let (vault, resolver) = with_vault();
    let config = json!({
        "api_key": { "$secret": "vault:kv/admin#root" },
        "token": { "$secret": "vault:kv/shop#token" },
        "other": { "$secret": "vault:kv/shop#token" },
    });
    let rules = [
        rule("api_key", &["vault:kv/shop"], true),
        rule("token", &["vault:kv/shop"], true),
    ];
    let faults = resolver.resolve("c1", &config, &rules).await.unwrap_err();
    let lines: Vec<_> = faults.0.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "/api_key: vault:kv/admin#root is not granted: the policy's secrets.api_key lists only \"vault:kv/shop\"; to allow it, write under secrets of the policy api_key: { from: [\"vault:kv/admin#root\"] } with seal: { hosts: [api.example.com] }, or with reveal: true if the worker may see it",
            "/other: vault:kv/shop#token is not granted: the connector's policy has no rule for \"other\"; to allow it, write under secrets of the policy other: { from: [\"vault:kv/shop#token\"] } with seal: { hosts: [api.example.com] }, or with reveal: true if the worker may see it",
        ]
    );
    assert!(!faults.retryable() && !faults.is_config_fault());
    assert!(vault.asked().is_empty());
}

/// The config as the worker gets it.
fn shown(resolved: &Resolved, config: &Value) -> Value {
    replace(config, &mut |placed| {
        resolved.shown(placed).unwrap().expose().into()
    })
}

#[tokio::test]
async fn of_what_is_not_revealed_the_worker_gets_a_placeholder_of_its_own() {
    let (_, resolver) = with_vault();
    let config = json!({
        "db": { "password": { "$secret": "vault:kv/db#password" } },
        "copy": { "$secret": "vault:kv/db#password" },
    });
    let rules = [
        rule("/db/password", &["vault:kv/db"], false),
        rule("copy", &["vault:kv/db"], true),
    ];
    let resolved = resolver.resolve("c1", &config, &rules).await.unwrap();
    let given = shown(&resolved, &config);
    assert!(
        given["copy"].as_str().unwrap().starts_with("password-"),
        "{given}"
    );
    let placeholder = given["db"]["password"].as_str().unwrap();
    assert!(
        placeholder.starts_with("sealed") && placeholder.len() == 38,
        "{placeholder}"
    );
    assert!(
        placeholder
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    );
    let sealed = resolved.sealed().map(|(pointer, placeholder, held)| {
        let Held::Value(value) = held else {
            panic!("nobody said oauth2");
        };
        (pointer, placeholder.expose(), value.expose())
    });
    let sealed: Vec<_> = sealed.collect();
    assert_eq!(
        sealed,
        [("/db/password", placeholder, given["copy"].as_str().unwrap())]
    );
    let again = resolver.resolve("c2", &config, &rules).await.unwrap();
    assert_ne!(shown(&again, &config)["db"]["password"], placeholder);
}

#[tokio::test]
async fn a_value_that_is_too_short_to_be_told_in_an_answer_is_not_sealed() {
    let resolver = Resolver::new([
        Arc::new(EnvProvider::reading(|_| Some("pin-1".into()))) as Arc<dyn Provider>
    ]);
    let config = json!({ "pin": { "$secret": "env:CAISSON_SECRET_PIN" } });
    let grants = |reveal| [rule("pin", &["env:CAISSON_SECRET_PIN"], reveal)];
    let faults = resolver.resolve("c1", &config, &grants(false)).await;
    let told = faults.unwrap_err().to_string();
    assert!(
        told.contains("shorter than 6 bytes") && !told.contains("pin-1"),
        "{told}"
    );
    let resolved = resolver
        .resolve("c1", &config, &grants(true))
        .await
        .unwrap();
    assert_eq!(shown(&resolved, &config), json!({ "pin": "pin-1" }));
}

#[tokio::test]
async fn a_vault_reference_without_a_vault_says_so() {
    let resolver = Resolver::new([Arc::new(EnvProvider::reading(|_| None)) as Arc<dyn Provider>]);
    let config = json!({ "k": { "$secret": "vault:kv/x#y" } });
    let faults = resolver
        .resolve("c1", &config, &[rule("k", &["vault:kv/**"], true)])
        .await
        .unwrap_err();
    assert!(matches!(faults.0[..], [SecretError::NoProvider { .. }]));
    assert!(
        faults.to_string().contains("no vault is configured"),
        "{faults}"
    );
}

#[tokio::test]
async fn a_malformed_reference_is_the_configs_fault() {
    let (vault, resolver) = with_vault();
    let config = json!({ "k": { "$secret": "vault:kv/../admin" } });
    let faults = resolver
        .resolve("c1", &config, &[rule("k", &["vault:kv/*"], true)])
        .await
        .unwrap_err();
    assert!(faults.is_config_fault());
    assert!(vault.asked().is_empty());
}

#[tokio::test]
async fn every_failed_read_is_reported_and_what_was_opened_is_closed() {
    let (vault, resolver) = with_vault();
    let config = json!({
        "a": { "$secret": "vault:kv/a#user" },
        "b": { "$secret": "vault:kv/none#user" },
        "c": { "$secret": "vault:kv/a#no_such_field" },
    });
    let rules = ["a", "b", "c"].map(|name| rule(name, &["vault:kv/*"], true));
    let faults = resolver.resolve("c1", &config, &rules).await.unwrap_err();
    let places: Vec<_> = faults.0.iter().map(SecretError::pointer).collect();
    assert_eq!(places, ["/b", "/c"]);
    assert!(!faults.to_string().contains("user-2"));
    assert_eq!(
        vault.asked(),
        ["open c1", "read kv/a", "read kv/none", "close"]
    );
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_a_retryable_fault() {
    let silent = Arc::new(Vault {
        silent: true,
        ..Vault::default()
    }) as Arc<dyn Provider>;
    let resolver = Resolver::new([silent]).with_timeout(Duration::from_millis(1));
    let config = json!({ "k": { "$secret": "vault:kv/x#user" } });
    let faults = resolver
        .resolve("c1", &config, &[rule("k", &["vault:kv/x"], true)])
        .await
        .unwrap_err();
    assert!(faults.retryable(), "{faults}");
}

#[tokio::test]
async fn environment_and_files_serve_one_config() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("db"), r#"{"password": "from-a-file"}"#).unwrap();
    let env = EnvProvider::reading(|name| {
        (name == "CAISSON_SECRET_KEY").then(|| "from-the-environment".into())
    });
    let file = FileProvider::new(dir.path()).unwrap();
    let resolver = Resolver::new([Arc::new(env) as Arc<dyn Provider>, Arc::new(file)]);
    let config = json!({ "key": { "$secret": "env:CAISSON_SECRET_KEY" }, "password": { "$secret": "file:db#password" } });
    let rules = [
        rule("key", &["env:CAISSON_SECRET_KEY"], true),
        rule("password", &["file:db#password"], true),
    ];
    let resolved = resolver.resolve("c1", &config, &rules).await.unwrap();
    let values: BTreeMap<_, _> = resolved
        .values()
        .map(|(name, value)| (name, value.expose()))
        .collect();
    assert_eq!(
        values,
        BTreeMap::from([
            ("/key", "from-the-environment"),
            ("/password", "from-a-file")
        ])
    );
}

#[tokio::test]
async fn a_check_reads_what_is_granted_in_sessions_that_end_and_tells_no_value() {
    let (vault, resolver) = with_vault();
    let config = json!({
        "user": { "$secret": "vault:kv/a#user" },
        "password": { "$secret": "vault:kv/a#password" },
        "gone": { "$secret": "vault:kv/none#user" },
        "admin": { "$secret": "vault:admin/a#user" },
        "other": { "$secret": "file:x" },
    });
    let mut rules: Vec<_> = ["user", "gone", "admin"]
        .map(|name| rule(name, &["vault:kv/*"], true))
        .into();
    rules.push(rule("password", &["vault:kv/*"], false));
    rules.push(rule("other", &["file:*"], true));
    let checked = resolver.check("c1", &config, &rules).await.unwrap();
    let told: Vec<_> = checked
        .iter()
        .map(|checked| match &checked.outcome {
            Ok(had) => format!("{} revealed {}", checked.placed.pointer, had.revealed),
            Err(error) => format!("{} {}", checked.placed.pointer, error.cause()),
        })
        .collect();
    assert_eq!(
        told,
        [
            "/user revealed true",
            "/password revealed false",
            "/gone nothing there; write it",
            "/admin the policy's secrets.admin lists only \"vault:kv/*\"",
            "/other no directory of secret files is configured; name one in the daemon's configuration",
        ]
    );
    assert!(!format!("{checked:?}").contains("user-2"));
    assert_eq!(
        vault.asked(),
        [
            "open c1",
            "read kv/a",
            "close",
            "open c1",
            "read kv/none",
            "close"
        ]
    );
    let pin = Resolver::new([
        Arc::new(EnvProvider::reading(|_| Some("pin-1".into()))) as Arc<dyn Provider>
    ]);
    let config = json!({ "pin": { "$secret": "env:CAISSON_SECRET_PIN" } });
    let of = |reveal| [rule("pin", &["env:CAISSON_SECRET_PIN"], reveal)];
    let checked = pin.check("c1", &config, &of(true)).await.unwrap();
    let had = checked[0].outcome.as_ref().unwrap();
    assert!(matches!(had.gap, Some(Gap::TooShort { .. })) && had.lease.is_none());
    // A call would refuse it too.
    let checked = pin.check("c1", &config, &of(false)).await.unwrap();
    assert!(checked[0].outcome.is_err());
}
