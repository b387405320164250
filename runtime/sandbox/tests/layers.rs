//! What a worker is and sees, asked from inside.

mod support;

use serde_json::{Value, json};
use support::{as_each_user, is_root};

fn status_field<'a>(status: &'a Value, name: &str) -> &'a str {
    let text = status.as_str().expect("a text");
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .expect(name)
        .trim()
}

#[test]
fn a_worker_has_no_capability_in_any_set_and_no_new_privileges() {
    as_each_user(
        "a_worker_has_no_capability_in_any_set_and_no_new_privileges",
        |bench| async move {
            let status = bench
                .run("say(open('/proc/self/status').read())")
                .await
                .json();
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                assert_eq!(status_field(&status, set), "0000000000000000", "{set}");
            }
            assert_eq!(status_field(&status, "NoNewPrivs"), "1");
            assert_eq!(status_field(&status, "Seccomp"), "2");
            assert_eq!(status_field(&status, "Groups"), "");
        },
    );
}

#[test]
fn a_worker_is_never_uid_0_of_the_kernel() {
    as_each_user(
        "a_worker_is_never_uid_0_of_the_kernel",
        |bench| async move {
            let worker = bench
                .launch(
                    bench.spec(),
                    "sys.stdin.read(); socket.socket(fileno=3).recv(1)",
                )
                .await;
            let map = std::fs::read_to_string(format!("/proc/{}/uid_map", worker.pid()))
                .expect("uid_map");
            let numbers: Vec<u32> = map
                .split_whitespace()
                .map(|n| n.parse().expect("a number"))
                .collect();
            assert_eq!((numbers[0], numbers[2]), (1000, 1));
            assert_ne!(numbers[1], 0);
            let owner = std::fs::metadata(format!("/proc/{}", worker.pid())).expect("the process");
            assert_ne!(std::os::unix::fs::MetadataExt::uid(&owner), 0);
            // A second worker of a root daemon is somebody else.
            let other = bench
                .launch(bench.spec(), "socket.socket(fileno=3).recv(1)")
                .await;
            let same = std::fs::read_to_string(format!("/proc/{}/uid_map", other.pid()))
                .expect("uid_map")
                == map;
            assert_eq!(same, !is_root());
        },
    );
}

#[test]
fn every_namespace_of_a_worker_is_its_own() {
    as_each_user(
        "every_namespace_of_a_worker_is_its_own",
        |bench| async move {
            let source =
                "say({n: os.readlink('/proc/self/ns/' + n) for n in os.listdir('/proc/self/ns')})";
            let inside = bench.run(source).await.json();
            for name in ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"] {
                let outside =
                    std::fs::read_link(format!("/proc/self/ns/{name}")).expect("a namespace");
                assert_ne!(inside[name].as_str(), outside.to_str(), "{name}");
            }
            let seen = bench.run("say([os.getpid(), os.getppid(), [p for p in os.listdir('/proc') if p.isdigit()], socket.gethostname()])");
            assert_eq!(seen.await.json(), json!([1, 0, ["1"], "caisson"]));
        },
    );
}

#[test]
fn the_root_holds_what_the_plan_puts_there_and_nothing_else_of_the_host() {
    as_each_user(
        "the_root_holds_what_the_plan_puts_there_and_nothing_else_of_the_host",
        |bench| async move {
            let source = "say({d: sorted(os.listdir(d)) for d in ('/', '/etc', '/dev', '/caisson', '/tmp', '/usr', '/usr/bin', '/usr/lib')})";
            let seen = bench.run(source).await.json();
            assert_eq!(
                seen["/"],
                json!([
                    "caisson", "dev", "etc", "lib", "lib64", "proc", "tmp", "usr"
                ])
            );
            assert_eq!(
                seen["/etc"],
                json!([
                    "group",
                    "hosts",
                    "ld.so.cache",
                    "nsswitch.conf",
                    "passwd",
                    "pki",
                    "resolv.conf",
                    "ssl"
                ])
            );
            assert_eq!(
                seen["/dev"],
                json!([
                    "fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "urandom",
                    "zero"
                ])
            );
            assert_eq!(seen["/caisson"], json!(["bundle", "shim"]));
            assert_eq!(seen["/tmp"], json!([]));
            assert_eq!(seen["/usr/bin"], json!(["python3.11"]));
            assert_eq!(seen["/usr/lib"], json!(["python3.11", "x86_64-linux-gnu"]));
            let kernel = bench.run("say([os.path.exists('/proc/' + p) for p in ('kcore', 'sys', 'sysrq-trigger', 'keys', 'kallsyms')])");
            assert_eq!(
                kernel.await.json(),
                json!([false, false, false, false, false])
            );
        },
    );
}

