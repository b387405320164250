"""A destination that takes several batches at once."""

from .connector import Crowd

__all__ = ["Crowd"]
