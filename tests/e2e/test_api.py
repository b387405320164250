"""The API: who may call, idempotency, cancellation, deadlines, reflection, health."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from harness import CallFailed, Client, Daemon, Stage
from harness.daemon import inline
from harness.read import read, records
from harness.watch import gone

Made = Callable[..., dict[str, Any]]


def test_reflection_names_every_service(daemon: Daemon) -> None:
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

    names = set(ProtoReflectionDescriptorDatabase(daemon.client.channel).get_services())
    assert {f"caisson.v1.{name}" for name in ("Runtime", "Connections", "Registry", "Operations")} <= names
    assert "grpc.health.v1.Health" in names


def test_spec_answers_without_running_connector_code(daemon: Daemon, stage: Stage) -> None:
    spec = daemon.client.call("Spec", path=str(stage.connectors / "rows"))
    assert spec["name"] == "rows" and spec["version"] == "1.0.0"
    assert "read.streaming" in spec["capabilities"]
    assert '"count"' in spec["config_schema_json"]


def test_list_names_types_keys_cursors_and_modes(daemon: Daemon, rows: Made) -> None:
    stream = daemon.client.stream("List", connection=rows()).drain()
    found = {each["name"]: each for each in stream.all("object")}
    assert found["ascending"]["primary_key"] == ["id"]
    assert found["ascending"]["cursor"] == "updated_at" and found["ascending"]["order"] == "asc"
    assert "READ_MODE_STREAMING" in found["counted"]["modes"]


def test_a_test_streams_its_steps(daemon: Daemon, rows: Made) -> None:
    stream = daemon.client.stream("Test", connection=rows()).drain()
    assert stream.summary is not None
    assert {step["status"] for step in stream.all("step")} <= {"STATUS_PASSED", "STATUS_SKIPPED"}
    failed = daemon.client.stream("Test", connection=rows(behave="credentials")).drain()
    assert failed.failure["code"] == "ERROR_CODE_CREDENTIALS_INVALID"


def test_a_repeated_request_id_gets_the_result_and_runs_nothing_again(daemon: Daemon, rows: Made) -> None:
    options = {"request_id": f"again-{time.time_ns()}"}
    first = read(daemon, rows(count=20), "rows", options=options).drain()
    second = read(daemon, rows(count=20), "rows", options=options).drain()
    assert first.call_id == second.call_id
    assert second.all("started")[0]["attached"]
    assert second.summary["stats"]["records"] == first.summary["stats"]["records"]
    assert second.all("batch") == []


def test_one_request_id_for_two_different_requests_is_a_conflict(daemon: Daemon, rows: Made) -> None:
    options = {"request_id": f"other-{time.time_ns()}"}
    read(daemon, rows(count=20), "rows", options=options).drain()
    with pytest.raises(CallFailed) as refused:
        read(daemon, rows(count=21), "rows", options=options).drain()
    assert refused.value.code in ("STATE_CONFLICT", "CONFIG_INVALID")


def test_cancelling_the_rpc_ends_the_worker(daemon: Daemon, rows: Made) -> None:
    stream = read(daemon, rows(), "counted", mode="streaming")
    stream.until("batch")
    (pid,) = daemon.client.call("GetCall", call_id=stream.call_id)["worker_pids"]
    stream.cancel()
    assert gone(pid)


def test_operations_cancel_ends_a_call_with_cancelled_and_is_idempotent(daemon: Daemon, rows: Made) -> None:
    stream = read(daemon, rows(behave="hang"), "rows")
    stream.until("batch")
    assert daemon.client.call("Cancel", call_id=stream.call_id)["cancelled"]
    stream.drain()
    assert stream.failure["code"] == "ERROR_CODE_CANCELLED"
    assert not daemon.client.call("Cancel", call_id=stream.call_id).get("cancelled", False)
    assert daemon.client.call("GetCall", call_id=stream.call_id)["state"] == "cancelled"


def test_a_grpc_deadline_reaches_the_worker(daemon: Daemon, rows: Made) -> None:
    stream = read(daemon, rows(behave="hang"), "rows", timeout=5)
    stream.until("batch")
    (pid,) = daemon.client.call("GetCall", call_id=stream.call_id)["worker_pids"]
    try:
        stream.drain()
    except CallFailed as error:
        assert error.status == "DEADLINE_EXCEEDED"
    else:
        assert stream.failure["code"] == "ERROR_CODE_TIMEOUT"
    assert gone(pid)


def test_what_is_not_built_is_unimplemented(daemon: Daemon) -> None:
    for name, fields in (("Drain", {}), ("Yank", {"connector": "a@1.0.0"}), ("Promote", {"connector": "a@1.0.0"})):
        with pytest.raises(CallFailed) as refused:
            daemon.client.call(name, **fields)
        assert refused.value.status == "UNIMPLEMENTED", name


def test_connections_are_stored_with_revisions_and_without_values(daemon: Daemon, stage: Stage) -> None:
    daemon.cli("publish", stage.connectors / "rows")
    good = {"connector": "rows@1.0.0", "config_json": '{"count": 3}'}
    first = daemon.client.call("Put", name="stored", connection=good)
    second = daemon.client.call("Put", name="stored", connection=good, expected_revision=int(first["revision"]))
    assert int(second["revision"]) == int(first["revision"]) + 1
    with pytest.raises(CallFailed) as refused:
        daemon.client.call("Put", name="stored", connection=good, expected_revision=int(first["revision"]))
    assert refused.value.code == "STATE_CONFLICT"
    with pytest.raises(CallFailed) as refused:
        daemon.client.call("Put", name="leaky", connection={**good, "config_json": '{"token": "value"}'})
    assert refused.value.code == "CONFIG_INVALID"
    assert len(records(read(daemon, {"name": "stored"}, "rows").drain())) == 3


def test_an_ordinary_caller_without_a_right_to_the_socket_is_refused(daemon: Daemon) -> None:
    if os.geteuid() != 0:
        mode = daemon.socket.stat().st_mode & 0o777
        assert mode in (0o600, 0o660, 0o666)
        return
    code = (
        "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.settimeout(5)\n"
        f"s.connect({str(daemon.socket)!r})\n"
        "s.sendall(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' + bytes(9))\n"
        "print(len(s.recv(1000)))"
    )
    import subprocess

    done = subprocess.run(
        ["setpriv", "--reuid=64999", "--regid=64999", "--clear-groups", "--", "/usr/bin/python3", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        # It may connect: what it asks must be refused by its credentials.
        done = subprocess.run(
            ["setpriv", "--reuid=64999", "--regid=64999", "--clear-groups", "--",
             str(daemon.stage.caisson), "calls", "list", "--server", f"unix:{daemon.socket}"],
            env={"PATH": "/usr/bin:/bin", "HOME": "/tmp"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode != 0, done.stdout
        assert "permission" in done.stderr.lower() or "not allowed" in done.stderr.lower(), done.stderr


def free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize(
    ("listen", "why"),
    [
        ({"tcp": "127.0.0.1:0"}, "nobody would be asked"),
        ({"tcp": "0.0.0.0:0", "keys": "keys"}, "in the clear"),
    ],
)
def test_tcp_does_not_start_without_keys_or_off_loopback_without_tls(
    lone: Callable[..., Daemon], listen: dict[str, Any], why: str
) -> None:
    daemon = lone(listen=listen)
    (daemon.folder / "keys").write_text("me " + "0" * 64 + "\n")
    with pytest.raises(RuntimeError, match=why):
        daemon.start()


def test_tcp_answers_only_those_who_hold_a_key(lone: Callable[..., Daemon]) -> None:
    port = free()
    daemon = lone(listen={"tcp": f"127.0.0.1:{port}", "keys": "keys"})
    (daemon.folder / "keys").write_text("me " + hashlib.sha256(b"my-key").hexdigest() + "\n")
    daemon.start()
    good = Client(f"127.0.0.1:{port}", metadata=[("authorization", "Bearer my-key")])
    assert good.call("ListCalls") == {}
    good.close()
    for metadata in ([], [("authorization", "Bearer other")]):
        with pytest.raises((CallFailed, grpc.RpcError, KeyError)):
            Client(f"127.0.0.1:{port}", metadata=metadata).call("ListCalls")


def test_a_second_daemon_on_one_data_directory_is_refused(own: Callable[..., Daemon]) -> None:
    daemon = own().start()
    done = daemon.command("serve", "--config", daemon.folder / "caisson.yaml")
    assert done.returncode != 0
    assert "data" in done.stderr
    assert daemon.client.call("ListCalls") == {}


def test_a_second_daemon_does_not_take_a_living_ones_socket(own: Callable[..., Daemon]) -> None:
    first, second = own(), own()
    meeting = first.folder / "api.sock"
    for each in (first, second):
        each.configuration["listen"] = {"unix": str(meeting)}
        each.socket = meeting
    # Any user may look for it there, and the second one's too.
    first.folder.chmod(0o755)
    first.start()
    with pytest.raises(RuntimeError, match="somebody listens there"):
        second.start()
    fresh = Client(f"unix:{meeting}")
    assert fresh.call("ListCalls") == {}
    fresh.close()
    # One that was killed leaves a socket that nobody listens on.
    first.kill()
    assert meeting.is_socket()
    second.start()
    assert second.client.call("ListCalls") == {}


def test_what_stands_in_a_sockets_place_and_is_none_stays_there(own: Callable[..., Daemon]) -> None:
    daemon = own(listen={"unix": "precious.txt"})
    precious = daemon.folder / "precious.txt"
    precious.write_text("mine")
    with pytest.raises(RuntimeError, match="it is no socket"):
        daemon.start()
    assert precious.read_text() == "mine"


def test_only_operators_say_what_connectors_may_carry(lone: Callable[..., Daemon]) -> None:
    port = free()
    daemon = lone(listen={"tcp": f"127.0.0.1:{port}", "keys": "keys"})
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("tenant", "boss")}
    (daemon.folder / "keys").write_text(f"tenant {digests['tenant']} publish\nboss {digests['boss']} operator\n")
    daemon.start()
    codes = {}
    for who in ("tenant", "boss"):
        client = Client(f"127.0.0.1:{port}", metadata=[("authorization", f"Bearer {who}")])
        for name in ("Publish", "Validate"):
            for allowed in ("", '"evil" = "*"\n'):
                with pytest.raises(CallFailed) as refused:
                    client.send(name, [{"dependencies_toml": allowed, "data": b"no bundle"}])
                codes[who, name, bool(allowed)] = refused.value.code
        client.close()
    # What is no bundle is refused anyway, but whose word on dependencies counts is asked first.
    denied = {key for key, code in codes.items() if code == "PERMISSION_MISSING"}
    assert denied == {("tenant", "Publish", True), ("tenant", "Validate", True)}, codes


def test_a_daemon_that_was_killed_starts_again_and_knows_its_calls(own: Callable[..., Daemon], rows: Made) -> None:
    daemon = own().start()
    stream = read(daemon, rows(), "counted", mode="streaming")
    stream.until("batch")
    call_id = stream.call_id
    daemon.kill()
    daemon.start()
    assert daemon.client.call("GetCall", call_id=call_id)["state"] == "failed"


def test_serve_works_without_a_configuration_file(stage: Stage, tmp_path: Path) -> None:
    import subprocess
    import threading

    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CAISSON_DATA_DIR": str(tmp_path / "data")}
    extra = [] if os.geteuid() == 0 else ["--allow-missing", "cgroup"]
    process = subprocess.Popen(
        [str(stage.caisson), "serve", *extra], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    line = ""
    for line in process.stderr:
        if "serving" in line:
            break
    assert "serving" in line
    rest = threading.Thread(target=process.stderr.read, daemon=True)
    rest.start()
    client = Client(f"unix:{tmp_path}/data/caisson.sock")
    assert client.call("ListCalls") == {}
    client.close()
    process.terminate()
    assert process.wait(30) in (0, 143)
    rest.join(10)
    process.stderr.close()


def test_paths_are_refused_outside_development_workspaces(own: Callable[..., Daemon], stage: Stage) -> None:
    daemon = own(development=[]).start()
    with pytest.raises(CallFailed) as refused:
        read(daemon, inline(stage.connectors / "rows"), "rows").drain()
    assert refused.value.code in ("CONFIG_INVALID", "PERMISSION_MISSING")
