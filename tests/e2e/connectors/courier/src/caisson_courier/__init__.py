"""The connector that sends what it is told to."""

from .connector import Courier

__all__ = ["Courier"]
