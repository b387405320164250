"""Servers that tests and the demo talk to: real ones, and faulty ones of ours."""
