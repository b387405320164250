//! What a new project holds besides code that the guide's tests run.

use caisson_bundle::{Kind, scaffold};

#[test]
fn the_workflow_lets_the_runner_inspect_the_connector() {
    for kind in [Kind::Source, Kind::Destination] {
        let dir = tempfile::tempdir().expect("a directory");
        scaffold("shop", kind, &dir.path().join("shop")).expect("written");
        let path = dir.path().join("shop/.github/workflows/validate.yml");
        let workflow = std::fs::read_to_string(path).expect("read");
        let place = |text: &str| {
            workflow
                .find(text)
                .unwrap_or_else(|| panic!("no {text} in {workflow}"))
        };
        // ubuntu-24.04 restricts user namespaces and hands no cgroup over; the job is an ordinary user's.
        let validate = place("run: caisson validate . --dependencies dependencies.toml");
        assert!(place("sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0") < validate);
        assert!(place("CAISSON_ALLOW_MISSING: cgroup") > validate);
    }
}
