"""Clients of HTTPS, each as it comes."""

from .connector import Clients

__all__ = ["Clients"]
