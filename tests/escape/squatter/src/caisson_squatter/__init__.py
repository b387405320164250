"""A hostile connector that puts itself where an interpreter looks by itself: before any filter, if that worked."""
