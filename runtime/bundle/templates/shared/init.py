"""{{title}}, a Caisson connector."""

from .connector import {{class}}

__all__ = ["{{class}}"]
