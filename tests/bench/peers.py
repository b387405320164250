"""What users would pick instead, each in a virtual environment of its own under target/bench/venvs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .caisson import BENCH, HERE
from .contest import say
from .measure import environment

PROGRAMS = HERE / "programs"
PINNED: dict[str, tuple[str, ...]] = {
    "floor": ("orjson==3.13.0", "requests==2.34.0"),
    "grpcio": ("grpcio==1.85.3", "protobuf==7.36.2", "orjson==3.13.0"),
    "airbyte": ("airbyte-cdk==7.39.1",),
    "singer": ("singer-sdk[msgspec]==0.54.9",),
    "dlt": ("dlt[parquet,postgres]==1.31.0",),
    "arrow": ("pyarrow==26.0.1",),
    "target": ("meltanolabs-target-postgres==0.8.1",),
    "mitmproxy": ("mitmproxy==11.0.2",),
    "imports": ("httpx==0.28.1", "pydantic==2.14.4"),
}

SOURCES = ("pyperclip",)
"""What a peer needs and nobody has built a wheel of."""


def worker_python() -> Path:
    """The interpreter of workers, which is everybody's."""
    return Path(os.environ.get("WORKER_PYTHON", "/usr/bin/python3.11"))


def python(peer: str) -> Path:
    """A peer's interpreter; installs and compiles the peer if it is not there in this version."""
    folder = BENCH / "venvs" / peer
    stamp = folder / "pinned"
    wanted = "\n".join(PINNED[peer])
    if not stamp.exists() or stamp.read_text() != wanted:
        say(f"installing {' '.join(PINNED[peer])}")
        interpreter = str(folder / "bin/python")
        subprocess.run([str(worker_python()), "-m", "venv", str(folder)], check=True)
        pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        wheels = ["--only-binary", ":all:", "--no-binary", ",".join(SOURCES)]
        subprocess.run([*pip, *wheels, *PINNED[peer]], check=True, env=environment())
        # pip compiles what it installs, but not everywhere; some wheels hold files that do not compile.
        subprocess.run(
            [interpreter, "-m", "compileall", "-q", str(folder / "lib")], env=environment(), stdout=subprocess.DEVNULL
        )
        stamp.write_text(wanted)
    return folder / "bin/python"


def program(peer: str, name: str, *arguments: str | int) -> list[str]:
    """The command of a peer's program."""
    return [str(python(peer)), str(PROGRAMS / name), *map(str, arguments)]


def counter(mark: str) -> list[str]:
    """The command that reads lines to their end and counts those with the mark."""
    return [str(worker_python()), "-I", "-S", str(PROGRAMS / "count.py"), mark]
