"""Bears a name that an interpreter imports by itself, or that others mean when they import a library's."""

from caisson_squatter.marks import mark

mark("sitecustomize")
