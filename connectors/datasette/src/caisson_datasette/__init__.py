"""Reads databases that Datasette publishes, through its JSON API."""

from .connector import Datasette

__all__ = ["Datasette"]
