"""What end-to-end tests stand on: built binaries, daemons, a client by reflection."""

from .client import CallFailed, Client, Stream
from .daemon import Daemon, Identity
from .stage import Stage

__all__ = ["CallFailed", "Client", "Daemon", "Identity", "Stage", "Stream"]
