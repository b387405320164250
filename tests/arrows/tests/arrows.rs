//! Arrows between our crates go one way (docs/architecture.md): a crate that
//! starts to know another one it must not know turns this red before anybody
//! builds on it.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// What each crate may use of ours. A crate that is missing here may use
/// nothing and is reported, so that a new one is drawn before it is linked.
const ALLOWED: &[(&str, &[&str])] = &[
    // The command line speaks the API, packs projects and asks the policies
    // without a daemon; what runs a connector it reaches through the daemon.
    (
        "caisson",
        &[
            "caisson-bundle",
            "caisson-daemon",
            "caisson-document",
            "caisson-egress",
            "caisson-proto",
            "caisson-sandbox",
        ],
    ),
    (
        "caisson-daemon",
        &[
            "caisson-bundle",
            "caisson-document",
            "caisson-egress",
            "caisson-proto",
            "caisson-sandbox",
            "caisson-secrets",
            "caisson-state",
            "caisson-wire",
            "caisson-without",
        ],
    ),
    ("caisson-bundle", &["caisson-document"]),
    ("caisson-document", &[]),
    (
        "caisson-egress",
        &["caisson-document", "caisson-secrets", "caisson-without"],
    ),
    ("caisson-proto", &[]),
    ("caisson-native", &["caisson-sandbox", "caisson-wire"]),
    ("caisson-sandbox", &["caisson-without"]),
    ("caisson-secrets", &["caisson-without"]),
    ("caisson-state", &[]),
    ("caisson-wire", &["caisson-proto"]),
    // A constant in the product; the test build reads a variable.
    ("caisson-without", &[]),
    ("caisson-less", &["caisson-daemon", "caisson-without"]),
    ("caisson-arrows", &[]),
    // Feeds whatever reads bytes that others wrote; nobody depends on it.
    (
        "caisson-fuzz",
        &[
            "caisson-bundle",
            "caisson-daemon",
            "caisson-document",
            "caisson-egress",
            "caisson-wire",
        ],
    ),
];

/// Where `unsafe` may stand; every other crate forbids it in its root module.
const UNSAFE: &[&str] = &["caisson-sandbox", "caisson-native"];

fn workspace() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata of this workspace")
}

#[test]
fn every_crate_uses_only_the_crates_its_arrows_point_to() {
    let metadata = workspace();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ALLOWED
        .iter()
        .map(|(name, to)| (*name, to.iter().copied().collect()))
        .collect();

    let mut faults = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let Some(arrows) = allowed.get(name) else {
            faults.push(format!("{name} has no line in ALLOWED"));
            continue;
        };
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            if ours.contains(to)
                && dependency.kind != DependencyKind::Development
                && !arrows.contains(to)
            {
                faults.push(format!("{name} must not use {to}"));
            }
        }
    }
    for name in allowed.keys() {
        if !ours.contains(name) {
            faults.push(format!("ALLOWED names {name}, which does not exist"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_the_sandbox_and_the_shim_may_hold_unsafe_code() {
    let mut faults = Vec::new();
    for package in &workspace().packages {
        let name = package.name.as_str();
        for target in package.targets.iter().filter(|t| {
            t.kind.iter().any(|kind| {
                matches!(
                    kind.to_string().as_str(),
                    "lib" | "bin" | "cdylib" | "rlib" | "proc-macro"
                )
            })
        }) {
            let root = std::fs::read_to_string(&target.src_path).expect("a crate's root module");
            let forbids = root.contains("#![forbid(unsafe_code)]");
            if UNSAFE.contains(&name) {
                continue;
            }
            if !forbids {
                faults.push(format!(
                    "{name}: {} needs #![forbid(unsafe_code)]",
                    target.src_path
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for package in &workspace().packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("a manifest");
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} does not take [workspace.lints]",
            package.name
        );
    }
}
