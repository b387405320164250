"""A worker as a process: locked first, one call, and gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import caisson
from caisson import _native
from caisson.testing._wire import FROM_WORKER, TO_WORKER, frame, parse

PACKAGE = Path(caisson.__file__).parent
PROFILE = "strict"

CONNECTOR = """
    import os, sys
    from typing import Any
    from caisson import Connector, stream

    TRIED = {}
    try:
        os.execv("/bin/true", ["true"])
    except OSError as error:
        TRIED["exec"] = error.errno

    class Tiny(Connector[Any]):
        @stream(primary_key="id")
        def rows(self):
            print("to standard output")
            print("to standard error", file=sys.stderr)
            yield {"id": 1, "exec": TRIED["exec"], "secret": str(self.config.key), "bare": self.config.key.reveal()}

        @stream()
        def crash(self):
            import ctypes
            ctypes.string_at(0)
            yield {}

        @stream()
        def lingering(self):
            import threading, time
            threading.Thread(target=time.sleep, args=(3600,)).start()
            yield {"id": 1}

        @stream()
        def busy(self):
            import socket, threading

            there = threading.Event()

            def listening():
                there.set()
                mine, _theirs = socket.socketpair()  # both stay open, so that the thread stays where it is
                mine.recv(1)

            threading.Thread(target=listening, daemon=True).start()
            there.wait()
            print("busy", flush=True)
            while True:
                pass
            yield {}
"""

MANIFEST = {"name": "tiny", "entrypoint": "tiny:Tiny"}


class Worker:
    """The daemon's side of one worker process."""

    def __init__(self, bundle: Path, profile: str = PROFILE) -> None:
        ours, theirs = socket.socketpair()
        self.stacks, write_stacks = os.pipe()
        asked_by = (int(signal.SIGQUIT), write_stacks)
        code = (
            f"import sys; sys.path.append({str(PACKAGE.parent)!r}); from caisson._worker import main; "
            f"main({theirs.fileno()}, {profile!r}, {asked_by!r}, bundle={str(bundle)!r})"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code],
            pass_fds=[theirs.fileno(), write_stacks],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin", "HOME": "/tmp", "LANG": "C.UTF-8"},
        )
        theirs.close()
        os.close(write_stacks)
        ours.settimeout(60)
        self.socket = ours

    def receive(self) -> tuple[str, dict[str, Any], bytes]:
        meta, body = struct.unpack("<II", self._exactly(8))
        kind, fields = parse(FROM_WORKER, self._exactly(meta))
        return kind, fields, self._exactly(body)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def start(self, operation: str, streams: Sequence[dict[str, Any]] = (), **fields: Any) -> None:
        whole = {
            "protocol_version": _native.PROTOCOL_VERSION, "operation": operation, "encoding": "json_lines",
            "manifest_json": json.dumps(MANIFEST), "config_json": '{"key": {"$secret": 0}}',
            "secrets": [{"reference": "env:KEY", "value": b"canary"}], "stream_count": len(streams), **fields,
        }  # fmt: skip
        self.socket.sendall(frame(TO_WORKER, "start", whole))
        for stream in streams:
            self.socket.sendall(frame(TO_WORKER, "stream_start", stream))

    def rest(self) -> list[tuple[str, dict[str, Any], bytes]]:
        found = []
        try:
            while True:
                found.append(self.receive())
        except (EOFError, ConnectionError):
            return found

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        self.socket.close()
        if self.stacks >= 0:
            os.close(self.stacks)
            self.stacks = -1
        return self.process.returncode, out.decode(), err.decode()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "tiny.py").write_text(textwrap.dedent(CONNECTOR))
    workers: list[Worker] = []

    def start(**options: Any) -> Worker:
        workers.append(Worker(tmp_path, **options))
        return workers[-1]

    yield start
    for worker in workers:
        worker.process.kill()
        worker.end()


def test_a_worker_greets_serves_one_call_and_ends(launch: Callable[..., Worker]) -> None:
    worker = launch()
    kind, hello, _ = worker.receive()
    assert (kind, hello["profile"], hello["protocol_version"]) == ("hello", PROFILE, _native.PROTOCOL_VERSION)
    assert hello["python_version"] == ".".join(map(str, sys.version_info[:3]))
    worker.start("read", streams=[{"name": "rows"}])
    frames = worker.rest()
    assert [kind for kind, _, _ in frames if kind != "schema"] == [
        "started", "stream_status", "stream_status", "batch", "checkpoint", "stream_status", "done",
    ]  # fmt: skip
    (row,) = [json.loads(line) for kind, _, body in frames if kind == "batch" for line in body.splitlines()]
    assert row == {"id": 1, "exec": 1, "secret": "[secret]", "bare": "canary"}
    assert worker.end() == (0, "to standard output\n", "to standard error\n")


