//! Directories of the host: only what is granted, only as it is granted, never through a symlink.

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use caisson_sandbox::{HostDir, LaunchError, Program};
use serde_json::json;
use support::{Bench, as_each_user};

fn grant(dir: &Path, within: &Path, write: bool) -> HostDir {
    HostDir {
        dir: dir.to_owned(),
        within: vec![within.to_owned()],
        write,
    }
}

/// A private directory with one file, below a directory that nobody else may enter.
fn lake(bench: &Bench) -> (std::path::PathBuf, std::path::PathBuf) {
    let srv = bench.dir.path().join("srv");
    let lake = srv.join("lake");
    std::fs::create_dir_all(&lake).expect("a lake");
    std::fs::write(lake.join("old"), "old").expect("a file");
    for dir in [&srv, &lake] {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).expect("modes");
    }
    (srv, lake)
}

#[test]
fn a_granted_directory_can_be_written_at_its_own_path_and_what_is_made_belongs_to_its_owner() {
    let name =
        "a_granted_directory_can_be_written_at_its_own_path_and_what_is_made_belongs_to_its_owner";
    as_each_user(name, |bench| async move {
        let (srv, lake) = lake(&bench);
        let mut spec = bench.spec();
        spec.files = vec![grant(&lake, &srv, true)];
        let at = lake.display();
        let source = format!(
            "
lock()
import sqlite3
open('{at}/new', 'w').write('new')
db = sqlite3.connect('{at}/db'); db.execute('pragma journal_mode=wal'); db.execute('create table t(x)'); db.commit(); db.close()
say([open('{at}/old').read(), attempt(os.chmod, '{at}/new', 0o4755), os.listdir('{srv}'), attempt(os.rename, '{at}/old', '{at}/older')])",
            srv = srv.display()
        );
        assert_eq!(
            bench.run_spec(spec, &source).await.json(),
            json!(["old", "EPERM", ["lake"], "done"])
        );
        let made = std::fs::metadata(lake.join("new")).expect("a file");
        assert_eq!(
            made.uid(),
            std::fs::metadata(&lake).expect("the lake").uid()
        );
    });
}

#[test]
fn a_directory_granted_for_reading_cannot_be_written() {
    as_each_user(
        "a_directory_granted_for_reading_cannot_be_written",
        |bench| async move {
            let (srv, lake) = lake(&bench);
            let mut spec = bench.spec();
            spec.files = vec![grant(&lake, &srv, false)];
            let at = lake.display();
            let source = format!(
                "def write(p): open(p, 'w')\nsay([open('{at}/old').read(), attempt(write, '{at}/new'), attempt(write, '{at}/old')])"
            );
            assert_eq!(
                bench.run_spec(spec, &source).await.json(),
                json!(["old", "EROFS", "EROFS"])
            );
        },
    );
}

#[test]
fn a_socket_in_a_granted_directory_cannot_be_connected_to() {
    as_each_user(
        "a_socket_in_a_granted_directory_cannot_be_connected_to",
        |bench| async move {
            let (srv, lake) = lake(&bench);
            let path = lake.join("api.sock");
            let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
            listener.set_nonblocking(true).expect("nonblocking");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("modes");
            for write in [false, true] {
                let mut spec = bench.spec();
                spec.files = vec![grant(&lake, &srv, write)];
                let source = format!(
                    "
lock()
def stream(): socket.socket(socket.AF_UNIX).connect('{at}')
def datagram(): socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', '{at}')
def again(): socket.socketpair()[0].connect('{at}')
def shut():
    a, b = socket.socketpair(); b.close(); a.shutdown(socket.SHUT_RDWR); a.connect('{at}')
say([attempt(do) for do in (stream, datagram, again, shut)])",
                    at = path.display()
                );
                assert_eq!(
                    bench.run_spec(spec, &source).await.json(),
                    json!(["EPERM", "EPERM", "EISCONN", "EISCONN"]),
                    "write: {write}"
                );
            }
            let met = listener.accept().map(drop).expect_err("nobody came");
            assert_eq!(met.kind(), std::io::ErrorKind::WouldBlock);
        },
    );
}

