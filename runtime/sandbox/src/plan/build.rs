//! From what is wanted to what will be done. Pure: looks at no file and makes no system call.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::roots::{CA_BUNDLE, roots};
use super::{
    CgroupPlan, DNS_PORT, INNER_ID, Identity, LandlockAccess, LandlockRule, MAX_PORTS, MountStep,
    NetworkPlan, OWN_V4, OWN_V6, Plan, ProgramPlan,
};
use crate::enforce::{CHANNEL, STACKS};
use crate::process::STACKS_SIGNAL;
use crate::{HostConfig, HostDir, LaunchError, Limits, Program, WorkerSpec};

const SHIM: &str = "/caisson/shim";
pub(super) const BUNDLE: &str = "/caisson/bundle";
const DEV_SHM_BYTES: u64 = 16 << 20;
const ROOT_BYTES: u64 = 4 << 20;

/// What a worker is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OuterIds {
    /// The uid, never 0.
    pub uid: u32,
    /// The gid.
    pub gid: u32,
    /// The map is written by a privileged launcher (which may name any id), not by an ordinary user (own id only).
    pub privileged: bool,
}

/// The plan of one worker.
///
/// # Errors
/// When ports, directories or limits cannot be honoured.
pub fn plan(
    host: &HostConfig,
    spec: &WorkerSpec,
    program: &Program,
    outer: OuterIds,
    cgroup: Option<CgroupPlan>,
) -> Result<Plan, LaunchError> {
    let tcp_ports = ports(&spec.tcp_ports)?;
    check_limits(&spec.limits)?;
    let writes = spec.files.iter().any(|dir| dir.write);
    let counted = cgroup.is_some();
    let rlimits = rlimits(&spec.limits, writes, counted);
    let mounts = mounts(host, spec)?;
    Ok(Plan {
        worker: spec.id,
        namespaces: ["user", "pid", "mount", "net", "ipc", "uts", "cgroup"]
            .map(str::to_owned)
            .to_vec(),
        identity: Identity {
            inner: INNER_ID,
            outer,
            hostname: "caisson".into(),
        },
        cgroup,
        network: NetworkPlan {
            addresses: vec![format!("{OWN_V4}/32"), format!("{OWN_V6}/128")],
            routes: vec![
                format!("local default dev lo src {OWN_V4}"),
                format!("local default dev lo src {OWN_V6}"),
            ],
            tcp_ports,
            dns_port: DNS_PORT,
        },
        landlock: landlock(&mounts, counted),
        shared_memory: counted,
        mounts,
        forbidden: forbidden(host),
        root_bytes: ROOT_BYTES,
        rlimits,
        capabilities: Vec::new(),
        profile: spec.profile.clone(),
        program: program_plan(host, spec, program, counted),
    })
}

/// Sorted ports without duplicates.
pub(crate) fn ports(wanted: &[u16]) -> Result<Vec<u16>, LaunchError> {
    let mut ports = wanted.to_vec();
    ports.sort_unstable();
    ports.dedup();
    if ports.contains(&0) || ports.contains(&DNS_PORT) {
        return Err(LaunchError::Ports(
            "0 is no port, and 53 always answers DNS; leave both out".into(),
        ));
    }
    if ports.len() > MAX_PORTS {
        return Err(LaunchError::Ports(format!(
            "{} ports, at most {MAX_PORTS} can listen",
            ports.len()
        )));
    }
    Ok(ports)
}

fn check_limits(limits: &Limits) -> Result<(), LaunchError> {
    let fault = |text: String| Err(LaunchError::Limits(text));
    if limits.memory_bytes < 32 << 20 {
        return fault(format!(
            "memory of {} bytes; an interpreter needs 32 MiB",
            limits.memory_bytes
        ));
    }
    if !(0.01..=4096.0).contains(&limits.cpus) {
        return fault(format!("{} cpus; give a number from 0.01", limits.cpus));
    }
    if limits.pids < 1 || limits.open_files < 32 || limits.tmp_bytes < 4096 {
        return fault("at least 1 process, 32 open files and 4096 bytes of tmp are needed".into());
    }
    Ok(())
}

