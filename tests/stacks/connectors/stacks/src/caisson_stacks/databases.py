"""Clients of PostgreSQL and MariaDB."""

from __future__ import annotations

import asyncio
from typing import Any

Options = dict[str, Any]


def work_psycopg(options: Options) -> dict[str, Any]:
    """COPY both ways, a server-side cursor, a pipeline, and asyncio."""
    import psycopg
    from psycopg import pq

    where = options["postgres"]
    with psycopg.connect(where) as base:
        base.execute("drop table if exists t")
        base.execute("create table t (id bigint primary key, x text)")
        with base.cursor() as cursor:
            with cursor.copy("copy t from stdin") as copy:
                for number in range(20_000):
                    copy.write_row((number, f"text {number}"))
            with cursor.copy("copy t to stdout") as copy:
                copied = sum(len(block) for block in copy)
        base.commit()
        with base.cursor("served") as served:
            served.itersize = 500
            total = sum(row[0] for row in served.execute("select id from t"))
        with base.pipeline():
            for number in range(10):
                base.execute("insert into t values (%s, 'p')", (100_000 + number,))
        base.commit()
        binary = base.execute("select 1.5::numeric, now(), %b::bytea", (b"\0\1",)).fetchone()

    async def later() -> int:
        async with await psycopg.AsyncConnection.connect(where) as base:
            found = await (await base.execute("select count(*) from t")).fetchone()
            assert found is not None
            return int(found[0])

    assert binary is not None
    return {"library": pq.__impl__, "copied": copied > 200_000, "total": total, "rows": asyncio.run(later()),
            "binary": bytes(binary[2]).hex()}  # fmt: skip


def work_pymysql(options: Options) -> dict[str, Any]:
    """A table filled, streamed, and a password by SHA of its own."""
    import pymysql
    import pymysql.cursors

    base = pymysql.connect(**options["mysql"], database="test", connect_timeout=10)
    with base:
        with base.cursor() as cursor:
            cursor.execute("create or replace table t (id bigint primary key, x text) engine=InnoDB")
            cursor.executemany("insert into t values (%s, %s)", [(n, f"text {n}") for n in range(5_000)])
        base.commit()
        with base.cursor(pymysql.cursors.SSDictCursor) as streamed:
            streamed.execute("select * from t order by id")
            total = sum(row["id"] for row in streamed)
        server = base.get_server_info()
    return {"total": total, "server": "MariaDB" in server}
