//! What the build of the escape suite leaves out of a worker: in the product nothing, for `without` is a constant there.
//!
//! Works on the plan as far as a layer is data, and names the steps to pass over where it is not. A worker without a layer
//! is made by the same steps in the same order as any other, so that nothing but the layer differs.

use caisson_without::{Part, without};

use crate::enforce::{Fault, Step};
use crate::plan::MountStep;
use crate::sys::{self, Side};
use crate::{HostConfig, Plan, WorkerSpec};

/// Is this step left out?
pub(crate) fn skips(step: Step) -> bool {
    match step {
        Step::IdMaps | Step::Identity => without(Part::UserNamespace),
        Step::CgroupNamespace => without(Part::CgroupNamespace),
        Step::Hostname => without(Part::UtsNamespace),
        Step::Trees | Step::Mounts | Step::Pivot => without(Part::Root),
        Step::NoNewPrivileges => without(Part::NoNewPrivileges),
        Step::Landlock => without(Part::Landlock),
        Step::Rlimits => without(Part::Rlimits),
        Step::Death => without(Part::Death),
        Step::Seccomp => without(Part::Seccomp),
        _ => false,
    }
}

/// The flags of clone(2) without the namespaces that are left out.
pub(crate) fn namespaces(all: i32) -> i32 {
    [
        (Part::UserNamespace, libc::CLONE_NEWUSER),
        (Part::PidNamespace, libc::CLONE_NEWPID),
        (Part::Root, libc::CLONE_NEWNS),
        (Part::NetNamespace, libc::CLONE_NEWNET),
        (Part::IpcNamespace, libc::CLONE_NEWIPC),
        (Part::UtsNamespace, libc::CLONE_NEWUTS),
    ]
    .into_iter()
    .filter(|(part, _)| without(*part))
    .fold(all, |flags, (_, flag)| flags & !flag)
}

/// Has a process in a network of its own carry `set_up` out, and stays in the daemon's: what was opened there lives on.
pub(crate) fn in_another_network(set_up: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
    let fault = |e| Fault::new(Step::Network, "a network elsewhere", e);
    match sys::clone(libc::CLONE_NEWNET, libc::SIGCHLD).map_err(fault)? {
        Side::Made => sys::exit(i32::from(set_up().is_err())),
        Side::Maker { pidfd, .. } => {
            sys::reap(std::os::fd::AsFd::as_fd(&pidfd), true).map_err(fault)?;
            Ok(())
        }
    }
}

/// Takes the parts away that are data.
pub(crate) fn take_away(plan: &mut Plan, host: &HostConfig, spec: &WorkerSpec) {
    let outer = &mut plan.identity.outer;
    if without(Part::IdMap) && outer.privileged {
        (outer.uid, outer.gid) = (0, 0);
    }
    if without(Part::OwnIds) && outer.privileged {
        (outer.uid, outer.gid) = (host.uid_range.start, host.uid_range.start);
    }
    if without(Part::Cgroup) {
        plan.cgroup = None;
    }
    if without(Part::TmpSize) {
        for step in &mut plan.mounts {
            if let MountStep::Tmpfs { bytes, .. } = step {
                *bytes = 1 << 40;
            }
        }
    }
    let program = &mut plan.program;
    if without(Part::Environment) {
        program.env.extend(std::env::vars());
    }
    let Some(source) = program.argv.last_mut() else {
        return;
    };
    if without(Part::Seccomp) {
        let unlocked = "from caisson import _native; _native.lock = lambda profile: None; from caisson._worker";
        *source = source.replacen("from caisson._worker", unlocked, 1);
    }
    if without(Part::Root) {
        let shim = format!("{:?}", host.shim_dir);
        *source = source.replacen("\"/caisson/shim\"", &shim, 1);
        source.truncate(source.len() - 1);
        source.push_str(&format!(", bundle={:?})", spec.bundle));
    }
    if without(Part::FirstCode) {
        program.argv.retain(|word| word != "-I" && word != "-S");
        let path = "/caisson/shim:/caisson/bundle/src".to_owned();
        program.env.insert("PYTHONPATH".into(), path);
    }
}
