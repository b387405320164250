"""Names in SQL."""

from collections.abc import Iterable

from caisson import errors

CHECKPOINTS = "_caisson_checkpoints"


def quote(name: str) -> str:
    """An identifier, whatever is in it.

    Raises:
        SchemaViolation: A NUL, which SQLite cannot hold in a name.
    """
    if "\0" in name:
        raise errors.SchemaViolation("a name holds a NUL, which SQLite cannot store")
    return '"' + name.replace('"', '""') + '"'


def quoted(names: Iterable[str]) -> str:
    """Identifiers, separated by commas."""
    return ", ".join(map(quote, names))


def table_name(stream: str) -> str:
    """A stream's table.

    Raises:
        SchemaViolation: SQLite or this connector keeps the name for itself.
    """
    if stream.lower().startswith(("sqlite_", "_caisson_")):
        raise errors.SchemaViolation(f"a table cannot be named {stream}: the prefix is reserved")
    return stream
