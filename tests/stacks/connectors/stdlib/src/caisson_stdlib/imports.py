"""Every module of the standard library, imported."""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import Any

# What talks, draws, or belongs to another system.
LEFT_OUT = {"antigravity", "this", "idlelib", "turtledemo", "msvcrt", "nt", "winreg", "winsound", "__main__"}


def every_module(_http: int, _tls: int) -> dict[str, Any]:
    """Counts those that came, and names those that the system does not have."""
    came, absent = 0, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in sorted(sys.stdlib_module_names - LEFT_OUT):
            try:
                importlib.import_module(name)
                came += 1
            except ImportError:
                absent.append(name)
    return {"came": came, "absent": [name for name in absent if not name.startswith("_")]}


WORKLOADS = (every_module,)
