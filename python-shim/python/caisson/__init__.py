"""Caisson's Connector Development Kit.

    from caisson import Connector, Cursor, pages, stream

Everything public is named here; modules with a leading underscore are not.
Names are loaded when they are first asked for: a worker's start pays only for
what its connector uses.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import errors, pages
    from ._batch import Batch
    from ._connector import Connector
    from ._cursor import Cursor
    from ._http import Http
    from ._native import VERSION as __version__  # noqa: N811
    from ._records import Checkpoint, Idle, Reject
    from ._response import Response
    from ._secret import Secret
    from ._settings import Settings
    from ._streams import Stream, stream

__all__ = [
    "Batch",
    "Checkpoint",
    "Connector",
    "Cursor",
    "Http",
    "Idle",
    "Reject",
    "Response",
    "Secret",
    "Settings",
    "Stream",
    "__version__",
    "errors",
    "pages",
    "stream",
]

_HOME = {
    "Batch": "_batch",
    "Checkpoint": "_records",
    "Connector": "_connector",
    "Cursor": "_cursor",
    "Http": "_http",
    "Idle": "_records",
    "Reject": "_records",
    "Response": "_response",
    "Secret": "_secret",
    "Settings": "_settings",
    "Stream": "_streams",
    "stream": "_streams",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in ("errors", "pages", "testing"):
        return import_module(f"{__name__}.{name}")
    if name == "__version__":
        from ._native import VERSION

        return VERSION
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
