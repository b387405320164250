//! An author's project directory and which of its files a bundle carries.
//!
//! ```text
//! connector.yaml  requirements.lock  README.md  icon.svg  docs/…   in the bundle
//! src/<package>/…                                                  in the bundle
//! tests/  samples/  policies/  dependencies.toml  .caisson/ …      stay out
//! ```
//! The packages live under `src/`, so that what is imported is never by
//! accident what merely lies beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use caisson_document::{Document, Faults};

use crate::digest::Hashing;
use crate::lock::{LOCK_FILE, Lock};
use crate::tree::{Kind, Tree, not_a_file};
use crate::wheel::{Wheel, wheel_name};
use crate::{Digest, Manifest};

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
/// Bytes of connector.yaml and of the lock, at most.
const MAX_DOCUMENT: u64 = 16 << 20;
/// Where wheels of the locked dependencies are kept for development.
pub(crate) const WHEEL_CACHE: &str = ".caisson/wheels";

/// A directory with a connector in it. It is held open: what is read later is
/// beneath it, and reached through no link.
#[derive(Debug, Clone)]
pub struct ProjectDir {
    root: PathBuf,
    tree: Tree,
}

/// A file of a project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProjectFile {
    /// Its path in the project and in the bundle, with `/`.
    pub path: String,
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
    /// Read for a user of the host, and not that user's to read.
    #[error("{path} is not a folder of user {user}, or holds what that user may not read", path = .path.display())]
    NotTheirs {
        /// The folder or the file.
        path: PathBuf,
        /// The user.
        user: u32,
    },
    /// More bytes than a file of its kind has.
    #[error("{path} has more than {most} bytes", path = .path.display())]
    TooLarge {
        /// The file within the project.
        path: PathBuf,
        /// What is allowed.
        most: u64,
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

impl ProjectDir {
    /// Opens a directory that has a connector.yaml.
    ///
    /// # Errors
    /// If there is none, or the directory cannot be read.
    pub fn open(dir: &Path) -> Result<ProjectDir, ProjectError> {
        Self::open_as(dir, None)
    }

    /// Opens a directory on behalf of a user of the host: it must be that user's own, and what is read from it the
    /// user's own or readable for everybody.
    ///
    /// # Errors
    /// As [`ProjectDir::open`], and if it is somebody else's.
    pub fn open_for(dir: &Path, user: u32) -> Result<ProjectDir, ProjectError> {
        Self::open_as(dir, Some(user))
    }

    fn open_as(dir: &Path, user: Option<u32>) -> Result<ProjectDir, ProjectError> {
        let root = fs::canonicalize(dir).map_err(ProjectError::io(dir))?;
        let tree = Tree::open(&root, user)?;
        match tree.kind(MANIFEST_FILE)? {
            Some(Kind::File { .. }) => Ok(ProjectDir { root, tree }),
            Some(kind @ (Kind::Link | Kind::Other)) => Err(not_a_file(MANIFEST_FILE, kind)),
            Some(Kind::Dir) | None => Err(ProjectError::NoManifest {
                path: dir.to_owned(),
            }),
        }
    }

    /// The directory, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens one of its files.
    ///
    /// # Errors
    /// If there is no file of that path, or it cannot be read.
    pub fn file(&self, path: &str) -> Result<File, ProjectError> {
        self.tree.file(path)
    }

    /// Reads one of its files.
    ///
    /// # Errors
    /// As [`ProjectDir::file`], and if it has more than `most` bytes.
    pub fn read(&self, path: &str, most: u64) -> Result<Vec<u8>, ProjectError> {
        self.tree.read(path, most)
    }

    /// Whether it has a file of that path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        matches!(self.tree.kind(path), Ok(Some(Kind::File { .. })))
    }

    /// connector.yaml, parsed and not yet checked; faults name it `connector.yaml`.
    ///
    /// # Errors
    /// If it cannot be read or is no document.
    pub fn document(&self) -> Result<Document, ProjectError> {
        let bytes = self.read(MANIFEST_FILE, MAX_DOCUMENT)?;
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
        if self.tree.kind(LOCK_FILE)?.is_none() {
            return Ok(Lock::default());
        }
        let bytes = self.read(LOCK_FILE, MAX_DOCUMENT)?;
        let text = String::from_utf8(bytes).map_err(|error| ProjectError::Io {
            path: self.root.join(LOCK_FILE),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
        })?;
        Ok(Lock::parse(LOCK_FILE, &text)?)
    }

    /// The file names in [`ProjectDir::wheel_cache`], sorted.
    pub(crate) fn cached_wheels(&self) -> Result<Vec<String>, ProjectError> {
        if self.tree.kind(WHEEL_CACHE)?.is_none() {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for name in self.tree.names(WHEEL_CACHE)? {
            names.push(text(name, WHEEL_CACHE)?);
        }
        names.sort();
        Ok(names)
    }

    /// Copies the cached wheels that a lock names into a directory outside of the project.
    ///
    /// # Errors
    /// If one is no file, or cannot be copied.
    pub fn copy_cached_wheels(&self, lock: &Lock, into: &Path) -> Result<(), ProjectError> {
        for name in self.cached_wheels()? {
            let named = wheel_name(&name)
                .is_some_and(|(name, version)| lock.matching(&name, &version).next().is_some());
            if !named {
                continue;
            }
            let to = into.join(&name);
            let mut wheel = self.tree.file(&format!("{WHEEL_CACHE}/{name}"))?;
            let mut copy = File::create(&to).map_err(ProjectError::io(&to))?;
            std::io::copy(&mut wheel, &mut copy).map_err(ProjectError::io(&to))?;
        }
        Ok(())
    }

    /// Keeps wheels in [`ProjectDir::wheel_cache`]; nothing is written where they are there already.
    ///
    /// # Errors
    /// If the cache is reached through a link, or cannot be written.
    pub fn cache_wheels(&self, wheels: &[Wheel]) -> Result<(), ProjectError> {
        let mut missing = Vec::new();
        for wheel in wheels {
            let path = format!("{WHEEL_CACHE}/{}", wheel.file_name);
            if self.digest(&path)?.as_ref() != Some(&wheel.digest) {
                missing.push((path, wheel));
            }
        }
        if !missing.is_empty() {
            self.tree.make_dirs(WHEEL_CACHE)?;
        }
        for (path, wheel) in missing {
            let mut from = File::open(&wheel.path).map_err(ProjectError::io(&wheel.path))?;
            self.tree.write(&path, &mut from)?;
        }
        Ok(())
    }

    /// The digest of a file; none where there is no file.
    fn digest(&self, path: &str) -> Result<Option<Digest>, ProjectError> {
        if !matches!(self.tree.kind(path)?, Some(Kind::File { .. })) {
            return Ok(None);
        }
        let mut hashing = Hashing::new(std::io::sink());
        std::io::copy(&mut self.tree.file(path)?, &mut hashing)
            .map_err(ProjectError::io(&self.root.join(path)))?;
        Ok(Some(hashing.finish()))
    }

    /// Writes one of its files anew; its directory must be there. A link is replaced and not followed.
    pub(crate) fn write(&self, path: &str, content: &str) -> Result<(), ProjectError> {
        self.tree.write(path, &mut content.as_bytes())
    }

    /// Where wheels of the locked dependencies are kept for development.
    #[must_use]
    pub fn wheel_cache(&self) -> PathBuf {
        self.root.join(WHEEL_CACHE)
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
        for name in TOP_FILES.into_iter().chain(TOP_DIRS) {
            if let Some(kind) = self.tree.kind(name)? {
                self.visit(name.to_owned(), kind, 0, &mut files)?;
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
        self.walk("", 0, &mut files, false)?;
        files.sort();
        Ok(files)
    }

    fn walk(
        &self,
        dir: &str,
        depth: usize,
        files: &mut Vec<ProjectFile>,
        strict: bool,
    ) -> Result<(), ProjectError> {
        if depth > MAX_DEPTH || files.len() > MAX_FILES {
            return Err(ProjectError::TooMany {
                path: self.root.join(dir),
            });
        }
        for name in self.tree.names(dir)? {
            let name = text(name, dir)?;
            let skipped = NOT_SOURCE.contains(&name.as_str())
                || name.ends_with(".pyc")
                || name.ends_with(".egg-info");
            if skipped || (strict && name.starts_with('.')) {
                continue;
            }
            let path = match dir {
                "" => name,
                dir => format!("{dir}/{name}"),
            };
            // What went away meanwhile is not there.
            let Some(kind) = self.tree.kind(&path)? else {
                continue;
            };
            if strict {
                self.visit(path, kind, depth + 1, files)?;
                continue;
            }
            match kind {
                Kind::Dir => self.walk(&path, depth + 1, files, false)?,
                Kind::File { size } => files.push(ProjectFile { path, size }),
                Kind::Link | Kind::Other => {}
            }
        }
        Ok(())
    }

    fn visit(
        &self,
        path: String,
        kind: Kind,
        depth: usize,
        files: &mut Vec<ProjectFile>,
    ) -> Result<(), ProjectError> {
        match kind {
            Kind::Dir => self.walk(&path, depth, files, true),
            Kind::File { size } => {
                files.push(ProjectFile { path, size });
                Ok(())
            }
            Kind::Link | Kind::Other => Err(not_a_file(&path, kind)),
        }
    }
}

fn text(name: std::ffi::OsString, dir: &str) -> Result<String, ProjectError> {
    name.into_string().map_err(|name| ProjectError::NotAFile {
        path: Path::new(dir).join(name),
        what: "a name that is not UTF-8",
    })
}
