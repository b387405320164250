//! That no token and no value is ever logged, at the loudest level.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caisson_secrets::*;
use serde_json::json;

use crate::harness::{Server, approle, rules, soon};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A token of OpenBao is `s.` and 24 letters and digits.
fn holds_token(log: &str) -> bool {
    log.match_indices("s.").any(|(at, _)| {
        let after = log[at + 2..].bytes().take(24);
        after.filter(u8::is_ascii_alphanumeric).count() == 24
    })
}

// On one thread: a subscriber of a test is its thread's.
#[tokio::test]
async fn a_calls_log_holds_neither_values_nor_tokens() {
    let log = Log::default();
    let shared = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || shared.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let server = Server::start();
    let auth = approle(
        &server,
        json!({ "token_policies": "daemon", "token_ttl": "1h" }),
    );
    let config = VaultConfig {
        token_ttl: Duration::from_secs(2),
        ..VaultConfig::new(server.address.clone(), auth.clone())
    };
    let provider = server.provider(config.clone());
    let resolver = Resolver::new([Arc::new(provider.clone()) as Arc<dyn Provider>]);
    let call = json!({ "k": { "$secret": "vault:kv/data/shop#api_key" } });
    let resolved = resolver
        .resolve("c1", &call, &rules(&["vault:kv/**"]))
        .await
        .unwrap();
    let shown = format!("{resolved:?} {config:?} {provider:?}");
    // A call's token that somebody revokes makes the warnings of a failed renewal.
    let accessor = json!({ "accessor": server.noted() });
    server.admin.post("auth/token/revoke-accessor", accessor);
    let text = || String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    while !text().contains("could not be prolonged") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    resolved.close().await;
    assert!(soon(|| server.list().pending().unwrap().is_empty()));

    let told = text() + &shown;
    let VaultAuth::AppRole { secret_id_file, .. } = auth else {
        unreachable!()
    };
    let secret_id = std::fs::read_to_string(secret_id_file).unwrap();
    assert!(
        told.contains("logged in at the vault") && told.contains("reading a secret"),
        "{told}"
    );
    assert!(
        !told.contains("value-of-version-1") && !told.contains(&secret_id),
        "{told}"
    );
    assert!(!holds_token(&told), "{told}");
    assert!(
        holds_token("x s.abcdefghijklmnopqrstuvwx"),
        "the search finds one"
    );
}
