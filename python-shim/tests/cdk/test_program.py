"""Singer taps and Airbyte sources as connectors: commands of packages, run on a thread."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from caisson import errors
from caisson._program import LIMIT, Abandoned, Output
from caisson.airbyte import Source
from caisson.singer import Tap
from caisson.testing import Harness

Install = Callable[[str, str], None]
MANIFEST = {"config": {"properties": {"key": {"type": "string", "secret": True}}}}

TAP = """
    import argparse, json, pathlib, sys
    CATALOG = {"streams": [
        {"tap_stream_id": "orders", "stream": "orders", "key_properties": ["id"],
         "schema": {"type": "object", "properties": {"id": {"type": "integer"}}},
         "metadata": [{"breadcrumb": ["properties", "id"], "metadata": {"inclusion": "automatic"}}]},
        {"tap_stream_id": "items", "stream": "items", "schema": {"type": "object", "properties": {}}, "metadata":
         [{"breadcrumb": [], "metadata": {"table-key-properties": ["sku"]}}]}]}

    def load(path):
        return json.loads(pathlib.Path(path).read_text())

    def say(**message):
        print(json.dumps(message))

    def main():
        parser = argparse.ArgumentParser()
        for name in ("config", "catalog", "state"):
            parser.add_argument("--" + name)
        parser.add_argument("--discover", action="store_true")
        given = parser.parse_args()
        config = load(given.config)
        if given.discover:
            print(json.dumps(CATALOG, indent=2))
            return
        print("a line that is no message")
        chosen = [each["stream"] for each in load(given.catalog)["streams"] if each["selected"]]
        start = load(given.state)["next"] if given.state else 0
        say(type="SCHEMA", stream="orders", schema={}, key_properties=["id"])
        say(type="STATE", value={"next": start})
        for number in range(start, start + config.get("count", 3)):
            say(type="RECORD", stream="parents", record={"id": -1})
            say(type="RECORD", stream=chosen[0], record={"id": number, "sku": "s", "key": config["key"]})
            say(type="STATE", value={"next": number + 1})
            say(type="STATE", value={"next": number + 1})
        if config.get("end"):
            sys.exit(config["end"])
        if config.get("raise"):
            raise LookupError(config["raise"])
        if config.get("batch"):
            say(type="BATCH", stream="orders")
"""

SOURCE = """
    import json, pathlib, sys
    STREAM = {"name": "orders", "json_schema": {"type": "object", "properties": {"id": {"type": "integer"}}},
              "supported_sync_modes": ["full_refresh", "incremental"], "source_defined_primary_key": [["id"]]}

    def load(path):
        return json.loads(pathlib.Path(path).read_text())

    def say(type, **message):
        # As Airbyte's own do: past sys.stdout.
        sys.__stdout__.write(json.dumps({"type": type, **message}) + "\\n")

    def run():
        words = dict(zip(sys.argv[2::2], sys.argv[3::2]))
        config = load(words["--config"])
        before, sys.stderr = sys.stderr, sys.__stdout__
        try:
            if sys.argv[1] == "check":
                good = config["key"] == "k"
                status = {"status": "SUCCEEDED" if good else "FAILED", "message": "401"}
                say("CONNECTION_STATUS", connectionStatus=status)
            elif sys.argv[1] == "discover":
                say("CATALOG", catalog={"streams": [STREAM]})
            else:
                read(config, load(words["--catalog"])["streams"], words.get("--state"))
        finally:
            sys.stderr = before

    def read(config, streams, state):
        assert [each["stream"]["name"] for each in streams] == ["orders"]
        print("a line that is no message", file=sys.stderr)
        say("LOG", log={"level": "WARN", "message": "take care"})
        start = load(state)[0]["stream"]["stream_state"]["next"] if state else 0
        for number in range(start, start + 3):
            say("RECORD", record={"stream": "orders", "data": {"id": number}, "emitted_at": 1})
        found = {"stream_descriptor": {"name": "orders"}, "stream_state": {"next": number + 1}}
        say("STATE", state={"type": "STREAM", "stream": found, "sourceStats": {"recordCount": 3.0}})
        say("TRACE", trace={"type": "STREAM_STATUS", "emitted_at": 1})
        for changed in config.get("changes", ()):
            changed = json.loads(json.dumps(changed).replace("NEXT", "next"))
            say("CONTROL", control={"type": "CONNECTOR_CONFIG", "connectorConfig": {"config": {**config, **changed}}})
        if config.get("fails"):
            told = {"message": "the cause", "stack_trace": "its stack", "failure_type": config["fails"]}
            say("TRACE", trace={"type": "ERROR", "emitted_at": 1, "error": told})
            sys.exit(1)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a package with a command where imports find it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installed(command: str, source: str) -> None:
        module = command.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        info = tmp_path / f"{module}-1.dist-info"
        info.mkdir()
        main = "run" if command.startswith("source") else "main"
        (info / "entry_points.txt").write_text(f"[console_scripts]\n{command}={module}:{main}\n")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {command}\nVersion: 1\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return installed


