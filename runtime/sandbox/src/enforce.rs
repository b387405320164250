//! Inside the new process: the plan is carried out, step by step, up to exec.
//!
//! The order of [`Step`] is the security: nothing may run with more than the steps before it have left, and a
//! step that fails ends the process before any foreign code. Runs single-threaded, in a fork of the launcher.

mod descriptors;
mod forbidden;
mod landlock;
mod limits;
mod mounts;
pub(crate) mod network;
mod privilege;
pub(crate) mod trees;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use caisson_without::Part;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, sethostname, setresgid, setresuid, setsid};
use serde::{Deserialize, Serialize};

use crate::launcher::protocol::{self, FromWorker};
use crate::{Layer, Plan, sys, without};

pub(crate) use descriptors::{CHANNEL, STACKS, Stdio, exec};
pub(crate) use privilege::empty_sets;
pub(crate) use trees::{Copied, Trees};

/// The steps of setting a worker up, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Made with fresh namespaces (by the launcher).
    Namespaces,
    /// Put into its cgroup: v2 by the launcher, v1 by itself through files that the launcher opened.
    Cgroup,
    /// Its id maps written from outside (by the launcher).
    IdMaps,
    /// A session of its own, away from any terminal.
    Session,
    /// A cgroup namespace rooted in its cgroup.
    CgroupNamespace,
    /// The mapped ids taken on.
    Identity,
    /// Its host name.
    Hostname,
    /// lo, routes, listeners and the watch, handed to the daemon.
    Network,
    /// Copies of the host's mounts taken while paths of the host can be reached.
    Trees,
    /// The new root built.
    Mounts,
    /// The old root left and unmounted, the new one read-only.
    Pivot,
    /// Every capability dropped, from every set.
    Capabilities,
    /// no_new_privs.
    NoNewPrivileges,
    /// Landlock.
    Landlock,
    /// Exactly the channel and the pipes.
    Descriptors,
    /// Resource limits, once nothing more is opened.
    Rlimits,
    /// The death signal set and the daemon found alive.
    Death,
    /// The filters that hold before exec.
    Seccomp,
    /// The interpreter: executed, or gone on with where the process is a fork of one.
    Exec,
}

impl Step {
    /// The steps that the new process does itself, in order.
    pub const INSIDE: [Step; 17] = [
        Step::Cgroup,
        Step::Session,
        Step::CgroupNamespace,
        Step::Identity,
        Step::Hostname,
        Step::Network,
        Step::Trees,
        Step::Mounts,
        Step::Pivot,
        Step::Capabilities,
        Step::NoNewPrivileges,
        Step::Landlock,
        Step::Descriptors,
        Step::Rlimits,
        Step::Death,
        Step::Seccomp,
        Step::Exec,
    ];

    /// The layer that is missing when this step fails.
    pub fn layer(self) -> Layer {
        match self {
            Step::Namespaces | Step::Session | Step::CgroupNamespace | Step::Hostname => {
                Layer::Namespaces
            }
            Step::Cgroup => Layer::Cgroup,
            Step::IdMaps | Step::Identity => Layer::Identity,
            Step::Network => Layer::Network,
            Step::Trees | Step::Mounts | Step::Pivot | Step::Exec => Layer::Filesystem,
            Step::Rlimits => Layer::Rlimits,
            Step::Capabilities | Step::NoNewPrivileges => Layer::Privilege,
            Step::Landlock => Layer::Landlock,
            Step::Descriptors => Layer::Descriptors,
            Step::Death => Layer::Death,
            Step::Seccomp => Layer::Seccomp,
        }
    }
}

/// A step that failed, as it travels to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub(crate) step: Step,
    pub(crate) what: String,
    pub(crate) errno: i32,
    /// The path of the host that is to blame, when it is one that the caller chose.
    pub(crate) subject: Option<Subject>,
}

/// A path that the caller chose and that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    HostDir(std::path::PathBuf),
    Source(std::path::PathBuf),
}

impl Fault {
    pub(crate) fn new(step: Step, what: impl Into<String>, cause: impl Into<io::Error>) -> Fault {
        let cause = cause.into();
        let errno = cause.raw_os_error().unwrap_or(0);
        Fault {
            step,
            what: format!("{}: {cause}", what.into()),
            errno,
            subject: None,
        }
    }

