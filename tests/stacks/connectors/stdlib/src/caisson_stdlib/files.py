"""Files of /tmp and of granted directories."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from .refused import outcome


def plain_files(_http: int, _tls: int) -> dict[str, Any]:
    """Made, written, looked at, renamed, removed."""
    home = Path("/tmp/plain")
    (home / "deep/deeper").mkdir(parents=True)
    file = home / "a.txt"
    file.write_text("one\ntwo\n")
    with file.open("r+b", buffering=0) as raw:
        raw.seek(4)
        raw.write(b"TWO")
        raw.truncate(7)
        os.fsync(raw.fileno())
        os.fdatasync(raw.fileno())
        ahead = os.pread(raw.fileno(), 3, 0)
        os.pwrite(raw.fileno(), b"ONE", 0)
    with file.open("a") as tail:
        tail.write("end")
    file.chmod(0o600)
    os.chmod(file, 0o640)
    os.utime(file, (1, 2))
    times = file.stat().st_mtime
    os.truncate(file, 3)
    file.rename(home / "b.txt")
    (home / "b.txt").replace(home / "deep/c.txt")
    (home / "d.txt").touch()
    os.access(home / "d.txt", os.W_OK)
    walked = sorted(name for _, _, names in os.walk(home) for name in names)
    scanned = sorted(entry.name for entry in os.scandir(home) if entry.is_file() or entry.is_dir())
    found = sorted(glob.glob("/tmp/plain/**/*.txt", recursive=True))
    absent = outcome((home / "absent").stat)
    resolved = str((home / "deep/../deep").resolve())
    linked = os.readlink("/dev/fd")
    os.chdir(home)
    here = os.getcwd()
    os.chdir("/tmp")
    mask = os.umask(0o077)
    os.umask(mask)
    link = outcome(lambda: os.symlink("c.txt", home / "link"))
    hard = outcome(lambda: os.link(home / "deep/c.txt", home / "hard"))
    free = shutil.disk_usage("/tmp").free > 0
    (home / "d.txt").unlink()
    (home / "deep/deeper").rmdir()
    shutil.rmtree(home)
    return {
        "ahead": ahead.decode(), "linked": linked, "times": times,
        "walked": walked, "scanned": scanned, "found": len(found), "absent": absent, "resolved": resolved,
        "here": here, "symlink": link, "link": hard, "free": free, "gone": not home.exists(),
    }  # fmt: skip


def copies_and_archives(_http: int, _tls: int) -> dict[str, Any]:
    """Shutil and tempfile, as loaders stage their files."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "in/sub").mkdir(parents=True)
        (root / "in/sub/data.csv").write_text("id\n" + "1\n" * 50_000)
        shutil.copy2(root / "in/sub/data.csv", root / "copy.csv")
        shutil.copytree(root / "in", root / "tree")
        shutil.move(root / "copy.csv", root / "moved.csv")
        made = {}
        for kind in ("zip", "gztar", "bztar", "xztar"):
            archive = shutil.make_archive(str(root / f"packed-{kind}"), kind, root / "in")
            shutil.unpack_archive(archive, root / f"un-{kind}")
            made[kind] = (root / f"un-{kind}/sub/data.csv").stat().st_size
        with (root / "moved.csv").open("rb") as source, (root / "sent.csv").open("wb") as target:
            sent = os.sendfile(target.fileno(), source.fileno(), 0, 1000)
    with tempfile.NamedTemporaryFile("w+", suffix=".csv") as named:
        named.write("x")
        named.flush()
        named.seek(0)
        text = named.read()
    with tempfile.SpooledTemporaryFile(max_size=10) as spooled:
        spooled.write(b"0123456789abcdef")
        spooled.seek(0)
        rolled = len(spooled.read())
    with tempfile.TemporaryFile() as unnamed:
        unnamed.write(b"x")
    return {"made": made, "sent": sent, "text": text, "rolled": rolled, "gone": not root.exists()}


def locks_and_pipes(_http: int, _tls: int) -> dict[str, Any]:
    """What programs do to descriptors."""
    path = Path("/tmp/lock")
    with path.open("w+") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        with path.open("w+") as second:
            whole = outcome(lambda: fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB))
        fcntl.flock(first, fcntl.LOCK_UN)
        fcntl.lockf(first, fcntl.LOCK_EX | fcntl.LOCK_NB, 10)
        fcntl.lockf(first, fcntl.LOCK_UN, 10)
        flags = fcntl.fcntl(first, fcntl.F_GETFL)
        fcntl.fcntl(first, fcntl.F_SETFL, flags | os.O_APPEND)
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    empty = outcome(lambda: os.read(reader, 1))
    again = os.dup(writer)
    os.dup2(again, 50)
    os.write(50, b"piped")
    said = os.read(reader, 10)
    for number in (reader, writer, again, 50):
        os.close(number)
    terminal = os.isatty(0)
    try:
        os.get_terminal_size()
        size = "a terminal"
    except OSError as refused:
        size = errno.errorcode[refused.errno or 0]
    return {"locked": whole, "writes": bool(flags & os.O_RDWR), "empty": empty, "said": said.decode(),
            "terminal": terminal, "size": size}  # fmt: skip


WORKLOADS = (plain_files, copies_and_archives, locks_and_pipes)
