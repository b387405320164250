//! Packing and unpacking: the same bytes every time, and nothing of a hostile
//! archive outside its directory.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use caisson_bundle::{
    BundleError, Digest, ProjectDir, Target, Wheel, fetch_wheels, pack, prepare, read, unpack,
    wheels_in,
};
use support::{wheel, write};
use tempfile::TempDir;

const SHOP: &str = include_str!("data/shop.yaml");

/// A project with one dependency, whose wheel is in its cache.
fn project() -> (TempDir, ProjectDir) {
    let dir = tempfile::tempdir().expect("a directory");
    write(
        dir.path(),
        &[
            ("connector.yaml", SHOP),
            ("src/caisson_shop/__init__.py", "class Shop: ...\n"),
            ("src/caisson_shop/__pycache__/x.pyc", "no"),
            ("README.md", "# Shop\n"),
            ("tests/test_shop.py", "no\n"),
            (".caisson/wheels/.keep", ""),
        ],
    );
    let cache = dir.path().join(".caisson/wheels");
    fs::remove_file(cache.join(".keep")).expect("removed");
    let path = cache.join("foo-1.0-py3-none-any.whl");
    wheel(
        &path,
        &[
            ("foo/__init__.py", "x = 1\n"),
            ("foo-1.0.dist-info/METADATA", "Name: foo\n"),
            ("foo-1.0.data/scripts/foo", "a program"),
            ("foo.pth", "import os\n"),
        ],
    );
    let digest = Digest::of_file(&path).expect("hashed");
    write(
        dir.path(),
        &[("requirements.lock", &format!("foo==1.0 --hash={digest}\n"))],
    );
    let project = ProjectDir::open(dir.path()).expect("opens");
    (dir, project)
}

fn wheels(project: &ProjectDir) -> Vec<Wheel> {
    wheels_in(&project.wheel_cache()).expect("wheels")
}

fn files_under(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("read") {
            let path = entry.expect("read").path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(
                    path.strip_prefix(root)
                        .expect("inside")
                        .display()
                        .to_string(),
                );
            }
        }
    }
    found.sort();
    found
}

#[test]
fn two_packings_of_one_tree_are_one_file() {
    let (dir, project) = project();
    let out = tempfile::tempdir().expect("a directory");
    let (first, second) = (out.path().join("a.tar.gz"), out.path().join("b.tar.gz"));
    let one = pack(&project, &wheels(&project), &first).expect("packed");
    let file = dir.path().join("src/caisson_shop/__init__.py");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("changed");
    fs::File::options()
        .append(true)
        .open(&file)
        .expect("opened")
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .expect("touched");
    let two = pack(&project, &wheels(&project), &second).expect("packed");
    assert_eq!(one.digest, two.digest);
    assert_eq!(
        fs::read(&first).expect("read"),
        fs::read(&second).expect("read")
    );
    assert_eq!(one.digest, Digest::of_file(&first).expect("hashed"));
    let read = read(&first).expect("read");
    assert_eq!(
        (read.manifest.pin().as_str(), read.digest, read.size),
        ("shop@1.4.2", one.digest, one.size)
    );
}

#[test]
fn a_bundle_unpacks_to_sources_and_dependencies_side_by_side() {
    let (_dir, project) = project();
    let out = tempfile::tempdir().expect("a directory");
    let archive = out.path().join("shop.tar.gz");
    let bundle = pack(&project, &wheels(&project), &archive).expect("packed");
    let dest = out.path().join("unpacked");
    unpack(&archive, &dest, Some(&bundle.digest)).expect("unpacked");
    let expected = [
        "README.md",
        "connector.yaml",
        "deps/bin/foo",
        "deps/foo-1.0.dist-info/METADATA",
        "deps/foo/__init__.py",
        "requirements.lock",
        "src/caisson_shop/__init__.py",
    ];
    assert_eq!(files_under(&dest), expected);
    let mode = |path: &str| {
        fs::metadata(dest.join(path))
            .expect("there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (
            mode(""),
            mode("deps/foo"),
            mode("connector.yaml"),
            mode("deps/bin/foo"),
            mode("deps/foo/__init__.py")
        ),
        (0o755, 0o755, 0o644, 0o755, 0o644)
    );
    let prepared = out.path().join("prepared");
    prepare(&project, &prepared).expect("prepared");
    assert_eq!(files_under(&prepared), expected);
    assert_eq!(
        fs::read_dir(out.path()).expect("read").count(),
        3,
        "nothing half unpacked is left behind"
    );
}

#[test]
fn a_bundle_that_is_not_the_one_asked_for_is_refused() {
    let (_dir, project) = project();
    let out = tempfile::tempdir().expect("a directory");
    let archive = out.path().join("shop.tar.gz");
    pack(&project, &wheels(&project), &archive).expect("packed");
    let dest = out.path().join("unpacked");
    let result = unpack(&archive, &dest, Some(&Digest::of(b"another")));
    assert!(matches!(result, Err(BundleError::Digest { .. })));
    assert!(!dest.exists());
}

