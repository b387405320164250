//! A bench for workers: each test runs as the user who runs the suite, and, when that is root, once more as an
//! ordinary user without cgroups.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use caisson_sandbox::profile::{PROFILES, Profile};
use caisson_sandbox::{
    Exit, HostConfig, Interpreter, Launcher, Layer, Program, Worker, WorkerSpec,
};

pub const ORDINARY: u32 = 65534;
const AGAIN: &str = "SANDBOX_TESTS_AS_ORDINARY_USER";
/// Names the launcher when the suite runs from a copy.
const LAUNCHER: &str = "SANDBOX_TESTS_LAUNCHER";

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs a test body as this user, then again as an ordinary one.
pub fn as_each_user<F: Future<Output = ()>>(name: &str, body: impl Fn(Bench) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let bench = Bench::new().await;
        tokio::time::timeout(Duration::from_secs(60), body(bench))
            .await
            .expect("the test ends in time");
    });
    if is_root() {
        run_as_ordinary_user(name);
    }
}

fn run_as_ordinary_user(name: &str) {
    // What an ordinary user can reach: the suite may lie in somebody's private directory.
    let dir = tempfile::Builder::new()
        .prefix("caisson-suite")
        .tempdir_in("/var/tmp")
        .expect("a directory");
    open_to_all(dir.path());
    let copy = |from: &Path, name: &str| {
        let to = dir.path().join(name);
        std::fs::copy(from, &to).expect("a copy");
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755)).expect("modes");
        to
    };
    let suite = copy(&std::env::current_exe().expect("this suite"), "suite");
    let launcher = copy(&try_exe(), "sandbox-try");
    let status = Command::new(suite)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env_clear()
        .env(AGAIN, "1")
        .env(LAUNCHER, launcher)
        .env("TMPDIR", "/var/tmp")
        .current_dir("/")
        .uid(ORDINARY)
        .gid(ORDINARY)
        .status()
        .expect("the suite again");
    assert!(status.success(), "{name} as an ordinary user");
}

pub fn try_exe() -> PathBuf {
    std::env::var_os(LAUNCHER).map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_sandbox-try")),
        PathBuf::from,
    )
}

pub fn open_to_all(dir: &Path) {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).expect("modes");
}

pub fn interpreter() -> Interpreter {
    Interpreter::discover("/usr/bin/python3.11".as_ref()).expect("python3.11 of the system")
}

pub struct Bench {
    pub launcher: Launcher,
    pub bundle: PathBuf,
    pub dir: tempfile::TempDir,
}

/// What a worker said and how it ended.
#[derive(Debug)]
pub struct Outcome {
    pub exit: Exit,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// What it printed as JSON; the worker must have succeeded.
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.exit.status, Some(0), "{self:#?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

pub fn config(dir: &Path, bundle: &Path) -> HostConfig {
    let mut config = HostConfig::new(dir.join("instance"), interpreter(), bundle.to_owned());
    config.launcher_exe = try_exe();
    if !is_root() {
        config.allow_missing.insert(Layer::Cgroup);
    }
    config
}

impl Bench {
    pub async fn new() -> Bench {
        let dir = tempfile::Builder::new()
            .prefix("caisson-test")
            .tempdir_in("/var/tmp")
            .expect("a directory");
        open_to_all(dir.path());
        let bundle = dir.path().join("bundle");
        std::fs::create_dir(&bundle).expect("a bundle");
        std::fs::write(bundle.join("attempts.py"), TRY).expect("attempts.py");
        for (name, _) in PROFILES {
            let file = bundle.join(format!("lock-{name}.json"));
            std::fs::write(file, lock_filters(name)).expect("a lock");
        }
        let launcher = Launcher::start(config(dir.path(), &bundle))
            .await
            .expect("a launcher");
        Bench {
            launcher,
            bundle,
            dir,
        }
    }

    pub fn spec(&self) -> WorkerSpec {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        WorkerSpec::new(
            NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            self.bundle.clone(),
        )
    }

    pub async fn launch(&self, spec: WorkerSpec, source: &str) -> Worker {
        let source = format!(
            "import sys; sys.path.append('/caisson/bundle')\nfrom attempts import *\n{source}"
        );
        self.launcher
            .launch_program(spec, Program::Python(source))
            .await
            .expect("a worker")
    }

    pub async fn run(&self, source: &str) -> Outcome {
        self.run_spec(self.spec(), source).await
    }

    pub async fn run_spec(&self, spec: WorkerSpec, source: &str) -> Outcome {
        finish(self.launch(spec, source).await).await
    }
}

pub async fn finish(worker: Worker) -> Outcome {
    let (mut process, io) = worker.split();
    let stdout = std::thread::spawn(move || read_all(io.stdout));
    let stderr = std::thread::spawn(move || read_all(io.stderr));
    let exit = process.wait().await.expect("an exit");
    Outcome {
        exit,
        stdout: stdout.join().expect("stdout"),
        stderr: stderr.join().expect("stderr"),
    }
}

fn read_all(fd: OwnedFd) -> String {
    let mut text = Vec::new();
    std::fs::File::from(fd)
        .read_to_end(&mut text)
        .expect("a pipe");
    String::from_utf8_lossy(&text).into_owned()
}

/// The final filter as numbers, so that a worker without the shim can put it on by hand.
fn lock_filters(profile: &str) -> String {
    let filters = Profile::named(profile)
        .expect("a profile")
        .compile()
        .expect("filters");
    let numbers: Vec<Vec<(u16, u8, u8, u32)>> = filters
        .lock
        .iter()
        .map(|filter| filter.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect())
        .collect();
    serde_json::to_string(&numbers).expect("numbers")
}

/// What test programs use inside a worker.
const TRY: &str = r#"
import ctypes, errno, json, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)

class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

def lock(profile="strict"):
    """The final filter, as the shim's native module puts it on."""
    for instructions in json.load(open(f"/caisson/bundle/lock-{profile}.json")):
        code = b"".join(struct.pack("=HBBI", *i) for i in instructions)
        if libc.syscall(317, 1, 1, ctypes.byref(_Program(len(instructions), code))) != 0:
            raise OSError(ctypes.get_errno(), "seccomp")

def syscall(*args):
    """The name of the error, or None."""
    ctypes.set_errno(0)
    args = [a if isinstance(a, (bytes, type(None))) or not isinstance(a, int) else ctypes.c_long(a) for a in args]
    if libc.syscall(*args) == -1:
        return errno.errorcode[ctypes.get_errno()]

def attempt(do, *args):
    """What an attempt meets: the name of its error, or 'done'."""
    try:
        do(*args)
        return "done"
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e))

def say(value):
    print(json.dumps(value))
"#;
