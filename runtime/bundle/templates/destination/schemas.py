"""What the destination asks of a record."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from caisson import Stream


def required(stream: Stream) -> list[str]:
    """The fields that no record may lack: its primary key."""
    return list(stream.primary_key)