@pytest.fixture
def tap(install: Install) -> Callable[..., Harness]:
    install("tap-orders", TAP)

    class Orders(Tap):
        command = "tap-orders"

    return lambda **config: Harness(Orders, {"key": "k", **config}, manifest=MANIFEST)


@pytest.fixture
def source(install: Install) -> Callable[..., Harness]:
    install("source-orders", SOURCE)

    class Orders(Source):
        command = "source-orders"

    return lambda **config: Harness(Orders, {"key": "k", **config}, manifest=MANIFEST)


def test_a_taps_catalog_is_listed(tap: Callable[..., Harness]) -> None:
    orders, items = tap().list().check().objects
    assert (orders["name"], orders["primary_key"], orders["modes"]) == ("orders", ["id"], ["full", "incremental"])
    assert items["primary_key"] == ["sku"]


def test_a_taps_records_and_states_become_records_and_checkpoints(tap: Callable[..., Harness]) -> None:
    run = tap().read("orders").check()
    assert run.records == [{"id": n, "_extra": '{"sku":"s","key":"k"}'} for n in range(3)]
    made = [(each.before, json.loads(each.state)["own"], each.final) for each in run.checkpoints]
    assert made == [
        (0, {"next": 0}, False), (1, {"next": 1}, False), (2, {"next": 2}, False), (3, {"next": 3}, False),
        (3, {"next": 3}, True),
    ]  # fmt: skip
    more = tap(count=1).read("orders", state=run.state).check()
    assert [record["id"] for record in more.records] == [3]


def test_only_the_stream_that_is_read_is_selected(tap: Callable[..., Harness]) -> None:
    assert [record["id"] for record in tap().read("items").check().by_stream["items"]] == [0, 1, 2]


def test_a_tap_is_tested_by_its_first_record(tap: Callable[..., Harness]) -> None:
    told = [step["message"] for step in tap().test().check().steps]
    assert {"2 streams", "orders: a record came"} <= set(told), told


