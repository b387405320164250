"""Whom a worker trusts."""

from .connector import Trust

__all__ = ["Trust"]
