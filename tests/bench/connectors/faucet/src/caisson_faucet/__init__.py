"""Yields the records of the benchmark."""

from .connector import Faucet

__all__ = ["Faucet"]
