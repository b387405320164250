"""A hostile connector: attempts to get out of a worker, each of which works outside of one.

Nothing in this package but `connector` knows Caisson, for the same functions run
under a plain Python as their own controls.
"""
