//! An author's project directory and which of its files a bundle carries.
//!
//! ```text
//! connector.yaml  requirements.lock  README.md  icon.svg  docs/…   in the bundle
//! src/<package>/…                                                  in the bundle
//! tests/  samples/  policies/  dependencies.toml  .caisson/ …      stay out
//! ```
//! The packages live under `src/`, so that what is imported is never by
//! accident what merely lies beside it.

use std::fs;
use std::path::{Path, PathBuf};

use caisson_document::{Document, Faults, ReadError};

use crate::Manifest;
use crate::lock::{LOCK_FILE, Lock};

/// The manifest's file name.
pub const MANIFEST_FILE: &str = "connector.yaml";

/// Files at the top of a project that go into its bundle.
const TOP_FILES: [&str; 8] = [
    MANIFEST_FILE,
    LOCK_FILE,
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "LICENSE.txt",
    "icon.svg",
    "icon.png",
];

/// Directories of a project that go into its bundle.
const TOP_DIRS: [&str; 2] = ["docs", "src"];

/// Directories that no check and no bundle looks into.
const NOT_SOURCE: [&str; 12] = [
    ".git",
    ".hg",
    ".venv",
    "venv",
    "__pycache__",
    ".caisson",
    "node_modules",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "build",
    "dist",
];

/// A project holds at most this many files.
const MAX_FILES: usize = 20_000;
/// Directories are nested at most this deep.
const MAX_DEPTH: usize = 32;

/// A directory with a connector in it.
#[derive(Debug, Clone)]
pub struct ProjectDir {
    root: PathBuf,
}

/// A file of a project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProjectFile {
    /// Its path in the project and in the bundle, with `/`.
    pub path: String,
    /// Where it is.
    pub source: PathBuf,
    /// Bytes in it.
    pub size: u64,
}

/// Why a project cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// There is no connector.yaml.
    #[error("{path} is no connector: it has no connector.yaml", path = .path.display())]
    NoManifest {
        /// The directory that was given.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Io {
        /// What was being read.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A symbolic link, socket, device or a name that is not UTF-8.
    #[error("{path}: {what}, which a bundle cannot carry", path = .path.display())]
    NotAFile {
        /// The file within the project.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// More files or deeper directories than a project has.
    #[error("{path}: more than {MAX_FILES} files, or directories nested deeper than {MAX_DEPTH}", path = .path.display())]
    TooMany {
        /// Where counting ended.
        path: PathBuf,
    },
    /// Faults of one of its files.
    #[error(transparent)]
    Faults(#[from] Faults),
}

impl ProjectError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ProjectError + '_ {
        move |source| ProjectError::Io {
            path: path.to_owned(),
            source,
        }
    }
}

impl From<ReadError> for ProjectError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io { path, source } => ProjectError::Io { path, source },
            ReadError::Faults(faults) => ProjectError::Faults(faults),
        }
    }
}

impl ProjectDir {
    /// Opens a directory that has a connector.yaml.
    ///
    /// # Errors
    /// If there is none, or the directory cannot be read.
    pub fn open(dir: &Path) -> Result<ProjectDir, ProjectError> {
        let root = fs::canonicalize(dir).map_err(ProjectError::io(dir))?;
        if !root.join(MANIFEST_FILE).is_file() {
            return Err(ProjectError::NoManifest {
                path: dir.to_owned(),
            });
        }
        Ok(ProjectDir { root })
    }

    /// The directory, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// connector.yaml, parsed and not yet checked; faults name it `connector.yaml`.
    ///
    /// # Errors
    /// If it cannot be read or is no document.
    pub fn document(&self) -> Result<Document, ProjectError> {
        let path = self.root.join(MANIFEST_FILE);
        let bytes = fs::read(&path).map_err(ProjectError::io(&path))?;
        Ok(Document::parse_bytes(MANIFEST_FILE, &bytes)?)
    }

