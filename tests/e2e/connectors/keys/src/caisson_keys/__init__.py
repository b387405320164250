"""Reads by every way to authenticate that connector.yaml can declare."""

from .connector import Keys

__all__ = ["Keys"]
