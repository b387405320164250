"""Fixtures of the native half's tests."""

from collections.abc import Iterator

import pytest
from daemon import Daemon


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Daemon() as end:
        yield end
