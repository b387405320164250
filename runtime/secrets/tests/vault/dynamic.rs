//! Credentials that the vault makes in a PostgreSQL for one call, and drops when it ends.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use caisson_secrets::*;
use serde_json::{Value, json};

use crate::harness::{Server, free_port, soon};

struct Postgres {
    process: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.process.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
        let _ = self.process.wait();
    }
}

fn program(name: &str) -> PathBuf {
    let found = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let found = found.map(|version| version.path().join("bin").join(name));
    found
        .filter(|program| program.exists())
        .max()
        .expect("no PostgreSQL: install the package postgresql")
}

/// Root may not run PostgreSQL: its own user does then.
fn command(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(program(name));
    if nix::unistd::getuid().is_root() {
        let user = nix::unistd::User::from_name("postgres").unwrap();
        let user = user.expect("a user postgres, as its package makes it");
        nix::unistd::chown(dir, Some(user.uid), Some(user.gid)).unwrap();
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

impl Postgres {
    fn start() -> Postgres {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let made = command("initdb", dir.path())
            .args(["--auth=trust", "--username=admin", "--no-sync", "-D"])
            .arg(&data)
            .status();
        assert!(made.unwrap().success(), "initdb");
        let port = free_port();
        let process = command("postgres", dir.path())
            .args(["-h", "127.0.0.1", "-F", "-p"])
            .arg(port.to_string())
            .arg("-k")
            .arg(dir.path())
            .arg("-D")
            .arg(&data)
            .spawn()
            .unwrap();
        let postgres = Postgres { process, dir, port };
        assert!(soon(|| postgres.users().is_some()));
        postgres
    }

    /// Those that the vault made.
    fn users(&self) -> Option<Vec<String>> {
        let mut psql = command("psql", self.dir.path());
        psql.args([
            "-h",
            "127.0.0.1",
            "-U",
            "admin",
            "-d",
            "postgres",
            "-At",
            "-p",
        ]);
        psql.arg(self.port.to_string());
        psql.args([
            "-c",
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%' ORDER BY 1",
        ]);
        let output = psql.stdout(Stdio::piped()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output
            .status
            .success()
            .then(|| text.lines().map(str::to_owned).collect())
    }

    fn mount(&self, server: &Server, ttl: &str, max_ttl: &str) {
        server
            .admin
            .post("sys/mounts/database", json!({ "type": "database" }));
        server.admin.post("database/config/shop", json!({
            "plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": "admin", "password": "unused",
            "connection_url": format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable", self.port),
        }));
        server.admin.post("database/roles/ro", json!({
            "db_name": "shop", "default_ttl": ttl, "max_ttl": max_ttl,
            "creation_statements": ["CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"],
        }));
    }
}

async fn resolve(provider: &VaultProvider) -> (Value, Resolved) {
    let resolver = Resolver::new([Arc::new(provider.clone()) as Arc<dyn Provider>]);
    let config = json!({
        "user": { "$secret": "vault:database/creds/ro#username" },
        "password": { "$secret": "vault:database/creds/ro#password" },
    });
    let rule =
        |name| SecretRule::parse(name, &["vault:database/creds/ro".to_owned()], true).unwrap();
    let resolved = resolver
        .resolve("c1", &config, &[rule("user"), rule("password")])
        .await
        .unwrap();
    let shown = replace(&config, &mut |placed| {
        resolved.shown(placed).unwrap().expose().into()
    });
    (shown, resolved)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_made_for_a_call_prolonged_with_it_and_dropped_with_it() {
    let postgres = Postgres::start();
    let server = Server::start();
    postgres.mount(&server, "3s", "1h");
    let provider = server.provider(server.config());
    let (config, resolved) = resolve(&provider).await;
    let user = config["user"].as_str().unwrap().to_owned();
    assert_eq!(
        postgres.users().unwrap(),
        std::slice::from_ref(&user),
        "one user for both fields"
    );
    let leases = resolved.into_leases();
    assert!(
        soon(|| server.count("sys/leases/renew") >= 2),
        "after 2 and 4 s"
    );
    assert_eq!(postgres.users().unwrap(), [user], "after more than 3 s");
    assert_eq!(*leases.watch().borrow(), None);
    leases.close().await;
    assert!(soon(|| postgres.users().unwrap().is_empty()));

    // A check makes one as well, tells for how long, and drops it.
    let made = server.count("database/creds/ro");
    let resolver = Resolver::new([Arc::new(provider) as Arc<dyn Provider>]);
    let config = json!({ "user": { "$secret": "vault:database/creds/ro#username" } });
    let from = ["vault:database/creds/ro".to_owned()];
    let rules = [SecretRule::parse("user", &from, true).unwrap()];
    let checked = resolver.check("check-1", &config, &rules).await.unwrap();
    let lease = checked[0].outcome.as_ref().unwrap().lease.unwrap();
    assert_eq!(
        (lease.life, lease.renewable),
        (Duration::from_secs(3), true)
    );
    assert!(server.count("database/creds/ro") > made);
    assert!(soon(|| postgres.users().unwrap().is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_reaches_its_longest_life_is_told_of() {
    let postgres = Postgres::start();
    let server = Server::start();
    postgres.mount(&server, "2s", "3s");
    let provider = server.provider(server.config());
    let (_, resolved) = resolve(&provider).await;
    let leases = resolved.into_leases();
    let ended = tokio::time::timeout(Duration::from_secs(20), leases.ended())
        .await
        .unwrap();
    assert_eq!(ended.scheme, Scheme::Vault);
    assert!(soon(|| postgres.users().unwrap().is_empty()));
    leases.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_a_call_that_crashed_is_dropped_by_the_next_daemon() {
    let postgres = Postgres::start();
    let server = Server::start();
    postgres.mount(&server, "1h", "2h");
    let provider = server.provider(server.config());
    let mut session = provider.open("c1").await.unwrap();
    session.read("database/creds/ro").await.unwrap();
    std::mem::forget(session);
    assert_eq!(postgres.users().unwrap().len(), 1);
    let next = server.provider(server.config());
    assert_eq!(next.revoke_pending().await, Ok(1));
    assert!(soon(|| postgres.users().unwrap().is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_token_somebody_revoked_is_told_at_the_next_renewal() {
    let postgres = Postgres::start();
    let server = Server::start();
    postgres.mount(&server, "1h", "2h");
    let config = VaultConfig {
        token_ttl: Duration::from_secs(3),
        ..server.config()
    };
    let provider = server.provider(config);
    let (_, resolved) = resolve(&provider).await;
    let request = json!({ "accessor": server.noted() });
    server.admin.post("auth/token/revoke-accessor", request);
    let ended = resolved.leases().ended();
    let ended = tokio::time::timeout(Duration::from_secs(20), ended);
    let cause = ended.await.unwrap().cause.unwrap();
    assert!(
        cause
            .to_string()
            .contains("refused to prolong the call's token"),
        "{cause}"
    );
    resolved.close().await;
    assert!(server.list().pending().unwrap().is_empty());
}
