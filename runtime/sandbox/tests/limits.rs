//! Limits that bite, and an end that says which one did.

mod support;

use serde_json::json;
use support::{as_each_user, is_root};

#[test]
fn a_worker_that_takes_too_much_memory_is_ended_and_says_so() {
    as_each_user(
        "a_worker_that_takes_too_much_memory_is_ended_and_says_so",
        |bench| async move {
            let mut spec = bench.spec();
            spec.limits.memory_bytes = 64 << 20;
            // In steps, as real programs do.
            let outcome = bench
                .run_spec(
                    spec,
                    "held = []\nwhile True: held.append(bytearray(os.urandom(1 << 20)))",
                )
                .await;
            assert!(outcome.exit.oom_killed, "{outcome:?}");
            assert_eq!(outcome.exit.signal, Some(libc::SIGKILL), "{outcome:?}");
            let neighbour = bench.run("print('alive')").await;
            assert_eq!(neighbour.stdout, "alive\n");
        },
    );
}

#[test]
fn memory_taken_by_children_counts_and_ends_the_whole_worker() {
    as_each_user(
        "memory_taken_by_children_counts_and_ends_the_whole_worker",
        |bench| async move {
            let mut spec = bench.spec();
            spec.limits.memory_bytes = 96 << 20;
            let source = "
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        held = []
        while True: held.append(bytearray(os.urandom(1 << 20)))
import signal
while True: signal.pause()";
            let outcome = bench.run_spec(spec, source).await;
            assert!(outcome.exit.oom_killed, "{outcome:?}");
        },
    );
}

#[test]
fn shared_memory_that_is_let_go_of_and_kept_counts() {
    as_each_user(
        "shared_memory_that_is_let_go_of_and_kept_counts",
        |bench| async move {
            let mut spec = bench.spec();
            spec.limits.memory_bytes = 64 << 20;
            let source = "
libc.prctl(4, 0); lock() # undumpable, as the shim's lock makes it
import mmap
held = []
while True:
    one = mmap.mmap(-1, 8 << 20)
    for at in range(0, 8 << 20, 4096): one[at] = 1
    one.madvise(mmap.MADV_DONTNEED)
    held.append(one)";
            let outcome = bench.run_spec(spec, source).await;
            assert!(outcome.exit.oom_killed, "{outcome:?}");
            assert_eq!(outcome.exit.signal, Some(libc::SIGKILL), "{outcome:?}");
        },
    );
}

#[test]
fn files_in_tmp_count_as_memory() {
    as_each_user("files_in_tmp_count_as_memory", |bench| async move {
        let mut spec = bench.spec();
        spec.limits.memory_bytes = 64 << 20;
        let source = "
libc.prctl(4, 0); lock()
import signal
held = []
for n in range(128):
    f = open(f'/tmp/{n}', 'wb'); f.write(b'x' * (1 << 20)); f.flush(); os.unlink(f'/tmp/{n}'); held.append(f)
while True: signal.pause()";
        let outcome = bench.run_spec(spec, source).await;
        assert!(outcome.exit.oom_killed, "{outcome:?}");
    });
}

#[test]
fn a_fork_bomb_meets_the_limit_on_processes() {
    as_each_user(
        "a_fork_bomb_meets_the_limit_on_processes",
        |bench| async move {
            let mut spec = bench.spec();
            spec.limits.pids = 16;
            let source = "
made = 0
import signal
while True:
    try: pid = os.fork()
    except OSError as e: break
    if pid == 0:
        signal.pause(); os._exit(0)
    made += 1
say([made, errno.errorcode[e.errno]])";
            let outcome = bench
                .run_spec(
                    spec,
                    &source
                        .replace("break", "why = errno.errorcode[e.errno]; break")
                        .replace("errno.errorcode[e.errno]])", "why])"),
                )
                .await;
            assert_eq!(outcome.json(), json!([15, "EAGAIN"]));
            // Without a cgroup the limit holds too, but nobody counts the refusals.
            assert_eq!(outcome.exit.pids_limit_hit, is_root(), "{outcome:?}");
        },
    );
}

#[test]
fn tmp_is_capped() {
    as_each_user("tmp_is_capped", |bench| async move {
        let mut spec = bench.spec();
        spec.limits.tmp_bytes = 1 << 20;
        let source = "
def fill():
    for n in range(64):
        with open(f'/tmp/{n}', 'wb') as f: f.write(b'x' * 65536)
say(attempt(fill))";
        assert_eq!(bench.run_spec(spec, source).await.json(), "ENOSPC");
    });
}

#[test]
fn descriptors_are_capped_and_cores_are_off() {
    as_each_user(
        "descriptors_are_capped_and_cores_are_off",
        |bench| async move {
            let mut spec = bench.spec();
            spec.limits.open_files = 40;
            let source = "
import resource
def open_many():
    held = [open('/dev/null') for _ in range(100)]
say([attempt(open_many), resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE)])";
            assert_eq!(
                bench.run_spec(spec, source).await.json(),
                json!(["EMFILE", [0, 0], [40, 40]])
            );
        },
    );
}

#[test]
fn an_end_says_what_was_used() {
    as_each_user("an_end_says_what_was_used", |bench| async move {
        let outcome = bench
            .run("x = bytearray(30 << 20)\nfor i in range(2_000_000): pass\nraise SystemExit(3)")
            .await;
        assert_eq!(outcome.exit.status, Some(3));
        assert!(outcome.exit.cpu_seconds > 0.01, "{outcome:?}");
        assert!(outcome.exit.peak_rss_bytes > 30 << 20, "{outcome:?}");
    });
}

#[test]
fn the_group_of_a_worker_is_gone_after_its_end() {
    as_each_user(
        "the_group_of_a_worker_is_gone_after_its_end",
        |bench| async move {
            let spec = bench.spec();
            let plan = bench
                .launcher
                .plan(&spec, &caisson_sandbox::Program::Shim)
                .expect("a plan");
            assert_eq!(plan.cgroup.is_some(), is_root());
            let mut worker = bench.launch(spec, "socket.socket(fileno=3).recv(1)").await;
            let dirs = plan.cgroup.map(|group| group.dirs).unwrap_or_default();
            for dir in &dirs {
                let there = std::fs::read_to_string(dir.join("cgroup.procs")).expect("the group");
                assert_eq!(there.trim(), worker.pid().to_string());
            }
            assert_eq!(worker.process.missing.is_empty(), is_root());
            worker.kill();
            worker.wait().await.expect("an end");
            assert!(dirs.iter().all(|dir| !dir.exists()));
        },
    );
}
