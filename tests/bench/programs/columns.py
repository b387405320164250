"""One Arrow batch of 8,192 of the `mixed` records, about 1 MB: the same for all contestants."""

from __future__ import annotations

import pyarrow as pa

if __package__:
    from .records import mixed
else:
    from records import mixed  # type: ignore[import-not-found,no-redef]

ROWS = 8192


def batch() -> pa.RecordBatch:
    """The batch; its first column is the numbers from 1."""
    rows = list(mixed(ROWS))
    return pa.RecordBatch.from_pylist(rows)
