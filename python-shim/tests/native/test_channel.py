"""The channel: frames by name, in order, from any thread."""

import os
import struct
import threading
import time
from typing import Any

import pytest
from daemon import Daemon, ToWorker

from caisson import _native

FROM_WORKER: dict[str, dict[str, Any]] = {
    "hello": {"protocol_version": 1, "cdk_version": "0.1", "python_version": "3.11", "profile": "strict"},
    "started": {},
    "object": {"json": "{}"},
    "step": {"name": "dns", "status": "passed", "message": ""},
    "schema": {"stream": "s", "schema_id": "s-1", "primary_key": ["a", "b"], "cursor": "c", "mode": "append"},
    "batch": {"stream": "s", "partition": "p", "schema_id": "s-1", "epoch": 1, "sequence": 2**63, "records": 3},
    "checkpoint": {"stream": "s", "partition": "", "id": "x", "state": b"\x00\xff", "records": 1, "final": True},
    "stream_status": {"stream": "s", "partition": "", "status": "complete"},
    "log": {"level": 20, "logger": "l", "message": "ünïcode", "fields_json": "{}"},
    "progress": {"stream": "s", "records": 1, "total": 2, "message": "m"},
    "throttled": {"until_unix_ms": 1, "host": "h", "cause": "429"},
    "rejected": {"stream": "s", "partition": "", "sequence": 1, "record": 2, "key_json": "1", "reason": "r"},
    "acknowledged": {"stream": "s", "partition": "", "sequence": 1, "records": 2},
    "committed": {"stream": "s", "partition": "", "checkpoint_id": "x"},
    "facts": {},
    "prepared": {},
    "done": {"requests": 1, "throttled_seconds": 1.5},
    "failed": {
        "code": "C",
        "exception": "E",
        "message": "m",
        "traceback": "t",
        "stream": "s",
        "partition": "p",
        "retry_at_unix_ms": 1,
        "action": "a",
        "requests": 2,
        "throttled_seconds": 0.5,
    },
}


@pytest.mark.parametrize("kind", FROM_WORKER)
def test_every_message_of_a_worker_arrives_as_protobuf_reads_it(daemon: Daemon, kind: str) -> None:
    fields = FROM_WORKER[kind]
    daemon.channel.send(kind, fields, b"body")
    frame = daemon.next()
    assert (frame.kind, frame.body) == (kind, b"body")
    found = {field.name: getattr(frame.message, field.name) for field in frame.message.DESCRIPTOR.fields}
    assert found == fields


def test_every_arm_of_the_protocol_is_known() -> None:
    from daemon import FromWorker

    assert {field.name for field in FromWorker.DESCRIPTOR.fields} == set(FROM_WORKER)


def test_an_opening_comes_with_words_for_enums_and_dicts_for_messages(daemon: Daemon) -> None:
    message = ToWorker()
    start = message.start
    start.protocol_version, start.operation, start.encoding = 2, 3, 1
    start.call_id, start.config_json, start.stream_count = "c", "{}", 2
    start.secrets.add(reference="env:X", value=b"\xff\x00")
    meta = message.SerializeToString()
    daemon.socket.sendall(struct.pack("<II", len(meta), 0) + meta)
    daemon.send("stream_start", b"{}", name="orders", mode="full", has_state=True)
    daemon.send("stream_start", name="orders", partition="p", max_records=7)
    fields = daemon.channel.opening()
    assert (fields["operation"], fields["encoding"]) == ("read", "arrow_ipc")
    assert fields["secrets"] == [{"reference": "env:X", "value": b"\xff\x00"}]
    first, second = fields["streams"]
    assert (first["name"], first["state"], first["has_state"]) == ("orders", b"{}", True)
    assert (second["partition"], second["state"], second["max_records"]) == ("p", b"", 7)
    known = {field.name for field in start.DESCRIPTOR.fields}
    assert set(fields) == known - {"stream_count"} | {"streams"}
    assert set(first) == {field.name for field in ToWorker().stream_start.DESCRIPTOR.fields} | {"state"}


def test_states_of_many_megabytes_arrive_as_they_were_sent(daemon: Daemon) -> None:
    states = [bytes([number]) * 900_000 for number in range(8)]

    def send() -> None:
        daemon.send("start", operation=3, stream_count=len(states))
        for number, state in enumerate(states):
            daemon.send("stream_start", state, name=str(number), has_state=True)

    sending = threading.Thread(target=send)
    sending.start()
    came = daemon.channel.opening()
    sending.join()
    assert [stream["state"] for stream in came["streams"]] == states


def test_prepare_comes_before_an_opening_and_not_within_one(daemon: Daemon) -> None:
    daemon.send("prepare", entrypoint="shop:Shop")
    assert daemon.channel.opening() == {"prepare": "shop:Shop"}
    daemon.send("start", stream_count=1)
    daemon.send("prepare", entrypoint="shop:Shop")
    with pytest.raises(ValueError, match="Prepare came where StreamStart belongs"):
        daemon.channel.opening()


