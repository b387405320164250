"""Which of the squatter's modules ran, and whether the final filter was on by then."""

from __future__ import annotations

import builtins
import socket
import sys

NAMES = ("sitecustomize", "usercustomize", "burgled_pth", "json", "caisson")


def mark(name: str) -> None:
    """Called by each of them, first of all."""
    try:
        socket.socket(socket.AF_UNIX).close()
        when = "before the filter"
    except OSError:
        when = "behind the filter"
    marks = vars(builtins).setdefault("squatted", {})
    marks[name] = when


def ran(name: str) -> str:
    """When it ran without anybody asking for it; empty if it did not."""
    if name in ("json", "caisson"):
        __import__(name)
        origin = str(getattr(sys.modules[name], "__file__", ""))
        if "squatter" not in origin and "/caisson/bundle" not in origin:
            return ""
    when: str = vars(builtins).get("squatted", {}).get(name, "")
    return when
