"""pyarrow: Parquet, datasets on threads, mapped IPC files, compute."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

Options = dict[str, Any]


def work_pyarrow(_options: Options) -> dict[str, Any]:
    """A table by every way into files and back."""
    table = pa.table({
        "id": pa.array(range(200_000), pa.int64()),
        "part": pa.array([f"p{n % 4}" for n in range(200_000)]).dictionary_encode(),
        "text": pa.array([f"text {n % 1000}" for n in range(200_000)]),
    })  # fmt: skip
    sizes = {}
    for codec in ("zstd", "snappy", "gzip", "lz4", "brotli"):
        pq.write_table(table, f"/tmp/{codec}.parquet", compression=codec)
        sizes[codec] = pq.read_table(f"/tmp/{codec}.parquet", memory_map=True).num_rows
    ds.write_dataset(table, "/tmp/set", format="parquet", partitioning=["part"], partitioning_flavor="hive")
    dataset = ds.dataset("/tmp/set", partitioning="hive")
    some = dataset.to_table(filter=pc.field("part") == "p1", columns=["id"]).num_rows
    with pa.OSFile("/tmp/ipc.arrow", "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    with pa.memory_map("/tmp/ipc.arrow") as source:
        mapped = pa.ipc.open_file(source).read_all()
        total = pc.sum(mapped["id"]).as_py()
    pa.csv.write_csv(table, "/tmp/table.csv")
    read = pa.csv.read_csv("/tmp/table.csv").num_rows
    groups = table.group_by("text").aggregate([("id", "sum")]).num_rows
    local = fs.LocalFileSystem()
    files = len(local.get_file_info(fs.FileSelector("/tmp/set", recursive=True)))
    local.delete_dir("/tmp/set")
    pools = sorted({pa.default_memory_pool().backend_name, pa.system_memory_pool().backend_name})
    return {"sizes": sizes, "some": some, "total": total, "read": read, "groups": groups, "files": files,
            "pools": len(pools)}  # fmt: skip
