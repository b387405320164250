"""pandas and polars: files in, joins and groups, files out."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

Options = dict[str, Any]


def orders() -> Path:
    """A CSV file of 100,000 orders."""
    path = Path("/tmp/orders.csv")
    lines = (f"{n},{n % 1000},{n % 97 / 4},2024-0{n % 9 + 1}-1{n % 9}T10:00:00Z\n" for n in range(100_000))
    path.write_text("id,customer,amount,at\n" + "".join(lines))
    return path


def work_pandas(_options: Options) -> dict[str, Any]:
    """CSV to groups to Parquet to SQLite."""
    import pandas as pd

    frame = pd.read_csv(orders(), parse_dates=["at"])
    customers = pd.DataFrame({"customer": range(1000), "name": [f"c{n}" for n in range(1000)]})
    joined = frame.merge(customers, on="customer").assign(local=lambda f: f["at"].dt.tz_convert("Europe/Berlin"))
    groups = joined.groupby("name", as_index=False)["amount"].agg(["sum", "count"])
    joined.to_parquet("/tmp/joined.parquet")
    back = pd.read_parquet("/tmp/joined.parquet", columns=["id", "local"])
    with sqlite3.connect("/tmp/frames.db") as base:
        groups.to_sql("groups", base, index=False)
        stored = pd.read_sql("select count(*) as n from groups", base)["n"][0]
    base.close()
    monthly = frame.set_index("at")["amount"].resample("MS").mean()
    return {"rows": len(back), "groups": int(stored), "months": len(monthly), "zone": str(back["local"].dt.tz)}


def work_polars(_options: Options) -> dict[str, Any]:
    """Lazily, on all threads, and streaming into a file."""
    import polars as pl

    lazy = pl.scan_csv(orders(), try_parse_dates=True)
    groups = lazy.group_by("customer").agg(pl.col("amount").sum(), pl.len()).sort("customer").collect()
    lazy.filter(pl.col("amount") > 1).sink_parquet("/tmp/sunk.parquet")
    sunk = pl.scan_parquet("/tmp/sunk.parquet").select(pl.len()).collect(engine="streaming").item()
    customers = pl.DataFrame({"customer": range(1000)}).with_columns(name=pl.format("c{}", "customer"))
    joined = lazy.collect().join(customers, on="customer", how="left")
    joined.write_ipc("/tmp/joined.arrow", compression="zstd")
    mapped = pl.read_ipc("/tmp/joined.arrow")
    return {"groups": groups.height, "sunk": sunk, "same": mapped.equals(joined), "threads": pl.thread_pool_size() > 0}
