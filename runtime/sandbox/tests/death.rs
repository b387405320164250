//! Nothing outlives its time: not the daemon, not the call.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use support::as_each_user;

fn pidfd(pid: i32) -> OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: pidfd_open returns a new descriptor or -1, which the assertion catches.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        assert!(fd >= 0, "process {pid}");
        OwnedFd::from_raw_fd(fd as i32)
    }
}

/// Launcher and workers of this process.
fn children() -> Vec<i32> {
    std::fs::read_dir("/proc/self/task")
        .expect("threads")
        .flatten()
        .flat_map(|task| {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            text.split_whitespace()
                .map(|pid| pid.parse().expect("a number"))
                .collect::<Vec<i32>>()
        })
        .collect()
}

fn ends_soon(process: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(10_000u16)).expect("poll") == 1
}

#[test]
fn a_daemon_that_is_killed_takes_its_workers_with_it() {
    as_each_user(
        "a_daemon_that_is_killed_takes_its_workers_with_it",
        |bench| async move {
            let mut daemon = Command::new(support::try_exe())
                .args([
                    bench.dir.path().join("other").as_os_str(),
                    "/usr/bin/python3.11".as_ref(),
                ])
                .arg("import signal\nwhile True: signal.pause()")
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("a daemon");
            let mut line = String::new();
            BufReader::new(daemon.stdout.take().expect("stdout"))
                .read_line(&mut line)
                .expect("a line");
            let worker = pidfd(
                line.trim()
                    .strip_prefix("worker ")
                    .expect(&line)
                    .parse()
                    .expect("a number"),
            );
            daemon.kill().expect("SIGKILL");
            daemon.wait().expect("its end");
            assert!(ends_soon(&worker), "the worker outlives its daemon");
        },
    );
}

#[test]
fn an_undumpable_daemon_keeps_its_memory_to_itself_and_replaces_its_launcher() {
    let name = "an_undumpable_daemon_keeps_its_memory_to_itself_and_replaces_its_launcher";
    as_each_user(name, |bench| async move {
        let mut daemon = Command::new(support::try_exe())
            .arg("hardened")
            .arg(bench.dir.path().join("other"))
            .args([
                "/usr/bin/python3.11",
                "import signal\nwhile True: signal.pause()",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a daemon");
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().expect("stdout"))
            .read_line(&mut line)
            .expect("a line");
        assert!(
            line.starts_with("worker "),
            "no worker without the first launcher: {line}"
        );
        let proc = format!("/proc/{}", daemon.id());
        let limits = std::fs::read_to_string(format!("{proc}/limits")).expect("limits");
        let core = limits.lines().find(|line| line.contains("core file size"));
        let words: Vec<&str> = core.expect("a limit").split_whitespace().collect();
        assert_eq!(words[4..6], ["1", "1"]);
        if !support::is_root() {
            for file in ["mem", "environ", "maps"] {
                let met = std::fs::read(format!("{proc}/{file}")).expect_err(file);
                assert_eq!(met.kind(), std::io::ErrorKind::PermissionDenied, "{file}");
            }
        }
        daemon.kill().expect("SIGKILL");
        daemon.wait().expect("its end");
    });
}

#[test]
fn a_worker_cannot_make_itself_outlive_its_daemon() {
    as_each_user(
        "a_worker_cannot_make_itself_outlive_its_daemon",
        |bench| async move {
            let source = "
signal = ctypes.c_int()
libc.prctl(2, ctypes.byref(signal))
lock()
say([signal.value, syscall(157, 1, 0)])";
            assert_eq!(
                bench.run(source).await.json(),
                serde_json::json!([9, "EPERM"])
            );
        },
    );
}

#[test]
fn dropping_a_worker_ends_it_and_everything_below_it() {
    as_each_user(
        "dropping_a_worker_ends_it_and_everything_below_it",
        |bench| async move {
            let source = "
import signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(1, b'ready\\n')
        while True: signal.pause()
    os._exit(0)
while True: signal.pause()";
            let (process, io) = bench.launch(bench.spec(), source).await.split();
            let mut stdout = BufReader::new(std::fs::File::from(io.stdout));
            let mut line = String::new();
            stdout.read_line(&mut line).expect("a line");
            assert_eq!(line, "ready\n");
            let held = pidfd(process.pid);
            drop(process);
            assert!(ends_soon(&held));
            // The orphan held the pipe; its end is the end of the pipe.
            assert_eq!(stdout.read_to_string(&mut line).expect("the end"), 0);
        },
    );
}

#[test]
fn signals_that_a_worker_ignores_do_not_keep_it_alive() {
    as_each_user(
        "signals_that_a_worker_ignores_do_not_keep_it_alive",
        |bench| async move {
            let source = "
import signal
for s in range(1, 64):
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
os.write(1, b'ready')
while True: pass";
            let mut worker = bench.launch(bench.spec(), source).await;
            let mut ready = [0; 5];
            std::fs::File::from(worker.stdout.try_clone().expect("stdout"))
                .read_exact(&mut ready)
                .expect("ready");
            worker.kill();
            assert_eq!(
                worker.wait().await.expect("an end").signal,
                Some(libc::SIGKILL)
            );
        },
    );
}

#[test]
fn a_launcher_that_is_killed_is_replaced_and_its_workers_live_on() {
    as_each_user(
        "a_launcher_that_is_killed_is_replaced_and_its_workers_live_on",
        |bench| async move {
            let mut worker = bench
                .launch(
                    bench.spec(),
                    "socket.socket(fileno=3).recv(1); print('done')",
                )
                .await;
            let children = children().into_iter().filter(|pid| *pid != worker.pid());
            for launcher in children {
                let held = pidfd(launcher);
                nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(launcher),
                    nix::sys::signal::Signal::SIGKILL,
                )
                .expect("kill");
                assert!(ends_soon(&held));
            }
            assert_eq!(bench.run("print(1)").await.stdout, "1\n");
            std::io::Write::write_all(&mut worker.channel, b"x").expect("it lives");
            assert_eq!(worker.wait().await.expect("an end").status, Some(0));
        },
    );
}

#[test]
fn a_ctrl_c_on_the_daemons_terminal_reaches_neither_launcher_nor_workers() {
    let name = "a_ctrl_c_on_the_daemons_terminal_reaches_neither_launcher_nor_workers";
    as_each_user(name, |bench| async move {
        let worker = bench
            .launch(bench.spec(), "socket.socket(fileno=3).recv(1)")
            .await;
        let own = nix::unistd::getsid(None).expect("a session");
        let children = children();
        assert!(
            children.contains(&worker.pid()) && children.len() > 1,
            "{children:?}"
        );
        for child in children {
            let session = nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(child)));
            assert_ne!(session.expect("a session"), own);
        }
    });
}