    pub(crate) fn about(mut self, subject: Subject) -> Fault {
        self.subject = Some(subject);
        self
    }
}

/// The contents of the first of these files that can be read.
pub(crate) fn first_of(files: &[std::path::PathBuf]) -> Option<Vec<u8>> {
    files.iter().find_map(|path| std::fs::read(path).ok())
}

/// What a new process has at hand.
pub(crate) struct Inside<'a> {
    pub(crate) plan: &'a Plan,
    /// Its network, where it was set up ahead of need.
    pub(crate) up: Option<network::Up>,
    /// Mounts that a privileged launcher already copied.
    pub(crate) trees: Option<Trees>,
    pub(crate) ca_bundle: Option<&'a [u8]>,
    pub(crate) filters: &'a [seccompiler::BpfProgram],
    pub(crate) stdio: Stdio,
    pub(crate) daemon: &'a OwnedFd,
    /// The lists of threads of its cgroups, one per v1 controller.
    pub(crate) groups: Vec<OwnedFd>,
    /// Where faults and sockets go; closes with exec.
    pub(crate) report: OwnedFd,
    pub(crate) ending: Ending,
}

/// How the last step makes a worker of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The interpreter is executed.
    Exec,
    /// The process is a fork of an interpreter, which goes on.
    Return,
}