BROKEN: dict[str, list[tuple[str, dict[str, Any], bytes]]] = {
    "StreamStart came where Start": [("stream_start", {"name": "a"}, b"")],
    "Batch came where Start": [("batch", {"stream": "a"}, b"b")],
    "Batch came where StreamStart": [("start", {"stream_count": 1}, b""), ("batch", {"stream": "a"}, b"b")],
    "Cancel came where StreamStart": [("start", {"stream_count": 1}, b""), ("cancel", {}, b"")],
    "Start came where StreamStart": [("start", {"stream_count": 1}, b""), ("start", {"stream_count": 1}, b"")],
    "comes twice": [("start", {"stream_count": 2}, b""), *[("stream_start", {"name": "a"}, b"")] * 2],
    "has no state": [("start", {"stream_count": 1}, b""), ("stream_start", {"name": "a"}, b"{}")],
    "over the limit of 1048576": [
        ("start", {"stream_count": 1}, b""),
        ("stream_start", {"name": "a", "has_state": True}, bytes(1_048_577)),
    ],
    "over the limit of 10000": [("start", {"stream_count": 10_001}, b"")],
}


@pytest.mark.parametrize("says", BROKEN)
def test_an_opening_that_breaks_the_order_or_a_limit_is_none(daemon: Daemon, says: str) -> None:
    def send() -> None:
        for kind, fields, body in BROKEN[says]:
            daemon.send(kind, body, **fields)

    sending = threading.Thread(target=send)
    sending.start()
    with pytest.raises(ValueError, match=says):
        daemon.channel.opening()
    sending.join()


def test_a_call_is_opened_once(daemon: Daemon) -> None:
    daemon.send("start")
    daemon.channel.opening()
    for kind in ("start", "stream_start"):
        daemon.send(kind)
        with pytest.raises(ValueError, match="a second time"):
            daemon.channel.receive(10)


def test_a_daemon_that_leaves_in_the_middle_of_an_opening_is_gone(daemon: Daemon) -> None:
    daemon.send("start", stream_count=2)
    daemon.send("stream_start", name="a")
    daemon.close()
    with pytest.raises(EOFError):
        daemon.channel.opening()


@pytest.mark.parametrize(
    ("kind", "fields", "says"),
    [
        ("nope", {}, "no message 'nope'|no message \"nope\""),
        ("hello", {"nope": 1}, 'no field "nope"'),
        ("hello", {"protocol_version": "1"}, "str does not fit"),
        ("hello", {"protocol_version": -1}, "protocol_version"),
        ("checkpoint", {"state": "text"}, "state"),
    ],
)
def test_unknown_names_and_wrong_types_are_type_errors(
    daemon: Daemon, kind: str, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(TypeError, match=says):
        daemon.channel.send(kind, fields)


def test_a_body_over_the_limit_is_refused_and_the_channel_goes_on(daemon: Daemon) -> None:
    with pytest.raises(ValueError, match="3670016"):
        daemon.channel.send("facts", {}, b"x" * 3_670_017)
    daemon.channel.send("facts", {}, b"x")
    assert daemon.next().body == b"x"


def test_receive_gives_none_after_its_time(daemon: Daemon) -> None:
    before = time.monotonic()
    assert daemon.channel.receive(0.05) is None
    assert 0.04 < time.monotonic() - before < 5


def test_a_cancel_is_seen_without_blocking_and_what_came_before_it_is_kept(daemon: Daemon) -> None:
    assert daemon.channel.cancelled is False
    daemon.send("batch", b"b" * 10_000, stream="s", records=1)
    daemon.send("cancel", reason="enough")
    while not daemon.channel.cancelled:
        pass
    first, second = daemon.channel.receive(1), daemon.channel.receive(1)
    assert first is not None
    assert (first[0], len(first[2])) == ("batch", 10_000)
    assert second is not None
    assert second[:2] == ("cancel", {"reason": "enough"})


def test_after_the_daemon_closed_everything_raises_eof(daemon: Daemon) -> None:
    daemon.send("end_of_input")
    daemon.close()
    received = daemon.channel.receive()
    assert received is not None
    assert received[0] == "end_of_input"
    assert daemon.channel.cancelled is True
    with pytest.raises(EOFError):
        daemon.channel.receive()
    with pytest.raises(EOFError):
        daemon.channel.send("started", {})


def test_a_malformed_frame_is_a_value_error(daemon: Daemon) -> None:
    daemon.socket.sendall(b"\xff" * 8)
    with pytest.raises(ValueError, match="limit"):
        daemon.channel.receive(10)


def test_a_close_inside_of_a_frame_is_a_value_error(daemon: Daemon) -> None:
    daemon.socket.sendall(struct.pack("<II", 4, 10) + b"ab")
    daemon.close()
    with pytest.raises(ValueError, match="inside a frame"):
        daemon.channel.receive(10)


def test_threads_send_whole_frames(daemon: Daemon) -> None:
    def say(number: int) -> None:
        for _ in range(50):
            daemon.channel.send("facts", {}, bytes([number]) * 70_000)

    threads = [threading.Thread(target=say, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    bodies = [daemon.next().body for _ in range(200)]
    for thread in threads:
        thread.join()
    assert all(len(body) == 70_000 and len(set(body)) == 1 for body in bodies)


def test_python_goes_on_while_a_thread_waits_for_the_daemon(daemon: Daemon) -> None:
    received: list[object] = []
    thread = threading.Thread(target=lambda: received.append(daemon.channel.receive()))
    thread.start()
    # This thread holds the GIL from here; the other can only wait without it.
    daemon.send("end_of_input")
    thread.join(10)
    assert received == [("end_of_input", {}, b"")]


def test_a_descriptor_that_is_no_socket_is_refused_and_stays_open() -> None:
    reader, writer = os.pipe()
    with pytest.raises(OSError, match="non-socket"):
        _native.Channel(reader)
    os.write(writer, b"x")
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError, match="file descriptor"):
        _native.Channel(-1)
