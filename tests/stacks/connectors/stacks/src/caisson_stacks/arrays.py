"""numpy: linear algebra on several threads, transforms, chance, files."""

from __future__ import annotations

from typing import Any

import numpy as np

Options = dict[str, Any]


def work_numpy(_options: Options) -> dict[str, Any]:
    """Solves, decomposes, transforms, maps a file."""
    chance = np.random.default_rng(7)
    matrix = chance.normal(size=(600, 600))
    product = matrix @ matrix.T
    solved = np.linalg.solve(product, product @ np.ones(600))
    values = np.linalg.eigvalsh(product)
    wave = np.fft.irfft(np.fft.rfft(np.sin(np.linspace(0, 50, 4096))))
    np.savez_compressed("/tmp/arrays.npz", matrix=matrix)
    with np.load("/tmp/arrays.npz") as loaded:
        same = bool((loaded["matrix"] == matrix).all())
    mapped = np.memmap("/tmp/mapped", dtype="int64", mode="w+", shape=(100_000,))
    mapped[:] = np.arange(100_000)
    mapped.flush()
    total = int(np.memmap("/tmp/mapped", dtype="int64", mode="r").sum())
    huge = np.zeros(40_000_000, dtype="uint8")
    huge[::4096] = 1
    return {
        "solved": bool(np.allclose(solved, 1)), "positive": bool((values > 0).all()), "wave": wave.shape[0],
        "same": same, "total": total, "pages": int(huge.sum()),
    }  # fmt: skip


def work_chance(_options: Options) -> dict[str, Any]:
    """What no two workers may share: the seed that numpy gave itself, and one that it is asked for."""
    return {"global": np.random.bytes(16).hex(), "asked": np.random.default_rng().bytes(16).hex()}
