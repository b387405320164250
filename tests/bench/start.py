"""Part 5: from a request to connector code running.

A call is timed by its caller, from the moment before the request is sent. A
connector's `open` logs the time at which it runs (both read the same clock),
and the first batch is timed where it arrives. Three connectors: one that is
empty, one with the CDK's HTTP client, one that carries httpx and pydantic.

Against bubblewrap with namespaces of its own for everything, and the same
interpreter and imports, timed from the moment before it is spawned to the
first line of code after the imports.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from . import peers
from .caisson import BENCH, Caisson
from .contest import percentile, say
from .measure import environment, pipeline

CALLS = 60
"""Of each connector in a round: 300 in five."""
TURNS = 2
"""Contestants take turns in so many blocks of calls a round."""
TESTS = 20
PAUSE_MS = 150
"""Between warm calls: a worker that waits must have been made, its connector imported."""

STAMP = "import time; print(time.time_ns())"
CLIENT = "import caisson, caisson._http"
HEAVY = "import httpx, pydantic"


def wheels(project: Path) -> None:
    """Puts a connector's locked wheels where `publish` looks for them; fetched once."""
    cache = BENCH / "wheels" / project.name
    lock = project / "requirements.lock"
    if not (cache / "lock").exists() or (cache / "lock").read_bytes() != lock.read_bytes():
        cache.mkdir(parents=True, exist_ok=True)
        pip = [str(peers.python("imports")), "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        pinned = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest", str(cache), "-r", str(lock)]
        subprocess.run([*pip, *pinned], check=True, env=environment())
        (cache / "lock").write_bytes(lock.read_bytes())
    shutil.copytree(cache, project / ".caisson/wheels", ignore=shutil.ignore_patterns("lock"))


