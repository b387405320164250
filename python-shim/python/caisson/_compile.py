"""Compiles a bundle's source, so that its later workers need not.

Runs in a worker that can reach nothing and write nowhere: what it compiled
goes out by stdout, as for each file the lengths of its path and of its
bytecode (little-endian, 32 bits), and both. It imports nothing of the bundle.
"""

from __future__ import annotations

import importlib.util
import os
import struct
import sys
import warnings
from importlib.machinery import SourceFileLoader
from pathlib import Path

from . import _native

BUNDLE = "/caisson/bundle"
UNCHECKED = 0b01
"""Flags of a .pyc whose source is not looked at again (PEP 552): a bundle does not change."""


def main(profile: str, bundle: str = BUNDLE) -> None:
    """Locks itself, and writes the bytecode of all that compiles."""
    _native.lock(profile)
    warnings.simplefilter("ignore")
    for top in ("src", "deps"):
        for path in sorted(Path(bundle, top).rglob("*.py")):
            # Most of pandas is its tests, which no connector imports; one that does compiles them itself.
            if "tests" in path.relative_to(bundle).parts:
                continue
            code = bytecode(path)
            if code is not None:
                name = os.fsencode(path.relative_to(bundle))
                sys.stdout.buffer.write(struct.pack("<II", len(name), len(code)) + name + code)
    sys.stdout.flush()


def bytecode(path: Path) -> bytes | None:
    """A module as the contents of its .pyc file; None where it is no module of this Python."""
    try:
        source = path.read_bytes()
        code = SourceFileLoader("", str(path)).source_to_code(source, str(path))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    import marshal

    flags = UNCHECKED.to_bytes(4, "little")
    return b"".join((importlib.util.MAGIC_NUMBER, flags, importlib.util.source_hash(source), marshal.dumps(code)))
