//! No memory without an owner: the filter of a worker that no cgroup counts.
//!
//! Pages of a shared mapping without a file, of a memfd and of System V memory belong to no process: whoever maps a
//! gibibyte, touches it and unmaps all but a page holds a gibibyte that no look from outside finds. Only a cgroup
//! counts them, so a worker without one has none of them; the tmpfs, which is capped and counted, stays. Landlock
//! closes the one other way, a shared writable mapping of /dev/zero (`plan/build.rs`).

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use crate::LockError;

/// Which argument of mmap(2) holds its flags.
const MMAP_FLAGS: u8 = 3;
/// Set in MAP_SHARED and MAP_SHARED_VALIDATE, not in MAP_PRIVATE.
const SHARED: u64 = libc::MAP_SHARED as u64 | libc::MAP_ANONYMOUS as u64;

/// Answers EPERM to every way of making memory that belongs to no process and no file.
pub(crate) fn filter() -> Result<BpfProgram, LockError> {
    let fault = |e: BackendError| LockError::Profile {
        profile: "without a cgroup".into(),
        detail: e.to_string(),
    };
    let shared = SeccompCondition::new(
        MMAP_FLAGS,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(SHARED),
        SHARED,
    )
    .and_then(|condition| SeccompRule::new(vec![condition]))
    .map_err(fault)?;
    let rules = BTreeMap::from([
        (libc::SYS_mmap, vec![shared]),
        (libc::SYS_memfd_create, Vec::new()),
        (libc::SYS_memfd_secret, Vec::new()),
        (libc::SYS_shmget, Vec::new()),
    ]);
    let arch: TargetArch = std::env::consts::ARCH.try_into().map_err(fault)?;
    SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
        arch,
    )
    .and_then(TryInto::try_into)
    .map_err(fault)
}
