"""What forks do while they wait has to go well: nobody would hear that it did not, and every worker would be slower."""

import logging
import socket
import sys
from pathlib import Path

import pytest
from daemon import Daemon, table

import caisson
from caisson import Connector, _rehearsal


def test_a_rehearsal_is_a_whole_read_that_leaves_nothing(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    daemon.socket.close()
    daemon.socket = ours.dup()
    monkeypatch.setattr(_rehearsal.socket, "socketpair", lambda: (ours, theirs))
    path, modules, handlers = list(sys.path), set(sys.modules), list(logging.root.handlers)
    _rehearsal.rehearse(str(Path(caisson.__file__).parent))
    frames = daemon.until("done")
    assert [frame.kind for frame in frames][:2] == ["hello", "log"]
    assert table(frames).to_pylist() == [{"id": 0, "text": "nobody 0"}, {"id": 1, "text": "nobody 1"}]
    assert sys.path == path
    assert _rehearsal.NAME not in set(sys.modules) - modules
    assert logging.root.handlers == handlers
    assert _rehearsal.NAME not in logging.root.manager.loggerDict
    assert _rehearsal.NAME not in {each.__module__ for each in Connector.__subclasses__()}
    assert not [place for place in sys.path_importer_cache if "_rehearsed" in place]
