//! Finding out what an interpreter consists of, by running it once.
//!
//! The answer (executable, standard library, shared libraries) is exactly what is bound into a sandbox.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::InterpreterError;

/// The files that an interpreter needs to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// The executable, symlinks resolved.
    pub executable: PathBuf,
    /// `3.11.2`
    pub version: String,
    /// Directories of the standard library, symlinks resolved.
    pub stdlib: Vec<PathBuf>,
    /// Directories of system libraries that the dynamic loader searches.
    pub library_dirs: Vec<PathBuf>,
    /// Single libraries that lie elsewhere (a libpython in /usr/local/lib).
    pub libraries: Vec<PathBuf>,
}

impl Interpreter {
    /// What the names of its bytecode files bear: `cpython-311` (PEP 3147).
    pub fn cache_tag(&self) -> String {
        let release: Vec<&str> = self.version.split('.').take(2).collect();
        format!("cpython-{}", release.concat())
    }
}

/// Imports what connectors commonly need, so that their libraries are mapped, and prints what was found.
const DESCRIBE: &str = r#"
import sys, os, json
for name in ("ssl", "sqlite3", "ctypes", "bz2", "lzma", "zlib", "hashlib", "uuid", "decimal", "readline"):
    try: __import__(name)
    except ImportError: pass
maps = set()
with open("/proc/self/maps") as f:
    for line in f:
        parts = line.split(None, 5)
        if len(parts) == 6 and parts[5].startswith("/"): maps.add(parts[5].strip())
print(json.dumps({
    "executable": os.path.realpath(sys.executable),
    "version": ".".join(map(str, sys.version_info[:3])),
    "path": [os.path.realpath(p) for p in sys.path if os.path.isdir(p)],
    "maps": sorted(maps),
    "multiarch": getattr(sys.implementation, "_multiarch", ""),
}))
"#;

#[derive(Deserialize)]
struct Description {
    executable: PathBuf,
    version: String,
    path: Vec<PathBuf>,
    maps: Vec<PathBuf>,
    multiarch: String,
}

impl Interpreter {
    /// Runs `path -I -S` once and notes what it is made of.
    ///
    /// # Errors
    /// When it cannot be run, is no Python, or is older than 3.11.
    pub fn discover(path: &Path) -> Result<Self, InterpreterError> {
        let output = Command::new(path)
            .args(["-I", "-S", "-c", DESCRIBE])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .map_err(|source| InterpreterError::Run {
                path: path.to_owned(),
                source,
            })?;
        let answer = |detail: String| InterpreterError::Answer {
            path: path.to_owned(),
            detail,
        };
        if !output.status.success() {
            return Err(answer(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            ));
        }
        let found: Description =
            serde_json::from_slice(&output.stdout).map_err(|e| answer(e.to_string()))?;
        let mut version = found
            .version
            .split('.')
            .map(|part| part.parse::<u32>().unwrap_or(0));
        if (version.next(), version.next()) < (Some(3), Some(11)) {
            return Err(InterpreterError::TooOld {
                path: path.to_owned(),
                version: found.version,
            });
        }
        Ok(Self::from_description(found))
    }

    fn from_description(found: Description) -> Self {
        let stdlib = outermost(found.path);
        let searched = ["/lib", "/usr/lib"]
            .into_iter()
            .filter(|_| !found.multiarch.is_empty())
            .map(|dir| Path::new(dir).join(&found.multiarch))
            .chain(["/lib64", "/usr/lib64"].into_iter().map(PathBuf::from))
            .filter_map(|dir| dir.canonicalize().ok());
        let mut library_dirs = outermost(searched.collect());
        let is_library = |path: &Path| {
            path.file_name().is_some_and(|name| {
                let name = name.to_string_lossy();
                name.ends_with(".so") || name.contains(".so.") || name.starts_with("ld-musl")
            })
        };
        let within = |dirs: &[PathBuf], path: &Path| dirs.iter().any(|dir| path.starts_with(dir));
        let loaded: Vec<PathBuf> = found
            .maps
            .into_iter()
            .filter(|path| is_library(path) && !within(&stdlib, path))
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        // Where no usual directory holds the C library (musl), its own directory is the system's.
        if let Some(loader) = loaded
            .iter()
            .find(|path| path.to_string_lossy().contains("/ld-musl"))
        {
            library_dirs.extend(loader.parent().map(Path::to_path_buf));
            library_dirs.extend(Path::new("/usr/lib").canonicalize());
            library_dirs = outermost(library_dirs);
        }
        let libraries = loaded
            .into_iter()
            .filter(|path| !within(&library_dirs, path))
            .collect();
        Interpreter {
            executable: found.executable,
            version: found.version,
            stdlib,
            library_dirs,
            libraries,
        }
    }
}

/// Sorted, without duplicates and without what lies inside another entry.
fn outermost(mut dirs: Vec<PathBuf>) -> Vec<PathBuf> {
    dirs.sort();
    dirs.dedup();
    let all = dirs.clone();
    dirs.retain(|dir| {
        !all.iter()
            .any(|other| other != dir && dir.starts_with(other))
    });
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_inside_another_is_not_bound_twice() {
        let dirs = [
            "/usr/lib/python3.11/lib-dynload",
            "/usr/lib/python3.11",
            "/usr/lib/python3.11",
        ];
        assert_eq!(
            outermost(dirs.map(PathBuf::from).to_vec()),
            [PathBuf::from("/usr/lib/python3.11")]
        );
    }

    #[test]
    fn the_systems_interpreter_describes_itself() {
        let found = Interpreter::discover(Path::new("/usr/bin/python3.11"))
            .expect("python3.11 of the system");
        assert!(found.version.starts_with("3.11."), "{found:?}");
        assert!(
            found.stdlib.iter().any(|dir| dir.join("os.py").exists()),
            "{found:?}"
        );
        assert!(
            found.library_dirs.iter().all(|dir| dir.is_absolute()),
            "{found:?}"
        );
    }

    #[test]
    fn a_program_that_is_no_interpreter_is_refused() {
        let error =
            Interpreter::discover(Path::new("/bin/true")).expect_err("true describes nothing");
        assert!(matches!(error, InterpreterError::Answer { .. }), "{error}");
    }
}
