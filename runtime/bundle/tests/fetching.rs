//! Fetching for a project that may be somebody else's: pip meets nothing of it.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use caisson_bundle::{
    AllowedDependencies, Digest, Lock, ProjectDir, Target, fetch_wheels, wheels_in, write_config,
};
use support::{python, wheel, write};

const SHOP: &str = include_str!("data/shop.yaml");

fn lock(text: &str) -> Result<Lock, String> {
    Lock::parse("requirements.lock", text).map_err(|faults| faults.to_string())
}

fn hash() -> String {
    Digest::of(b"x").to_string()
}

/// A program in the place of Python: it tells what it was given in `told`, and brings `brought`.
fn pretender(dir: &Path, brought: &Path) -> PathBuf {
    let path = dir.join("python");
    let told = dir.join("told");
    let script = format!(
        r#"#!/bin/sh
[ "$3" = --version ] && exit 0
exec > {told}
echo "safe path: $PYTHONSAFEPATH"
echo "around: $(ls -A)"
while [ $# -gt 1 ]; do
    [ "$1" = --dest ] && cp {brought} "$2"
    [ "$1" = --requirement ] && cat "$2"
    shift
done
"#,
        told = told.display(),
        brought = brought.display(),
    );
    fs::write(&path, script).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
    path
}

#[test]
fn pip_reads_a_lock_that_is_written_from_ours_in_an_empty_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let foo = dir.path().join("foo-1.0-py3-none-any.whl");
    wheel(&foo, &[("foo.py", "x = 1\n")]);
    let (digest, other) = (Digest::of_file(&foo).expect("hashed"), hash());
    let lock = lock(&format!(
        "# --index-url https://evil.example/\nFoo[all] == 1.0 \\\n  --hash={digest} --hash={other} # via me\nbar==2.0 ; sys_platform == 'win32' --hash={other}\n"
    ))
    .expect("a lock");
    let python = pretender(dir.path(), &foo);
    let fetched = fetch_wheels(
        &python,
        &Target::default(),
        &lock,
        &dir.path().join("wheels"),
    );
    assert_eq!(fetched.expect("fetched").len(), 1);
    assert_eq!(
        fs::read_to_string(dir.path().join("told")).expect("told"),
        format!(
            "safe path: 1\naround: \nfoo==1.0 --hash={digest} --hash={other}\nbar==2.0 ; sys_platform == 'win32' --hash={other}\n"
        )
    );
}

#[test]
fn a_pip_that_lies_in_the_current_directory_is_not_run() {
    let dir = tempfile::tempdir().expect("a directory");
    write(
        dir.path(),
        &[(
            "pip.py",
            "open(__file__ + '.ran', 'w').close()\nraise SystemExit(1)\n",
        )],
    );
    std::env::set_current_dir(dir.path()).expect("entered");
    let lock = lock(&format!("foo==1.0 --hash={}\n", hash())).expect("a lock");
    let target = Target {
        python_version: Some("no version, so that pip asks no index".to_owned()),
    };
    fetch_wheels(&python(), &target, &lock, &dir.path().join("wheels")).expect_err("no such wheel");
    assert!(!dir.path().join("pip.py.ran").exists());
}

#[test]
fn what_ends_a_line_for_pip_alone_has_no_place_in_a_lock() {
    let good = format!("foo==1.0 \\\r\n\t--hash={}\r\n", hash());
    lock(&good).expect("line feeds, carriage returns before them, and tabs");
    for character in [
        '\r', '\0', '\u{b}', '\u{c}', '\u{1b}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{7f}', '\u{85}',
        '\u{2028}', '\u{2029}',
    ] {
        let text = format!(
            "foo==1.0 --hash={}\n# note{character}--no-binary :all:\n",
            hash()
        );
        let told = lock(&text).expect_err("refused");
        let said = format!(
            "requirements.lock:2:7: the character U+{:04X} has no place in a lock",
            character as u32
        );
        assert!(told.starts_with(&said), "{told}");
    }
}

