"""Data stacks put to work, one a call."""

from .connector import Stacks

__all__ = ["Stacks"]
