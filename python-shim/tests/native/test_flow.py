"""When batches leave: early, often, never too large, never behind a checkpoint."""

import random
import threading
from typing import Any

import pytest
from daemon import Daemon, Encoding, Fields, Frame, lines, table, tables

from caisson import _native

FIELDS: Fields = [{"name": "id", "type": "int64"}, {"name": "text", "type": "string"}]


def end(daemon: Daemon, **options: Any) -> _native.Emitter:
    options = {"encoding": "arrow_ipc", "schema": _native.ArrowSchema.from_fields(FIELDS), **options}
    return _native.Emitter(daemon.channel, options.pop("stream", "orders"), options.pop("partition", ""), **options)


def drained(daemon: Daemon, of: _native.Emitter, records: Any) -> list[Frame]:
    """All frames, read while they are made."""
    frames: list[Frame] = []
    reader = threading.Thread(target=lambda: frames.extend(daemon.until()))
    reader.start()
    of.records(records)
    of.checkpoint(b"end", final=True)
    reader.join()
    return frames


def test_a_checkpoint_follows_its_records_and_says_what_it_was_given(daemon: Daemon) -> None:
    emitter = end(daemon, partition="p", primary_key=["id"], cursor="id", flush_seconds=60)
    emitter.record({"id": 1})
    first = emitter.checkpoint(b"\x00one")
    emitter.record({"id": 2})
    second = emitter.checkpoint(b"two", final=True)
    kinds = [daemon.next() for _ in range(5)]
    assert [frame.kind for frame in kinds] == ["schema", "batch", "checkpoint", "batch", "checkpoint"]
    schema, batch, one, later, two = (frame.message for frame in kinds)
    assert (schema.stream, schema.schema_id, list(schema.primary_key), schema.cursor) == (
        "orders",
        "orders-1",
        ["id"],
        "id",
    )
    assert (batch.stream, batch.partition, batch.schema_id, batch.records, batch.sequence) == (
        "orders",
        "p",
        "orders-1",
        1,
        1,
    )
    assert (one.id, one.state, one.records, one.final, one.partition) == (first, b"\x00one", 1, False, "p")
    assert (two.id, two.state, two.records, two.final) == (second, b"two", 2, True)
    assert later.sequence == 3
    assert first != second


@pytest.mark.parametrize("declared", [True, False])
def test_what_lies_about_is_sent_while_the_connector_is_silent(daemon: Daemon, declared: bool) -> None:
    options: dict[str, Any] = {} if declared else {"schema": None}
    emitter = end(daemon, flush_seconds=0.02, **options)
    # This thread waits in recv, so another must have sent these.
    for number in range(3):
        emitter.record({"id": number, "text": "x"})
        frames = daemon.until("batch")
        assert frames[-1].message.records == 1
    emitter.close()


def test_the_first_batch_goes_out_at_once_even_if_flushes_are_rare(daemon: Daemon) -> None:
    emitter = end(daemon, flush_seconds=3600)
    emitter.record({"id": 1})
    assert daemon.until("batch")[-1].message.records == 1
    emitter.close()


