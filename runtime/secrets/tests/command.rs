//! The command provider against real programs: what they are given, what of them is taken, and that they end.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use caisson_secrets::*;
use serde_json::{Value, json};

const VALUE: &str = "canary-value-9c1f";

/// A shell script of a test, run as `sh SCRIPT PATH`.
struct Script {
    dir: tempfile::TempDir,
}

impl Script {
    fn new(body: &str) -> Script {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let head = format!("note={} pid={}\n", at("note"), at("pid"));
        std::fs::write(dir.path().join("script"), head + body).unwrap();
        Script { dir }
    }

    fn config(&self) -> CommandConfig {
        let script = self.dir.path().join("script");
        let run = ["/bin/sh", script.to_str().unwrap(), "{path}"];
        CommandConfig::new(run.map(String::from).into())
    }

    fn provider(&self) -> CommandProvider {
        CommandProvider::new(self.config()).unwrap()
    }

    fn note(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("note")).unwrap_or_default()
    }

    /// The number that the script wrote down, once it has.
    async fn pid(&self) -> PathBuf {
        loop {
            let text = std::fs::read_to_string(self.dir.path().join("pid")).unwrap_or_default();
            if text.ends_with('\n') {
                return Path::new("/proc").join(text.trim());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn program(run: &[&str]) -> CommandConfig {
    CommandConfig::new(run.iter().map(|&word| word.to_owned()).collect())
}

/// Gone, or nothing but an entry that somebody else has yet to read.
async fn ended(process: &Path) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        match std::fs::read_to_string(process.join("stat")) {
            Err(_) => return true,
            Ok(stat) if stat.contains(") Z ") => return true,
            Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    false
}

fn resolver(provider: CommandProvider) -> Resolver {
    Resolver::new([Arc::new(provider) as Arc<dyn Provider>])
}

fn grants(names: &[&str], from: &str, reveal: bool) -> Vec<SecretRule> {
    let rule = |name: &&str| SecretRule::parse(name, &[from.to_owned()], reveal).unwrap();
    names.iter().map(rule).collect()
}

fn reference(text: &str) -> Value {
    json!({ "k": { "$secret": text } })
}

/// What `command:shop/stripe` comes to.
async fn resolved(provider: CommandProvider, text: &str) -> Result<String, SecretFaults> {
    let rules = grants(&["k"], "command:**", true);
    let resolved = resolver(provider)
        .resolve("c1", &reference(text), &rules)
        .await?;
    let value = resolved.values().next().unwrap().1.expose().to_owned();
    resolved.close().await;
    Ok(value)
}

async fn refused(provider: CommandProvider) -> SecretFaults {
    resolved(provider, "command:shop/stripe").await.unwrap_err()
}

#[tokio::test]
async fn what_the_command_prints_is_the_secret_and_one_run_serves_every_field() {
    let script = Script::new(
        r#"echo "$#:$1" >> $note
printf '{"user": "ro", "key": "of %s"}\n' "$1""#,
    );
    let config = json!({
        "user": { "$secret": "command:shop/stripe@live#user" },
        "key": { "$secret": "command:shop/stripe@live#key" },
        "all": { "$secret": "command:shop/stripe@live" },
    });
    let rules = grants(&["user", "key", "all"], "command:shop/*", true);
    let resolver = resolver(script.provider());
    let resolved = resolver.resolve("c1", &config, &rules).await.unwrap();
    let shown = replace(&config, &mut |placed| {
        resolved.shown(placed).unwrap().expose().into()
    });
    let all = r#"{"user": "ro", "key": "of shop/stripe@live"}"#;
    assert_eq!(
        shown,
        json!({ "user": "ro", "key": "of shop/stripe@live", "all": all })
    );
    assert_eq!(script.note(), "1:shop/stripe@live\n");
}

#[tokio::test]
async fn a_sealed_secret_of_a_command_reaches_the_worker_as_a_placeholder() {
    let script = Script::new(&format!("echo {VALUE}"));
    let config = reference("command:shop/stripe");
    let rules = grants(&["k"], "command:shop/*", false);
    let resolver = resolver(script.provider());
    let resolved = resolver.resolve("c1", &config, &rules).await.unwrap();
    let (pointer, placeholder, value) = resolved.sealed().next().unwrap();
    assert_eq!(
        (
            pointer,
            matches!(value, Held::Value(held) if held.expose() == VALUE)
        ),
        ("/k", true)
    );
    assert!(placeholder.expose().starts_with("sealed"));
}

#[tokio::test]
async fn what_the_policy_does_not_list_runs_nothing() {
    let script = Script::new("echo ran >> $note; echo value-of-it");
    let resolver = resolver(script.provider());
    let rules = grants(&["k"], "command:shop/*", true);
    for text in ["command:admin", "command:shop/a/b", "command:shop"] {
        let faults = resolver
            .resolve("c1", &reference(text), &rules)
            .await
            .unwrap_err();
        assert!(matches!(faults.0[..], [SecretError::NotGranted { .. }]));
    }
    for text in [
        "command:-rf",
        "command:shop/--help",
        "command:@/etc/passwd",
        "command:shop/$(id)",
    ] {
        let faults = resolver
            .resolve("c1", &reference(text), &grants(&["k"], "command:**", true))
            .await
            .unwrap_err();
        assert!(faults.is_config_fault(), "{faults}");
    }
    assert_eq!(script.note(), "");
    resolver
        .resolve("c1", &reference("command:shop/stripe"), &rules)
        .await
        .unwrap();
    assert_eq!(script.note(), "ran\n");
}

#[tokio::test]
async fn a_provider_holds_its_own_fence() {
    let script = Script::new("echo ran >> $note; echo value-of-it");
    let mut session = script.provider().open("c1").await.unwrap();
    for path in ["-x", "shop/-x", "../x", "a b", "", "@x"] {
        let error = session.read(path).await.unwrap_err();
        assert_eq!(error.fault, ProviderFault::Denied, "{path}");
    }
    assert_eq!(script.note(), "");
}

#[tokio::test]
async fn the_program_gets_an_environment_written_from_nothing() {
    let mut config = program(&["/usr/bin/env", "ASKED={path}"]);
    // cargo sets both for a test.
    assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    config.environment = vec!["CARGO_PKG_NAME".into(), "NOT_SET_ANYWHERE".into()];
    let printed = resolved(CommandProvider::new(config).unwrap(), "command:shop/stripe")
        .await
        .unwrap();
    let mut lines: Vec<_> = printed.lines().collect();
    lines.sort_unstable();
    let home = std::env::var("HOME").unwrap_or_else(|_| "/".into());
    let home = format!("HOME={home}");
    assert_eq!(
        lines,
        [
            "ASKED=shop/stripe",
            "CARGO_PKG_NAME=caisson-secrets",
            &home,
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
    );
}

#[tokio::test]
async fn the_program_gets_no_descriptor_but_its_three_and_an_empty_stdin() {
    // Whoever started this test may have left some open: what any program gets that is started here.
    let plain = std::process::Command::new("/bin/ls")
        .arg("/proc/self/fd")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let _held = std::fs::File::open("/proc/self/exe").unwrap();
    let listed = program(&["/bin/sh", "-c", "exec ls /proc/self/fd", "{path}"]);
    let printed = resolved(CommandProvider::new(listed).unwrap(), "command:x").await;
    let plain = String::from_utf8(plain.stdout).unwrap();
    assert_eq!(printed.unwrap(), plain.trim_end());
    let read = Script::new(r#"printf '<%s> in %s' "$(cat)" "$PWD""#);
    let printed = resolved(read.provider(), "command:x").await.unwrap();
    assert_eq!(printed, "<> in /");
}

#[tokio::test]
async fn the_exit_status_says_whether_it_may_pass() {
    for (end, retryable, told) in [
        ("exit 75", true, "exit status 75: it may pass"),
        ("exit 1", false, "exit status 1"),
        ("exit 77", false, "exit status 77"),
        ("kill -TERM $$", true, "signal 15 ended the command"),
    ] {
        let script = Script::new(&format!("echo {VALUE}; echo {VALUE} >&2; {end}"));
        let faults = refused(script.provider()).await;
        assert_eq!(faults.retryable(), retryable, "{end}: {faults}");
        assert!(faults.to_string().contains(told), "{faults}");
        assert!(!faults.to_string().contains(VALUE), "{faults}");
    }
}

#[tokio::test]
async fn what_is_no_secret_is_refused_with_what_to_do() {
    for (body, told) in [
        ("true", "printed nothing"),
        ("echo", "printed nothing"),
        (r"printf '\377\376'", "not UTF-8"),
        ("head -c 65537 /dev/zero", "more than 65536 bytes"),
        ("cat /dev/zero", "more than 65536 bytes"),
    ] {
        let faults = refused(Script::new(body).provider()).await;
        assert!(!faults.retryable(), "{body}");
        assert!(faults.to_string().contains(told), "{faults}");
    }
    let most = Script::new("head -c 65536 /dev/zero | tr '\\0' x");
    let value = resolved(most.provider(), "command:x").await.unwrap();
    assert_eq!(value.len(), 65536);
}

#[tokio::test]
async fn a_program_that_is_gone_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("program");
    std::fs::copy("/bin/true", &path).unwrap();
    let config = program(&[path.to_str().unwrap(), "{path}"]);
    let provider = CommandProvider::new(config.clone()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let faults = refused(provider).await;
    assert!(faults.to_string().contains("cannot be started"), "{faults}");
    assert!(!faults.retryable());
    assert!(CommandProvider::new(config).is_err());
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_all_that_it_started() {
    // The child holds the pipe, ignores signals that can be ignored, and is no child of ours.
    let script = Script::new("trap '' TERM HUP INT; (sleep 600 & echo $! > $pid); sleep 600");
    let mut config = script.config();
    config.timeout = Duration::from_millis(300);
    let faults = refused(CommandProvider::new(config).unwrap()).await;
    assert!(faults.retryable(), "{faults}");
    assert!(
        faults.to_string().contains("did not end within 0.3 s"),
        "{faults}"
    );
    assert!(ended(&script.pid().await).await);
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_its_command() {
    let script = Script::new("(sleep 600 & echo $! > $pid); sleep 600");
    let provider = script.provider();
    let call = tokio::spawn(async move { refused(provider).await });
    let process = script.pid().await;
    assert!(process.exists());
    call.abort();
    assert!(ended(&process).await);
}

#[tokio::test]
async fn what_a_command_leaves_running_ends_with_it_and_holds_nothing_up() {
    let script = Script::new(&format!("sleep 600 & echo $! > $pid; echo {VALUE}"));
    let began = Instant::now();
    let value = resolved(script.provider(), "command:x").await.unwrap();
    assert_eq!(value, VALUE);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(ended(&script.pid().await).await);
}

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

#[tokio::test]
async fn what_a_command_says_is_logged_cut_and_without_the_value() {
    let log = Log::default();
    let shared = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || shared.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let say = format!("set -x; echo {VALUE}; printf 'asked\\nfor %s' \"$1\" >&2");
    resolved(Script::new(&say).provider(), "command:shop/good")
        .await
        .unwrap();
    // More than a pipe holds: nobody waits for a reader.
    let much = Script::new("echo failing; head -c 200000 /dev/zero | tr '\\0' x >&2; exit 3");
    let faults = refused(much.provider()).await;
    assert!(!faults.to_string().contains("xxx"), "{faults}");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!log.contains(VALUE), "{log}");
    assert!(log.contains(r"+ echo [redacted]\n"), "{log}");
    assert!(log.contains(r"asked\nfor shop/good"), "{log}");
    assert!(log.contains("exit status: 3"), "{log}");
    assert!(log.matches('x').count() < 5000, "{}", log.len());
}
