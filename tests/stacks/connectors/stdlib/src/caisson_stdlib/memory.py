"""Memory: large, mapped, shared, given back."""

from __future__ import annotations

import array
import gc
import mmap
import os
import tracemalloc
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

from .refused import outcome


def mappings(_http: int, _tls: int) -> dict[str, Any]:
    """Anonymous and mapped files, grown and given back."""
    path = Path("/tmp/mapped")
    path.write_bytes(b"\0" * mmap.PAGESIZE)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:5] = b"hello"
        mapped.flush()
        mapped.resize(4 * mmap.PAGESIZE)
        mapped.madvise(mmap.MADV_SEQUENTIAL)
        size = len(mapped)
    with mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as anonymous:
        anonymous[:3] = b"abc"
        anonymous.madvise(mmap.MADV_DONTNEED)
    tracemalloc.start()
    grown = array.array("q")
    for _ in range(40):
        grown.extend(range(50_000))
    rows = [{"id": number, "text": "x" * 50} for number in range(200_000)]
    count = len(rows)
    del rows, grown
    gc.collect()
    tracemalloc.stop()
    return {"file": path.read_bytes()[:5].decode(), "size": size, "rows": count,
            "shared without a file": outcome(lambda: mmap.mmap(-1, 1 << 20).close()),
            "shared": outcome(lambda: shared_memory.SharedMemory(create=True, size=100)),
            "memfd": outcome(lambda: os.memfd_create("x"))}  # fmt: skip


WORKLOADS = (mappings,)