#[test]
fn what_is_the_daemons_own_is_never_granted() {
    as_each_user(
        "what_is_the_daemons_own_is_never_granted",
        |bench| async move {
            let (srv, lake) = lake(&bench);
            let dir = |name: &str| {
                let dir = bench.dir.path().join(name);
                std::fs::create_dir_all(&dir).expect("a directory");
                dir
            };
            let data = dir("own/data");
            let deep = dir("own/data/deep");
            let part = dir("part");
            let around = dir("around");
            let inside = dir("around/inside");
            symlink(dir("own"), bench.dir.path().join("alias")).expect("a link");
            let alias = bench.dir.path().join("alias");
            let mut config = support::config(&dir("second"), &bench.bundle);
            config.forbidden = vec![
                alias.join("data"),
                bench.dir.path().join("later"),
                srv.join("audit"),
            ];
            let launcher = caisson_sandbox::Launcher::start(config)
                .await
                .expect("a launcher");
            let mut cases = vec![
                (data.clone(), "is "),
                (deep.clone(), "beneath"),
                (dir("own"), "holds"),
                (bench.dir.path().to_owned(), "holds"),
                (alias.join("data/deep"), "beneath"),
                (dir("second/instance"), "instance"),
                (bench.bundle.clone(), "bundle"),
                (dir("later/on"), "later"),
                (srv.clone(), "audit"),
            ];
            // Only root can mount here; that an ordinary user reads mounts rightly is a test of the parser.
            let _mounts = support::is_root().then(|| {
                cases.push((part.clone(), "mount"));
                cases.push((around.clone(), "mount"));
                [Bound::new(&deep, &part), Bound::new(&dir("own"), &inside)]
            });
            let launch = async |dir: &Path, within: &Path| {
                let mut spec = bench.spec();
                spec.files = vec![grant(dir, within, false)];
                let program = Program::Python("pass".into());
                launcher.launch_program(spec, program).await
            };
            for (dir, why) in cases {
                let error = launch(&dir, &dir)
                    .await
                    .map(drop)
                    .expect_err(&dir.display().to_string());
                assert!(
                    matches!(&error, LaunchError::HostDir { dir: named, .. } if *named == dir),
                    "{error:?}"
                );
                let said = error.to_string();
                assert!(
                    said.contains(why) && said.contains("the daemon's own"),
                    "{why}: {said}"
                );
            }
            launch(&lake, &srv)
                .await
                .expect("a directory beside them")
                .wait()
                .await
                .expect("an end");
        },
    );
}

/// A bind mount for the time of a test.
struct Bound(std::path::PathBuf);

impl Bound {
    fn new(from: &Path, at: &Path) -> Bound {
        use nix::mount::{MsFlags, mount};
        mount(Some(from), at, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("a bind mount");
        Bound(at.to_owned())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn symlinks_and_paths_outside_are_refused_with_the_directory_named() {
    as_each_user(
        "symlinks_and_paths_outside_are_refused_with_the_directory_named",
        |bench| async move {
            let (srv, lake) = lake(&bench);
            symlink("/etc", lake.join("link")).expect("a link");
            std::fs::create_dir(lake.join("real")).expect("a directory");
            symlink(lake.join("real"), srv.join("inner")).expect("a link");
            let cases = [
                (lake.join("link"), &srv, "symlink"),
                (lake.join("link/ssl"), &srv, "symlink"),
                (srv.join("inner"), &srv, "symlink"),
                (Path::new("/srv").to_owned(), &srv, "beneath none"),
                (lake.join("missing"), &srv, "No such file"),
                (lake.join("../lake"), &srv, "without . or .."),
                (lake.join("old"), &srv, "Not a directory"),
                (Path::new("relative").to_owned(), &srv, "absolute"),
                (
                    Path::new("/usr").to_owned(),
                    &Path::new("/").to_owned(),
                    "cover",
                ),
                (
                    Path::new("/").to_owned(),
                    &Path::new("/").to_owned(),
                    "cover",
                ),
                (
                    Path::new("/tmp").to_owned(),
                    &Path::new("/").to_owned(),
                    "cover",
                ),
                (
                    Path::new("/proc").to_owned(),
                    &Path::new("/").to_owned(),
                    "belongs to the sandbox",
                ),
            ];
            for (dir, within, why) in cases {
                let mut spec = bench.spec();
                spec.files = vec![grant(&dir, within, true)];
                let refused = bench
                    .launcher
                    .launch_program(spec, Program::Python("pass".into()))
                    .await;
                let error = refused.map(drop).expect_err(&dir.display().to_string());
                assert!(
                    matches!(&error, LaunchError::HostDir { dir: named, .. } if *named == dir),
                    "{error:?}"
                );
                assert!(error.to_string().contains(why), "{why}: {error}");
            }
        },
    );
}

#[test]
fn a_bundle_that_is_missing_is_named() {
    as_each_user("a_bundle_that_is_missing_is_named", |bench| async move {
        let mut spec = bench.spec();
        spec.bundle = bench.dir.path().join("nowhere");
        let error = bench
            .launcher
            .launch(spec)
            .await
            .map(drop)
            .expect_err("no bundle");
        assert!(
            matches!(&error, LaunchError::Source { path, .. } if path.ends_with("nowhere")),
            "{error:?}"
        );
    });
}

#[test]
fn a_bundle_that_only_its_owner_may_read_is_refused_where_workers_are_other_users() {
    let name = "a_bundle_that_only_its_owner_may_read_is_refused_where_workers_are_other_users";
    as_each_user(name, |bench| async move {
        let mut spec = bench.spec();
        spec.bundle = bench.dir.path().join("private");
        std::fs::create_dir(&spec.bundle).expect("a bundle");
        std::fs::set_permissions(&spec.bundle, std::fs::Permissions::from_mode(0o700))
            .expect("modes");
        let made = bench
            .launcher
            .launch_program(spec, Program::Python("pass".into()))
            .await;
        if support::is_root() {
            let error = made.map(drop).expect_err("not readable by the worker");
            assert!(error.to_string().contains("chmod -R a+rX"), "{error}");
        } else {
            assert_eq!(
                made.expect("its own user")
                    .wait()
                    .await
                    .expect("an end")
                    .status,
                Some(0)
            );
        }
    });
}
