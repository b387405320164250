//! The validation suite over real source, read by the CDK's own inspection.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use caisson_bundle::{AllowedDependencies, CHECKS, Kind, ProjectDir, Report, scaffold, validate};
use support::{facts, write};

fn run(dir: &Path, allowed: &str) -> Report {
    let project = ProjectDir::open(dir).expect("a project");
    let allowed = AllowedDependencies::parse("dependencies.toml", allowed).expect("parses");
    validate(&project, &facts(dir), &allowed).expect("can be read")
}

#[test]
fn both_templates_have_no_finding() {
    for (name, kind) in [
        ("acme-crm", Kind::Source),
        ("stream", Kind::Source),
        ("lake", Kind::Destination),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        scaffold(name, kind, dir.path()).expect("made");
        let report = run(dir.path(), "");
        assert_eq!(report.to_string(), "0 errors, 0 warnings");
        assert!(report.publishable());
    }
}

#[test]
fn a_name_that_no_connector_has_and_a_full_directory_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["Shop", "a", "my_shop", "-x", "../x"] {
        assert!(scaffold(name, Kind::Source, dir.path()).is_err(), "{name}");
    }
    write(dir.path(), &[("x", "")]);
    assert!(scaffold("shop", Kind::Source, dir.path()).is_err());
}

#[test]
fn what_runs_a_tap_or_a_source_is_a_connector_and_hands_its_config_on() {
    for (module, class) in [("singer", "Tap"), ("airbyte", "Source")] {
        let dir = tempfile::tempdir().expect("a directory");
        scaffold("shop", Kind::Source, dir.path()).expect("made");
        let source = |base: &str| {
            format!(
                "from caisson.{module} import {base}\n\n\nclass Shop({base}):\n    command = \"tap-shop\"\n"
            )
        };
        let file = "src/caisson_shop/__init__.py";
        for stale in [
            "src/caisson_shop/connector.py",
            "src/caisson_shop/config.py",
        ] {
            let _ = fs::remove_file(dir.path().join(stale));
        }
        let manifest = fs::read_to_string(dir.path().join("connector.yaml")).expect("read");
        let more = "  properties:\n    depth: { type: string, title: Depth }\n";
        let manifest = manifest.replacen("  properties:\n", more, 1);
        let found = |base: &str| {
            let files = [("connector.yaml", manifest.as_str()), (file, &source(base))];
            write(dir.path(), &files);
            run(dir.path(), "").to_string()
        };
        let (known, unknown) = (found(class), found("Nothing"));
        for id in ["C211", "C303", "C304"] {
            assert!(!known.contains(id), "{known}");
            assert!(unknown.contains(id), "{unknown}");
        }
    }
}

/// Random enough to be taken for a credential, and written nowhere in this file.
fn credential() -> String {
    "q7Zr2Xc9Vb4Nm1Kj8Hg5Fd3S".chars().rev().collect()
}

/// A project in which every check finds something; two of them exclude each other and come apart.
fn faulty(dir: &Path) {
    let hash = caisson_bundle::Digest::of(b"x");
    write(
        dir,
        &[
            ("connector.yaml", include_str!("data/misfit.yaml")),
            (
                "src/caisson_misfit/__init__.py",
                "from .connector import Misfit\nfrom .legacy import Legacy\n",
            ),
            (
                "src/caisson_misfit/connector.py",
                include_str!("data/misfit.py.txt"),
            ),
            ("src/caisson_misfit/broken.py", "def x(:\n"),
            (
                "src/caisson_misfit/config.py",
                "\"\"\"Generated from connector.yaml; `caisson new` and `caisson validate --write-config` keep it in step.\"\"\"\n",
            ),
            ("src/json/__init__.py", ""),
            (
                "tests/test_it.py",
                &format!(
                    "API_KEY = \"{}\"\nOTHER = \"REDACTED-not-a-secret-0\"\n",
                    credential()
                ),
            ),
            (
                "requirements.lock",
                &format!(
                    "requests==2.31.0 --hash={hash}\nhttpx==0.27.0 --hash={hash}\njson==1.0 --hash={hash}\n"
                ),
            ),
        ],
    );
    std::os::unix::fs::symlink("/etc/passwd", dir.join("src/caisson_misfit/link")).expect("linked");
}