    /// connector.yaml, checked.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn manifest(&self) -> Result<Manifest, ProjectError> {
        Ok(Manifest::from_document(&self.document()?)?)
    }

    /// The locked dependencies; none where there is no lock.
    ///
    /// # Errors
    /// Every fault of the lock.
    pub fn lock(&self) -> Result<Lock, ProjectError> {
        let path = self.root.join(LOCK_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Lock::parse(LOCK_FILE, &text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lock::default()),
            Err(source) => Err(ProjectError::Io { path, source }),
        }
    }

    /// Where wheels of the locked dependencies are kept for development.
    #[must_use]
    pub fn wheel_cache(&self) -> PathBuf {
        self.root.join(".caisson").join("wheels")
    }

    /// Where the generated config module of this connector stands, within the project.
    #[must_use]
    pub fn config_module(manifest: &Manifest) -> String {
        let package = manifest
            .entrypoint
            .module
            .split('.')
            .next()
            .unwrap_or_default();
        format!("src/{package}/config.py")
    }

    /// What goes into the bundle, sorted by path.
    ///
    /// # Errors
    /// If something there is neither a file nor a directory.
    pub fn bundle_files(&self) -> Result<Vec<ProjectFile>, ProjectError> {
        let mut files = Vec::new();
        for name in TOP_FILES {
            let source = self.root.join(name);
            match fs::symlink_metadata(&source) {
                Ok(_) => self.visit(&source, name.to_owned(), 0, &mut files)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(ProjectError::io(&source)(error)),
            }
        }
        for name in TOP_DIRS {
            let source = self.root.join(name);
            if fs::symlink_metadata(&source).is_ok() {
                self.visit(&source, name.to_owned(), 0, &mut files)?;
            }
        }
        files.sort();
        Ok(files)
    }

    /// Every file of the project that somebody wrote, sorted by path: what secrets are looked for in.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn tree(&self) -> Result<Vec<ProjectFile>, ProjectError> {
        let mut files = Vec::new();
        self.walk(&self.root, "", 0, &mut files, false)?;
        files.sort();
        Ok(files)
    }

    fn walk(
        &self,
        dir: &Path,
        prefix: &str,
        depth: usize,
        files: &mut Vec<ProjectFile>,
        strict: bool,
    ) -> Result<(), ProjectError> {
        if depth > MAX_DEPTH || files.len() > MAX_FILES {
            return Err(ProjectError::TooMany {
                path: dir.to_owned(),
            });
        }
        for entry in fs::read_dir(dir).map_err(ProjectError::io(dir))? {
            let entry = entry.map_err(ProjectError::io(dir))?;
            let source = entry.path();
            let Ok(name) = entry.file_name().into_string() else {
                return Err(ProjectError::NotAFile {
                    path: source,
                    what: "a name that is not UTF-8",
                });
            };
            let skipped = NOT_SOURCE.contains(&name.as_str())
                || name.ends_with(".pyc")
                || name.ends_with(".egg-info");
            if skipped || (strict && name.starts_with('.')) {
                continue;
            }
            let path = if prefix.is_empty() {
                name
            } else {
                format!("{prefix}/{name}")
            };
            if strict {
                self.visit(&source, path, depth + 1, files)?;
                continue;
            }
            let metadata = fs::symlink_metadata(&source).map_err(ProjectError::io(&source))?;
            if metadata.is_dir() {
                self.walk(&source, &path, depth + 1, files, false)?;
            } else if metadata.is_file() {
                files.push(ProjectFile {
                    path,
                    source,
                    size: metadata.len(),
                });
            }
        }
        Ok(())
    }

    fn visit(
        &self,
        source: &Path,
        path: String,
        depth: usize,
        files: &mut Vec<ProjectFile>,
    ) -> Result<(), ProjectError> {
        let metadata = fs::symlink_metadata(source).map_err(ProjectError::io(source))?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            return self.walk(source, &path, depth, files, true);
        }
        if !kind.is_file() {
            let what = if kind.is_symlink() {
                "a symbolic link"
            } else {
                "neither a file nor a directory"
            };
            return Err(ProjectError::NotAFile {
                path: PathBuf::from(path),
                what,
            });
        }
        files.push(ProjectFile {
            path,
            source: source.to_owned(),
            size: metadata.len(),
        });
        Ok(())
    }
}
