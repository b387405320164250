"""DuckDB: on several threads, spilling to disk, in a file, over Parquet."""

from __future__ import annotations

from typing import Any

import duckdb

Options = dict[str, Any]


def work_duckdb(_options: Options) -> dict[str, Any]:
    """Aggregates and sorts more than it may hold, and keeps a database."""
    with duckdb.connect("/tmp/analytics.duckdb") as base:
        base.execute("set threads = 2; set memory_limit = '128MB'; set temp_directory = '/tmp/spill'")
        base.execute("create table t as select range as id, hash(range) as h, 'text ' || range as x from range(800000)")
        base.execute("create unique index ti on t(id)")
        base.execute("begin; delete from t where id % 5 = 0; commit; checkpoint")
        sort = "select count(*) from (select *, row_number() over (order by h, x) as n from t)"
        ordered = base.execute(sort).fetchone()
        base.execute("copy t to '/tmp/t.parquet' (format parquet, compression zstd)")
        base.execute("copy (select * from t limit 1000) to '/tmp/t.csv'")
        join = "select count(*) from '/tmp/t.parquet' a join t b using (id) where b.h % 3 = 1"
        joined = base.execute(join).fetchone()
        arrow = base.execute("select id, x from t limit 10000").to_arrow_table().num_rows
    with duckdb.connect("/tmp/analytics.duckdb", read_only=True) as again:
        kept = again.execute("select count(*) from t").fetchone()
    assert ordered and joined and kept
    return {"ordered": ordered[0], "joined": joined[0] > 100_000, "arrow": arrow, "kept": kept[0]}
