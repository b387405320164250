//! What this host gives and what it withholds, found out by trying: the very steps that make a worker, carried
//! out by a probe that goes on after a failure.

mod mends;

use std::path::Path;

use serde::Serialize;

use crate::cgroup::{Cgroup, Hierarchy};
use crate::enforce::Fault;
use crate::ids::Ids;
use crate::launcher::protocol::Probed;
use crate::{HostConfig, Layer, Limits, Plan, Program, WorkerSpec, host, plan};

pub(crate) use mends::mend;

/// One row of `caisson doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerReport {
    /// Which layer.
    pub layer: Layer,
    /// Can it be put on here?
    pub present: bool,
    /// What was found.
    pub detail: String,
    /// What to do, when it is missing.
    pub mend: Option<String>,
}

/// Tries every layer. Needs no instance and touches none.
pub async fn examine(config: &HostConfig) -> Vec<LayerReport> {
    let mut cgroup = examine_cgroup();
    let (probed, fault) = match probe_plan(config) {
        Err(report) => (Probed::default(), Some(report)),
        Ok(plan) => match host::probe(&config.launcher_exe, plan).await {
            Ok(probed) => (probed, None),
            Err(e) => (
                Probed::default(),
                Some(missing(Layer::Namespaces, e.to_string(), 0)),
            ),
        },
    };
    if cgroup.present && config.allow_missing.contains(&Layer::Cgroup) {
        cgroup.detail += " (--allow-missing=cgroup is not needed here)";
    }
    Layer::ALL
        .into_iter()
        .map(|layer| match &fault {
            _ if layer == Layer::Cgroup => cgroup.clone(),
            Some(fault) if fault.layer == layer => fault.clone(),
            Some(_) => missing(layer, "not tried, for the probe could not start".into(), 0),
            None => report(layer, &probed),
        })
        .collect()
}

/// The plan of the probe: a worker of the usual kind whose bundle is the root directory's own library path.
fn probe_plan(config: &HostConfig) -> Result<Plan, LayerReport> {
    let fault = |layer, e: crate::LaunchError| missing(layer, e.to_string(), 0);
    let ids = Ids::new(config.uid_range.clone(), crate::launcher::is_privileged())
        .map_err(|e| fault(Layer::Identity, e))?;
    let lease = ids.lease().map_err(|e| fault(Layer::Identity, e))?;
    let anything = config
        .interpreter
        .stdlib
        .first()
        .map_or_else(|| Path::new("/usr"), |dir| dir.as_path());
    let mut spec = WorkerSpec::new(0, anything.to_owned());
    spec.limits = Limits::default();
    let mut config = config.clone();
    if !config.shim_dir.is_dir() {
        config.shim_dir = anything.to_owned();
    }
    plan::plan(
        &config,
        &spec,
        &Program::Python("pass".into()),
        lease.outer,
        None,
    )
    .map_err(|e| fault(Layer::Filesystem, e))
}

fn report(layer: Layer, probed: &Probed) -> LayerReport {
    let found = probed
        .faults
        .iter()
        .find(|fault: &&Fault| fault.step.layer() == layer);
    if let Some(fault) = found {
        return missing(layer, fault.what.clone(), fault.errno);
    }
    if !probed.complete {
        return missing(
            layer,
            "not tried, for an earlier layer is missing".into(),
            0,
        );
    }
    let detail = match layer {
        Layer::Namespaces => {
            "user, pid, mount, net, ipc, uts and cgroup namespaces are made".into()
        }
        Layer::Identity if nix::unistd::geteuid().is_root() => {
            "one id per worker out of the configured range".into()
        }
        Layer::Identity => {
            "workers run as this user, mapped to 1000; the threat model says what that means".into()
        }
        Layer::Filesystem if probed.own_proc => {
            "root built and pivoted; /proc shows the worker's own processes".into()
        }
        Layer::Filesystem => {
            "root built and pivoted; /proc is masked here, so workers get an empty one".into()
        }
        Layer::HostFiles => "openat2 beneath granted directories".into(),
        Layer::Network => "lo, local routes, listeners and the watch on refusals".into(),
        Layer::Privilege => "capabilities emptied and locked, no_new_privs".into(),
        Layer::Seccomp => "filters compiled and installed".into(),
        Layer::Landlock => "enforced".into(),
        Layer::Cgroup => String::new(),
        Layer::Rlimits => "set".into(),
        Layer::Descriptors => "channel and pipes only, environment from nothing".into(),
        Layer::Death => "the death signal is set and the daemon watched".into(),
    };
    LayerReport {
        layer,
        present: true,
        detail,
        mend: None,
    }
}

fn examine_cgroup() -> LayerReport {
    let layer = Layer::Cgroup;
    let hierarchy = match Hierarchy::find() {
        Ok(hierarchy) => hierarchy,
        Err(e) => {
            return LayerReport {
                layer,
                present: false,
                detail: e.detail,
                mend: Some(e.mend),
            };
        }
    };
    let name = format!("caisson-doctor-{}", std::process::id());
    match Cgroup::create(&hierarchy.plan(&name, &Limits::default())) {
        Ok(group) => {
            group.remove();
            let detail = format!(
                "{:?}: a group with memory, cpu and pids was made",
                hierarchy.version
            );
            LayerReport {
                layer,
                present: true,
                detail,
                mend: None,
            }
        }
        Err(e) => missing(layer, e.to_string(), e.raw_os_error().unwrap_or(0)),
    }
}

fn missing(layer: Layer, detail: String, errno: i32) -> LayerReport {
    LayerReport {
        layer,
        present: false,
        detail,
        mend: Some(mend(layer, errno)),
    }
}
