"""Reads and writes SQLite databases."""

from .connector import Sqlite

__all__ = ["Sqlite"]
