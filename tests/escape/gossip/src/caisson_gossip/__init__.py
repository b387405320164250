"""A connector that cannot keep a secret: it is told one, and lets it out by every way that text has.

`ways` knows nothing of Caisson, so the same functions run under a plain Python as their own controls.
"""
