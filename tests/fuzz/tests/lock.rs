//! libFuzzer runs what we ship: its lock file names no other version of anything that both use.

use std::collections::BTreeSet;
use std::path::Path;

/// What libFuzzer itself needs beyond the workspace.
const OWN: [&str; 4] = [
    "arbitrary",
    "caisson-libfuzzer",
    "jobserver",
    "libfuzzer-sys",
];

fn locked(path: &str) -> BTreeSet<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let field = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(key));
        line.map(|value| value.trim_matches(['=', ' ', '"']).to_owned())
    };
    text.split("[[package]]")
        .filter_map(|package| Some((field(package, "name ")?, field(package, "version ")?)))
        .collect()
}

#[test]
fn libfuzzer_runs_the_versions_that_are_shipped() {
    let (ours, fuzzed) = (locked("../../Cargo.lock"), locked("libfuzzer/Cargo.lock"));
    assert!(fuzzed.len() > 100, "{} packages", fuzzed.len());
    let others: Vec<_> = fuzzed
        .difference(&ours)
        .filter(|(name, _)| !OWN.contains(&name.as_str()))
        .collect();
    assert!(
        others.is_empty(),
        "{others:?}\ncp Cargo.lock tests/fuzz/libfuzzer/ && cargo metadata --manifest-path tests/fuzz/libfuzzer/Cargo.toml >/dev/null"
    );
}
