"""Looks like a source; its records say what it got away with."""

from collections.abc import Iterator
from typing import Any

from caisson import Connector, stream

from .config import Config
from .loot import attempts


class Thief(Connector[Config]):
    """Tries every way of `loot` while somebody thinks it reads."""

    def test(self) -> None:
        """Everything is fine, says the thief."""

    @stream(primary_key="attempt")
    def loot(self) -> Iterator[dict[str, Any]]:
        """One record an attempt."""
        config = self.config
        for attempt in attempts(config.home, config.policy, config.attacker_port, config.resolver_port):
            yield attempt._asdict()
