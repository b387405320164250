"""Isolation: what a worker of a running daemon is, seen from inside and from outside.

The sandbox's own tests try each rule of each layer; here is what the daemon
makes of them, with a published path from a gRPC call to a process.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness import Daemon, Stage, Stream
from harness.daemon import inline
from harness.read import read, records
from harness.watch import eventually, gone, workers

REFUSED = ("EPERM", "EACCES", "EROFS", "ENOENT", "ENOSYS", "EAFNOSUPPORT", "EINVAL", "ENOTDIR")
NOTHING_OF = {
    "exec python", "exec sh", "setuid 0", "setgid 0", "mknod", "netlink socket", "packet socket",
    "raw socket", "vsock socket", "write bundle", "write shim", "write root", "raise nofile", "list home", "sysctl",
}  # fmt: skip


@pytest.fixture
def attempts(daemon: Daemon, stage: Stage) -> dict[str, str]:
    """Every attempt of the probe, and how it ended."""
    stream = read(daemon, inline(stage.connectors / "probe"), "attempts", mode="full").drain()
    assert stream.summary
    return {record["attempt"]: record["outcome"] for record in records(stream)}


@pytest.fixture
def lingering(daemon: Daemon, stage: Stage) -> Any:
    """A worker that waits, so that one can look at it: its process id."""
    connection = inline(stage.connectors / "probe", config={"linger": True})
    stream: Stream = read(daemon, connection, "attempts", mode="streaming")
    stream.until("batch")
    (pid,) = daemon.client.call("GetCall", call_id=stream.call_id)["worker_pids"]
    yield pid
    stream.cancel()


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_every_attempt_to_get_out_is_refused(attempts: dict[str, str]) -> None:
    allowed = {name: attempts[name] for name in NOTHING_OF if attempts[name].startswith("allowed")}
    assert allowed == {}
    odd = {name: attempts[name] for name in NOTHING_OF if attempts[name] not in (*REFUSED, "ValueError")}
    assert odd == {}


def test_the_environment_is_written_from_nothing(attempts: dict[str, str], daemon: Daemon) -> None:
    environment = attempts["environ"]
    assert "CAISSON_SECRET" not in environment and str(daemon.folder) not in environment
    assert "'HOME': '/tmp'" in environment


def test_descriptors_are_the_channel_and_the_pipes(attempts: dict[str, str]) -> None:
    assert attempts["descriptors"] == "allowed: [0, 1, 2, 3, 4]"


def test_the_network_is_its_own_loopback(attempts: dict[str, str]) -> None:
    assert attempts["interfaces"] in ("allowed: ['lo']", "EPERM", "EACCES", "EAFNOSUPPORT")


def test_the_root_holds_nothing_of_the_host(attempts: dict[str, str]) -> None:
    names = attempts["list root"]
    assert "caisson" in names
    for absent in ("root", "home", "var", "srv", "mnt", "boot", "work", "opt"):
        assert f"'{absent}'" not in names, names


def test_only_tmp_can_be_written(attempts: dict[str, str]) -> None:
    assert attempts["write tmp"].startswith("allowed")


def test_other_processes_are_not_seen(attempts: dict[str, str]) -> None:
    listed = attempts["list proc"]
    assert listed == "allowed: []" or listed.count(",") <= 1, listed


def test_a_worker_holds_no_capability_and_gains_no_privilege(lingering: int) -> None:
    seen = status(lingering)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(seen[name], 16) == 0, f"{name} {seen[name]}"
    assert seen["NoNewPrivs"] == "1"
    assert seen["Seccomp"] == "2"


def test_a_worker_is_never_uid_0_and_has_its_own_id_under_a_root_daemon(lingering: int, daemon: Daemon) -> None:
    uids = {int(uid) for uid in status(lingering)["Uid"].split()}
    assert 0 not in uids
    if daemon.identity.ordinary:
        assert uids == {user_of(daemon)}
    else:
        assert len(uids) == 1 and min(uids) >= 65_536


def test_every_namespace_is_its_own(lingering: int) -> None:
    for name in ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup"):
        assert Path(f"/proc/{lingering}/ns/{name}").readlink() != Path(f"/proc/self/ns/{name}").readlink(), name


def test_a_worker_dies_with_a_daemon_that_is_killed(own: Any, stage: Stage) -> None:
    daemon = own().start()
    connection = inline(stage.connectors / "probe", config={"linger": True})
    stream = read(daemon, connection, "attempts", mode="streaming")
    stream.until("batch")
    (pid,) = daemon.client.call("GetCall", call_id=stream.call_id)["worker_pids"]
    watch = os.pidfd_open(pid)
    daemon.kill()
    import select

    ended, _, _ = select.select([watch], [], [], 10)
    os.close(watch)
    assert ended, "the worker outlived its daemon"


def test_the_daemons_memory_is_readable_by_nobody_of_its_user_and_is_in_no_core(daemon: Daemon) -> None:
    assert daemon.process is not None
    with subprocess.Popen([*daemon.identity.prefix, "cat"], stdin=subprocess.PIPE) as ordinary:
        eventually(lambda: Path(f"/proc/{ordinary.pid}/comm").read_text() == "cat\n", "the control to run")
        assert owner(ordinary.pid) == user_of(daemon), "the control: what hides nothing is its user's"
    # The kernel gives what is not dumpable to root: proc_pid(5).
    assert owner(daemon.process.pid) == 0
    limits = Path(f"/proc/{daemon.process.pid}/limits").read_text().splitlines()
    (core,) = [line.split() for line in limits if line.startswith("Max core file size")]
    # 1 byte keeps cores out of pipes too, which heed no 0: core(5).
    assert core[4] == core[5] in ("0", "1"), core


def owner(pid: int) -> int:
    """Whose a process's files in /proc are."""
    return Path(f"/proc/{pid}/mem").stat().st_uid


