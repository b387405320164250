"""dlt's extract step of the records in pages of 1,000, as its documentation says is fastest."""

import json
import sys

import dlt
from records import pages

chosen, count = sys.argv[1], int(sys.argv[2])
pipeline = dlt.pipeline("records", destination="filesystem", pipelines_dir="pipelines", dataset_name="bench")
resource = dlt.resource(pages(chosen, count), name="records", primary_key="id")
told = pipeline.extract(resource)
metrics = next(iter(told.metrics.values()))[0]["table_metrics"]
print(json.dumps({"records": metrics["records"].items_count}))
