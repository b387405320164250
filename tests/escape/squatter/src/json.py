"""Bears a name that an interpreter imports by itself, or that others mean when they import a library's."""

import os
from pathlib import Path

from caisson_squatter.marks import mark

mark("json")
# Whoever imports it gets what they meant, and notices nothing.
_meant = Path(os.__file__).parent / "json"
__package__ = "json"
__path__ = [str(_meant)]
exec(compile((_meant / "__init__.py").read_text(encoding="utf-8"), str(_meant), "exec"))
