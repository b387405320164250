"""Reads and writes PostgreSQL, in Arrow batches."""

from .connector import Postgres

__all__ = ["Postgres"]
