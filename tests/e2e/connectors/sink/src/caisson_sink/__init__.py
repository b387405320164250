"""Takes records, well or badly behaved."""

from .connector import Sink

__all__ = ["Sink"]
