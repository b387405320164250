"""SQLite, compression, shelves, logs."""

from __future__ import annotations

import bz2
import dbm.dumb
import gzip
import json
import logging
import logging.handlers
import lzma
import queue
import shelve
import sqlite3
import threading
import zipfile
from pathlib import Path
from typing import Any

from .refused import outcome


def sqlite(_http: int, _tls: int) -> dict[str, Any]:
    """Both journals, a backup, a vacuum, two threads, a large file."""
    found: dict[str, Any] = {"version": sqlite3.sqlite_version_info >= (3, 7)}
    for mode in ("delete", "wal", "truncate", "persist"):
        base = sqlite3.connect(f"/tmp/{mode}.db", check_same_thread=False)
        base.execute(f"pragma journal_mode={mode}")
        base.execute("pragma mmap_size=268435456")
        base.execute("create table t(id integer primary key, x text)")
        base.executemany("insert into t(x) values (?)", [("x" * 200,) for _ in range(5_000)])
        base.commit()
        base.execute("create index ti on t(x)")
        base.execute("update t set x = 'y' where id % 7 = 0")
        base.commit()
        base.execute("delete from t where id > 4000")
        base.commit()
        writer = threading.Thread(target=lambda base=base: base.execute("insert into t(x) values ('thread')"))
        writer.start()
        writer.join()
        base.commit()
        copy = sqlite3.connect("/tmp/copy.db")
        base.backup(copy)
        copy.close()
        base.execute("vacuum")
        other = sqlite3.connect(f"/tmp/{mode}.db", timeout=0.05)
        base.execute("begin exclusive")
        try:
            other.execute("insert into t(x) values ('busy')")
            busy = False
        except sqlite3.OperationalError:
            busy = True
        base.commit()
        rows = other.execute("select count(*) from t order by 1").fetchone()[0]
        other.close()
        base.close()
        found[mode] = [rows, busy]
    base = sqlite3.connect("/tmp/sort.db")
    base.execute("pragma temp_store=file")
    base.execute("pragma cache_size=50")
    base.execute("create table s(x)")
    base.executemany("insert into s values (?)", [(f"{n * 7919 % 100_003}" * 10,) for n in range(20_000)])
    found["sorted"] = len(base.execute("select x from s order by x").fetchall())
    base.execute("attach '/tmp/other.db' as other")
    base.execute("create table other.o as select * from s limit 10")
    base.commit()
    base.close()
    return found


def compression(_http: int, _tls: int) -> dict[str, Any]:
    """Every codec, to files and back."""
    content = b"records and more records\n" * 10_000
    found = {}
    for name, opened in (("gz", gzip.open), ("bz2", bz2.open), ("xz", lzma.open)):
        path = f"/tmp/data.{name}"
        with opened(path, "wb") as out:
            out.write(content)
        with opened(path, "rb") as back:
            found[name] = back.read() == content
    with zipfile.ZipFile("/tmp/data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", content)
        archive.write("/tmp/data.gz")
    with zipfile.ZipFile("/tmp/data.zip") as archive:
        found["zip"] = archive.testzip() is None
        archive.extractall("/tmp/unzipped")
    return found


def shelves(_http: int, _tls: int) -> dict[str, Any]:
    """Key-value files of the standard library."""
    with dbm.dumb.open("/tmp/dumb", "c") as table:
        table["a"] = "1"
    with shelve.open("/tmp/shelf") as shelf:
        shelf["a"] = {"b": 2}
    with shelve.open("/tmp/shelf") as shelf:
        kept = shelf["a"]
    return {"kept": kept}


def logs(_http: int, _tls: int) -> dict[str, Any]:
    """Handlers that rotate, watch and hand over to a thread."""
    logger = logging.getLogger("stdlib")
    logger.setLevel(logging.INFO)
    rotating = logging.handlers.RotatingFileHandler("/tmp/log", maxBytes=200, backupCount=2)
    timed = logging.handlers.TimedRotatingFileHandler("/tmp/timed", when="S")
    watched = logging.handlers.WatchedFileHandler("/tmp/watched")
    lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(lines, rotating, timed, watched)
    listener.start()
    logger.addHandler(logging.handlers.QueueHandler(lines))
    for number in range(20):
        logger.info("line %d of a log that rotates", number)
    listener.stop()
    for handler in (rotating, timed, watched):
        handler.close()
    logger.handlers.clear()
    logging.captureWarnings(True)
    syslog = outcome(lambda: logging.handlers.SysLogHandler("/dev/log"))
    rotated = sorted(path.name for path in Path("/tmp").glob("log*"))
    return {"rotated": rotated, "syslog": syslog, "watched": len(Path("/tmp/watched").read_text().splitlines()),
            "json": json.loads(json.dumps({"a": 1}))}  # fmt: skip


WORKLOADS = (sqlite, compression, shelves, logs)
