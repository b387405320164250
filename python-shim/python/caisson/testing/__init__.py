"""Tests of connectors under plain pytest: no daemon, no network, no waiting.

    from caisson.testing import Harness

    def test_orders():
        shop = Harness(".", config={"shop": "acme", "api_key": "k"}, cassette="tests/cassettes/orders.har")
        assert len(shop.read("orders").check().records) == 3

The encoder is the real one, so that a record that does not fit its schema
fails here as it would in a worker.
"""

from __future__ import annotations

from ._api import Api, Request
from ._cassette import Cassette, NotRecorded
from ._clock import FakeClock
from ._faults import Fault
from ._harness import Harness
from ._kill import kill_after_each_checkpoint
from ._outcome import Checkpointed, Failure, Outcome

__all__ = [
    "Api",
    "Cassette",
    "Checkpointed",
    "Failure",
    "FakeClock",
    "Fault",
    "Harness",
    "NotRecorded",
    "Outcome",
    "Request",
    "kill_after_each_checkpoint",
]
