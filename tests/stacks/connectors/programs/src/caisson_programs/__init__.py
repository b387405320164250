"""Programs of other languages, started from the bundle."""

from .connector import Programs

__all__ = ["Programs"]
