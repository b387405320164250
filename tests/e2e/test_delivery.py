"""Delivery: nothing before a committed checkpoint comes again, nothing after it is lost."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conftest import loopback
from harness import CallFailed, Daemon, Stage
from harness.daemon import inline
from harness.read import delivered, last_checkpoint, read, records, retry_at
from servers.httpserver import Api, retry_date, tied

Made = Callable[..., dict[str, Any]]
CLOCK = 0.1
"""Seconds by which two readings of the wall clock may differ."""


def resume(daemon: Daemon, connection: dict[str, Any], name: str, checkpoint: dict[str, Any], **fields: Any) -> Any:
    """A Read that goes on from a checkpoint."""
    return read(daemon, connection, name, from_="FROM_CHECKPOINT", checkpoints=[checkpoint], **fields)


@pytest.mark.parametrize("name", ["asc", "desc"])
def test_a_worker_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    daemon: Daemon, web: Made, api: Api, name: str
) -> None:
    api.records = tied(20_000)
    api.page = 1000
    connection = web()
    stream = read(daemon, connection, name)
    for event in stream:
        if "checkpoint" in event:
            (pid,) = daemon.client.call("GetCall", call_id=stream.call_id)["worker_pids"]
            os.kill(pid, signal.SIGKILL)
            break
    stream.drain()
    if stream.all("failure"):
        assert stream.failure["code"] == "ERROR_CODE_WORKER_LOST", stream.failure
        assert stream.failure["retryable"]
    first = delivered(stream)
    second = resume(daemon, connection, name, last_checkpoint(stream)).drain()
    assert second.summary
    ids = [record["id"] for record in first + records(second)]
    assert len(ids) == len(set(ids)), "some came twice"
    assert set(ids) == {record["id"] for record in api.records}


@pytest.mark.parametrize("checkpoints", range(1, 6))
def test_a_worker_killed_after_any_of_its_checkpoints_goes_on_from_it(
    daemon: Daemon, rows: Made, checkpoints: int
) -> None:
    """It hangs behind that checkpoint, so that it never comes to the next one."""
    hanging = rows(count=55, behave="hang", at=10 * checkpoints + 1)
    stream = read(daemon, hanging, "counted", mode="incremental")
    for _ in range(checkpoints):
        stream.until("checkpoint")
    (pid,) = daemon.client.call("GetCall", call_id=stream.call_id)["worker_pids"]
    os.kill(pid, signal.SIGKILL)
    stream.drain()
    assert stream.failure["code"] == "ERROR_CODE_WORKER_LOST", stream.failure
    assert stream.failure["retryable"]
    assert stream.failure["last_checkpoint"]["id"] == last_checkpoint(stream)["id"]
    rest = resume(daemon, rows(count=55), "counted", last_checkpoint(stream), mode="incremental").drain()
    assert rest.summary
    assert len(delivered(stream)) == 10 * checkpoints
    assert [record["id"] for record in delivered(stream) + records(rest)] == list(range(1, 56))


@pytest.fixture
def hold(api: Api) -> Iterator[Callable[[str, int], threading.Event]]:
    """Has a page of /asc or /desc hang, from so many records on, until the event is set."""
    events = []

    def holding(path: str, start: int) -> threading.Event:
        let_go, page = threading.Event(), getattr(Api, f"_{path}")
        events.append(let_go)

        def held(params: dict[str, str]) -> dict[str, Any]:
            if params.get("page") == str(start):
                let_go.wait(60)
            found: dict[str, Any] = page(api, params)
            return found

        setattr(api, f"_{path}", held)
        return let_go

    yield holding
    for event in events:
        event.set()


@pytest.mark.parametrize("name", ["asc", "desc", "plain"])
def test_a_deadline_in_the_middle_ends_the_call_and_its_last_checkpoint_goes_on(
    daemon: Daemon, web: Made, api: Api, hold: Callable[[str, int], threading.Event], name: str
) -> None:
    api.records = tied(40)
    connection = web()
    let_go = hold("desc" if name == "desc" else "asc", 20)
    stream = read(daemon, connection, name, options={"deadline_ms": 4_000}).drain()
    let_go.set()
    assert stream.failure["code"] == "ERROR_CODE_TIMEOUT", stream.failure
    assert len(delivered(stream)) == 20
    assert stream.failure["last_checkpoint"]["id"] == last_checkpoint(stream)["id"]
    rest = resume(daemon, connection, name, last_checkpoint(stream)).drain()
    assert rest.summary
    assert sorted(record["id"] for record in delivered(stream) + records(rest)) == list(range(1, 41))


def test_from_every_checkpoint_exactly_the_rest_comes(daemon: Daemon, rows: Made) -> None:
    connection = rows(count=30)
    whole = read(daemon, connection, "counted", mode="full").drain()
    assert [record["id"] for record in records(whole)] == list(range(1, 31))
    incremental = read(daemon, connection, "counted", mode="incremental").drain()
    checkpoints = incremental.all("checkpoint")
    assert len(checkpoints) >= 3
    for checkpoint in checkpoints:
        rest = resume(daemon, connection, "counted", checkpoint, mode="incremental").drain()
        before = int(checkpoint.get("records", 0))
        assert [record["id"] for record in records(rest)] == list(range(before + 1, 31))


def test_a_checkpoint_follows_exactly_the_batches_that_it_covers(daemon: Daemon, rows: Made) -> None:
    stream = read(daemon, rows(count=100), "counted", mode="full").drain()
    seen = 0
    sequence = 0
    for event in stream.seen:
        if "batch" in event or "checkpoint" in event:
            assert int(event["header"]["sequence"]) == sequence + 1
            sequence += 1
        if "batch" in event:
            seen += int(event["batch"]["records"])
        elif "checkpoint" in event:
            assert int(event["checkpoint"].get("records", 0)) == seen
    assert seen == 100


def test_an_incremental_read_brings_only_what_is_new(daemon: Daemon, web: Made, api: Api) -> None:
    for name in ("asc", "desc"):
        api.records = tied(25)
        connection = web()
        first = read(daemon, connection, name, mode="incremental").drain()
        assert len(records(first)) == 25
        api.records = [*api.records, {"id": 26, "name": "new", "updated_at": "2026-01-01T00:00:08Z"}]
        second = resume(daemon, connection, name, last_checkpoint(first), mode="incremental").drain()
        assert [record["id"] for record in records(second)] == [26], name


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_429_is_waited_for_visibly_and_the_read_goes_on(daemon: Daemon, web: Made, api: Api, form: str) -> None:
    api.records = tied(25)
    api.fail("/asc", 429, headers={"Retry-After": "1" if form == "seconds" else retry_date(2)})
    stream = read(daemon, web(), "asc").drain()
    assert len(records(stream)) == 25
    (throttled,) = stream.all("throttled")
    assert "429" in throttled["cause"]
    assert stream.summary["stats"]["throttled_seconds"] > 0.4


def test_a_wait_that_cannot_fit_the_deadline_ends_at_once_with_the_time_to_come_back(
    daemon: Daemon, web: Made, api: Api
) -> None:
    api.records = tied(25)
    api.fail("/asc", 429, times=99, headers={"Retry-After": "3600"})
    began = time.time()
    stream = read(daemon, web(), "asc", options={"deadline_ms": 60_000}).drain()
    assert stream.failure["code"] == "ERROR_CODE_QUOTA_EXHAUSTED"
    # What was asked, and a second by chance.
    assert began + 3600 - CLOCK <= retry_at(stream) <= time.time() + 3601 + CLOCK
    assert api.count("/asc") == 1


def test_a_wait_over_the_operators_limit_ends_at_once_with_the_time_to_come_back(
    own: Callable[..., Daemon], stage: Stage, api: Api
) -> None:
    daemon = own(limits={"throttle": "2s"})
    daemon.policy("web", egress=[loopback(api.port)])
    daemon.start()
    api.records = tied(25)
    api.fail("/asc", 429, times=99, headers={"Retry-After": "3600"})
    began = time.time()
    stream = read(daemon, inline(stage.connectors / "web", config={"port": api.port}), "asc", timeout=60).drain()
    assert stream.failure["code"] == "ERROR_CODE_QUOTA_EXHAUSTED", stream.failure
    assert began + 3600 - CLOCK <= retry_at(stream) <= time.time() + 3601 + CLOCK
    assert api.count("/asc") == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "CREDENTIALS_INVALID"),
        (403, "PERMISSION_MISSING"),
        (404, "UPSTREAM_UNAVAILABLE"),
        (500, "UPSTREAM_UNAVAILABLE"),
    ],
)
def test_a_status_of_the_upstream_is_a_stable_code(daemon: Daemon, web: Made, api: Api, status: int, code: str) -> None:
    api.fail("/me", status, times=99)
    stream = daemon.client.stream("Test", connection=web()).drain()
    assert stream.failure["code"] == f"ERROR_CODE_{code}", stream.failure
    assert stream.failure["action"]


def test_a_500_that_passes_is_retried(daemon: Daemon, web: Made, api: Api) -> None:
    api.records = tied(25)
    api.fail("/desc", 500)
    assert len(records(read(daemon, web(), "desc").drain())) == 25
    assert api.count("/desc") == 4


def test_a_repeated_page_token_is_an_error_and_not_a_loop(daemon: Daemon, web: Made, api: Api) -> None:
    api.records = tied(25)
    stream = read(daemon, web(), "repeating").drain()
    assert stream.failure["code"] in ("ERROR_CODE_UPSTREAM_UNAVAILABLE", "ERROR_CODE_CONNECTOR_FAILED")
    assert "circle" in stream.failure["message"], stream.failure
    assert api.count("/repeating") <= 3


def test_many_large_checkpoints_are_gone_on_from_in_one_call(daemon: Daemon, rows: Made) -> None:
    names = [f"heavy{number}" for number in range(8)]
    connection = rows(count=20, heavy=len(names))
    connection["inline"]["state_key"] = "heavy"
    first = read(daemon, connection, *names, mode="incremental").drain()
    assert first.summary
    for name in names:
        halfway = next(each for each in first.all("checkpoint") if each["stream"] == name)
        assert len(halfway["state"]) > 900_000
        daemon.client.call("Commit", state_key="heavy", checkpoint=halfway, force=True)
    rest = read(daemon, connection, *names, mode="incremental", from_="FROM_STORED").drain()
    assert rest.summary
    for name in names:
        came = [
            json.loads(line)["id"]
            for event in rest.seen
            if "batch" in event and event["header"]["stream"] == name
            for line in event["batch"]["data"].splitlines()
        ]
        assert came == list(range(11, 21)), name
    # Not more than a quarter of the worker's memory.
    daemon.policy("rows", limits={"memory": "20MiB"})
    with pytest.raises(CallFailed) as refused:
        read(daemon, connection, *names, mode="incremental", from_="FROM_STORED").drain()
    assert refused.value.code == "CONFIG_INVALID"
    assert "quarter of its memory" in refused.value.message


def test_commit_moves_the_stored_checkpoint_by_compare_and_swap(daemon: Daemon, rows: Made) -> None:
    connection = rows(count=30)
    connection["inline"]["state_key"] = "commits"
    first = read(daemon, connection, "counted", mode="incremental").drain()
    checkpoints = first.all("checkpoint")
    done = daemon.client.call("Commit", state_key="commits", checkpoint=checkpoints[0])
    assert int(done["revision"]) == 1
    with pytest.raises(CallFailed) as refused:
        daemon.client.call("Commit", state_key="commits", checkpoint=checkpoints[1])
    assert refused.value.code == "STATE_CONFLICT"
    daemon.client.call("Commit", state_key="commits", checkpoint=checkpoints[1], expected_revision=1)
    rest = read(daemon, connection, "counted", mode="incremental", from_="FROM_STORED").drain()
    assert records(rest)[0]["id"] == int(checkpoints[1]["records"]) + 1


def test_arrow_batches_are_a_stream_that_pyarrow_reads(daemon: Daemon, rows: Made) -> None:
    import pyarrow as pa

    stream = daemon.client.stream(
        "Read", connection=rows(count=2500), from_="FROM_BEGINNING", streams=[{"stream": "undeclared"}]
    ).drain()
    (schema,) = stream.all("schema")
    content = schema["ipc"] + b"".join(batch["data"] for batch in stream.all("batch")) + b"\xff\xff\xff\xff\0\0\0\0"
    table = pa.ipc.open_stream(content).read_all()
    assert table.num_rows == 2500
    assert table.column("nested")[0].as_py() == {"a": [1], "b": None}
    assert table.column("price").type == pa.float64()


def test_a_write_acknowledges_rejects_and_commits(daemon: Daemon, stage: Any) -> None:
    def messages() -> Any:
        yield {
            "start": {
                "connection": inline(stage.connectors / "sink", config={"reject": 7}),
                "encoding": "ENCODING_JSON_LINES",
            }
        }
        yield {"schema": {"stream": "t", "schema_id": "s", "primary_key": ["id"], "mode": "WRITE_MODE_UPSERT"}}
        data = b"".join(json.dumps({"id": n}).encode() + b"\n" for n in range(1, 31))
        yield {"batch": {"stream": "t", "schema_id": "s", "sequence": 1, "data": data, "records": 30}}
        yield {"checkpoint": {"stream": "t", "id": "c1", "state": b"{}", "final": True}}

    stream = daemon.client.write(messages()).drain()
    assert stream.summary
    assert [int(reject.get("record", 0)) for reject in stream.all("rejected")] == [6, 13, 20, 27]
    assert "7" in stream.all("rejected")[0]["key_json"]
    (committed,) = stream.all("committed")
    assert committed["checkpoint"]["id"] == "c1"
