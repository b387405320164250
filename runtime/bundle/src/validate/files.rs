//! Checks of the files themselves: the manifest, what the bundle carries, the README.

use caisson_document::Document;

use super::{Context, Findings};
use crate::archive::MAX_UNPACKED;
use crate::{MANIFEST_FILE, Manifest, ProjectDir, ProjectError};

/// C101. Gives the document back also where it has faults, as long as it is one.
pub(super) fn manifest(
    project: &ProjectDir,
    findings: &mut Findings,
) -> Result<Option<Document>, ProjectError> {
    let document = match project.document() {
        Ok(document) => document,
        Err(ProjectError::Faults(faults)) => {
            faults
                .0
                .iter()
                .for_each(|fault| findings.fault("C101", fault));
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if let Err(faults) = Manifest::from_document(&document) {
        faults
            .0
            .iter()
            .for_each(|fault| findings.fault("C101", fault));
    }
    Ok(Some(document))
}

/// C102.
pub(super) fn tree(project: &ProjectDir, findings: &mut Findings) {
    match project.bundle_files() {
        Ok(files) => {
            let total: u64 = files.iter().map(|file| file.size).sum();
            if total > MAX_UNPACKED {
                findings.add(
                    "C102",
                    MANIFEST_FILE,
                    0,
                    format!("the bundle would hold {total} bytes"),
                    format!("at most {MAX_UNPACKED}"),
                );
            }
            for icon in files
                .iter()
                .filter(|file| file.path.starts_with("icon.") && file.size > 64 << 10)
            {
                findings.add(
                    "C102",
                    &icon.path,
                    0,
                    format!("an icon of {} bytes", icon.size),
                    "at most 64 KiB",
                );
            }
        }
        Err(ProjectError::NotAFile { path, what }) => {
            findings.add(
                "C102",
                &path.display().to_string(),
                0,
                what,
                "put the file itself there",
            );
        }
        Err(error) => findings.add("C102", MANIFEST_FILE, 0, error.to_string(), ""),
    }
}

/// C103.
pub(super) fn readme(context: &Context<'_>, findings: &mut Findings) {
    let readme = context.project.file("README.md").ok();
    let size = readme.and_then(|file| file.metadata().ok());
    if size.is_none_or(|metadata| metadata.len() == 0) {
        findings.add(
            "C103",
            "README.md",
            0,
            "missing or empty",
            "say what the connector reads or writes, and how to get its credentials",
        );
    }
}