#[test]
fn a_marker_holds_nothing_that_pip_takes_for_something_else() {
    let marked = |marker: &str| lock(&format!("foo==1.0 ; {marker} --hash={}\n", hash()));
    for marker in [
        "sys_platform == 'linux'",
        "(python_version >= \"3.11\" and os_name != 'nt') or extra == 'a-b'",
        "platform_version ~= '1.0+x'",
    ] {
        marked(marker).expect(marker);
    }
    for marker in [
        "",
        "-i https://evil.example",
        "os_name == 'x' -i https://evil.example",
        "os_name == 'x'\t-i evil",
        "os_name == 'x'\t# rest",
        "os_name == '${HOME}'",
        "os_name == 'x' @ evil",
    ] {
        let told = marked(marker).expect_err(marker);
        assert!(told.contains("is no marker"), "{told}");
    }
}

#[test]
fn a_lock_is_held_against_the_operators_list_before_anything_is_fetched() {
    let lock = lock(&format!(
        "a==1.0 --hash={0}\nb==2.0 --hash={0}\nc==3.0 --hash={0}\n",
        hash()
    ))
    .expect("a lock");
    let allowed =
        AllowedDependencies::parse("dependencies.toml", "a = \"\"\nb = \"<2\"\n").expect("a list");
    assert_eq!(
        allowed.check(&lock).expect_err("two are not").to_string(),
        "requirements.lock:2:1: b 2.0 is outside the operator's range <2; lock a version inside it\n\
         requirements.lock:3:1: c is not in the operator's dependencies.toml; have the operator add c = \"==3.0\" (or a range), or do without it"
    );
}

#[test]
fn a_link_in_a_project_leads_no_writing_out_of_it() {
    let (dir, home) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    write(
        dir.path(),
        &[
            ("connector.yaml", SHOP),
            ("src/caisson_shop/__init__.py", ""),
        ],
    );
    let profile = home.path().join(".bashrc");
    fs::write(&profile, "mine").expect("written");
    symlink(&profile, dir.path().join("src/caisson_shop/config.py")).expect("linked");
    let project = ProjectDir::open(dir.path()).expect("opens");
    assert!(write_config(&project).expect("written").1);
    assert!(
        !write_config(&project).expect("written").1,
        "it is there already"
    );
    assert_eq!(fs::read_to_string(&profile).expect("read"), "mine");
    assert!(
        fs::read_to_string(dir.path().join("src/caisson_shop/config.py"))
            .expect("read")
            .contains("class Config")
    );

    fs::create_dir(dir.path().join(".caisson")).expect("made");
    symlink(home.path(), dir.path().join(".caisson/wheels")).expect("linked");
    let wheels = tempfile::tempdir().expect("a directory");
    wheel(
        &wheels.path().join("foo-1.0-py3-none-any.whl"),
        &[("foo.py", "x = 1\n")],
    );
    let told = project
        .cache_wheels(&wheels_in(wheels.path()).expect("wheels"))
        .expect_err("a link")
        .to_string();
    assert!(told.contains("a symbolic link"), "{told}");
    assert_eq!(fs::read_dir(home.path()).expect("read").count(), 1);
    fs::remove_file(dir.path().join(".caisson/wheels")).expect("removed");
    project
        .cache_wheels(&wheels_in(wheels.path()).expect("wheels"))
        .expect("cached");
    assert_eq!(wheels_in(&project.wheel_cache()).expect("wheels").len(), 1);
    let kept = project.wheel_cache().join("foo-1.0-py3-none-any.whl");
    let written = || fs::metadata(&kept).expect("there").ino();
    let first = written();
    project
        .cache_wheels(&wheels_in(wheels.path()).expect("wheels"))
        .expect("there already");
    assert_eq!(written(), first, "it is not written again");
}
