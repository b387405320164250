"""Part 4: 500,000 records into PostgreSQL, durable, under a primary key.

Everybody starts with the records at rest, in the form that they take: an Arrow
file, JSON lines of Singer messages, CSV; dlt makes them itself, in pages. The
server's processor time counts too: how rows are brought decides how much of it
they need. COPY goes into a table that is declared as Caisson declared its own.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from servers.postgres import Postgres

from . import peers
from .caisson import Caisson
from .contest import alternate
from .measure import Cost, Tree, pipeline
from .start import publish

RECORDS = 500_000
FEWER = 100_000
"""For target-postgres, which would need two minutes a round; rates are compared."""


class Server(Postgres):
    """A cluster that keeps what it commits: the tests' one does not wait for the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._run("pg_ctl", "-D", "data", "-m", "fast", "-w", "stop")
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
            " -c max_wal_size=4GB -c shared_buffers=512MB -c autovacuum=off"
        )
        self._run("pg_ctl", "-D", "data", "-w", "-t", "60", "-l", "log", "-o", options, "start")
        self.tree = Tree(int((self.folder / "data/postmaster.pid").read_text().split()[0]))

    def __enter__(self) -> Server:
        return self

    def costs(self, database: str, table: str, count: int, run: Callable[[], Cost]) -> Cost:
        """A run, its own processes' and the server's time; the rows are counted afterwards.

        Raises:
            RuntimeError: Not every record is there.
        """
        used, began = self.tree.settled(), time.perf_counter()
        cost = run()
        wall = time.perf_counter() - began
        cpu = cost.cpu + self.tree.settled() - used
        found = self.sql(f"SELECT count(*), sum(id) FROM {table}", database).strip()
        if found != f"{count}|{count * (count + 1) // 2}":
            raise RuntimeError(f"{table} holds {found} (count, sum of id)")
        # With a schema of its own go what a peer remembers of its tables.
        schema = table.partition(".")[0] if "." in table else ""
        gone = f"SCHEMA {schema} CASCADE" if schema else f"TABLE {table}"
        self.sql(f"SET client_min_messages = error; DROP {gone}; CHECKPOINT", database)
        return Cost(cpu, wall, {"records": count})


def at_rest(folder: Path) -> None:
    """The records as an Arrow file, Singer's messages and CSV."""
    from .programs import records

    rows = list(records.mixed(RECORDS))
    address = pa.struct([("street", pa.string()), ("city", pa.string()), ("zip", pa.string()), ("floor", pa.int64())])
    types: dict[str, pa.DataType] = {
        "id": pa.int64(), "email": pa.string(), "name": pa.string(), "active": pa.bool_(), "amount": pa.float64(),
        "visits": pa.int64(), "created_at": pa.timestamp("us", "UTC"), "note": pa.string(), "address": address,
        "source": pa.string(),
    }  # fmt: skip
    moments = pa.array([row["created_at"].removesuffix("Z") for row in rows]).cast(pa.timestamp("us"))
    columns = {
        name: pa.array([row[name] for row in rows], kind) for name, kind in types.items() if name != "created_at"
    }
    columns["created_at"] = moments.cast(pa.timestamp("us", "UTC"))
    table = pa.table({name: columns[name] for name in types})
    with pa.ipc.new_stream(folder / "rows.arrow", table.schema) as out:
        out.write_table(table, max_chunksize=8192)
    with (folder / "rows.singer").open("w") as out:
        schema: dict[str, Any] = {name: {"type": ["string", "null"]} for name in types}
        schema |= {"id": {"type": "integer"}, "visits": {"type": "integer"}, "amount": {"type": "number"}}
        schema |= {"active": {"type": "boolean"}, "created_at": {"type": "string", "format": "date-time"}}
        schema["address"] = {"type": "object", "additionalProperties": True}
        head = {"type": "SCHEMA", "stream": "singer", "key_properties": ["id"]}
        out.write(json.dumps({**head, "schema": {"type": "object", "properties": schema}}) + "\n")
        for row in rows[:FEWER]:
            out.write(json.dumps({"type": "RECORD", "stream": "singer", "record": row}) + "\n")
    with (folder / "rows.csv").open("w") as out:
        for row in rows:
            quoted = json.dumps(row["address"]).replace('"', '""')
            note, active = row["note"] or "", "t" if row["active"] else "f"
            out.write(
                f"{row['id']},{row['email']},{row['name']},{active},{row['amount']},{row['visits']},"
                f'{row["created_at"]},{note},"{quoted}",{row["source"]}\n'
            )


