"""Bodies of requests and answers on their way through a gateway that inspects them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import Daemon, Stage
from harness.daemon import inline
from harness.read import read, records
from harness.watch import peak_rss
from servers.parcels import Parcels
from servers.secure import Signer

CAP = 1 << 20
"""Longest body that is sent again, bytes."""
MIB = 300


@pytest.fixture(scope="module")
def signer(stage: Stage) -> Signer:
    """Who signed for the server, and is no root of the host's."""
    return Signer(stage.folder("bodies"))


@pytest.fixture
def parcels(signer: Signer) -> Iterator[Parcels]:
    with Parcels(signer) as server:
        yield server


@pytest.fixture
def ask(stage: Stage, signer: Signer, parcels: Parcels, own: Callable[..., Daemon]) -> Callable[..., dict[str, Any]]:
    """Reads the only record of a stream of `courier`, by a daemon of the test's own."""
    daemon = own(egress={"ca": "upstream.pem"})
    shutil.copy(signer.folder / "ca.pem", daemon.folder / "upstream.pem")
    daemon.start()
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [parcels.port], "protocol": "https"}
    daemon.policy("courier", egress=[{**rule, "on_429": "retry"}])

    def run(stream: str, **config: Any) -> dict[str, Any]:
        connection = inline(stage.connectors / "courier", config={"port": parcels.port, **config})
        seen = read(daemon, connection, stream).drain()
        assert seen.summary, seen.failure
        (record,) = records(seen)
        return record

    run.daemon = daemon  # type: ignore[attr-defined]
    return run


@pytest.mark.parametrize(
    ("request_", "again"),
    [
        ({"size": 0}, True),
        ({"size": CAP - 1}, True),
        ({"size": CAP}, True),
        ({"size": CAP + 1}, False),
        ({"size": 10, "chunked": True}, False),
        ({"size": 10, "method": "POST"}, False),
    ],
    ids=[
        "none",
        "one byte under the cap",
        "at the cap",
        "one byte over it",
        "of a length nobody knows",
        "not idempotent",
    ],
)
def test_a_request_that_came_too_soon_is_sent_again_as_it_was_if_it_can_be_held(
    ask: Callable[..., dict[str, Any]], parcels: Parcels, request_: dict[str, Any], again: bool
) -> None:
    parcels.busy = 1
    answer = ask("answers", asks=json.dumps([{"method": "PUT", "path": "/put", **request_}]))
    assert answer["status"] == (200 if again else 429)
    sizes = [(parcel.size, parcel.head) for parcel in parcels.came]
    assert len(sizes) == (2 if again else 1)
    assert {size for size, _ in sizes} == {request_["size"]} and len(set(sizes)) == 1


def test_bodies_stream_both_ways_and_the_daemon_holds_none(ask: Any, parcels: Parcels) -> None:
    whole = {"sent": 200, "arrived": 200, "taken": 200}
    # More than is held to be sent again.
    assert ask("through", mib=2) == {**whole, "received": 2 << 20}
    before = peak_rss(ask.daemon)
    assert ask("through", mib=MIB) == {**whole, "received": MIB << 20}
    assert parcels.came[-1].size == MIB << 20
    grown = peak_rss(ask.daemon) - before
    assert grown < 24 << 20, f"{grown >> 20} MiB for {MIB} each way"
