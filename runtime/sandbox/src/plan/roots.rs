//! What a worker's clients trust: bundles of root certificates, mounted where they look for them.

use std::path::{Component, Path, PathBuf};

use super::build::BUNDLE;
use super::{MAX_OVERLAYS, MountStep};
use crate::{LaunchError, Overlay, WorkerSpec};

/// Where workers find it.
pub(super) const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Where programs that were built for other distributions look for it.
const CA_LINKS: [&str; 2] = ["/etc/ssl/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt"];
/// Where hosts keep their CA bundle.
pub const CA_SOURCES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// What clients trust: the system's bundle of root certificates, under each of its names, and whatever stands in for bundles
/// that the connector brings.
pub(super) fn roots(spec: &WorkerSpec) -> Result<Vec<MountStep>, LaunchError> {
    let bind = |from: &Path, at: PathBuf| MountStep::Bind {
        from: from.to_owned(),
        at,
        exec: false,
        device: false,
        optional: false,
    };
    let system = match &spec.roots {
        Some(roots) => bind(roots, CA_BUNDLE.into()),
        None => MountStep::CaBundle {
            from: CA_SOURCES.map(PathBuf::from).to_vec(),
            at: CA_BUNDLE.into(),
        },
    };
    let links = CA_LINKS.map(|at| MountStep::Symlink {
        at: at.into(),
        to: CA_BUNDLE.into(),
    });
    if spec.overlays.len() > MAX_OVERLAYS {
        return Err(LaunchError::Overlays(format!(
            "{} files, at most {MAX_OVERLAYS} can stand in for others",
            spec.overlays.len()
        )));
    }
    let mut steps = vec![system];
    steps.extend(links);
    for Overlay { from, at } in &spec.overlays {
        let plain = at
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !plain || at.as_os_str().is_empty() {
            return Err(LaunchError::Overlays(format!(
                "{} is no path beneath the bundle",
                at.display()
            )));
        }
        steps.push(bind(from, Path::new(BUNDLE).join(at)));
    }
    Ok(steps)
}
