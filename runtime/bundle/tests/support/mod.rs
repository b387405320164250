//! What several tests need: a project on disk and its facts.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use caisson_bundle::Facts;

/// The CDK's sources in this repository.
pub(crate) fn shim() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python-shim/python")
}

/// The interpreter that tests use.
pub(crate) fn python() -> PathBuf {
    let named = std::env::var_os("CAISSON_PYTHON").map(PathBuf::from);
    let usual = PathBuf::from("/usr/bin/python3.11");
    named.unwrap_or_else(|| {
        if usual.exists() {
            usual
        } else {
            PathBuf::from("python3")
        }
    })
}

/// Facts of a project by the CDK's own inspection.
pub(crate) fn facts(project: &Path) -> Facts {
    let code = "import sys; sys.path.append(sys.argv.pop(1)); from caisson._inspect import main; sys.exit(main(sys.argv[1:]))";
    let output = Command::new(python())
        .args(["-I", "-S", "-B", "-c", code])
        .arg(shim())
        .arg(project)
        .output()
        .expect("python runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("facts in the shape of facts.rs")
}

/// Writes files into a directory.
pub(crate) fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }
}

/// A wheel with these entries.
pub(crate) fn wheel(path: &Path, entries: &[(&str, &str)]) {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(fs::File::create(path).expect("created"));
    for (name, text) in entries {
        let mode = if name.contains("/scripts/") {
            0o755
        } else {
            0o644
        };
        let options = zip::write::SimpleFileOptions::default().unix_permissions(mode);
        zip.start_file(*name, options).expect("started");
        zip.write_all(text.as_bytes()).expect("written");
    }
    zip.finish().expect("finished");
}