fn mounts(host: &HostConfig, spec: &WorkerSpec) -> Result<Vec<MountStep>, LaunchError> {
    let bind = |from: &Path, at: &Path, exec| MountStep::Bind {
        from: from.to_owned(),
        at: at.to_owned(),
        exec,
        device: false,
        optional: false,
    };
    let same = |path: &PathBuf, exec| bind(path, path, exec);
    let interpreter = &host.interpreter;
    let mut steps = Vec::new();
    // Where /lib and /lib64 are links into /usr, paths inside programs still name the links.
    for (at, to) in [("/lib", "usr/lib"), ("/lib64", "usr/lib64")] {
        let merged = interpreter
            .library_dirs
            .iter()
            .any(|dir| dir.starts_with(Path::new("/").join(to)));
        let real = interpreter
            .library_dirs
            .iter()
            .any(|dir| dir.starts_with(at));
        if merged && !real {
            steps.push(MountStep::Symlink {
                at: at.into(),
                to: to.into(),
            });
        }
    }
    steps.extend(interpreter.library_dirs.iter().map(|dir| same(dir, true)));
    let mut parts: Vec<&PathBuf> = interpreter
        .stdlib
        .iter()
        .chain([&interpreter.executable])
        .collect();
    parts.extend(&interpreter.libraries);
    parts.retain(|part| {
        !interpreter
            .library_dirs
            .iter()
            .any(|dir| part.starts_with(dir))
    });
    steps.extend(parts.into_iter().map(|part| same(part, true)));
    for stdlib in &interpreter.stdlib {
        steps.push(MountStep::Hide {
            at: stdlib.join("site-packages"),
        });
        steps.push(MountStep::Hide {
            at: stdlib.join("dist-packages"),
        });
    }
    for optional in ["/etc/ld.so.cache", "/usr/share/zoneinfo"] {
        steps.push(MountStep::Bind {
            from: optional.into(),
            at: optional.into(),
            exec: false,
            device: false,
            optional: true,
        });
    }
    steps.push(bind(&host.shim_dir, SHIM.as_ref(), true));
    steps.push(bind(&spec.bundle, BUNDLE.as_ref(), true));
    steps.extend(written_files());
    steps.extend(roots(spec)?);
    for name in ["null", "zero", "full", "random", "urandom"] {
        let path = Path::new("/dev").join(name);
        steps.push(MountStep::Bind {
            from: path.clone(),
            at: path,
            exec: false,
            device: true,
            optional: false,
        });
    }
    for (at, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ] {
        steps.push(MountStep::Symlink {
            at: Path::new("/dev").join(at),
            to: to.into(),
        });
    }
    steps.push(MountStep::Tmpfs {
        at: "/dev/shm".into(),
        bytes: DEV_SHM_BYTES,
    });
    steps.push(MountStep::Tmpfs {
        at: "/tmp".into(),
        bytes: spec.limits.tmp_bytes,
    });
    steps.push(MountStep::Proc { at: "/proc".into() });
    for (number, dir) in spec.files.iter().enumerate() {
        check_host_dir(&dir.dir, &steps)?;
        let earlier = &spec.files[..number];
        if earlier
            .iter()
            .any(|other| other.dir == dir.dir && other.write == dir.write)
        {
            continue;
        }
        check_nesting(&dir.dir, earlier)?;
        steps.push(MountStep::HostDir(dir.clone()));
    }
    Ok(steps)
}

/// Of two grants, one inside the other, the later would decide alone what may be written.
fn check_nesting(dir: &Path, earlier: &[HostDir]) -> Result<(), LaunchError> {
    let nested = |other: &&HostDir| dir.starts_with(&other.dir) || other.dir.starts_with(dir);
    match earlier.iter().find(nested) {
        None => Ok(()),
        Some(other) => Err(LaunchError::HostDir {
            dir: dir.to_owned(),
            detail: format!(
                "{} is granted too, and the grants overlap; leave one of them out",
                other.dir.display()
            ),
        }),
    }
}

/// The daemon's own paths, named or not.
fn forbidden(host: &HostConfig) -> Vec<PathBuf> {
    let mut all = vec![host.instance_dir.clone(), host.shim_dir.clone()];
    all.extend(host.forbidden.iter().cloned());
    all.sort();
    all.dedup();
    all
}

/// A granted directory is bound at its own path, so it must not cover anything of the sandbox's.
fn check_host_dir(dir: &Path, steps: &[MountStep]) -> Result<(), LaunchError> {
    let fault = |detail: &str| {
        Err(LaunchError::HostDir {
            dir: dir.to_owned(),
            detail: detail.into(),
        })
    };
    let plain = dir
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !dir.is_absolute() || !plain {
        return fault("give an absolute path without . or ..");
    }
    if ["/proc", "/dev", "/sys", "/etc", "/caisson"]
        .iter()
        .any(|own| dir.starts_with(own))
    {
        return fault("this path belongs to the sandbox itself; grant a directory elsewhere");
    }
    let at = |step: &MountStep| match step {
        MountStep::Bind { at, .. }
        | MountStep::Tmpfs { at, .. }
        | MountStep::Symlink { at, .. } => Some(at.clone()),
        _ => None,
    };
    let covers =
        |own: &PathBuf| own.starts_with(dir) || (dir.starts_with(own) && own != Path::new("/tmp"));
    if steps.iter().filter_map(at).any(|own| covers(&own)) {
        return fault(
            "it would cover, or lies inside, what the sandbox binds there; grant another directory",
        );
    }
    Ok(())
}

/// What the worker reads about its system, written from nothing. The name localhost is left to DNS: in a policy
/// it means the daemon's host.
fn written_files() -> Vec<MountStep> {
    let file = |at: &str, contents: &str| MountStep::File {
        at: at.into(),
        contents: contents.into(),
    };
    let user =
        format!("caisson:x:{INNER_ID}:{INNER_ID}:worker:/tmp:/\nnobody:x:65534:65534:nobody:/:/\n");
    let group = format!("caisson:x:{INNER_ID}:\nnogroup:x:65534:\n");
    vec![
        file(
            "/etc/resolv.conf",
            "nameserver 127.0.0.1\noptions timeout:5 attempts:2 ndots:1\n",
        ),
        file("/etc/hosts", "127.0.0.1 caisson\n"),
        file(
            "/etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
        ),
        file("/etc/passwd", &user),
        file("/etc/group", &group),
    ]
}

