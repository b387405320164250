//! What workers trust: the host's roots, and the gateway's authority beside them.
//!
//! Clients that read the system's bundle, or a variable, are given one file. Those that bring a bundle of their own are not
//! overruled: each such file of a connector is seen with the authority at its end and is otherwise what its author chose, so
//! that a database's private roots in it are still there. All of it lies in the daemon's data directory, is made anew when the
//! daemon starts, since its authority is, and reaches workers as read-only mounts.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use caisson_egress::{Policy, Protocol};
use caisson_proto::v1::ErrorCode;
use caisson_sandbox::Overlay;
use caisson_sandbox::plan::{CA_SOURCES, MAX_OVERLAYS};

use crate::call::Connector;
use crate::core::blocking;
use crate::error::CallError;

/// In the daemon's own environment: the bundle that stands for the host's, as for every program that uses OpenSSL.
const NAMED: &str = "SSL_CERT_FILE";
/// Of the system's bundle, in the directory.
const SYSTEM: &str = "system.pem";

/// Whether calls under `policy` may meet the gateway's authority, and so need it in bundles of their own too.
pub(crate) fn inspects(policy: &Policy) -> bool {
    let mut rules = policy.egress.iter();
    rules.any(|rule| rule.protocol == Protocol::Https)
}

/// The roots of this host.
fn host_roots() -> Option<Vec<u8>> {
    let named = std::env::var_os(NAMED).map(PathBuf::from);
    let usual = CA_SOURCES.iter().map(PathBuf::from);
    let mut all = named.into_iter().chain(usual);
    all.find_map(|path| fs::read(path).ok())
}

/// The files that workers are given, and which stand in for which.
pub(crate) struct Roots {
    dir: PathBuf,
    /// The authority's certificate, in PEM.
    authority: String,
    /// Of installed bundles, by their directories, whose content never changes.
    known: Mutex<HashMap<PathBuf, Arc<[Overlay]>>>,
}

