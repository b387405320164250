"""Tries what an isolated worker must not be able to do."""

from .connector import Probe

__all__ = ["Probe"]
