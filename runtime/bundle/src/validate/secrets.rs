//! C501: credentials in files. Every text file of the project is read, tests,
//! cassettes and samples included; what came out of wheels is not: it is other
//! people's, it is public, and its hashes are locked.

use super::Findings;
use super::literals::{Literal, find};
use crate::{LOCK_FILE, ProjectDir, ProjectError};

/// Larger files are told, not read.
const MAX_SCANNED: u64 = 32 << 20;

pub(super) fn check(project: &ProjectDir, findings: &mut Findings) -> Result<(), ProjectError> {
    for file in project.tree()? {
        if file.path == LOCK_FILE || file.path.ends_with(".whl") || file.path.starts_with("deps/") {
            continue;
        }
        if file.size > MAX_SCANNED {
            findings.add(
                "C501",
                &file.path,
                0,
                "too large to be searched for credentials",
                "make it smaller than 32 MiB",
            );
            continue;
        }
        let bytes = project.read(&file.path, MAX_SCANNED)?;
        if bytes.iter().take(8 << 10).any(|byte| *byte == 0) {
            continue;
        }
        let text = String::from_utf8_lossy(&bytes);
        for Literal { line, what, length } in find(&file.path, &text) {
            let found = format!("something like {what} ({length} characters)");
            findings.add(
                "C501",
                &file.path,
                line,
                found,
                "take it out, revoke it, and write [secret], REDACTED or a secret reference",
            );
        }
    }
    Ok(())
}
