"""dlt's extract step of the same Arrow batch, many times."""

import json
import sys

import dlt
import pyarrow as pa
from columns import batch

one = pa.Table.from_batches([batch()])
count = int(sys.argv[1])
pipeline = dlt.pipeline("records", destination="filesystem", pipelines_dir="pipelines", dataset_name="bench")
told = pipeline.extract(dlt.resource((one for _ in range(count)), name="records"))
metrics = next(iter(told.metrics.values()))[0]["table_metrics"]
print(json.dumps({"records": metrics["records"].items_count}))
