"""Yields rows, well or badly behaved."""

from .connector import Rows

__all__ = ["Rows"]