def test_a_read_of_a_few_records_ends_the_tap_and_leaves_standard_output_as_it_was(
    tap: Callable[..., Harness], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = list(sys.argv)
    run = tap(count=10_000_000).read("orders", "items", max_records=2).check()
    assert [len(records) for records in run.by_stream.values()] == [2, 2]
    print("mine")
    assert "mine" in capsys.readouterr().out
    assert sys.argv == argv
    assert "tap-orders" not in [thread.name for thread in threading.enumerate()]


def test_a_tap_waits_for_its_reader() -> None:
    output = Output()

    def ahead() -> None:
        with contextlib.suppress(Abandoned):
            while True:
                output.write(b"x" * 999 + b"\n")

    thread = threading.Thread(target=ahead)
    thread.start()
    for _ in range(5_000):
        assert output.next(lambda: None) == b"x" * 999
    assert output.held <= LIMIT + 1000
    output.abandon()
    thread.join()


def test_a_line_may_be_longer_than_what_is_held() -> None:
    output = Output()

    def pieces() -> None:
        for _ in range(5):
            output.write(b"x" * LIMIT)
        output.end()

    thread = threading.Thread(target=pieces, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert output.next(lambda: None) == b"x" * 5 * LIMIT
    assert output.next(lambda: None) is None
    assert output.held == 0


def test_a_print_of_the_readers_own_is_no_message_and_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", said)
    output = Output()
    filled = threading.Thread(target=lambda: output.write(b"\n" * (LIMIT + 1)))
    filled.start()
    filled.join()
    output.write(b"mine\n")
    assert said.getvalue() == "mine\n"
    assert output.held == LIMIT + 1


def test_how_a_tap_ends_is_told(tap: Callable[..., Harness]) -> None:
    for config, said in (
        ({"end": 3}, "tap-orders ended with 3"),
        ({"end": "no such account"}, "tap-orders ended with 'no such account'"),
        ({"raise": "where"}, "where"),
        ({"batch": True}, "BATCH"),
    ):
        run = tap(**config).read("orders")
        assert run.code == "CONNECTOR_FAILED" and said in str(run.error), run.error
        assert len(run.records) == 3
        assert json.loads(run.state or b"")["own"] == {"next": 3}


def test_a_command_that_is_not_there_is_named_with_those_that_are(install: Install) -> None:
    install("tap-orders", TAP)
    with pytest.raises(errors.ConnectorFailed, match=r"no command|has a command 'tap-order'; there is: .*tap-orders"):

        class Wrong(Tap):
            command = "tap-order"


def test_a_configuration_lies_in_a_file_only_while_the_command_runs(
    tap: Callable[..., Harness], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    tap().read("orders").check()
    tap(**{"raise": "where"}).read("orders")
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "__pycache__"}


def test_a_sources_streams_are_listed(source: Callable[..., Harness]) -> None:
    (orders,) = source().list().check().objects
    assert (orders["name"], orders["primary_key"], orders["modes"]) == ("orders", ["id"], ["full", "incremental"])


def test_a_sources_records_states_and_log_are_passed_on(source: Callable[..., Harness]) -> None:
    run = source().read("orders").check()
    assert run.records == [{"id": n, "_extra": None} for n in range(3)]
    own = [{"type": "STREAM", "stream": {"stream_descriptor": {"name": "orders"}, "stream_state": {"next": 3}}}]
    assert [(each.before, json.loads(each.state)["own"]) for each in run.checkpoints] == [(3, own), (3, own)]
    assert [each["message"] for each in run.logs] == ["take care"]
    more = source().read("orders", state=run.state).check()
    assert [record["id"] for record in more.records] == [3, 4, 5]


def test_a_sources_check_is_the_test(source: Callable[..., Harness]) -> None:
    assert source().test().check().steps
    run = source(key="wrong").test()
    assert (run.code, str(run.error and run.error.message)) == ("CONFIG_INVALID", "401")


def test_a_source_that_gets_itself_a_token_fails_since_nobody_keeps_it(source: Callable[..., Harness]) -> None:
    for changed in ({"oauth": {"refresh_token": "NEXT"}}, {"accounts": [{"refreshToken": "NEXT"}]}):
        run = source(changes=[changed]).read("orders")
        assert run.code == "CONNECTOR_FAILED" and "got itself a token" in str(run.error), run.error
        assert len(run.records) == 3


def test_a_source_that_migrates_its_configuration_is_told_that_nobody_keeps_it(
    source: Callable[..., Harness],
) -> None:
    moved = {"token": None, "credentials": {"access_token": "t"}}
    run = source(token="t", changes=[{}, {"page": {"size": "NEXT"}}, moved]).read("orders").check()
    told = [each["message"] for each in run.logs][1:]
    assert told == [f"the source changed its configuration, which is not kept: {what}" for what in ("size", "names")]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("config_error", "CONFIG_INVALID"),
        ("transient_error", "UPSTREAM_UNAVAILABLE"),
        ("system_error", "CONNECTOR_FAILED"),
    ],
)
def test_a_sources_error_says_whose_it_is(source: Callable[..., Harness], kind: str, code: str) -> None:
    run = source(fails=kind).read("orders")
    assert run.error is not None
    assert (run.code, run.error.message) == (code, "the cause")
    assert "its stack" in run.error.traceback
    assert len(run.records) == 3
