//! The whole plan of one worker, in a reviewed snapshot: what is not in it is not done.
#![allow(missing_docs)]

use std::path::PathBuf;

use caisson_sandbox::plan::{CgroupPlan, CgroupValue, OuterIds, plan};
use caisson_sandbox::{HostConfig, HostDir, Interpreter, Overlay, Program, WorkerSpec};

fn host() -> HostConfig {
    let interpreter = Interpreter {
        executable: "/usr/bin/python3.11".into(),
        version: "3.11.2".into(),
        stdlib: vec!["/usr/lib/python3.11".into()],
        library_dirs: vec!["/usr/lib/x86_64-linux-gnu".into(), "/usr/lib64".into()],
        libraries: vec!["/usr/local/lib/libextra.so.1".into()],
    };
    HostConfig::new(
        "/var/lib/caisson".into(),
        interpreter,
        "/usr/lib/caisson/shim".into(),
    )
}

fn spec() -> WorkerSpec {
    let mut spec = WorkerSpec::new(7, "/var/lib/caisson/bundles/0".into());
    spec.tcp_ports = vec![443, 5432, 443];
    spec.files = vec![HostDir {
        dir: "/srv/lake/shop".into(),
        within: vec!["/srv/lake".into()],
        write: true,
    }];
    spec
}

fn overlay(at: &str) -> Overlay {
    Overlay {
        from: "/var/lib/caisson/roots/0/0.pem".into(),
        at: at.into(),
    }
}

fn nest(spec: &mut WorkerSpec, dir: &str) {
    let mut other = spec.files[0].clone();
    other.dir = dir.into();
    other.write = false;
    spec.files.push(other);
}

#[test]
fn the_plan_of_a_worker_of_a_root_daemon() {
    let group = PathBuf::from("/sys/fs/cgroup/caisson/caisson-0badcafe-7");
    let cgroup = CgroupPlan {
        values: vec![CgroupValue {
            file: group.join("memory.max"),
            value: "536870912".into(),
            required: true,
        }],
        dirs: vec![group],
    };
    let outer = OuterIds {
        uid: 1_879_048_192,
        gid: 1_879_048_192,
        privileged: true,
    };
    let plan = plan(&host(), &spec(), &Program::Shim, outer, Some(cgroup)).expect("a plan");
    insta::assert_json_snapshot!(plan);
}

#[test]
fn roots_are_bound_over_the_systems_and_over_those_of_the_bundle() {
    let outer = OuterIds {
        uid: 1001,
        gid: 1001,
        privileged: false,
    };
    let hosts = plan(&host(), &spec(), &Program::Shim, outer, None).expect("a plan");
    let mut spec = spec();
    spec.roots = Some("/var/lib/caisson/roots/system.pem".into());
    spec.overlays = vec![overlay("deps/certifi/cacert.pem")];
    let plan = plan(&host(), &spec, &Program::Shim, outer, None).expect("a plan");
    let added: Vec<_> = plan
        .mounts
        .iter()
        .filter(|step| !hosts.mounts.contains(step))
        .collect();
    insta::assert_json_snapshot!(added);
    assert_eq!(plan.mounts.len(), hosts.mounts.len() + 1);
    assert_eq!(plan.program.env, hosts.program.env, "a zygote serves both");
}

#[test]
fn without_a_cgroup_the_data_limit_stands_in_and_no_memory_is_shared() {
    let outer = OuterIds {
        uid: 1001,
        gid: 1001,
        privileged: false,
    };
    let plan = plan(&host(), &spec(), &Program::Shim, outer, None).expect("a plan");
    assert_eq!(plan.rlimits["data"], (512 << 20) + (1 << 30));
    assert_eq!(plan.cgroup, None);
    assert!(!plan.shared_memory);
    let zero = plan
        .landlock
        .iter()
        .find(|rule| rule.beneath.as_path() == std::path::Path::new("/dev/zero"));
    assert_eq!(zero, None);
}

#[test]
fn a_plan_survives_the_way_to_the_launcher() {
    let outer = OuterIds {
        uid: 1001,
        gid: 1001,
        privileged: false,
    };
    let plan = plan(&host(), &spec(), &Program::Shim, outer, None).expect("a plan");
    let text = serde_json::to_string(&plan).expect("text");
    assert_eq!(
        serde_json::from_str::<caisson_sandbox::Plan>(&text).expect("a plan"),
        plan
    );
}

#[test]
fn a_directory_that_is_granted_twice_alike_is_bound_once() {
    let outer = OuterIds {
        uid: 1001,
        gid: 1001,
        privileged: false,
    };
    let once = plan(&host(), &spec(), &Program::Shim, outer, None).expect("a plan");
    let mut spec = spec();
    spec.files.push(spec.files[0].clone());
    let twice = plan(&host(), &spec, &Program::Shim, outer, None).expect("a plan");
    assert_eq!(once, twice);
}

#[test]
fn limits_and_ports_that_make_no_sense_are_refused() {
    let outer = OuterIds {
        uid: 1001,
        gid: 1001,
        privileged: false,
    };
    let refused = |change: fn(&mut WorkerSpec)| {
        let mut spec = spec();
        change(&mut spec);
        plan(&host(), &spec, &Program::Shim, outer, None)
            .expect_err("refused")
            .to_string()
    };
    let all = [
        refused(|spec| spec.tcp_ports = vec![53]),
        refused(|spec| spec.tcp_ports = (1..=65).map(|n| n + 1000).collect()),
        refused(|spec| spec.limits.memory_bytes = 1),
        refused(|spec| spec.limits.cpus = f64::NAN),
        refused(|spec| spec.limits.pids = 0),
        refused(|spec| spec.overlays = vec![overlay("../shim/caisson/_worker.py")]),
        refused(|spec| spec.overlays = vec![overlay("/etc/passwd")]),
        refused(|spec| spec.overlays = vec![overlay("deps/cacert.pem"); 65]),
        refused(|spec| spec.files[0].dir = "/etc/caisson".into()),
        refused(|spec| spec.files[0].dir = "/usr/lib/python3.11/x".into()),
        refused(|spec| nest(spec, "/srv/lake/shop/inner")),
        refused(|spec| nest(spec, "/srv/lake")),
        refused(|spec| nest(spec, "/srv/lake/shop")),
    ];
    insta::assert_json_snapshot!(all);
}
