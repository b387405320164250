//! Every layer, or no worker: on hosts that withhold one thing, the launch is refused and the layer named.

mod support;

use std::process::Command;

use support::as_each_user;

/// A system call, and the layer that cannot be put on without it.
const NEEDED: &[(&str, &str)] = &[
    ("clone", "Namespaces"),
    ("unshare", "Namespaces"),
    ("sethostname", "Namespaces"),
    ("setresuid", "Identity"),
    ("bind", "Network"),
    ("open_tree", "Filesystem"),
    ("mount_setattr", "Filesystem"),
    ("mount", "Filesystem"),
    ("pivot_root", "Filesystem"),
    ("capset", "Privilege"),
    ("landlock_create_ruleset", "Landlock"),
    ("landlock_restrict_self", "Landlock"),
    ("seccomp", "Seccomp"),
];

#[test]
fn a_host_that_withholds_a_layer_gets_no_worker_and_the_layer_is_named() {
    let name = "a_host_that_withholds_a_layer_gets_no_worker_and_the_layer_is_named";
    as_each_user(name, |bench| async move {
        for (call, layer) in NEEDED {
            let output = Command::new(support::try_exe())
                .args(["without", call])
                .arg(bench.dir.path().join("withheld"))
                .args(["/usr/bin/python3.11", "print('alive')"])
                .output()
                .expect("sandbox-try");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success(), "{call}");
            assert!(
                said.contains(&format!("MissingLayer {{ layer: {layer},")),
                "{call}: {said}"
            );
            assert!(
                !String::from_utf8_lossy(&output.stdout).contains("alive"),
                "{call}"
            );
        }
    });
}

#[test]
fn the_same_host_that_withholds_nothing_gets_a_worker() {
    as_each_user(
        "the_same_host_that_withholds_nothing_gets_a_worker",
        |bench| async move {
            let output = Command::new(support::try_exe())
                .arg(bench.dir.path().join("withheld"))
                .args(["/usr/bin/python3.11", "print('alive')"])
                .output()
                .expect("sandbox-try");
            assert!(
                String::from_utf8_lossy(&output.stdout).contains("alive"),
                "{output:?}"
            );
        },
    );
}

#[test]
fn the_doctor_names_the_layer_that_the_host_withholds_and_no_healthy_one() {
    let name = "the_doctor_names_the_layer_that_the_host_withholds_and_no_healthy_one";
    as_each_user(name, |bench| async move {
        let one_layer = [
            "sethostname",
            "bind",
            "capset",
            "landlock_restrict_self",
            "seccomp",
        ];
        for (call, layer) in NEEDED.iter().filter(|(call, _)| one_layer.contains(call)) {
            let output = Command::new(support::try_exe())
                .args(["without", call])
                .arg(bench.dir.path().join("withheld"))
                .args(["/usr/bin/python3.11", "doctor"])
                .output()
                .expect("sandbox-try");
            let reports: Vec<serde_json::Value> =
                serde_json::from_slice(&output.stdout).expect("reports");
            let missing: Vec<&str> = reports
                .iter()
                .filter(|report| report["present"] == false && report["layer"] != "cgroup")
                .map(|report| report["layer"].as_str().expect("a name"))
                .collect();
            assert_eq!(missing, [layer.to_lowercase()], "{call}: {reports:?}");
        }
    });
}
