"""The native half: lock, channel, encoder, decoder, HTTP transport, pages of JSON."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Literal, Self, final

__all__ = [
    "PROTOCOL_VERSION",
    "VERSION",
    "ArrowSchema",
    "Channel",
    "Emitter",
    "HttpTransport",
    "Json",
    "Page",
    "RecordBatch",
    "Track",
    "Trail",
    "TransportError",
    "lock",
    "serve_forks",
]

PROTOCOL_VERSION: Final[int]
VERSION: Final[str]

def lock(profile: str) -> None:
    """Puts the final seccomp filter of `profile` on every thread. Irreversible.

    Raises:
        OSError: The kernel refused the filter; nothing may be run.
        ValueError: No such profile.
    """

def serve_forks(get_ready: Callable[[bool], object]) -> tuple[int, str, tuple[int, int]] | None:
    """Has this interpreter be a zygote, which workers are forked from.

    Args:
        get_ready: Called in each fork before it is isolated, with whether its
            plan has come already; leaves no thread. Where there is time, it
            does for nothing what a worker does.

    Returns:
        In a worker, once every layer but the final filter is on: the channel,
        the profile, and the signal that asks for stacks with the descriptor
        that they are written to. In the zygote None, when it is to end.

    Raises:
        OSError: It has several threads, or descriptor 0 is no launcher's socket.
    """

@final
class Channel:
    """The worker's only socket to its daemon. Methods are thread-safe and
    release the GIL while bytes move. After the daemon closed, every method
    raises EOFError."""

    def __new__(cls, fd: int) -> Self: ...
    def opening(self) -> dict[str, Any]:
        """Waits for Start and the streams that it announces: Start's fields, as
        `receive` gives fields, and under "streams" a dict for each stream, its
        state as bytes under "state" (empty without one). Where Prepare comes
        first, only that: its entrypoint under "prepare".

        Raises:
            ValueError: Something else came, or more than the protocol allows;
                nothing may be run.
        """
    def receive(self, timeout: float | None = None) -> tuple[str, dict[str, Any], bytes] | None:
        """The next message: (kind, fields, body). `kind` is the oneof's arm in
        ToWorker ("schema", "batch", ...), `fields` its fields by proto name
        (enums as lower-case words without prefix: "read", "arrow_ipc"; bytes
        as bytes; messages as dicts). None after `timeout` seconds (None: no
        limit).

        Raises:
            ValueError: The daemon opened the call a second time.
        """
    def send(self, kind: str, fields: dict[str, Any], body: bytes = b"") -> None:
        """Sends a FromWorker arm by name. Unknown kinds, fields and wrong
        types raise TypeError."""
    @property
    def cancelled(self) -> bool:
        """True once a Cancel arrived or the daemon closed; looks without blocking
        (messages read meanwhile are kept for receive)."""

@final
class Emitter:
    """Encodes one (stream, partition)'s records and sends them in order with
    its checkpoints. A record is visited once. Batches aim at `target_bytes`
    (the first goes out early), never exceed `max_bytes`, and are flushed
    after `flush_seconds` even while the connector is silent (a native thread
    does it). Raises caisson.errors.SchemaViolation for a value that does not
    fit (stream, record, field, expected and found type, never the value) and
    caisson.errors.RecordTooLarge."""

    def __new__(
        cls,
        channel: Channel,
        stream: str,
        partition: str,
        *,
        encoding: Literal["arrow_ipc", "json_lines"],
        schema: ArrowSchema | None,
        unknown: Literal["error", "drop", "extra"] = "error",
        primary_key: list[str] = ...,
        cursor: str = "",
        target_bytes: int = 1048576,
        max_bytes: int = 3670016,
        flush_seconds: float = 0.2,
        sample: int = 1000,
        max_records: int = 0,
    ) -> Self: ...
    def record(self, record: dict[str, Any]) -> None:
        """Adds one record. Without a schema, records are kept until `sample`
        of them (or a checkpoint, flush, or flush_seconds) fix it."""
    def records(self, records: Iterable[dict[str, Any]]) -> int:
        """Adds records until the iterable ends; returns how many."""
    def pump(
        self, source: Iterator[Any], most: int, trail: Trail | None = None, limit: int | None = None
    ) -> tuple[int, Any, bool]:
        """Adds records of an iterator while they are plain dicts, until there
        are `most`. Where a generator is in the middle of `yield from` a Page,
        the rest of the page is added too, without a dict for each record, until
        a batch was sent, and no more than `limit` in all. `trail` is told of
        all of them.

        Returns how many, the item that it stopped at (no plain dict, or one
        that may end a page of the trail; else None), and whether the iterator
        ended."""
    @property
    def pumped(self) -> int:
        """How many records the running `pump` has added so far, or the last one added."""
    def arrow(self, data: Any) -> int:
        """Adds everything of an object with __arrow_c_stream__ or
        __arrow_c_array__, without going through Python values; returns the number of
        records. Under json_lines it is converted."""
    def checkpoint(self, state: bytes, final: bool = False) -> str:
        """Flushes, then sends a checkpoint; returns its id."""
    def flush(self) -> None: ...
    def close(self) -> None:
        """Flushes and stops the flusher; idempotent."""
    @property
    def count(self) -> int:
        """Records so far, without those beyond `max_records`."""
    @property
    def full(self) -> bool:
        """True once `max_records` were taken; records after that are ignored."""
    @property
    def schema(self) -> ArrowSchema | None: ...

@final
class ArrowSchema:
    """An Arrow schema. Implements __arrow_c_schema__."""

    @staticmethod
    def from_fields(fields: list[dict[str, Any]]) -> ArrowSchema:
        """From [{"name", "type", "nullable"}]; `type` is one of null, bool, int8..int64,
        uint8..uint64, float32, float64, decimal(p,s), string, binary, date,
        time, timestamp (UTC, microseconds), timestamp_naive, duration, json
        (a string that holds JSON), or {"list": type}, {"struct": fields},
        {"map": type} (string keys)."""
    @staticmethod
    def from_arrow(schema: Any) -> ArrowSchema:
        """From an object with __arrow_c_schema__."""
    @staticmethod
    def from_json_schema(schema: dict[str, Any]) -> ArrowSchema:
        """From a JSON Schema object (type, format, items, properties)."""
    @staticmethod
    def from_ipc(message: bytes) -> ArrowSchema: ...
    @staticmethod
    def infer(records: list[dict[str, Any]]) -> ArrowSchema: ...
    def to_ipc(self) -> bytes: ...
    def fields(self) -> list[dict[str, Any]]:
        """The inverse of from_fields."""
    def __arrow_c_schema__(self) -> object: ...

@final
class RecordBatch:
    """Decoded records on their way to a destination."""

    @staticmethod
    def decode(schema: ArrowSchema | None, encoding: str, body: bytes) -> RecordBatch:
        """From one batch's bytes. JSON lines need no schema (it is inferred); with one,
        values are converted to its types.

        Raises:
            ValueError: Malformed bytes, with what and where.
        """
    def __len__(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def schema(self) -> ArrowSchema: ...
    def to_pylist(self) -> list[dict[str, Any]]:
        """datetime, date, time, timedelta, Decimal, bytes, list, dict, str, int, float, bool, None."""
    def rows(self, columns: list[str] | None = None) -> list[tuple[Any, ...]]:
        """Values only, in the schema's order; with `columns`, of these fields in that order.

        Raises:
            ValueError: There is no such field.
        """
    def with_json(self, columns: list[str]) -> RecordBatch:
        """The same records, with these columns as JSON's text; a null stays one.

        Raises:
            ValueError: There is no such field, or a value that JSON cannot say.
        """
    def slice(self, offset: int, length: int) -> RecordBatch: ...
    def csv(self, null: str = "\\N") -> bytes:
        """PostgreSQL COPY text format (tab separated, backslash escapes)."""
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class Trail:
    """Which pages have gone through a stream completely.

    The client hands records to the author's code, which yields them on, drops
    some, or uses them to ask for more. A page may be named in a checkpoint only
    when nothing of it can still be in the author's hands: a checkpoint that comes
    too early loses records without a word. Each sequence of pages is a `Track`,
    and a page of it is done when every record of it and of the pages before came
    out of the stream, the very objects, and the author then asked for more (or a
    record of a later page came out).

    An author who builds new records, drops some, or only drives other requests
    with them, does not make that true: such a track names no pages, and is read
    again after a fault. That is slower and never wrong; who holds a record back
    and who dropped it look the same from here. `records(map=...)` reshapes and
    drops within the client, where the difference is known."""

    def __new__(cls, pages: dict[str, Any]) -> Self: ...
    @property
    def pages(self) -> dict[str, Any]:
        """What is done, by request: the token of the next page, or True. At most
        2,000 requests; further ones are read again after a fault."""
    @property
    def moves(self) -> int:
        """How often `pages` changed."""
    @property
    def exact(self) -> bool:
        """True if `pages` names all that came out, and nothing else."""
    @property
    def tracks(self) -> int:
        """Tracks that are followed, those among them that have ended while the
        author still has records of them (at most 32)."""
    def foreign(self) -> None:
        """Records came out that are of no track."""
    def open(self, request: str) -> Track:
        """A track for `request`; the same one asked again in one slice is another track."""
    def arrive(self, record: Any) -> None:
        """`record` is about to come out of the author's stream."""
    def passed(self) -> None:
        """The record that arrived last came out."""
    def restart(self) -> None:
        """A slice ended: its pages mean nothing to the next one."""