Command = list[str | Path]


def metrics(rounds: int = 5, others: bool = True) -> dict[str, float]:
    """The keys of this part."""
    with (
        tempfile.TemporaryDirectory(prefix="caisson-bench-") as scratch,
        Server() as server,
        Caisson(dependencies="dependencies.toml") as running,
    ):
        folder = Path(scratch)
        at_rest(folder)
        folder.chmod(0o755)
        daemon = running.daemon
        rule = {"networks": ["127.0.0.0/8"], "ports": [server.port], "protocol": "tcp"}
        secrets = {"password": {"from": ["file:pg"], "reveal": True}}
        (daemon.folder / "secrets/pg").write_text(server.password)
        daemon.policy("postgres", egress=[rule], secrets=secrets)
        publish(running, "postgres")
        database = server.create()
        config: dict[str, Any] = {
            "host": "127.0.0.1", "port": server.port, "sslmode": "disable", "database": database,
            "user": "postgres", "password": {"$secret": "file:pg"},
        }  # fmt: skip
        connection = daemon.folder / "postgres.json"
        connection.write_text(json.dumps({"connector": "postgres@0.1.0", "config": config}))
        url = f"postgresql://postgres:{server.password}@127.0.0.1:{server.port}/{database}"
        psql: Command = [server.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c"]
        done: Command = [peers.worker_python(), "-I", "-S", "-c", "import sys; sys.stdin.read(); print('{}')"]

        def ours() -> Cost:
            command: Command = [
                running.stage.caisson,
                "write",
                connection,
                "--input",
                folder / "rows.arrow",
                "--stream",
                "ours",
            ]
            asked = [*command, "--primary-key", "id", "--mode", "upsert", "--server", f"unix:{daemon.socket}"]
            return running.costs(lambda: pipeline(asked, done, cwd=folder))

        def copy() -> Cost:
            # The same declaration as Caisson's own table, which is gone by now.
            columns = (
                "id bigint PRIMARY KEY, email text, name text, active boolean, amount double precision, visits bigint,"
                " created_at timestamptz, note text, address jsonb, source text"
            )
            create = f"CREATE TABLE copied ({columns})"
            bring = f"\\copy copied from '{folder}/rows.csv' (format csv)"
            return pipeline(
                [*psql, create, "-c", bring, url], done, cwd=folder, PGOPTIONS="-c client_min_messages=error"
            )

        def dlt() -> Cost:
            return pipeline(
                ["rm", "-rf", "pipelines"], peers.program("dlt", "dlt_load.py", RECORDS), cwd=folder,
                DESTINATION__POSTGRES__CREDENTIALS=url, RUNTIME__DLTHUB_TELEMETRY="false",
            )  # fmt: skip

        def singer() -> Cost:
            settings = folder / "target.json"
            settings.write_text(json.dumps({"sqlalchemy_url": url, "default_target_schema": "public"}))
            program = peers.python("target").with_name("target-postgres")
            return pipeline(["cat", folder / "rows.singer"], [program, "--config", settings], done, cwd=folder)

        contestants = {"caisson": ("ours", RECORDS, ours), "copy": ("copied", RECORDS, copy)}
        if others:
            contestants |= {"dlt": ("bench.records", RECORDS, dlt), "target_postgres": ("singer", FEWER, singer)}
        counted = {name: partial(server.costs, database, *contestant) for name, contestant in contestants.items()}
        costs = alternate(counted, rounds)
    by_cpu = {name: cost.told["records"] / cost.cpu for name, cost in costs.items()}
    by_wall = {name: cost.told["records"] / cost.wall for name, cost in costs.items()}
    found = {f"load_postgres_{name}_records_per_cpu_s": rate for name, rate in by_cpu.items()}
    found |= {f"load_postgres_{name}_records_per_s": rate for name, rate in by_wall.items()}
    for name in costs.keys() - {"caisson"}:
        found[f"load_postgres_vs_{name}"] = by_cpu["caisson"] / by_cpu[name]
        found[f"load_postgres_vs_{name}_wall"] = by_wall["caisson"] / by_wall[name]
    return found