impl Roots {
    /// Takes `dir` for its own, whatever is in it, and writes the system's bundle there.
    pub(crate) fn begin(dir: PathBuf, authority: &str) -> io::Result<Self> {
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&dir)?,
        }
        crate::open_to_all(&dir)?;
        let host = host_roots();
        if host.is_none() {
            tracing::warn!(
                "this host has no root certificates ({}): workers trust inspected hosts only; install ca-certificates, or \
                 name a bundle with {NAMED}",
                CA_SOURCES.join(", ")
            );
        }
        let roots = Self {
            dir,
            authority: authority.to_owned(),
            known: Mutex::default(),
        };
        roots.write(&roots.system(), &host.unwrap_or_default())?;
        Ok(roots)
    }

    /// The bundle that stands in for the system's.
    pub(crate) fn system(&self) -> PathBuf {
        self.dir.join(SYSTEM)
    }

    /// What stands in for the root bundles of an installed bundle, where that is known without looking.
    fn known(&self, bundle: &Path) -> Option<Arc<[Overlay]>> {
        self.all_known().get(bundle).cloned()
    }

    /// The same where it has to be found out, which reads the head of every file. Blocks.
    fn of_installed(&self, bundle: &Path) -> Result<Arc<[Overlay]>, CallError> {
        let name = bundle.file_name().unwrap_or(bundle.as_os_str());
        let overlays: Arc<[Overlay]> = self.overlays(bundle, &self.dir.join(name))?.into();
        let mut known = self.all_known();
        known.insert(bundle.to_owned(), Arc::clone(&overlays));
        Ok(overlays)
    }

    /// What stands in for the root bundles of `bundle`, in files of `into`. Blocks.
    fn overlays(&self, bundle: &Path, into: &Path) -> Result<Vec<Overlay>, CallError> {
        let found = caisson_bundle::find_roots(bundle)
            .map_err(|error| CallError::internal("looking for root bundles", error))?;
        if found.len() > MAX_OVERLAYS {
            let message = format!(
                "the connector brings {} bundles of root certificates, and {MAX_OVERLAYS} can be seen with the gateway's \
                 authority",
                found.len()
            );
            return Err(CallError::new(ErrorCode::ConfigInvalid, message)
                .with_action("leave dependencies out that the connector does not use"));
        }
        let written = found.into_iter().enumerate().map(|(number, at)| {
            let from = into.join(format!("{number}.pem"));
            let own = fs::read(bundle.join(&at))?;
            self.write(&from, &own)?;
            Ok(Overlay { from, at })
        });
        let written = if written.len() == 0 {
            Ok(Vec::new())
        } else {
            fs::create_dir_all(into)
                .and_then(|()| crate::open_to_all(into))
                .and_then(|()| written.collect())
        };
        written.map_err(|error: io::Error| CallError::internal("writing root bundles", error))
    }

    /// Writes `own` with the authority at its end. Two calls that write the same at once do no harm.
    fn write(&self, to: &Path, own: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(to.parent().unwrap_or(to))?;
        file.write_all(own)?;
        if !own.is_empty() && !own.ends_with(b"\n") {
            file.write_all(b"\n")?;
        }
        file.write_all(self.authority.as_bytes())?;
        file.as_file()
            .set_permissions(Permissions::from_mode(0o644))?;
        file.persist(to).map_err(|error| error.error)?;
        Ok(())
    }

    /// What stands in for the root bundles of a connector, wherever it was prepared.
    pub(crate) async fn of(
        self: &Arc<Self>,
        connector: &Connector,
    ) -> Result<Arc<[Overlay]>, CallError> {
        let (roots, bundle) = (Arc::clone(self), connector.bundle.clone());
        // What a folder's call was prepared in goes with the call, and so do these.
        if let Some(prepared) = &connector.prepared {
            let into = prepared.path().join("roots");
            return blocking(move || Ok(roots.overlays(&bundle, &into)?.into())).await;
        }
        match self.known(&bundle) {
            Some(known) => Ok(known),
            None => blocking(move || roots.of_installed(&bundle)).await,
        }
    }

    fn all_known(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<[Overlay]>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use caisson_egress::Authority;

    use super::*;

    fn roots(dir: &Path) -> (Roots, String) {
        let authority = Authority::new().unwrap();
        let pem = authority.certificate_pem().to_owned();
        (Roots::begin(dir.join("roots"), &pem).unwrap(), pem)
    }

    /// Three authorities of nobody.
    fn bundle(dir: &Path) -> (PathBuf, String) {
        let bundle = dir.join("0badcafe");
        fs::create_dir_all(bundle.join("deps/certifi")).unwrap();
        let one = |_| Authority::new().unwrap().certificate_pem().to_owned();
        let own: String = (0..3).map(one).collect();
        // As some are: without an end to the last line.
        let own = own.trim_end().to_owned();
        fs::write(bundle.join("deps/certifi/cacert.pem"), &own).unwrap();
        (bundle, own)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_systems_bundle_is_the_hosts_with_the_authority_and_everybody_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let (roots, pem) = roots(dir.path());
        let written = fs::read_to_string(roots.system()).unwrap();
        assert!(written.ends_with(&format!("\n{pem}")));
        let host = fs::read_to_string(CA_SOURCES[0]).unwrap();
        assert!(written.starts_with(host.trim_end()));
        assert_eq!(mode(&roots.system()), 0o644);
        assert_eq!(mode(&roots.dir), 0o755);
    }

    #[test]
    fn a_bundle_of_the_connectors_keeps_its_roots_and_gains_the_authority() {
        let dir = tempfile::tempdir().unwrap();
        let (roots, pem) = roots(dir.path());
        let (bundle, own) = bundle(dir.path());
        assert_eq!(roots.known(&bundle), None);
        let overlays = roots.of_installed(&bundle).unwrap();
        let [overlay] = &*overlays else {
            panic!("{overlays:?}")
        };
        assert_eq!(overlay.at, Path::new("deps/certifi/cacert.pem"));
        let written = fs::read_to_string(&overlay.from).unwrap();
        assert_eq!(written, format!("{own}\n{pem}"));
        assert_eq!(mode(&overlay.from), 0o644);
        assert_eq!(roots.known(&bundle).as_ref(), Some(&overlays));
        // The connector's own file is as it was.
        let kept = fs::read_to_string(bundle.join(&overlay.at)).unwrap();
        assert_eq!(kept, own);
    }

    #[test]
    fn a_daemon_that_starts_leaves_nothing_of_the_authority_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let (before, old) = roots(dir.path());
        let (bundle, _) = bundle(dir.path());
        let stale = before.of_installed(&bundle).unwrap()[0].from.clone();
        let (after, new) = roots(dir.path());
        assert!(!stale.exists());
        let written = fs::read_to_string(after.system()).unwrap();
        assert!(written.contains(&new) && !written.contains(&old));
    }

    #[test]
    fn more_bundles_than_can_be_mounted_are_refused_with_their_number() {
        let dir = tempfile::tempdir().unwrap();
        let (roots, _) = roots(dir.path());
        let (bundle, own) = bundle(dir.path());
        for number in 0..MAX_OVERLAYS {
            fs::write(bundle.join(format!("{number}.pem")), &own).unwrap();
        }
        let refused = roots.of_installed(&bundle).unwrap_err();
        assert_eq!(refused.code, ErrorCode::ConfigInvalid);
        assert!(
            refused.message.contains("65 bundles"),
            "{}",
            refused.message
        );
    }
}