@final
class Track:
    """One sequence of pages on its way."""

    @property
    def resume(self) -> Any:
        """The token to go on from; True: nothing is left; None: from the first page."""
    @property
    def held(self) -> int:
        """Records that the author has. Where three pages are open and 1,000
        records are held, the track is given up and names no pages."""
    def give(self, record: Any) -> None:
        """The client hands `record` to the author."""
    def page(self, token: Any) -> None:
        """A page ends here; `token` names the next one, True says that there is none."""
    def end(self) -> None:
        """The client hands out nothing more on this track."""

@final
class Json:
    """An answer's body that is plain JSON: UTF-8, RFC 8259, nested at most 100
    deep, without half a surrogate pair, its outermost object of at most 256
    members. Values are those that `json.loads` makes."""

    @staticmethod
    def parse(content: object, at: str | None = None, track: Track | None = None) -> Json | None:
        """Looks at a body; None if it is no bytes, or not plain.

        Args:
            content: The body.
            at: Where the records are: the name of a member of the outermost object, or None for the whole.
            track: Of whose pages this is one; what its records became before is made of them on this look.
        """
    @property
    def ahead(self) -> int:
        """How many records were made rows on the first look."""
    def find(self, at: str | None = None) -> Any:
        """The value at a dotted path, as `pages.find`, where it is no list or
        object; without a path, the whole.

        Raises:
            LookupError: It is a list or an object, or only `pages.find` knows
                what the path means here.
        """
    def page(self, at: str | None = None, track: Track | None = None) -> Page | None:
        """The array at a path; None if there is none, or only `pages.find` knows."""

@final
class Page:
    """The records of one answer, made one by one: an iterator that gives each
    record to its track."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def __len__(self) -> int:
        """All of them, those that were handed out too."""
    def __getitem__(self, index: int, /) -> Any:
        """The last one, for -1; no other.

        Raises:
            IndexError: Another index, or an empty page.
        """

class TransportError(Exception):
    """A request that got no answer. args: (kind, message), kind one of
    dns, connect, tls, timeout, reset, protocol, too_large."""

@final
class HttpTransport:
    """A pool of HTTP/1.1 connections (rustls, ring). The GIL is released
    while a request runs. Redirects are not followed and no status raises."""

    def __new__(
        cls,
        *,
        connect_timeout: float = 10.0,
        read_timeout: float = 60.0,
        ca_file: str | None = None,
        user_agent: str = "caisson",
        max_body: int = 268435456,
    ) -> Self: ...
    def request(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes | None = None,
        timeout: float | None = None,
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """(status, headers in order, body with gzip undone).

        Raises:
            TransportError: No answer; see its kind.
            ValueError: A bad method, URL or header.
        """
