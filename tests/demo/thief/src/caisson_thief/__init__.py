"""A hostile connector: what Caisson is for."""

from .connector import Thief

__all__ = ["Thief"]