fn rlimits(limits: &Limits, writes_host: bool, cgroup: bool) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::from([
        // Not 0: see `hardening`.
        ("core", 1),
        ("memlock", 64 << 10),
        ("msgqueue", 0),
        ("nice", 0),
        ("nofile", limits.open_files),
        // One more than the cgroup's, so that the cgroup refuses first and counts it.
        ("nproc", u64::from(limits.pids) + u64::from(cgroup)),
        ("rtprio", 0),
        ("sigpending", 1024),
        ("stack", 8 << 20),
    ]);
    if !writes_host {
        out.insert("fsize", limits.tmp_bytes.max(DEV_SHM_BYTES));
    }
    if !cgroup {
        // Stands in for the cgroup between two looks of the memory watch. Address space would be too blunt:
        // Arrow's allocators reserve far more than they use.
        out.insert(
            "data",
            limits
                .memory_bytes
                .saturating_mul(2)
                .max(limits.memory_bytes.saturating_add(1 << 30)),
        );
    }
    out.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn landlock(mounts: &[MountStep], shared_memory: bool) -> Vec<LandlockRule> {
    let rule = |beneath: &Path, access| LandlockRule {
        beneath: beneath.to_owned(),
        access,
    };
    let mut rules = vec![rule(Path::new("/"), LandlockAccess::Read)];
    for step in mounts {
        match step {
            MountStep::Bind { at, exec: true, .. } => rules.push(rule(at, LandlockAccess::Execute)),
            // Mapped shared and writable, it is memory that belongs to nobody; then it is read only.
            MountStep::Bind {
                at, device: true, ..
            } if at == Path::new("/dev/zero") && !shared_memory => {}
            MountStep::Bind {
                at, device: true, ..
            } => rules.push(rule(at, LandlockAccess::Use)),
            MountStep::Tmpfs { at, .. } => rules.push(rule(at, LandlockAccess::Write)),
            MountStep::HostDir(dir) if dir.write => {
                rules.push(rule(&dir.dir, LandlockAccess::Write))
            }
            _ => {}
        }
    }
    rules
}

fn program_plan(
    host: &HostConfig,
    spec: &WorkerSpec,
    program: &Program,
    counted: bool,
) -> ProgramPlan {
    let source = match program {
        Program::Shim => format!(
            "import sys; sys.path.append({SHIM:?}); from caisson._worker import main; \
             main({CHANNEL}, {:?}, ({STACKS_SIGNAL}, {STACKS}))",
            spec.profile.0
        ),
        Program::Python(source) => source.clone(),
    };
    let executable = host.interpreter.executable.clone();
    let name = executable.to_string_lossy().into_owned();
    ProgramPlan {
        executable,
        argv: vec![
            name,
            "-I".into(),
            "-S".into(),
            "-B".into(),
            "-c".into(),
            source,
        ],
        env: worker_environment(),
        cwd: "/tmp".into(),
        // A fork's memory belongs to the daemon's user namespace for the kernel, whatever its own is, so that the watch of an
        // ordinary user's daemon, which stands in for the cgroup, could not look into it.
        preloaded: *program == Program::Shim && counted,
    }
}

/// Every worker's environment. Clients that bring roots of their own are told of the system's, each by the one variable that
/// it reads.
pub(crate) fn worker_environment() -> BTreeMap<String, String> {
    let all = [
        // botocore and boto3, and the AWS SDKs of other languages.
        ("AWS_CA_BUNDLE", CA_BUNDLE),
        // curl, whose libcurl may have been built with another path.
        ("CURL_CA_BUNDLE", CA_BUNDLE),
        // git over HTTPS, for the same reason.
        ("GIT_SSL_CAINFO", CA_BUNDLE),
        // gRPC core in every language: grpcio has roots in its library, which no mount can cover.
        ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", CA_BUNDLE),
        ("HOME", "/tmp"),
        ("LANG", "C.UTF-8"),
        // Node, whose roots are in its program, and which reads SSL_CERT_FILE only with --use-openssl-ca.
        ("NODE_EXTRA_CA_CERTS", CA_BUNDLE),
        ("PATH", "/usr/bin:/bin"),
        // pip.
        ("PIP_CERT", CA_BUNDLE),
        // requests, where a session merges its environment: `Session.send` does not, and reads certifi's file.
        ("REQUESTS_CA_BUNDLE", CA_BUNDLE),
        // OpenSSL and so Python's ssl, httpx, aiohttp, rustls-native-certs, Go, and the CDK's own client. Without SSL_CERT_DIR:
        // there is no directory of hashed names, and clients look into what it names as well, not instead.
        ("SSL_CERT_FILE", CA_BUNDLE),
        ("TMPDIR", "/tmp"),
        ("TZ", "UTC"),
    ];
    all.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}
