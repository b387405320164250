"""Records on their way into a destination."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ._native import ArrowSchema, RecordBatch


class Batch:
    """Records of one stream, within the destination's declared limits.

    Also an Arrow object: pass it to anything that takes `__arrow_c_stream__` or
    `__arrow_c_array__`.

    Attributes:
        schema: Their Arrow schema.
        offset: The place of the first record in the batch that the daemon sent.
    """

    __slots__ = ("_data", "offset")

    def __init__(self, data: RecordBatch, offset: int = 0) -> None:
        self._data = data
        self.offset = offset

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._data.to_pylist())

    @property
    def schema(self) -> ArrowSchema:
        return self._data.schema

    @property
    def columns(self) -> list[str]:
        """The names of the fields, in the order of `rows`."""
        return [str(field["name"]) for field in self._data.schema.fields()]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self._data.nbytes

    def records(self) -> list[dict[str, Any]]:
        """Each record as a dict of Python values."""
        return self._data.to_pylist()

    def rows(self) -> list[tuple[Any, ...]]:
        """Each record as a tuple, in the order of `columns`."""
        return self._data.rows()

    def slice(self, offset: int, length: int) -> Batch:
        """A part of them, without a copy.

        Raises:
            IndexError: There are not so many.
        """
        return Batch(self._data.slice(offset, length), self.offset + offset)

    def with_json(self, columns: list[str]) -> Batch:
        """The same records with these columns, nested ones for example, as JSON's text; a null stays one.

        Raises:
            ValueError: There is no such field, or a value that JSON cannot say.
        """
        return Batch(self._data.with_json(columns), self.offset)

    def csv(self, null: str = "\\N") -> bytes:
        """PostgreSQL's COPY text format."""
        return self._data.csv(null)

    def __arrow_c_schema__(self) -> object:
        return self._data.__arrow_c_schema__()

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        return self._data.__arrow_c_array__(requested_schema)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._data.__arrow_c_stream__(requested_schema)


def cut(data: RecordBatch, max_records: int, max_bytes: int) -> Iterator[tuple[int, RecordBatch]]:
    """(offset, part) of `data`, in order, none over a limit (0: no limit).

    A single record over `max_bytes` comes alone; the caller refuses it.
    """
    total = len(data)
    step = max_records or total
    for offset in range(0, total, step or 1):
        part = data if step >= total else data.slice(offset, min(step, total - offset))
        yield from _halved(offset, part, max_bytes)


def _halved(offset: int, data: RecordBatch, max_bytes: int) -> Iterator[tuple[int, RecordBatch]]:
    if not max_bytes or len(data) <= 1 or data.nbytes <= max_bytes:
        yield offset, data
        return
    middle = len(data) // 2
    yield from _halved(offset, data.slice(0, middle), max_bytes)
    yield from _halved(offset + middle, data.slice(middle, len(data) - middle), max_bytes)