@pytest.mark.parametrize("encoding", ["arrow_ipc", "json_lines"])
def test_batches_grow_to_their_target_and_never_exceed_the_limit(daemon: Daemon, encoding: Encoding) -> None:
    numbers = random.Random(5)
    records = [{"id": n, "text": "x" * int(numbers.paretovariate(0.6))} for n in range(30_000)]
    records = [record for record in records if len(str(record["text"])) < 60_000]
    emitter = end(daemon, encoding=encoding, target_bytes=100_000, max_bytes=120_000, flush_seconds=60)
    frames = drained(daemon, emitter, records)
    sizes = [len(frame.body) for frame in frames if frame.kind == "batch"]
    assert sizes[0] < 60_000
    assert max(sizes) <= 120_000
    assert sorted(sizes)[len(sizes) // 2] > 60_000
    if encoding == "arrow_ipc":
        assert table(frames).to_pylist() == records
    else:
        assert len(list(lines(frames))) == len(records)
    sequences = [frame.message.sequence for frame in frames if frame.kind == "batch"]
    assert sequences == list(range(1, len(sequences) + 1))


@pytest.mark.parametrize("encoding", ["arrow_ipc", "json_lines"])
def test_nothing_is_lost_between_the_flusher_and_the_connector(daemon: Daemon, encoding: Encoding) -> None:
    emitter = end(daemon, encoding=encoding, flush_seconds=0.0001)
    frames = drained(daemon, emitter, ({"id": n, "text": None} for n in range(50_000)))
    assert len([frame for frame in frames if frame.kind == "batch"]) > 5
    assert sum(frame.message.records for frame in frames if frame.kind == "batch") == 50_000
    if encoding == "arrow_ipc":
        assert table(frames).column("id").to_pylist() == list(range(50_000))


def test_a_slow_reader_stops_the_connector_but_not_the_interpreter(daemon: Daemon) -> None:
    emitter = end(daemon, target_bytes=50_000)
    stopped = threading.Event()

    def connector() -> None:
        emitter.records({"id": n, "text": "x" * 1000} for n in range(5_000))
        stopped.set()

    thread = threading.Thread(target=connector)
    thread.start()
    # Nobody reads, so it cannot finish; this thread runs all the same.
    assert not stopped.wait(0.3)
    held = emitter.count
    assert held < 5_000
    seen = 0
    while seen < 5_000:
        frame = daemon.next()
        seen += frame.message.records if frame.kind == "batch" else 0
    thread.join()
    assert stopped.is_set()


def test_the_generator_may_raise_and_what_came_before_is_kept(daemon: Daemon) -> None:
    def generator() -> Any:
        yield {"id": 1}
        raise LookupError

    emitter = end(daemon, flush_seconds=60)
    with pytest.raises(LookupError):
        emitter.records(generator())
    emitter.checkpoint(b"")
    assert table(daemon.until()).num_rows == 1


def test_records_beyond_the_limit_are_ignored(daemon: Daemon) -> None:
    emitter = end(daemon, max_records=3, flush_seconds=60)
    assert emitter.full is False
    assert emitter.records({"id": n} for n in range(10)) == 10
    assert (emitter.count, emitter.full) == (3, True)
    emitter.checkpoint(b"")
    assert table(daemon.until()).column("id").to_pylist() == [0, 1, 2]


def test_partitions_share_an_equal_schema_and_another_gets_its_own_id(daemon: Daemon) -> None:
    for partition, fields in (("a", FIELDS), ("b", FIELDS), ("c", FIELDS[:1])):
        emitter = end(daemon, partition=partition, schema=_native.ArrowSchema.from_fields(fields), flush_seconds=60)
        emitter.record({"id": 1})
        emitter.close()
    end(daemon, stream="customers").checkpoint(b"")
    frames = daemon.until()
    assert [frame.kind for frame in frames] == ["schema", "batch", "batch", "schema", "batch", "checkpoint"]
    assert [f.message.schema_id for f in frames if f.kind == "batch"] == ["orders-1", "orders-1", "orders-2"]
    assert {name: found.num_rows for name, found in tables(frames).items()} == {"orders-1": 2, "orders-2": 1}


def test_a_closed_emitter_refuses_records_and_closes_again(daemon: Daemon) -> None:
    emitter = end(daemon, flush_seconds=60)
    emitter.record({"id": 1})
    emitter.close()
    emitter.close()
    assert daemon.until("batch")[-1].message.records == 1
    with pytest.raises(ValueError, match="closed"):
        emitter.record({"id": 2})


def test_a_daemon_that_is_gone_is_an_eof_error_from_then_on(daemon: Daemon) -> None:
    emitter = end(daemon, flush_seconds=60)
    daemon.close()
    emitter.record({"id": 1})
    for _ in range(2):
        with pytest.raises(EOFError):
            emitter.flush()
    with pytest.raises(EOFError):
        emitter.record({"id": 2})


@pytest.mark.parametrize("options", [{"encoding": "csv"}, {"unknown": "maybe"}, {"flush_seconds": -1.0}])
def test_options_that_mean_nothing_are_value_errors(daemon: Daemon, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"encoding|unknown|flush_seconds"):
        end(daemon, **options)


def test_a_pump_takes_plain_records_and_stops_at_whatever_else_comes(daemon: Daemon) -> None:
    class Kept(dict[str, Any]):
        """Not exactly a dict."""

    emitter = end(daemon)
    kept = Kept(id=3)
    source = iter([{"id": 1}, {"id": 2}, kept, None, {"id": 4}, {"id": 5}, {"id": 6}])
    assert emitter.pump(source, 10) == (2, kept, False)
    assert emitter.pump(source, 10) == (0, None, False)
    assert emitter.pump(source, 2) == (2, None, False)
    assert emitter.pump(source, 10) == (1, None, True)
    emitter.checkpoint(b"end", final=True)
    assert [row["id"] for row in table(daemon.until()).to_pylist()] == [1, 2, 4, 5, 6]


def test_a_pump_says_how_far_it_is_while_it_runs_and_after_it_broke(daemon: Daemon) -> None:
    emitter = end(daemon)
    taken = []

    def source() -> Any:
        yield {"id": 1}
        yield {"id": 2}
        taken.append(emitter.pumped)
        yield {"id": 3}
        raise KeyError("over")

    with pytest.raises(KeyError, match="over"):
        emitter.pump(source(), 10)
    assert taken == [2]
    assert emitter.pumped == 3


def test_a_pump_tells_its_trail_of_every_record(daemon: Daemon) -> None:
    emitter = end(daemon)
    trail = _native.Trail({})
    track = trail.open("r")

    def source() -> Any:
        for number in (1, 2):
            record = {"id": number}
            track.give(record)
            yield record
        track.page("next")
        assert trail.exact
        yield {"id": 3}

    assert emitter.pump(source(), 10, trail) == (3, None, True)
    assert trail.pages == {"r": "next"}
    assert not trail.exact, "the third is of no track"


def test_a_pump_gives_back_a_record_before_which_a_checkpoint_may_be_due(daemon: Daemon) -> None:
    emitter = end(daemon)
    trail = _native.Trail({})
    track = trail.open("r")
    held, later = {"id": 1}, {"id": 2}

    def source() -> Any:
        track.give(held)
        track.page("2")
        yield held
        track.give(later)
        yield later

    items = source()
    assert emitter.pump(items, 10, trail) == (0, held, False)
    trail.arrive(held)
    trail.passed()
    assert emitter.pump(items, 10, trail) == (0, later, False)
    trail.arrive(later)
    assert trail.pages == {"r": "2"}
    assert trail.exact
