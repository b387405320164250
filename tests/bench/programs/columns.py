"""One Arrow batch of 8,192 of the `mixed` records, about 1 MB: the same for all contestants."""

from __future__ import annotations

import pyarrow as pa

try:
    from .records import mixed
except ImportError:
    from records import mixed

ROWS = 8192


def batch() -> pa.RecordBatch:
    """The batch; its first column is the numbers from 1."""
    rows = list(mixed(ROWS))
    return pa.RecordBatch.from_pylist(rows)
