"""Streams: how an author declares them, and what the CDK knows about one."""

from __future__ import annotations

import sys

from .errors import ConnectorFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Literal, TypeVar

    from ._native import ArrowSchema

    F = TypeVar("F", bound=Callable[..., Any])
    Order = Literal["asc", "desc"]
    Unknown = Literal["error", "drop", "extra"]

READ_MODES = ("full", "incremental", "streaming")


def folder_of(module: str) -> str:
    """The folder of a module's file: where relative paths of JSON Schemas start."""
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return file.rpartition("/")[0]


class Stream:
    """An object being read or written.

    Args:
        name: Unique within the connector.
        schema: A TypedDict, dataclass, JSON Schema (dict, or path of a .json file),
            Arrow schema, or list of fields; None: sampled from the first records.
        primary_key: A field, or fields, that identify a record.
        cursor: The field that says how new a record is.
        order: "asc" where records arrive with the cursor never falling, "desc"
            newest first, None where that is not promised.
        modes: Of "full", "incremental", "streaming"; the default is what fits.
        partitions: Names of parts that can be read on their own.
        unknown: What becomes of fields that the schema does not know.
        start: The configuration property that `since.value` starts from.
        poll: Seconds between two rounds in streaming mode.
        extra: Whatever the author wants to find again in `read`.
    """

    __slots__ = (
        "beside", "cursor", "extra", "mode", "modes", "name", "order", "partition", "partitions",
        "poll", "primary_key", "schema", "start", "title", "unknown",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        schema: Any = None,
        *,
        title: str = "",
        primary_key: str | Sequence[str] = (),
        cursor: str = "",
        order: Order | None = None,
        modes: Sequence[str] = (),
        partitions: Iterable[str] | Callable[..., Any] = (),
        unknown: Unknown = "error",
        start: str = "",
        poll: float = 5.0,
        extra: Any = None,
    ) -> None:
        if not name:
            raise ConnectorFailed("a stream without a name")
        if order not in (None, "asc", "desc"):
            raise ConnectorFailed(f"stream {name!r}: order is 'asc', 'desc' or None, not {order!r}")
        if unknown not in ("error", "drop", "extra"):
            raise ConnectorFailed(f"stream {name!r}: unknown is 'error', 'drop' or 'extra', not {unknown!r}")
        if order and not cursor:
            raise ConnectorFailed(f"stream {name!r}: order={order!r} says nothing without cursor=")
        wrong = [mode for mode in modes if mode not in READ_MODES]
        if wrong:
            raise ConnectorFailed(f"stream {name!r}: no such mode {wrong[0]!r}; there is {', '.join(READ_MODES)}")
        self.name = name
        self.schema = schema
        self.title = title
        self.primary_key = [primary_key] if isinstance(primary_key, str) else list(primary_key)
        self.cursor = cursor
        self.order = order
        self.modes = list(modes)
        self.partitions = partitions
        self.unknown: Unknown = unknown
        self.start = start
        self.poll = poll
        self.extra = extra
        self.beside = ""
        self.partition = ""
        self.mode = ""

    def __repr__(self) -> str:
        return f"Stream({self.name!r})"


class Declaration:
    """What `@stream` leaves on a method."""

    __slots__ = ("method", "module", "options", "stream_name")

    def __init__(self, method: str, module: str, stream_name: str, options: dict[str, Any]) -> None:
        self.method = method
        self.module = module
        self.stream_name = stream_name
        self.options = options

    def build(self, owner: Any) -> Stream:
        """A fresh Stream of this declaration; callable partitions are bound to `owner`."""
        stream = Stream(self.stream_name, **self.options)
        stream.beside = folder_of(self.module)
        if callable(stream.partitions):
            declared = stream.partitions
            stream.partitions = lambda: declared(owner)
        return stream


def stream(
    name: str | None = None,
    *,
    schema: Any = None,
    title: str = "",
    primary_key: str | Sequence[str] = (),
    cursor: str = "",
    order: Order | None = None,
    modes: Sequence[str] = (),
    partitions: Iterable[str] | Callable[[Any], Iterable[str]] = (),
    unknown: Unknown = "error",
    start: str = "",
    poll: float = 5.0,
) -> Callable[[F], F]:
    """Declares a method as a stream, named after it unless `name` is given.

    The method takes by name what it needs: `since` (a managed Cursor), `state`
    (its own JSON state), `partition`, `stream`, `mode`. The arguments are those of
    `Stream`; `partitions` may be a function of the connector.
    """
    options = {
        "schema": schema, "title": title, "primary_key": primary_key, "cursor": cursor, "order": order,
        "modes": modes, "partitions": partitions, "unknown": unknown, "start": start, "poll": poll,
    }  # fmt: skip

    def declare(method: F) -> F:
        declaration = Declaration(method.__name__, method.__module__, name or method.__name__, options)
        Stream(declaration.stream_name, **options)  # a wrong declaration fails at import, not at read
        method.__caisson_stream__ = declaration  # type: ignore[attr-defined]
        return method

    if callable(name):
        raise ConnectorFailed("write @stream(...) with parentheses")
    return declare


def declarations(cls: type) -> dict[str, Declaration]:
    """The declared streams of a class by name, bases first, in the order written."""
    found: dict[str, Declaration] = {}
    for base in reversed(cls.__mro__):
        for attribute in vars(base).values():
            declaration = getattr(attribute, "__caisson_stream__", None)
            if isinstance(declaration, Declaration):
                found[declaration.stream_name] = declaration
    return found


def parameters(function: Any) -> tuple[str, ...]:
    """The names of a function's own parameters (`inspect` costs a start too much)."""
    function = getattr(function, "__func__", function)
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    if code is None:
        return ()
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return names


def modes_of(stream: Stream, takes: tuple[str, ...]) -> list[str]:
    """The modes that a stream has: declared, or what its cursor and its method's parameters allow."""
    if stream.modes:
        return list(stream.modes)
    return ["full", "incremental"] if stream.cursor or "state" in takes else ["full"]


def describe(stream: Stream, schema: ArrowSchema | None, modes: list[str], write_modes: list[str]) -> dict[str, Any]:
    """The description that a List answers with."""
    partitions = stream.partitions() if callable(stream.partitions) else stream.partitions
    return {
        "name": stream.name,
        "title": stream.title or stream.name.replace("_", " ").capitalize(),
        "primary_key": stream.primary_key,
        "cursor": stream.cursor,
        "order": stream.order or "",
        "modes": modes,
        "partitions": list(partitions),
        "write_modes": write_modes,
        "fields": schema.fields() if schema is not None else [],
    }
