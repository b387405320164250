"""The standard library under `strict`: what works, and what is refused."""

from __future__ import annotations

from works import Work

from harness import Identity

PROFILE = "strict"


def test_threads_wait_for_each_other(stdlib: Work) -> None:
    assert stdlib("thread_pool") == {"seen": [0, 1, 2, 3, 9], "total": 1275, "threads": True}


def test_event_loops_run_and_start_no_program(stdlib: Work) -> None:
    assert stdlib("event_loop") == {
        "fetched": [True, True, True], "heard": "ping", "late": True, "subprocess": "PermissionError",
    }  # fmt: skip


def test_every_selector_sees_what_comes(stdlib: Work) -> None:
    kinds = ("SelectSelector", "PollSelector", "EpollSelector")
    assert stdlib("readiness") == {kind: [0, 1] for kind in kinds}


def test_files_are_made_changed_and_removed_but_not_linked(stdlib: Work) -> None:
    assert stdlib("plain_files") == {
        "ahead": "one", "linked": "/proc/self/fd", "times": 2.0, "walked": ["c.txt", "d.txt"],
        "scanned": ["d.txt", "deep"], "found": 2, "absent": "ENOENT", "resolved": "/tmp/plain/deep",
        "here": "/tmp/plain", "symlink": "EPERM", "link": "EPERM", "free": True, "gone": True,
    }  # fmt: skip


def test_files_are_copied_and_packed(stdlib: Work) -> None:
    sizes = dict.fromkeys(("zip", "gztar", "bztar", "xztar"), 100_003)
    assert stdlib("copies_and_archives") == {"made": sizes, "sent": 1000, "text": "x", "rolled": 16, "gone": True}


def test_files_are_locked_and_descriptors_doubled(stdlib: Work) -> None:
    assert stdlib("locks_and_pipes") == {
        "locked": "EAGAIN", "writes": True, "empty": "EAGAIN", "said": "piped", "terminal": False, "size": "ENOTTY",
    }  # fmt: skip


def test_sqlite_keeps_every_kind_of_journal(stdlib: Work) -> None:
    modes = {mode: [4001, True] for mode in ("delete", "wal", "truncate", "persist")}
    assert stdlib("sqlite") == {"version": True, **modes, "sorted": 20_000}


def test_every_codec_packs_and_unpacks(stdlib: Work) -> None:
    assert stdlib("compression") == dict.fromkeys(("gz", "bz2", "xz", "zip"), True)


def test_shelves_keep_objects(stdlib: Work) -> None:
    assert stdlib("shelves") == {"kept": {"b": 2}}


def test_logs_rotate(stdlib: Work) -> None:
    found = stdlib("logs")
    assert (found["rotated"], found["watched"]) == (["log", "log.1", "log.2"], 20)


def test_sockets_connect_and_never_listen(stdlib: Work) -> None:
    found = stdlib("sockets")
    refused = {name for name, outcome in found["options"].items() if outcome != "done"}
    assert refused == {"fast open", "bind to device", "packet filter"}
    assert found["asked"] == [0, True]
    assert found["answer"].startswith("HTTP/1.1 200")
    assert found["six"] != "EPERM" and found["six by address"] != "EPERM"
    assert found["own address"] == "2001:db8::2"
    assert {name: found[name] for name in ("listen", "unix", "bind SOCK_STREAM", "bind SOCK_DGRAM")} == dict.fromkeys(
        ("listen", "unix", "bind SOCK_STREAM", "bind SOCK_DGRAM"), "EPERM"
    )
    assert found["server"] == "EPERM"


def test_names_are_asked_of_the_gateway(stdlib: Work) -> None:
    found = stdlib("names")
    assert len(found["localhost"]) == 1 and found["absent"] == []
    assert found["host"] == ["caisson", "192.0.2.1"]


def test_http_clients_keep_their_connections(stdlib: Work) -> None:
    assert stdlib("http_client") == {"statuses": [[200, 100_000]] * 3, "text": "hello"}


def test_tls_is_checked(stdlib: Work) -> None:
    assert stdlib("tls") == {"strict": "refused", "status": 200, "body": 50_000}


def test_children_are_forked_but_share_no_semaphore(stdlib: Work) -> None:
    assert stdlib("forks") == {
        "parent": "1", "status": 7, "killed": -15, "total": 4950, "exitcode": 0, "lock": "EPERM",
    }  # fmt: skip


def test_no_program_is_started(stdlib: Work) -> None:
    assert stdlib("programs") == {
        "run": "EPERM", "shell": "EPERM", "absent": "EPERM", "spawn": "EPERM", "exec": "EPERM", "library": True,
    }  # fmt: skip


def test_signals_and_timers_arrive(stdlib: Work) -> None:
    assert stdlib("signals") == {"seen": [10, 10, 12, 14], "stacks": True}


def test_clocks_move_and_chance_differs(stdlib: Work) -> None:
    assert stdlib("time_and_chance") == {
        "moved": True, "zone": "2:00:00", "different": 3, "uuid": 4, "local": 1, "urandom": 32, "resolution": True,
        "times": True,
    }  # fmt: skip


def test_a_worker_knows_about_itself_and_raises_nothing(stdlib: Work) -> None:
    found = stdlib("facts")
    assert (found["system"], found["node"], found["user"], found["pid"]) == ("Linux", "caisson", "caisson", 1)
    assert all(found[name] for name in ("platform", "uid", "gid", "groups", "cpus", "memory", "lowered"))
    assert found["raised"] == "ValueError"


def test_memory_is_mapped_and_given_back(stdlib: Work, identity: Identity) -> None:
    found = stdlib("mappings")
    assert (found["file"], found["size"], found["rows"], found["memfd"]) == ("hello", 16_384, 200_000, "EPERM")
    # Where no cgroup counts it, it would be nobody's.
    assert found["shared without a file"] == ("EPERM" if identity.ordinary else "done")


def test_every_module_of_the_standard_library_can_be_imported(stdlib: Work) -> None:
    found = stdlib("every_module")
    assert found["came"] > 250
    assert set(found["absent"]) <= {"msilib", "tkinter", "turtle", "distutils", "lib2to3", "ensurepip", "venv"}