def test_a_worker_that_crashes_says_where(launch: Callable[..., Worker]) -> None:
    worker = launch()
    worker.receive()
    worker.start("read", streams=[{"name": "crash"}])
    assert "done" not in [kind for kind, _, _ in worker.rest()]
    code, _, err = worker.end()
    assert code < 0
    assert "Segmentation fault" in err
    assert "in crash" in err


def test_a_busy_worker_tells_the_stacks_of_all_its_threads(launch: Callable[..., Worker]) -> None:
    worker = launch()
    worker.receive()
    worker.start("read", streams=[{"name": "busy"}])
    assert worker.process.stdout is not None
    assert worker.process.stdout.readline() == b"busy\n"
    worker.process.send_signal(signal.SIGQUIT)
    told = b""
    while b"in busy" not in told or b"in listening" not in told:
        more = os.read(worker.stacks, 4096)
        assert more, told
        told += more
    assert told.count(b"tiny.py") >= 2
    assert worker.process.poll() is None


def test_threads_that_are_left_behind_do_not_keep_it_alive(launch: Callable[..., Worker]) -> None:
    worker = launch()
    worker.receive()
    worker.start("read", streams=[{"name": "lingering"}])
    assert worker.rest()[-1][0] == "done"
    assert worker.end()[0] == 0


def test_an_entrypoint_that_is_not_there_is_a_failure_with_a_code(launch: Callable[..., Worker]) -> None:
    for name, told in [
        ("tiny", "write `module:Class`"),
        ("nowhere:Tiny", "No module named 'nowhere'"),
        ("tiny:Other", "no class derived from caisson.Connector"),
        ("json:loads", "no class derived from caisson.Connector"),
    ]:
        worker = launch()
        worker.receive()
        worker.start("list", manifest_json=json.dumps({"entrypoint": name}))
        kind, failed, _ = worker.rest()[-1]
        assert (kind, failed["code"]) == ("failed", "CONNECTOR_FAILED")
        assert told in failed["message"]


def test_a_bundle_cannot_take_the_place_of_the_standard_library_or_the_cdk(
    launch: Callable[..., Worker], tmp_path: Path
) -> None:
    (tmp_path / "src" / "caisson.py").write_text("raise SystemExit('shadowed')")
    (tmp_path / "src" / "json.py").write_text("raise SystemExit('shadowed')")
    worker = launch()
    worker.receive()
    worker.start("list")
    assert worker.rest()[-1][0] == "done"


def test_inspect_reads_the_source_and_imports_none_of_it(launch: Callable[..., Worker], tmp_path: Path) -> None:
    (tmp_path / "src" / "trap.py").write_text("open('/tmp/sprung', 'w')\nx = 1\n")
    worker = launch()
    worker.receive()
    worker.start("inspect")
    frames = worker.rest()
    assert [kind for kind, _, _ in frames] == ["started", "facts", "done"]
    facts = json.loads(frames[1][2])
    assert [module["module"] for module in facts["modules"]] == ["tiny", "trap"]
    assert not Path("/tmp/sprung").exists()


def test_another_protocol_is_refused(launch: Callable[..., Worker]) -> None:
    worker = launch()
    worker.receive()
    worker.start("list", protocol_version=99)
    kind, failed, _ = worker.rest()[-1]
    assert kind == "failed"
    assert "speaks protocol 99" in failed["message"]


def test_a_worker_whose_opening_breaks_the_order_runs_nothing(launch: Callable[..., Worker], tmp_path: Path) -> None:
    (tmp_path / "src" / "tiny.py").write_text("raise SystemExit('it ran')")
    worker = launch()
    worker.receive()
    worker.start("read", stream_count=1)
    worker.socket.sendall(frame(TO_WORKER, "end_of_input", {}))
    assert worker.rest() == []
    code, _, err = worker.end()
    assert code != 0
    assert "EndOfInput came where StreamStart belongs" in err
    assert "it ran" not in err


def test_a_daemon_that_goes_away_ends_its_worker(launch: Callable[..., Worker]) -> None:
    worker = launch()
    worker.receive()
    worker.socket.shutdown(socket.SHUT_RDWR)
    assert worker.process.wait(60) == 3


def test_without_its_profile_a_worker_does_not_start(launch: Callable[..., Worker]) -> None:
    worker = launch(profile="no-such-profile")
    assert worker.rest() == []
    code, _, err = worker.end()
    assert code != 0
    assert "no-such-profile" in err
