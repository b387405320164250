"""Takes more than its share, of one thing at a time."""

from .connector import Glutton

__all__ = ["Glutton"]