def publish(running: Caisson, name: str) -> str:
    """Puts a connector into the daemon's registry; returns `name@version`."""
    project = running.stage.connectors / name
    if len((project / "requirements.lock").read_text().splitlines()) > 1:
        wheels(project)
    done = running.daemon.cli("publish", project, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{name} was not published: {done.stdout}{done.stderr}")
    return f"{name}@1.0.0"


def bubble(python: Path, shim: Path) -> list[str]:
    """The command of bwrap with every namespace, a root of its own, and this interpreter."""
    binds = [part for path in ("/usr", "/lib", "/lib64", "/bin") for part in ("--ro-bind", path, path)]
    venv = BENCH / "venvs/imports"
    return [
        "bwrap", "--unshare-all", "--die-with-parent", "--new-session", *binds, "--tmpfs", "/tmp",
        "--ro-bind", str(shim), str(shim), "--ro-bind-try", str(venv), str(venv),
        "--proc", "/proc", "--dev", "/dev", "--", str(python),
    ]  # fmt: skip


def spawned(command: list[str], count: int, **more: str) -> list[float]:
    """Milliseconds from before a process is spawned to the time that it prints, for each of count."""
    taken = []
    ready = environment(**more)
    for _ in range(count):
        began = time.time_ns()
        told = subprocess.run(command, capture_output=True, check=True, env=ready, close_fds=False).stdout
        taken.append((int(told.split()[-1]) - began) / 1e6)
    return taken


def calls(running: Caisson, connector: str, count: int, **request: Any) -> dict[str, Any]:
    """Calls one after another; all must end well."""
    told = running.ask("calls", connector, stream="row", count=count, **request).told
    if told["errors"] or len(told["code_ms"]) != count:
        raise RuntimeError(f"{told['errors']} of {count} calls failed, the first with: {told['fault']}")
    return told


def launches(rounds: int, others: bool) -> dict[str, list[float]]:
    """Milliseconds of every start, by contestant; all took turns."""
    found: dict[str, list[float]] = {}

    def note(name: str, values: list[float]) -> None:
        found.setdefault(name, []).extend(values)

    each = CALLS // TURNS
    cold = Caisson(dependencies="dependencies.toml", pool="0MiB")
    with cold as running, Caisson(dependencies="dependencies.toml") as pooled:
        # The third carries wheels, which a quick run does not fetch.
        names = {name: publish(running, name) for name in ("blank", "rest", "heavy")[: 3 if others else 2]}
        for daemon in (running, pooled):
            for connector in names:
                # The first call of a version installs it, and the one after finds nobody waiting.
                calls(daemon, publish(daemon, connector) if daemon is pooled else names[connector], 2)
        python, shim = running.stage.python, running.stage.shim
        sandboxed = {
            "bwrap bare": (bubble(python, shim), f"{STAMP}"),
            "bwrap client": (bubble(python, shim), f"import sys; sys.path.insert(0, {str(shim)!r}); {CLIENT}; {STAMP}"),
            "python bare": ([str(python)], STAMP),
        }
        if others:
            imports = peers.python("imports")
            sandboxed["bwrap heavy"] = (bubble(imports, shim), f"{HEAVY}; {STAMP}")
            sandboxed["python heavy"] = ([str(imports)], f"{HEAVY}; {STAMP}")
            sandboxed["venv bare"] = ([str(imports)], STAMP)
        for turn in range(rounds * TURNS):
            say(f"  turn {turn + 1}/{rounds * TURNS}")
            for name, connector in names.items():
                told = calls(running, connector, each)
                note(f"cold {name}", told["code_ms"])
                note(f"cold {name} batch", told["batch_ms"])
                note(f"cold {name} told", told["start_ms"])
                told = calls(pooled, connector, each, pause_ms=PAUSE_MS)
                note(f"warm {name}", told["code_ms"])
                note(f"warm {name} batch", told["batch_ms"])
            for name, (command, code) in sandboxed.items():
                isolation = ["-I", "-S"] if "bare" in name else ["-I"]
                note(name, spawned([*command, *isolation, "-c", code], each))
        note("test", calls(running, names["rest"], TESTS, test=True)["end_ms"])
        for _ in range(rounds):
            told = running.ask("calls", names["rest"], stream="row", count=CALLS).told
            note("launches_per_s", [CALLS / told["seconds"]])
        if others:
            for _ in range(rounds):
                command = peers.program("airbyte", "airbyte_source.py", "check")
                note(
                    "airbyte check", [pipeline(command, peers.counter("SUCCEEDED"), cwd=running.stage.home).wall * 1e3]
                )
    return found


def metrics(rounds: int = 5, others: bool = True) -> dict[str, float]:
    """The keys of this part."""
    taken = launches(rounds, others)
    half = {name: statistics.median(values) for name, values in taken.items()}
    for name, values in taken.items():
        say(f"  {name}: p50 {half[name]:.2f}, p99 {percentile(values, 0.99):.2f}")
    # What is promised for both the empty connector and the CDK's client: the slower one counts.
    found = {
        "start_cold_p50_ms": max(half["cold blank"], half["cold rest"]),
        "start_cold_p99_ms": max(percentile(taken[f"cold {name}"], 0.99) for name in ("blank", "rest")),
        "start_cold_first_batch_p50_ms": max(half["cold blank batch"], half["cold rest batch"]),
        "start_cold_vs_bwrap_bare": half["bwrap bare"] / half["cold blank"],
        "start_cold_vs_bwrap_imports": half["bwrap client"] / half["cold rest"],
        "test_call_p50_ms": half["test"],
        "launches_per_s": half["launches_per_s"],
        "start_bwrap_bare_p50_ms": half["bwrap bare"],
        "start_bwrap_client_p50_ms": half["bwrap client"],
        "start_python_bare_p50_ms": half["python bare"],
    }
    connectors = [name for name in ("blank", "rest", "heavy") if f"cold {name}" in taken]
    found["start_warm_p50_ms"] = max(half[f"warm {name}"] for name in connectors)
    found["start_warm_p99_ms"] = max(percentile(taken[f"warm {name}"], 0.99) for name in connectors)
    found["start_warm_first_batch_p50_ms"] = max(half[f"warm {name} batch"] for name in connectors)
    for name in connectors:
        found[f"start_cold_{name}_p50_ms"] = half[f"cold {name}"]
        found[f"start_cold_{name}_p99_ms"] = percentile(taken[f"cold {name}"], 0.99)
    if others:
        found["start_heavy_over_imports_ms"] = half["cold heavy"] - (half["python heavy"] - half["venv bare"])
        found["start_heavy_vs_bwrap_imports"] = half["bwrap heavy"] / half["cold heavy"]
        found["start_bwrap_heavy_p50_ms"] = half["bwrap heavy"]
        found["test_call_vs_airbyte_check"] = half["airbyte check"] / half["test"]
        found["start_airbyte_check_p50_ms"] = half["airbyte check"]
    return found
