//! The registry in a directory: published versions, their bundles, and the bundles that are unpacked.
//!
//! ```text
//! index/WORKSPACE/NAME/VERSION.json   one published version; written once, never changed
//! archives/HEX.tar.gz                 a bundle as it was published, named by its sha256
//! bundles/HEX/                        a bundle unpacked: what workers see, readable by every user id
//! tmp/                                what is not finished; swept at the start
//! ```
//! Everything is made in `tmp`, made durable, and moved into place in one step: a reader sees all of it or nothing, also
//! after a crash. The registry does not know what is in a bundle; whoever installs passes what unpacks it.

mod entry;
mod error;
mod files;
mod pending;
mod pin;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use semver::Version;

pub use entry::{Digest, Entry, Publication, Published, Yanked};
pub use error::RegistryError;
pub use pin::Pin;

use crate::nearest;
use error::io;
use pending::Pending;

/// A registry in a directory. Cheap to clone.
///
/// The methods work on files and block; those that may take long (`publish`, `install`) run on tokio's blocking threads.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    serial: AtomicU64,
}

impl Registry {
    /// Opens the registry in a directory, creates what is not there, and sweeps what a crash left unfinished.
    ///
    /// Whoever opens it must hold the data directory's lock.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(root: &Path) -> Result<Registry, RegistryError> {
        for name in ["index", "archives", "bundles", "tmp"] {
            files::create_dir(&root.join(name))?;
        }
        let tmp = root.join("tmp");
        pending::sweep(root)?;
        for left in files::names(&tmp)? {
            files::remove(&tmp.join(left))?;
        }
        Ok(Registry(Arc::new(Inner {
            root: root.to_owned(),
            serial: AtomicU64::new(0),
        })))
    }

    /// Publishes a version. The same bundle again is no error; another bundle under a published version is.
    ///
    /// # Errors
    /// Nothing is published then.
    pub async fn publish(
        &self,
        publication: Publication,
        now: DateTime<Utc>,
    ) -> Result<Published, RegistryError> {
        let registry = self.clone();
        blocking(move || registry.publish_now(publication, now)).await
    }

    fn publish_now(
        &self,
        publication: Publication,
        now: DateTime<Utc>,
    ) -> Result<Published, RegistryError> {
        entry::check_name("workspace", &publication.workspace)?;
        entry::check_name("connector", &publication.name)?;
        let version = pin::exact(&publication.version)
            .ok_or_else(|| RegistryError::Version(publication.version.clone()))?;
        if let Some(published) = self.published_before(&publication, &version)? {
            // Publishing again mends an archive that was damaged or lost.
            if !matches!(files::hash(&self.archive(&published.entry.digest)), Ok(found) if found == published.entry.digest)
            {
                self.keep(&publication)?;
            }
            return Ok(published);
        }
        let pending = Pending::announce(&self.tmp(), &publication.digest)?;
        let bytes = match self.keep(&publication) {
            Ok(bytes) => bytes,
            Err(error) => {
                pending.settle()?;
                return Err(error);
            }
        };
        let digest = publication.digest.clone();
        let entry = Entry {
            workspace: publication.workspace.clone(),
            name: publication.name.clone(),
            version: version.clone(),
            digest,
            bytes,
            published: now,
            manifest: publication.manifest.clone(),
            yanked: None,
        };
        let path = self.entry_path(&entry.workspace, &entry.name, &version);
        let dir = path.parent().expect("an entry's path has a directory");
        files::create_dir(dir)?;
        let tmp = self.tmp();
        files::write(&tmp, &entry.to_json())?;
        // A link, unlike a rename, does not replace: of two who publish one version, one wins. The other's archive
        // stays announced, and goes at the next start unless a version has come to name it.
        if files::link_new(&tmp, &path)? {
            pending.settle()?;
            return Ok(Published {
                entry,
                existed: false,
            });
        }
        let published = self.published_before(&publication, &version)?;
        published.ok_or_else(|| RegistryError::Damaged {
            path,
            detail: "it came and went".into(),
        })
    }

    /// Copies the bundle into the archives, if its bytes are what was said, and tells its size.
    fn keep(&self, publication: &Publication) -> Result<u64, RegistryError> {
        let tmp = self.tmp();
        let kept = files::copy_hashed(&publication.bundle, &tmp).and_then(|(found, bytes)| {
            if found != publication.digest {
                let (path, expected) = (publication.bundle.clone(), publication.digest.clone());
                return Err(RegistryError::Digest {
                    path,
                    expected,
                    found,
                });
            }
            files::rename(&tmp, &self.archive(&found))?;
            Ok(bytes)
        });
        if kept.is_err() {
            files::remove(&tmp)?;
        }
        kept
    }

    fn published_before(
        &self,
        publication: &Publication,
        version: &Version,
    ) -> Result<Option<Published>, RegistryError> {
        let Some(entry) = self.read(&publication.workspace, &publication.name, version)? else {
            return Ok(None);
        };
        if entry.digest == publication.digest {
            return Ok(Some(Published {
                entry,
                existed: true,
            }));
        }
        Err(RegistryError::Published {
            pin: entry.pin(),
            published: entry.digest,
            given: publication.digest.clone(),
        })
    }

    /// The version that an exact pin names: `name@1.4.2` or `name@sha256:…`.
    ///
    /// # Errors
    /// A range is refused with the versions that match it; an unknown name or version with what there is.
    pub fn resolve(&self, workspace: &str, pin: &str) -> Result<Entry, RegistryError> {
        entry::check_name("workspace", workspace)?;
        let (name, pin) = Pin::parse(pin)?;
        if let Pin::Version(version) = &pin
            && let Some(entry) = self.read(workspace, name, version)?
        {
            return Ok(entry);
        }
        let versions = self.versions(workspace, name)?;
        if versions.is_empty() {
            let mut names = self.names(workspace)?;
            nearest::sort(&mut names, name);
            return Err(RegistryError::UnknownName {
                workspace: workspace.into(),
                name: name.into(),
                names,
            });
        }
        match pin {
            Pin::Version(version) => Err(RegistryError::UnknownVersion {
                name: name.into(),
                wanted: version.to_string(),
                versions,
            }),
            Pin::Digest(digest) => {
                for version in &versions {
                    match self.read(workspace, name, version)? {
                        Some(entry) if entry.digest == digest => return Ok(entry),
                        _ => {}
                    }
                }
                Err(RegistryError::UnknownVersion {
                    name: name.into(),
                    wanted: digest.to_string(),
                    versions,
                })
            }
            Pin::Range { text, range } => {
                let matching = versions
                    .iter()
                    .filter(|version| range.as_ref().is_none_or(|range| range.matches(version)));
                let matching = matching.cloned().collect();
                Err(RegistryError::Range {
                    name: name.into(),
                    range: text,
                    matching,
                    versions,
                })
            }
        }
    }

    /// Every published version of a workspace, or of one connector in it: by name, the newest version first.
    ///
    /// # Errors
    /// A damaged entry fails the list; it is named.
    pub fn list(&self, workspace: &str, name: Option<&str>) -> Result<Vec<Entry>, RegistryError> {
        entry::check_name("workspace", workspace)?;
        let names = match name {
            Some(name) => {
                entry::check_name("connector", name)?;
                vec![name.to_owned()]
            }
            None => self.names(workspace)?,
        };
        let mut entries = Vec::new();
        for name in names {
            for version in self.versions(workspace, &name)? {
                entries.extend(self.read(workspace, &name, &version)?);
            }
        }
        Ok(entries)
    }

    /// Makes a version ready to run and gives the directory with its unpacked bundle. `unpack` is given the archive and
    /// an empty directory; what it leaves there may hold only plain files and directories, and becomes readable by every
    /// user id. A version that is installed already is not unpacked again.
    ///
    /// # Errors
    /// Nothing is installed then; `unpack`'s words are passed on.
    pub async fn install<F, E>(&self, entry: &Entry, unpack: F) -> Result<PathBuf, RegistryError>
    where
        F: FnOnce(&Path, &Path) -> Result<(), E> + Send + 'static,
        E: std::fmt::Display,
    {
        let bundle = self.bundle(&entry.digest);
        if bundle.is_dir() {
            return Ok(bundle);
        }
        let (registry, entry) = (self.clone(), entry.clone());
        blocking(move || registry.install_now(&entry, unpack)).await
    }

    fn install_now<F, E>(&self, entry: &Entry, unpack: F) -> Result<PathBuf, RegistryError>
    where
        F: FnOnce(&Path, &Path) -> Result<(), E>,
        E: std::fmt::Display,
    {
        let bundle = self.bundle(&entry.digest);
        let archive = self.archive(&entry.digest);
        let found = files::hash(&archive)?;
        if found != entry.digest {
            return Err(RegistryError::Digest {
                path: archive,
                expected: entry.digest.clone(),
                found,
            });
        }
        let tmp = self.tmp();
        files::create_dir(&tmp)?;
        let done = unpack(&archive, &tmp)
            .map_err(|error| RegistryError::Unpack {
                pin: entry.pin(),
                detail: error.to_string(),
            })
            .and_then(|()| files::open_to_all_and_sync(&tmp));
        if let Err(error) = done {
            files::remove(&tmp)?;
            return Err(error);
        }
        match std::fs::rename(&tmp, &bundle) {
            Ok(()) => files::sync_dir_of(&bundle)?,
            // Somebody else installed the same bytes meanwhile.
            Err(_) if bundle.is_dir() => files::remove(&tmp)?,
            Err(error) => return Err(io("installing", &bundle)(error)),
        }
        Ok(bundle)
    }

    /// Whether a bundle is unpacked.
    pub fn installed(&self, digest: &Digest) -> bool {
        self.bundle(digest).is_dir()
    }

    /// Where a bundle is or would be unpacked.
    pub fn bundle(&self, digest: &Digest) -> PathBuf {
        self.0.root.join("bundles").join(digest.hex())
    }

    /// Where a bundle is or would be kept as it was published.
    pub fn archive(&self, digest: &Digest) -> PathBuf {
        self.0
            .root
            .join("archives")
            .join(format!("{}.tar.gz", digest.hex()))
    }

    fn entry_path(&self, workspace: &str, name: &str, version: &Version) -> PathBuf {
        self.0
            .root
            .join("index")
            .join(workspace)
            .join(name)
            .join(format!("{version}.json"))
    }

    fn tmp(&self) -> PathBuf {
        let serial = self.0.serial.fetch_add(1, Ordering::Relaxed);
        self.0
            .root
            .join("tmp")
            .join(format!("{}-{serial}", std::process::id()))
    }

    fn read(
        &self,
        workspace: &str,
        name: &str,
        version: &Version,
    ) -> Result<Option<Entry>, RegistryError> {
        let path = self.entry_path(workspace, name, version);
        let Some(text) = files::read_if_there(&path)? else {
            return Ok(None);
        };
        Entry::from_json(&text, workspace, name, version)
            .map(Some)
            .map_err(|detail| RegistryError::Damaged { path, detail })
    }

    fn names(&self, workspace: &str) -> Result<Vec<String>, RegistryError> {
        let mut names = files::names(&self.0.root.join("index").join(workspace))?;
        names.sort();
        Ok(names)
    }

    /// The newest first.
    fn versions(&self, workspace: &str, name: &str) -> Result<Vec<Version>, RegistryError> {
        let files = files::names(&self.0.root.join("index").join(workspace).join(name))?;
        let versions: BTreeSet<_> = files
            .iter()
            .filter_map(|file| pin::exact(file.strip_suffix(".json")?))
            .collect();
        Ok(versions.into_iter().rev().collect())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(RegistryError::Interrupted),
    }
}
