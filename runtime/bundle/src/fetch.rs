//! Fetching the locked wheels, once, when a connector is published. This is
//! the only place where a connector's dependencies meet a network, and it is
//! the author's or the publisher's machine, not a worker.
//!
//! The project may be somebody else's, so pip meets nothing of it: it runs in
//! an empty directory, which it does not import from, and reads a file that is
//! written here from the parsed lock. Wheels are unpacked by nobody here, and
//! what is no wheel is not built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::lock::Lock;
use crate::wheel::{Wheel, WheelError, match_lock, wheels_in};

/// Why wheels could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The interpreter cannot be started.
    #[error("cannot run {python}: {source}", python = .python.display())]
    Python {
        /// The interpreter that was given.
        python: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The interpreter has no pip.
    #[error("{python} has no pip, which fetches wheels; install it (apt install python3-pip, or {python} -m ensurepip), or name another interpreter", python = .python.display())]
    NoPip {
        /// The interpreter that was given.
        python: PathBuf,
    },
    /// pip failed.
    #[error("pip could not fetch the locked wheels:\n{output}")]
    Pip {
        /// The end of what it said.
        output: String,
    },
    /// What came is not what the lock says.
    #[error(transparent)]
    Wheel(#[from] WheelError),
    /// The directory cannot be made.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What the wheels are fetched for, where that is not the interpreter that runs pip.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The Python version, such as `3.11`.
    pub python_version: Option<String>,
}

/// Fetches the wheels of `lock` into `dir`, and holds each against its hashes. `python` is an
/// interpreter that has pip. Wheels that are there already are not fetched again. With an empty
/// lock nothing is run. `dir` should not be the project's, where a link may lead elsewhere.
///
/// # Errors
/// If there is no pip, it fails, or the wheels are not those of the lock.
pub fn fetch_wheels(
    python: &Path,
    target: &Target,
    lock: &Lock,
    dir: &Path,
) -> Result<Vec<Wheel>, FetchError> {
    if lock.entries.is_empty() {
        return Ok(Vec::new());
    }
    std::fs::create_dir_all(dir).map_err(written(dir))?;
    let locked = |wheels: Vec<Wheel>| -> Vec<Wheel> {
        let named = |wheel: &Wheel| {
            lock.matching(&wheel.name, &wheel.version)
                .any(|entry| entry.hashes.contains(&wheel.digest))
        };
        wheels.into_iter().filter(named).collect()
    };
    let always_needed = lock.entries.iter().all(|entry| entry.marker.is_none());
    let there = locked(wheels_in(dir)?);
    if always_needed && match_lock(lock, &there).is_ok() {
        return Ok(there);
    }
    let io = |source| FetchError::Python {
        python: python.to_owned(),
        source,
    };
    let scratch = tempfile::tempdir().map_err(written(&std::env::temp_dir()))?;
    let lock_file = scratch.path().join("requirements.txt");
    std::fs::write(&lock_file, lock.for_pip()).map_err(written(&lock_file))?;
    let empty = scratch.path().join("empty");
    std::fs::create_dir(&empty).map_err(written(&empty))?;
    // A path with a slash would be looked for in the empty directory.
    let program = match python.components().count() {
        1 => python.to_owned(),
        _ => std::path::absolute(python).map_err(io)?,
    };
    let dir = std::path::absolute(dir).map_err(written(dir))?;
    let pip = || {
        let mut command = Command::new(&program);
        command
            .args(["-m", "pip"])
            .current_dir(&empty)
            .env("PYTHONSAFEPATH", "1")
            .stdin(Stdio::null());
        command
    };
    let has_pip = pip()
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(io)?;
    if !has_pip.success() {
        return Err(FetchError::NoPip {
            python: python.to_owned(),
        });
    }
    let mut command = pip();
    command
        .args([
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--require-hashes",
        ])
        .args([
            "--disable-pip-version-check",
            "--no-input",
            "--quiet",
            "--timeout",
            "30",
        ]);
    if let Some(version) = &target.python_version {
        command.args(["--python-version", version]);
    }
    command
        .arg("--dest")
        .arg(&dir)
        .arg("--requirement")
        .arg(&lock_file);
    let output = command.output().map_err(io)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.lines().collect();
        let end = lines[lines.len().saturating_sub(12)..].join("\n");
        return Err(FetchError::Pip { output: end });
    }
    let wheels = locked(wheels_in(&dir)?);
    match_lock(lock, &wheels)?;
    Ok(wheels)
}

fn written(path: &Path) -> impl FnOnce(std::io::Error) -> FetchError {
    let path = path.to_owned();
    move |source| FetchError::Io { path, source }
}