#[test]
fn only_tmp_and_shm_can_be_written() {
    as_each_user("only_tmp_and_shm_can_be_written", |bench| async move {
        let source = "
def write(path): open(path, 'w').close()
say({p: attempt(write, p) for p in ('/x', '/etc/x', '/etc/hosts', '/dev/x', '/caisson/bundle/x', '/caisson/shim/x', '/usr/lib/python3.11/x.py', '/usr/bin/python3.11', '/proc/self/oom_score_adj', '/tmp/x', '/dev/shm/x', '/dev/null')})";
        let seen = bench.run(source).await.json();
        for (path, met) in seen.as_object().expect("an object") {
            let may = ["/tmp/x", "/dev/shm/x", "/dev/null"].contains(&path.as_str());
            assert_eq!(met == "done", may, "{path}: {met}");
        }
        let flags = bench
            .run("say([l.split()[4:6] for l in open('/proc/self/mountinfo')])")
            .await
            .json();
        for mount in flags.as_array().expect("mounts") {
            let (at, options) = (
                mount[0].as_str().expect("path"),
                mount[1].as_str().expect("options"),
            );
            assert!(options.contains("nosuid"), "{at} {options}");
            assert!(
                options.contains("nodev") || at.starts_with("/dev/"),
                "{at} {options}"
            );
        }
    });
}

#[test]
fn a_program_written_to_tmp_cannot_be_executed_even_before_the_lock() {
    as_each_user(
        "a_program_written_to_tmp_cannot_be_executed_even_before_the_lock",
        |bench| async move {
            let source = "
import shutil
shutil.copy('/usr/bin/python3.11', '/tmp/copy'); os.chmod('/tmp/copy', 0o755)
say(attempt(os.execv, '/tmp/copy', ['copy', '-c', 'print(0)']))";
            assert_eq!(bench.run(source).await.json(), "EACCES");
        },
    );
}

#[test]
fn a_worker_has_exactly_its_descriptors_and_its_environment() {
    as_each_user(
        "a_worker_has_exactly_its_descriptors_and_its_environment",
        |bench| async move {
            let source = "
import stat
fds = [int(f) for f in os.listdir('/proc/self/fd')]
kinds = {f: stat.S_IFMT(os.fstat(f).st_mode) for f in range(5)}
say([[f for f in fds if f > 4][1:], os.readlink('/proc/self/fd/0'), stat.S_ISFIFO(kinds[1]), stat.S_ISFIFO(kinds[2]), stat.S_ISSOCK(kinds[3]), stat.S_ISFIFO(kinds[4]), sorted(os.environ), os.getcwd()])";
            let expected = json!([
                [],
                "/dev/null",
                true,
                true,
                true,
                true,
                [
                    "AWS_CA_BUNDLE",
                    "CURL_CA_BUNDLE",
                    "GIT_SSL_CAINFO",
                    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
                    "HOME",
                    "LANG",
                    "NODE_EXTRA_CA_CERTS",
                    "PATH",
                    "PIP_CERT",
                    "REQUESTS_CA_BUNDLE",
                    "SSL_CERT_FILE",
                    "TMPDIR",
                    "TZ"
                ],
                "/tmp"
            ]);
            assert_eq!(bench.run(source).await.json(), expected);
        },
    );
}

#[test]
fn landlock_holds_where_the_mounts_would_allow() {
    as_each_user(
        "landlock_holds_where_the_mounts_would_allow",
        |bench| async move {
            // Nothing but Landlock refuses these: a link in /tmp, and binding a TCP port.
            let source = "
s = socket.socket()
say([attempt(os.symlink, 'x', '/tmp/link'), attempt(os.mkfifo, '/tmp/fifo'), attempt(s.bind, ('127.0.0.1', 2000))])";
            assert_eq!(
                bench.run(source).await.json(),
                json!(["EACCES", "EACCES", "EACCES"])
            );
        },
    );
}

#[test]
fn the_interpreter_starts_without_site_and_with_the_libraries_that_connectors_need() {
    as_each_user(
        "the_interpreter_starts_without_site_and_with_the_libraries_that_connectors_need",
        |bench| async move {
            let source = "
import ssl, sqlite3, zoneinfo, hashlib, uuid, decimal, lzma, bz2
import pwd, locale
context = ssl.create_default_context()
say([sys.flags.isolated, sys.flags.no_site, 'site' in sys.modules, len(context.get_ca_certs()) > 10, str(zoneinfo.ZoneInfo('Europe/Berlin')), pwd.getpwuid(os.getuid()).pw_name, sys.getfilesystemencoding()])";
            let expected = json!([1, 1, false, true, "Europe/Berlin", "caisson", "utf-8"]);
            assert_eq!(bench.run(source).await.json(), expected);
        },
    );
}

#[test]
fn many_workers_at_once_are_all_made() {
    as_each_user("many_workers_at_once_are_all_made", |bench| async move {
        let mut workers = Vec::new();
        for _ in 0..16 {
            let spec = bench.spec();
            let launcher = bench.launcher.clone();
            let program = caisson_sandbox::Program::Python("print(1)".into());
            workers.push(tokio::spawn(async move {
                launcher.launch_program(spec, program).await
            }));
        }
        for worker in workers {
            let worker = worker.await.expect("a task").expect("a worker");
            assert_eq!(support::finish(worker).await.exit.status, Some(0));
        }
    });
}
