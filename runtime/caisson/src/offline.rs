//! What needs no daemon: reading policy files.

use std::path::Path;

use crate::commands::out;
use crate::exit::Exit;
use crate::stop::Result;

/// Reads every policy of a folder, or one file.
pub(crate) fn check_policies(path: &Path) -> Result<Exit> {
    let checked = caisson_egress::check(path)?;
    let mut text = String::new();
    for policy in &checked.policies {
        text.push_str(&format!("{}: {}\n", policy.file, policy.connector));
        text.push_str(&format!("  profile {}\n", policy.profile.as_str()));
        for rule in &policy.egress {
            text.push_str(&format!("  egress {rule}\n"));
        }
        for secret in &policy.secrets {
            text.push_str(&format!("  secret {secret}\n"));
        }
        if policy.files > 0 {
            text.push_str(&format!("  {} host directories\n", policy.files));
        }
    }
    text.push_str(&format!("{} policies, no fault\n", checked.policies.len()));
    out(&text)?;
    Ok(Exit::Done)
}
