"""What a refused attempt looks like."""

from __future__ import annotations

import errno
from collections.abc import Callable


def outcome(attempt: Callable[[], object]) -> str:
    """The name of the error that an attempt met, or `done`."""
    try:
        attempt()
    except OSError as refused:
        return errno.errorcode.get(refused.errno or 0, type(refused).__name__)
    except ValueError:
        return "ValueError"
    return "done"