#[test]
fn every_check_finds_what_it_is_for() {
    let dir = tempfile::tempdir().expect("a directory");
    faulty(dir.path());
    let first = run(dir.path(), "requests = \">=2,<2.30\"\n");
    // An empty lock, an entrypoint that is not there, and a lock with faults exclude the rest.
    let other = tempfile::tempdir().expect("a directory");
    let manifest = include_str!("data/misfit.yaml")
        .replace("caisson_misfit:Misfit", "caisson_misfit:Misfits")
        .replace("dependencies: requirements.lock\n", "");
    write(
        other.path(),
        &[
            ("connector.yaml", &manifest),
            ("requirements.lock", "# none\n"),
            ("README.md", "x"),
            (
                "src/caisson_misfit/__init__.py",
                "import requests\nfrom .connector import Misfit\n",
            ),
        ],
    );
    write(
        other.path(),
        &[(
            "src/caisson_misfit/connector.py",
            include_str!("data/misfit.py.txt"),
        )],
    );
    let second = run(other.path(), "");
    fs::write(other.path().join("requirements.lock"), "requests>=2\n").expect("written");
    let third = run(other.path(), "");
    fs::write(other.path().join("connector.yaml"), "name: [\n").expect("written");
    let fourth = run(other.path(), "");
    let all = [&first, &second, &third, &fourth];
    let text = all.map(ToString::to_string).join("\n---\n");
    assert!(!text.contains(&credential()), "the credential was printed");
    insta::assert_snapshot!(text);
    let found: BTreeSet<&str> = all
        .iter()
        .flat_map(|report| report.findings.iter().map(|finding| finding.id))
        .collect();
    let missing: Vec<&str> = CHECKS
        .iter()
        .map(|check| check.id)
        .filter(|id| !found.contains(id))
        .collect();
    assert!(missing.is_empty(), "no finding of {missing:?}");
}

#[test]
fn code_that_takes_a_secrets_value_is_shown_and_does_not_keep_from_publishing() {
    let dir = tempfile::tempdir().expect("a directory");
    scaffold("shop", Kind::Source, dir.path()).expect("made");
    let code = "class Other:\n    def take(self, given):\n        sign(self.config.api_key.reveal())\n        sign(given.reveal())\n";
    write(dir.path(), &[("src/caisson_shop/other.py", code)]);
    let report = run(dir.path(), "");
    assert!(report.publishable());
    insta::assert_snapshot!(report.to_string());
}

#[test]
fn findings_are_data_as_well() {
    let dir = tempfile::tempdir().expect("a directory");
    scaffold("shop", Kind::Source, dir.path()).expect("made");
    fs::remove_file(dir.path().join("README.md")).expect("removed");
    insta::assert_snapshot!(run(dir.path(), "").to_json());
}

#[test]
fn ids_are_in_order_and_used_once() {
    let ids: Vec<&str> = CHECKS.iter().map(|check| check.id).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(ids, sorted);
}

#[test]
fn the_first_party_connectors_can_be_published() {
    let connectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../connectors");
    let mut seen = 0;
    for entry in fs::read_dir(connectors).expect("connectors") {
        let dir = entry.expect("read").path();
        let Ok(project) = ProjectDir::open(&dir) else {
            continue;
        };
        let lock = project.lock().expect("a lock");
        let allowed: String = lock
            .entries
            .iter()
            .map(|entry| format!("{} = \"=={}\"\n", entry.name, entry.version))
            .collect();
        let report = run(&dir, &allowed);
        assert!(report.publishable(), "{}:\n{report}", dir.display());
        seen += 1;
    }
    assert!(seen >= 3);
}
