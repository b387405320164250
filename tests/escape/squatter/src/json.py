"""Bears a name that an interpreter imports by itself, or that others mean when they import a library's."""

import os

from caisson_squatter.marks import mark

mark("json")
# Whoever imports it gets what they meant, and notices nothing.
__package__ = "json"
__path__ = [os.path.join(os.path.dirname(os.__file__), "json")]
with open(os.path.join(__path__[0], "__init__.py"), encoding="utf-8") as meant:
    exec(compile(meant.read(), meant.name, "exec"))
