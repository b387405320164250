"""dlt's rest_api source, its extract step."""

import json
import sys

import dlt
from dlt.sources.rest_api import rest_api_source

source = rest_api_source(
    {
        "client": {"base_url": sys.argv[1], "paginator": {"type": "json_link", "next_url_path": "next"}},
        "resources": [
            {"name": "records", "primary_key": "id", "endpoint": {"path": "records", "data_selector": "data"}}
        ],
    }
)
pipeline = dlt.pipeline("records", destination="filesystem", pipelines_dir="pipelines", dataset_name="bench")
told = pipeline.extract(source)
metrics = next(iter(told.metrics.values()))[0]["table_metrics"]
print(json.dumps({"records": metrics["records"].items_count}))
