"""The standard library put to work, one part a call."""

from .connector import Stdlib

__all__ = ["Stdlib"]
