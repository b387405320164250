"""What is left on the host: cores, and what a flood fills."""

from __future__ import annotations

from pathlib import Path

from caisson_burglar.attempts.filesystem import grants_write
from harness.leaks import files_below
from harness.read import records
from suite.house import House, Result
from suite.scenario import Scenario, apart, got, refused

CRASHED = Scenario("28", "a core dump or crash leaves something on the host", "rlimits", "seccomp")
FLOODED = Scenario("21", "a flood of tmp, log and stdout", "filesystem")
LINES = 6_000


def cores(folder: Path) -> list[Path]:
    """Core files, by the kernel's default names."""
    return [path for path in files_below(folder) if path.name.startswith("core") and path.is_file()]


@CRASHED.part("a core in a granted directory")
def crash(house: House) -> Result:
    world = house.world
    stream = house.use("crash", policy=grants_write(world.for_worker()), path=str(world.folder / "granted"))
    code = stream.failure["code"].removeprefix("ERROR_CODE_")
    left = cores(world.folder) + cores(house.daemon.folder)
    if left:
        return got(f"{left}")
    if code not in ("WORKER_LOST", "SANDBOX_VIOLATION"):
        raise RuntimeError(f"the call ended with {code}")
    return refused(f"{code}: {stream.failure['message']}")


@CRASHED.control("a core in a granted directory")
def crash_outside(house: House) -> Result:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")):
        return apart(f"cores of this host go to {pattern}")
    house.use_outside("crash", path=str(house.world.folder / "granted"))
    left = cores(house.world.folder / "granted")
    for core in left:
        core.unlink()
    return got(f"{left}") if left else refused("no core")


@FLOODED.part("log and stdout")
def flood(house: House) -> Result:
    size = written(house.daemon.folder)
    stream = house.use("flood the log", lines=LINES)
    assert stream.summary and records(stream)
    arrived = sum("flood" in log["message"] for log in stream.all("log"))
    grown = written(house.daemon.folder) - size
    dropped = int(stream.summary["stats"].get("logs_dropped", 0))
    if arrived >= 2 * LINES or grown > 4 << 20:
        return got(f"{arrived} lines arrived, the daemon's folder grew by {grown} bytes")
    return refused(f"{dropped} of {2 * LINES} lines were dropped, the daemon's folder grew by {grown} bytes")


@FLOODED.part("Python's log")
def flood_python(house: House) -> Result:
    stream = house.use("flood Python's log", lines=LINES)
    assert stream.summary and records(stream)
    arrived = sum("flood" in log["message"] for log in stream.all("log"))
    assert arrived, "no line arrived at all"
    return got(f"{arrived} lines arrived") if arrived >= LINES else refused(f"{arrived} of {LINES} lines arrived")


@FLOODED.control("Python's log")
def flood_python_outside(house: House) -> Result:
    """A logger that writes what it is given."""
    result = house.use_outside("flood Python's log", lines=LINES)
    return got(result["returned"]) if result["escaped"] else refused(result["returned"])


@FLOODED.control("log and stdout")
def flood_outside(house: House) -> Result:
    """A program's output into a file: as much as it likes."""
    result = house.use_outside("flood the log", lines=LINES)
    return got(result["returned"]) if result["escaped"] else refused(result["returned"])


def written(folder: Path) -> int:
    """Bytes in a folder, as they count on the disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
