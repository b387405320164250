"""The daemon under measurement, and its caller: a process of its own that verifies what it gets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import Daemon, Identity, Stage

from .measure import Cost, Tree, environment, pipeline

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BENCH = ROOT / "target/bench"
MALLOC = "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=67108864"
"""For a caller of bulk, as docs/guides tell callers to set it: memory of one batch serves the next one."""


def caller() -> Path:
    """The caller, built if its source is newer than it."""
    command = [os.environ.get("CARGO", "cargo"), "build", "--quiet", "--release", "--manifest-path"]
    target = BENCH / "caller"
    subprocess.run(
        [*command, str(HERE / "caller/Cargo.toml")], check=True, env={**os.environ, "CARGO_TARGET_DIR": str(target)}
    )
    return target / "release/caisson-caller"


class Caisson:
    """A daemon as it would be installed, with the connectors of the benchmark.

    Attributes:
        daemon: The end-to-end tests' daemon, of the first identity that this machine has.
        tree: Its processes.
    """

    def __init__(self, **configuration: Any) -> None:
        self.caller = caller()
        self.stage = Stage()
        # The library that was built with the binary, whatever lies in the tree by now.
        native = Path(os.environ.get("CAISSON", ROOT / "target/release/caisson")).resolve().with_name("lib_native.so")
        shutil.copy(native, self.stage.shim / "caisson/_native.abi3.so")
        for source in (HERE / "connectors").iterdir():
            # What they share with the peers' programs is a link in the tree, and a file in the copy.
            copy = self.stage.connectors / source.name
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        # A published bundle is compiled when it is installed; a folder is not.
        compileall = [str(self.stage.python), "-m", "compileall", "-q", str(self.stage.connectors)]
        subprocess.run(compileall, check=True, env=environment())
        self.daemon = Daemon(self.stage, Identity.available()[0], **configuration)
        shutil.copy(HERE / "dependencies.toml", self.daemon.folder)

    def __enter__(self) -> Caisson:
        self.daemon.start()
        assert self.daemon.process is not None
        self.tree = Tree(self.daemon.process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.remove()
        self.stage.remove()

    def ask(self, what: str, connector: str, **request: Any) -> Cost:
        """One run of the caller: `read` or `calls`, with what its documentation names."""
        if "@" in connector:
            request["connector"] = connector
        else:
            request["path"] = str(self.stage.connectors / connector)
        command: list[str | Path] = [self.caller, what, str(self.daemon.socket), json.dumps(request)]
        return self.costs(lambda: pipeline(command, cwd=self.daemon.folder, GLIBC_TUNABLES=MALLOC))

    def costs(self, run: Callable[[], Cost]) -> Cost:
        """What a run costs with the daemon's part in it, up to the end of its last worker."""
        used = self.tree.settled()
        cost = run()
        return Cost(cost.cpu + self.tree.settled() - used, cost.wall, cost.told)