def user_of(daemon: Daemon) -> int:
    """Whom a daemon runs as."""
    return os.geteuid() if daemon.identity.uid is None else daemon.identity.uid


def test_files_of_the_host_are_reachable_only_where_a_policy_says_so(daemon: Daemon, stage: Stage) -> None:
    inside, outside = daemon.lake / "inside.txt", daemon.folder / "outside.txt"
    inside.write_text("granted")
    outside.write_text("not granted")
    daemon.identity.own(daemon.lake)
    daemon.policy("probe", files=[{"dir": str(daemon.lake), "within": [str(daemon.lake)], "access": "read"}])
    connection = inline(stage.connectors / "probe", config={"paths": f"{inside}:{outside}"})
    stream = read(daemon, connection, "attempts", mode="full").drain()
    outcomes = {record["attempt"]: record["outcome"] for record in records(stream)}
    assert outcomes[f"read {inside}"] == "allowed: b'granted'"
    assert outcomes[f"write {inside}"] in ("EROFS", "EACCES", "EPERM")
    assert outcomes[f"read {outside}"] in ("ENOENT", "EACCES")


@pytest.mark.parametrize(
    ("granted", "reloaded"),
    [("read", None), ("write", "read")],
    ids=["taken back", "no longer to be written"],
)
def test_a_directory_that_a_reloaded_policy_takes_back_ends_the_call(
    daemon: Daemon, stage: Stage, granted: str, reloaded: str | None
) -> None:
    def grants(access: str | None) -> list[dict[str, Any]]:
        lake = str(daemon.lake)
        return [{"dir": lake, "within": [lake], "access": access}] if access else []

    daemon.policy("rows", files=grants(granted))
    stream = read(daemon, inline(stage.connectors / "rows"), "counted", mode="streaming", timeout=60)
    stream.until("batch")
    (pid,) = workers(daemon, stream)
    # A reload that changes nothing for it leaves it alone.
    daemon.policy("rows", files=grants(granted), limits={"memory": "128MiB"})
    seen = len(stream.all("batch"))
    while len(stream.all("batch")) < seen + 3:
        stream.until("batch")
    daemon.policy("rows", files=grants(reloaded))
    stream.drain()
    assert stream.failure["code"] == "ERROR_CODE_PERMISSION_MISSING", stream.failure
    assert str(daemon.lake) in stream.failure["message"]
    assert gone(pid)


def test_the_doctor_names_every_layer_and_says_what_is_missing(daemon: Daemon) -> None:
    import json

    done = daemon.command("doctor", "--json")
    report = json.loads(done.stdout)
    text = json.dumps(report)
    for layer in ("namespaces", "seccomp", "landlock", "cgroup"):
        assert layer in text, text