impl Inside<'_> {
    /// Carries the plan out and becomes the worker; or reports what kept it from that, and ends.
    pub(crate) fn run(mut self) -> ! {
        debug_assert_eq!(self.ending, Ending::Exec);
        self.carry_out();
        sys::exit(1)
    }

    /// The same in a fork of an interpreter. Every descriptor but the worker's own is closed when it returns.
    pub(crate) fn go_on(mut self) {
        debug_assert_eq!(self.ending, Ending::Return);
        self.carry_out();
        // Numbers that mean nothing any more, or another thing soon.
        std::mem::forget(self);
    }

    fn carry_out(&mut self) {
        for step in Step::INSIDE {
            if without::skips(step) {
                continue;
            }
            if let Err(fault) = self.take(step) {
                let _ = protocol::send(self.report.as_fd(), &FromWorker::Fault(fault), &[]);
                sys::exit(1);
            }
        }
    }

    /// Carries every step out but the last, also after one failed, and reports all: what `caisson doctor` shows.
    pub(crate) fn probe(mut self) -> ! {
        let steps = Step::INSIDE
            .into_iter()
            .filter(|step| *step != Step::Exec && *step != Step::Descriptors);
        let faults: Vec<Fault> = steps.filter_map(|step| self.take(step).err()).collect();
        let own_proc = std::path::Path::new("/proc/self/stat").exists();
        let _ = protocol::send(
            self.report.as_fd(),
            &FromWorker::Probed { faults, own_proc },
            &[],
        );
        sys::exit(0)
    }

    fn take(&mut self, step: Step) -> Result<(), Fault> {
        let simple =
            |result: nix::Result<()>| result.map_err(|e| Fault::new(step, format!("{step:?}"), e));
        let identity = &self.plan.identity;
        match step {
            Step::Namespaces | Step::IdMaps => Ok(()),
            Step::Cgroup => self.join_groups(),
            Step::Session => {
                nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
                simple(setsid().map(drop))
            }
            Step::CgroupNamespace => simple(unshare(CloneFlags::CLONE_NEWCGROUP)),
            Step::Identity => {
                let (uid, gid) = (Uid::from_raw(identity.inner), Gid::from_raw(identity.inner));
                simple(setresgid(gid, gid, gid).and_then(|()| setresuid(uid, uid, uid)))
            }
            Step::Hostname => simple(sethostname(&identity.hostname)),
            Step::Network if caisson_without::without(Part::NetNamespace) => {
                without::in_another_network(|| self.network())
            }
            Step::Network => self.network(),
            Step::Trees => {
                if self.trees.is_none() {
                    self.trees = Some(Trees::copy(self.plan, None)?);
                }
                Ok(())
            }
            Step::Mounts => mounts::build(
                self.plan,
                self.trees.take().unwrap_or_default(),
                self.ca_bundle,
            ),
            Step::Pivot => mounts::pivot(),
            Step::Rlimits => limits::set(self.plan),
            Step::Capabilities if caisson_without::without(Part::Capabilities) => {
                privilege::keep_capabilities()
            }
            Step::Capabilities => privilege::drop_capabilities(),
            Step::NoNewPrivileges => simple(nix::sys::prctl::set_no_new_privs()),
            Step::Landlock => landlock::restrict(self.plan),
            Step::Descriptors => descriptors::lay_out(&self.stdio, &mut self.report),
            Step::Death => self.death(),
            Step::Seccomp => self.seccomp(),
            Step::Exec if self.ending == Ending::Return => descriptors::go_on(&self.plan.program),
            Step::Exec => Err(descriptors::exec(&self.plan.program)),
        }
    }

    /// A thread that moves itself waits for nobody, where moving another's process waits for every processor of the host
    /// (cgroup_attach_lock): milliseconds. The files tell who opened them, which is who must be allowed.
    fn join_groups(&self) -> Result<(), Fault> {
        for list in &self.groups {
            nix::unistd::write(list, b"0")
                .map_err(|e| Fault::new(Step::Cgroup, "joining its cgroup", e))?;
        }
        Ok(())
    }

    fn network(&mut self) -> Result<(), Fault> {
        let up = self.up.take().map_or_else(network::set_up, Ok)?;
        let sockets = network::open_ports(up, &self.plan.network)?;
        let message = FromWorker::Sockets(sockets.list());
        protocol::send(self.report.as_fd(), &message, &sockets.fds())
            .map_err(|e| Fault::new(Step::Network, "handing the sockets out", e))
    }

    /// Last of what could clear it: the signal follows the thread of the daemon that made the launcher.
    fn death(&self) -> Result<(), Fault> {
        let fault =
            |e: io::Error| Fault::new(Step::Death, "binding the worker's life to the daemon's", e);
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
            .map_err(|e| fault(e.into()))?;
        // It may have died before the signal was set. Its number is not visible in here; its pidfd is.
        if sys::is_readable(self.daemon.as_fd()) {
            sys::exit(1);
        }
        Ok(())
    }

    fn seccomp(&self) -> Result<(), Fault> {
        for filter in self.filters {
            seccompiler::apply_filter(filter).map_err(|e| {
                Fault::new(
                    Step::Seccomp,
                    "installing a filter",
                    io::Error::other(e.to_string()),
                )
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Step;

    fn place(step: Step) -> usize {
        Step::INSIDE
            .iter()
            .position(|other| *other == step)
            .expect("a step that runs inside")
    }

    #[test]
    fn steps_run_in_the_order_of_the_enum() {
        assert!(Step::INSIDE.is_sorted());
    }

    #[test]
    fn nothing_is_done_outside_the_cgroup_that_is_its_namespaces_root() {
        assert_eq!(place(Step::Cgroup), 0);
    }

    #[test]
    fn namespaces_ids_and_network_are_set_up_while_the_process_is_still_capable() {
        for early in [
            Step::CgroupNamespace,
            Step::Identity,
            Step::Hostname,
            Step::Network,
            Step::Mounts,
            Step::Pivot,
        ] {
            assert!(place(early) < place(Step::Capabilities), "{early:?}");
        }
    }

    #[test]
    fn listeners_are_handed_out_before_any_foreign_code_can_run() {
        assert!(place(Step::Network) < place(Step::Exec));
    }

    #[test]
    fn landlock_and_seccomp_come_after_no_new_privileges() {
        assert!(place(Step::NoNewPrivileges) < place(Step::Landlock));
        assert!(place(Step::NoNewPrivileges) < place(Step::Seccomp));
    }

    #[test]
    fn the_death_signal_is_set_after_every_change_of_credentials() {
        for change in [
            Step::Identity,
            Step::Capabilities,
            Step::NoNewPrivileges,
            Step::Landlock,
        ] {
            assert!(
                place(change) < place(Step::Death),
                "{change:?} would clear it"
            );
        }
    }

    #[test]
    fn filters_are_the_last_thing_before_exec() {
        assert_eq!(place(Step::Seccomp) + 1, place(Step::Exec));
    }
}
