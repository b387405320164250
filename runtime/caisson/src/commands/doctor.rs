//! `caisson doctor`: the isolation layers of this host, or the plan of a worker.

use std::os::unix::fs::MetadataExt as _;

use caisson_daemon::{find_python, find_shim};
use caisson_sandbox::cgroup::Hierarchy;
use caisson_sandbox::doctor::{LayerReport, examine};
use caisson_sandbox::plan::{OuterIds, plan};
use caisson_sandbox::{HostConfig, Interpreter, Limits, Plan, Program, WorkerSpec};

use super::{Job, table};
use crate::args::DoctorArgs;
use crate::embedded;
use crate::exit::Exit;
use crate::stop::Result;

pub(crate) fn build(args: DoctorArgs) -> Result<Job> {
    let config = embedded::config(&args.embedded.or_environment(), "default")?;
    let python = config.python.or_else(find_python);
    let python = python.ok_or_else(|| {
        anyhow::anyhow!("no Python 3.11 or newer was found that every user can run: install python3.11, or name one with --python")
    })?;
    // Layers can be tried without the package; workers cannot run without it.
    let shim = config.shim.or_else(find_shim);
    let has_shim = shim
        .as_ref()
        .is_some_and(|dir| dir.join("caisson/__init__.py").is_file());
    let interpreter = Interpreter::discover(&python).map_err(anyhow::Error::from)?;
    let mut host = HostConfig::new(
        config.data_dir.join("instance"),
        interpreter,
        shim.unwrap_or_default(),
    );
    host.allow_missing = config.allow_missing;
    if args.plan {
        return Ok(Job::Here(Box::new(move |_| {
            let plan =
                serde_json::to_string_pretty(&example(&host)?).map_err(anyhow::Error::from)?;
            table::out(&format!("{plan}\n"))?;
            Ok(Exit::Done)
        })));
    }
    Ok(Job::Alone(Box::new(move |_, _| {
        Box::pin(async move {
            let reports = examine(&host).await;
            let lacks = |report: &&LayerReport| {
                !report.present && !host.allow_missing.contains(&report.layer)
            };
            let missing = reports.iter().filter(lacks).count();
            if args.json {
                let whole = serde_json::json!({
                    "layers": reports,
                    "missing": missing,
                    "python": host.interpreter,
                    "package": has_shim,
                });
                table::out(&format!("{whole}\n"))?;
            } else {
                table::out(&text(&reports, missing, has_shim))?;
            }
            Ok(if missing == 0 && has_shim {
                Exit::Done
            } else {
                Exit::Findings
            })
        })
    })))
}

/// The plan of a worker with no grant, as this host's daemon would make it.
fn example(host: &HostConfig) -> Result<Plan> {
    let mut spec = WorkerSpec::new(1, "/path/to/the/bundle".into());
    spec.limits = Limits::default();
    let cgroup = Hierarchy::find()
        .ok()
        .map(|found| found.plan("caisson-worker-1", &spec.limits));
    let own = std::fs::metadata("/proc/self").map_err(anyhow::Error::from)?;
    let outer = match own.uid() {
        0 => OuterIds {
            uid: host.uid_range.start,
            gid: host.uid_range.start,
            privileged: true,
        },
        uid => OuterIds {
            uid,
            gid: own.gid(),
            privileged: false,
        },
    };
    let plan = plan(host, &spec, &Program::Shim, outer, cgroup).map_err(anyhow::Error::from)?;
    Ok(plan)
}

fn text(reports: &[LayerReport], missing: usize, has_shim: bool) -> String {
    let mut text = String::new();
    for report in reports {
        let mark = if report.present { "present" } else { "MISSING" };
        text.push_str(&format!(
            "{mark}  {:<12} {}\n",
            report.layer.name(),
            report.detail
        ));
        if let Some(mend) = &report.mend {
            text.push_str(&format!("         mend it: {mend}\n"));
        }
    }
    if !has_shim {
        text.push_str("MISSING  package      the Python package `caisson` was not found beside this program\n");
        text.push_str("         mend it: name its folder with --shim DIR or CAISSON_SHIM\n");
    }
    let lacking = reports.iter().filter(|report| !report.present).count();
    text.push_str(&match (missing, lacking) {
        (0, 0) => "every isolation layer is here\n".to_owned(),
        (0, _) => {
            "workers run without what --allow-missing names; every Summary says so\n".to_owned()
        }
        (n, _) => format!(
            "{n} of {} layers missing: no worker runs until they are mended\n",
            reports.len()
        ),
    });
    text
}
