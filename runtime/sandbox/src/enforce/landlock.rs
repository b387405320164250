//! The second lock on the file system, at the best level that the kernel knows, with scopes.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    PathFdError, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::{Fault, Step};
use crate::Plan;
use crate::plan::LandlockAccess;

/// What rules are written for; older kernels take what they know of it.
const NEWEST: ABI = ABI::V7;

fn access(kind: LandlockAccess) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    match kind {
        LandlockAccess::Read => read,
        LandlockAccess::Execute => read | AccessFs::Execute,
        LandlockAccess::Use => AccessFs::ReadFile | AccessFs::WriteFile,
        LandlockAccess::Write => {
            read | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::RemoveDir
                | AccessFs::RemoveFile
                | AccessFs::MakeDir
                | AccessFs::MakeReg
                | AccessFs::Refer
        }
    }
}

pub(super) fn restrict(plan: &Plan) -> Result<(), Fault> {
    let fault = |e: String| Fault::new(Step::Landlock, "landlock", io::Error::other(e));
    let created = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.handle_access(AccessNet::BindTcp))
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(|rules| rules.create())
        .map_err(|e| fault(e.to_string()))?;
    let mut rules = created.set_compatibility(CompatLevel::BestEffort);
    for rule in &plan.landlock {
        let beneath = match PathFd::new(&rule.beneath) {
            Ok(fd) => fd,
            // An optional part that this host does not have.
            Err(PathFdError::OpenCall { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                continue;
            }
            Err(e) => return Err(fault(e.to_string())),
        };
        let is_file = rule.beneath.is_file() || rule.access == LandlockAccess::Use;
        let wanted = access(rule.access);
        let wanted = if is_file {
            wanted & AccessFs::from_file(NEWEST)
        } else {
            wanted
        };
        rules = rules
            .add_rule(PathBeneath::new(beneath, wanted))
            .map_err(|e| fault(format!("{}: {e}", rule.beneath.display())))?;
    }
    match rules
        .restrict_self()
        .map_err(|e| fault(e.to_string()))?
        .ruleset
    {
        RulesetStatus::NotEnforced => Err(Fault::new(
            Step::Landlock,
            "landlock",
            io::Error::from_raw_os_error(libc::EOPNOTSUPP),
        )),
        _ => Ok(()),
    }
}
