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
fn memory_that_a_fork_shares_counts_once() {
    as_each_user(
        "memory_that_a_fork_shares_counts_once",
        |bench| async move {
            let mut spec = bench.spec();
            spec.limits.memory_bytes = 128 << 20;
            let source = "
import signal, time
held = os.urandom(48 << 20)
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        while True: signal.pause()
    children.append(pid)
time.sleep(0.5) # for as long as somebody may look
say(len(children))";
            assert_eq!(bench.run_spec(spec, source).await.json(), 4);
        },
    );
}

#[test]
fn shared_memory_that_is_let_go_of_and_kept_counts_or_cannot_be_had() {
    as_each_user(
        "shared_memory_that_is_let_go_of_and_kept_counts_or_cannot_be_had",
        |bench| async move {
            let mut spec = bench.spec();
            spec.limits.memory_bytes = 64 << 20;
            // Of each mapping all but a page is unmapped again, faster than anybody looks.
            let source = "
libc.prctl(4, 0); lock() # undumpable, as the shim's lock makes it
import mmap
libc.mmap.restype = ctypes.c_void_p
size = 2 << 20
def take(flags, fd=-1):
    at = libc.mmap(None, ctypes.c_size_t(size), 3, flags, fd, ctypes.c_long(0))
    if at == ctypes.c_void_p(-1).value: raise OSError(ctypes.get_errno(), 'mmap')
    ctypes.memset(at, 1, size)
    libc.munmap(ctypes.c_void_p(at + 4096), ctypes.c_size_t(size - 4096))
def take_many(*args):
    for _ in range(1024): take(*args)
def zero():
    take_many(mmap.MAP_SHARED, os.open('/dev/zero', os.O_RDWR))
say([attempt(take_many, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS), attempt(zero), attempt(take_many, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)])";
            let outcome = bench.run_spec(spec, source).await;
            if is_root() {
                assert!(outcome.exit.oom_killed, "{outcome:?}");
                assert_eq!(outcome.exit.signal, Some(libc::SIGKILL), "{outcome:?}");
            } else {
                assert_eq!(outcome.json(), json!(["EPERM", "EACCES", "done"]));
            }
        },
    );
}

#[test]
fn other_memory_without_an_owner_is_refused_where_nothing_counts_it() {
    as_each_user(
        "other_memory_without_an_owner_is_refused_where_nothing_counts_it",
        |bench| async move {
            // Before the lock, which refuses them to everybody.
            let source = "
memfd_create, memfd_secret, shmget = 319, 447, 29
say([syscall(memfd_create, b'x', 0), syscall(memfd_secret, 0), syscall(shmget, 0, 4096, 0o1600)])";
            let met = bench.run(source).await.json();
            if is_root() {
                assert_eq!([&met[0], &met[2]], [&json!(null), &json!(null)]);
            } else {
                assert_eq!(met, json!(["EPERM", "EPERM", "EPERM"]));
            }
        },
    );
}

#[test]
fn page_tables_count_as_memory() {
    as_each_user("page_tables_count_as_memory", |bench| async move {
        let mut spec = bench.spec();
        spec.limits.memory_bytes = 64 << 20;
        // A page of zeros is nobody's, but each is found through a table of its own.
        let source = "
import mmap
libc.mmap.restype = ctypes.c_void_p
size = 1 << 40
at = libc.mmap(None, ctypes.c_size_t(size), 1, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, -1, ctypes.c_long(0))
assert at != ctypes.c_void_p(-1).value
libc.madvise(ctypes.c_void_p(at), ctypes.c_size_t(size), 15) # no huge pages
for offset in range(0, size, 2 << 20): ctypes.c_char.from_address(at + offset).value
print('all of them')";
        let outcome = bench.run_spec(spec, source).await;
        assert!(outcome.exit.oom_killed, "{outcome:?}");
        assert!(outcome.exit.peak_memory_bytes > 60 << 20, "{outcome:?}");
    });
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
                json!(["EMFILE", [1, 1], [40, 40]])
            );
        },
    );
}

#[test]
fn a_busy_worker_is_held_back_and_not_ended() {
    as_each_user(
        "a_busy_worker_is_held_back_and_not_ended",
        |bench| async move {
            let mut spec = bench.spec();
            spec.limits.cpus = 0.1;
            let source = "
import time
until = time.process_time() + 0.2
while time.process_time() < until: pass
say('done')";
            let outcome = bench.run_spec(spec, source).await;
            assert_eq!(outcome.json(), "done");
            // Nobody holds it back without a cgroup; the Summary names what is missing.
            assert_eq!(
                outcome.exit.cpu_throttled_seconds > 0.1,
                is_root(),
                "{outcome:?}"
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
