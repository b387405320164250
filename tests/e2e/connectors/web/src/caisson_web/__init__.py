"""Reads the tests' HTTP server."""

from .connector import Web

__all__ = ["Web"]
