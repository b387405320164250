"""Servers for the clients of data stacks: real ones where there is one to run."""
