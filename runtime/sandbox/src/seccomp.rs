//! Putting filters on: the launcher's part before exec, and the lock inside the interpreter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use seccompiler::{BpfProgram, sock_filter};

use crate::profile::{Filters, PROFILES, Profile};
use crate::{LockError, Plan, shared_memory};

/// Puts the final filter of a profile on every thread of this process. After it there is no further filter, and only
/// what the profile names runs: under `strict` no exec and no listening socket. Called by the worker itself before anything of the bundle can be imported.
///
/// The process also becomes undumpable, for a core that goes to a pipe (apport, systemd-coredump) does not heed
/// RLIMIT_CORE. Under an ordinary user's daemon this keeps no process of the same user outside from tracing it: that
/// user owns the worker's user namespace.
///
/// # Errors
/// When the profile is unknown or the kernel refuses; the process must then end, for it is not locked.
pub fn lock_profile(name: &str) -> Result<(), LockError> {
    let filters = compiled(name)?;
    nix::sys::prctl::set_dumpable(false).map_err(|e| LockError::Kernel(e.to_string()))?;
    for filter in &filters.lock {
        seccompiler::apply_filter_all_threads(filter)
            .map_err(|e| LockError::Kernel(e.to_string()))?;
    }
    Ok(())
}

/// The filters that a plan has on before the worker's first code.
pub(crate) fn before_exec(plan: &Plan) -> Result<Vec<BpfProgram>, LockError> {
    let mut filters = compiled(&plan.profile.0)?.before_exec.clone();
    if !plan.shared_memory {
        filters.push(shared_memory::filter()?);
    }
    Ok(filters)
}

/// Compiles every profile, for a process that many are made of.
pub(crate) fn compile_all() -> Result<(), LockError> {
    PROFILES
        .iter()
        .try_for_each(|(name, _)| compiled(name).map(drop))
}

/// A profile's filters, compiled once in a process and those that are forked from it.
fn compiled(name: &str) -> Result<Arc<Filters>, LockError> {
    static KNOWN: Mutex<BTreeMap<String, Arc<Filters>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(filters) = known.get(name) {
        return Ok(filters.clone());
    }
    let filters = Arc::new(Profile::named(name)?.compile()?);
    known.insert(name.to_owned(), filters.clone());
    Ok(filters)
}

const LOAD_NR: sock_filter = sock_filter {
    code: 0x20,
    jt: 0,
    jf: 0,
    k: 0,
};
const ALLOW: sock_filter = sock_filter {
    code: 0x06,
    jt: 0,
    jf: 0,
    k: 0x7fff_0000,
};
const KILL_PROCESS: sock_filter = sock_filter {
    code: 0x06,
    jt: 0,
    jf: 0,
    k: 0x8000_0000,
};

/// Ends the process on x32 calls, which carry the architecture of x86_64 and a high bit in the number, and on
/// numbers that no table has. Foreign architectures (int 0x80) are ended by every filter of seccompiler.
pub(crate) fn foreign_abi_filter() -> BpfProgram {
    let is_high = sock_filter {
        code: 0x35,
        jt: 0,
        jf: 1,
        k: 0x4000_0000,
    };
    vec![LOAD_NR, is_high, KILL_PROCESS, ALLOW]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{PROFILES, Target};

    #[test]
    fn every_profile_compiles_for_every_machine() {
        for (name, _) in PROFILES {
            let profile = Profile::named(name).expect("a profile");
            for target in [Target::X86_64, Target::Aarch64] {
                let filters = profile.compile_for(target).expect("filters");
                assert_eq!((filters.before_exec.len(), filters.lock.len()), (2, 2));
            }
        }
    }

    #[test]
    fn a_profile_that_does_not_exist_is_refused() {
        assert!(
            matches!(lock_profile("lax"), Err(LockError::UnknownProfile(name)) if name == "lax")
        );
    }
}