#[test]
fn wheels_are_those_of_the_lock_and_no_others() {
    let (dir, project) = project();
    let out = dir.path().join("x.tar.gz");
    assert_eq!(
        pack(&project, &[], &out).expect_err("no wheel").to_string(),
        "no wheel of foo 1.0, which requirements.lock names"
    );
    let path = project.wheel_cache().join("foo-1.0-py3-none-any.whl");
    wheel(&path, &[("foo/__init__.py", "x = 2\n")]);
    let error = pack(&project, &wheels(&project), &out)
        .expect_err("another wheel")
        .to_string();
    assert!(
        error.starts_with(
            "foo-1.0-py3-none-any.whl is not in requirements.lock with the hash sha256:"
        ),
        "{error}"
    );
}

#[test]
fn links_are_not_packed() {
    let (dir, project) = project();
    symlink("/etc/passwd", dir.path().join("src/caisson_shop/data")).expect("linked");
    let error =
        pack(&project, &wheels(&project), &dir.path().join("x.tar.gz")).expect_err("a link");
    assert_eq!(
        error.to_string(),
        "src/caisson_shop/data: a symbolic link, which a bundle cannot carry"
    );
}

/// A tar.gz with one hostile entry after a good manifest.
fn archive_with(
    path: &Path,
    change: impl FnOnce(&mut tar::Builder<flate2::write::GzEncoder<fs::File>>),
) {
    let file = fs::File::create(path).expect("created");
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
        file,
        flate2::Compression::fast(),
    ));
    let mut header = tar::Header::new_gnu();
    header.set_size(SHOP.len() as u64);
    header.set_mode(0o4777);
    tar.append_data(&mut header, "connector.yaml", SHOP.as_bytes())
        .expect("appended");
    change(&mut tar);
    tar.into_inner()
        .expect("finished")
        .finish()
        .expect("finished");
}

/// Appends an entry whose name the tar crate itself would refuse to write.
fn raw(
    tar: &mut tar::Builder<flate2::write::GzEncoder<fs::File>>,
    name: &str,
    kind: tar::EntryType,
) {
    let mut header = tar::Header::new_gnu();
    let field = &mut header.as_gnu_mut().expect("gnu").name;
    field[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    if kind.is_symlink() || kind.is_hard_link() {
        header.set_link_name("/etc/passwd").expect("set");
    }
    header.set_size(0);
    header.set_mode(0o777);
    header.set_cksum();
    tar.append(&header, std::io::empty()).expect("appended");
}

#[test]
fn a_hostile_archive_leaves_nothing_behind() {
    use tar::EntryType;
    let out = tempfile::tempdir().expect("a directory");
    let mut told = String::new();
    for (name, kind) in [
        ("../evil", EntryType::Regular),
        ("/tmp/caisson-evil", EntryType::Regular),
        ("src/../../evil", EntryType::Regular),
        ("src/link", EntryType::Symlink),
        ("src/link", EntryType::Link),
        ("src/device", EntryType::Char),
        ("src/pipe", EntryType::Fifo),
        ("deps/foo.py", EntryType::Regular),
        ("etc/passwd", EntryType::Regular),
        ("wheels/a/b", EntryType::Regular),
        ("src\\evil", EntryType::Regular),
        ("connector.yaml", EntryType::Regular),
    ] {
        let archive = out.path().join("x.tar.gz");
        archive_with(&archive, |tar| raw(tar, name, kind));
        let error = unpack(&archive, &out.path().join("dest"), None).expect_err(name);
        told.push_str(&format!("{name} {kind:?}: {error}\n"));
        fs::remove_file(&archive).expect("removed");
        assert_eq!(fs::read_dir(out.path()).expect("read").count(), 0, "{name}");
    }
    assert!(!Path::new("/tmp/caisson-evil").exists());
    insta::assert_snapshot!(told);
}

/// Appends an entry of this kind and content.
fn describe(
    tar: &mut tar::Builder<flate2::write::GzEncoder<fs::File>>,
    kind: tar::EntryType,
    content: impl std::io::Read,
    size: u64,
) {
    let mut header = tar::Header::new_gnu();
    header.set_path("src/long").expect("set");
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    tar.append(&header, content.take(size)).expect("appended");
}

#[test]
fn a_name_that_would_fill_the_memory_is_refused_unread() {
    use tar::EntryType;
    let out = tempfile::tempdir().expect("a directory");
    let (path, dest) = (out.path().join("x.tar.gz"), out.path().join("dest"));
    for kind in [
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::XHeader,
        EntryType::XGlobalHeader,
    ] {
        archive_with(&path, |tar| {
            describe(tar, kind, std::io::repeat(b'a'), 4097);
            raw(tar, "src/x", EntryType::Regular);
        });
        assert_eq!(
            unpack(&path, &dest, None).expect_err("refused").to_string(),
            "the bundle carries \"src/long\": a description of more than 4096 bytes",
            "{kind:?}"
        );
        // The same before the manifest, which `read` looks for.
        let file = fs::File::create(&path).expect("created");
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            file,
            flate2::Compression::fast(),
        ));
        describe(&mut tar, kind, std::io::repeat(b'a'), 64 << 20);
        raw(&mut tar, "src/x", EntryType::Regular);
        let zipped = tar.into_inner().expect("finished");
        zipped.finish().expect("finished");
        let error = read(&path).expect_err("refused").to_string();
        assert!(error.ends_with("more than 4096 bytes"), "{error}");
    }
}

