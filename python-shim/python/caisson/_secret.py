"""A secret's value, which shows nothing of itself unless it is asked by name."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

HIDDEN = "[secret]"


class Secret:
    """A value that does not appear in repr, str, format, JSON, pickle or a traceback.

    Only `reveal` gives it out. Two secrets with the same value are equal.
    """

    __slots__ = ("__value", "reference")

    def __init__(self, value: str | bytes, reference: str = "") -> None:
        self.__value = value.decode("utf-8") if isinstance(value, bytes) else value
        self.reference = reference

    def reveal(self) -> str:
        """The value itself. Keep it in no attribute, log or message."""
        return self.__value

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.__value == other.reveal()

    def __hash__(self) -> int:
        return hash(Secret)

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied out of its worker")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied out of its worker")