#[test]
fn a_description_that_moves_the_next_entry_is_refused() {
    let out = tempfile::tempdir().expect("a directory");
    let path = out.path().join("x.tar.gz");
    archive_with(&path, |tar| {
        describe(tar, tar::EntryType::XHeader, &b"10 size=0\n"[..], 10);
        raw(tar, "src/x", tar::EntryType::Regular);
    });
    assert_eq!(
        unpack(&path, &out.path().join("dest"), None)
            .expect_err("refused")
            .to_string(),
        "the bundle carries \"src/long\": a damaged description"
    );
}

#[test]
fn names_that_do_not_fit_a_header_are_carried_and_shown_cut() {
    let out = tempfile::tempdir().expect("a directory");
    let (path, dest) = (out.path().join("x.tar.gz"), out.path().join("dest"));
    let long = format!("src/{}/x.py", ["a".repeat(90), "b".repeat(90)].join("/"));
    let told = format!("src/{}.py", "p".repeat(120));
    let pax = format!("{} path={told}\n", told.len() + 10);
    archive_with(&path, |tar| {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        tar.append_data(&mut header, &long, std::io::empty())
            .expect("appended");
        describe(
            tar,
            tar::EntryType::XHeader,
            pax.as_bytes(),
            pax.len() as u64,
        );
        raw(tar, "src/short", tar::EntryType::Regular);
    });
    unpack(&path, &dest, None).expect("unpacked");
    assert_eq!(
        files_under(&dest),
        ["connector.yaml".to_owned(), long, told]
    );
    archive_with(&path, |tar| {
        let name = format!("../{}\0", "a".repeat(4000));
        let size = name.len() as u64;
        describe(tar, tar::EntryType::GNULongName, name.as_bytes(), size);
        raw(tar, "src/x", tar::EntryType::Regular);
    });
    let error = unpack(&path, &out.path().join("other"), None).expect_err("refused");
    assert!(error.to_string().len() < 300, "{error}");
}

#[test]
fn a_damaged_or_foreign_file_is_no_bundle() {
    let out = tempfile::tempdir().expect("a directory");
    let (path, dest) = (out.path().join("x.tar.gz"), out.path().join("dest"));
    for bytes in [
        &b""[..],
        b"not gzip",
        &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1, 2, 3],
    ] {
        fs::write(&path, bytes).expect("written");
        assert!(unpack(&path, &dest, None).is_err());
        assert!(read(&path).is_err());
    }
    archive_with(&path, |_| {});
    let whole = fs::read(&path).expect("read");
    fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    assert!(unpack(&path, &dest, None).is_err());
    assert!(!dest.exists());
}

#[test]
fn two_wheels_with_different_files_of_one_name_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    wheel(
        &dir.path().join("a-1-py3-none-any.whl"),
        &[("x/__init__.py", "1")],
    );
    wheel(
        &dir.path().join("b-1-py3-none-any.whl"),
        &[("x/__init__.py", "2")],
    );
    let into = tempfile::tempdir().expect("a directory");
    let wheels = wheels_in(dir.path()).expect("wheels");
    let error = caisson_bundle::unpack_wheels(&wheels, into.path(), 1 << 20).expect_err("a clash");
    assert_eq!(
        error.to_string(),
        "b-1-py3-none-any.whl carries \"x/__init__.py\": another wheel carries another file of this name"
    );
}

#[test]
fn a_wheel_that_unpacks_to_more_than_the_cap_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    wheel(
        &dir.path().join("a-1-py3-none-any.whl"),
        &[("x.py", &"#".repeat(100_000))],
    );
    let wheels = wheels_in(dir.path()).expect("wheels");
    let into = tempfile::tempdir().expect("a directory");
    assert!(caisson_bundle::unpack_wheels(&wheels, into.path(), 50_000).is_err());
}

#[test]
fn fetching_says_when_there_is_no_pip_and_needs_none_for_wheels_that_are_there() {
    let (dir, project) = project();
    let lock = project.lock().expect("a lock");
    let no_pip = dir.path().join("python-without-pip");
    fs::write(&no_pip, "#!/bin/sh\nexit 1\n").expect("written");
    fs::set_permissions(&no_pip, fs::Permissions::from_mode(0o755)).expect("changed");
    let fetched = fetch_wheels(&no_pip, &Target::default(), &lock, &project.wheel_cache())
        .expect("there already");
    assert_eq!(fetched.len(), 1);
    let error = fetch_wheels(
        &no_pip,
        &Target::default(),
        &lock,
        &dir.path().join("empty"),
    )
    .expect_err("no pip");
    assert!(error.to_string().contains("has no pip"), "{error}");
}
