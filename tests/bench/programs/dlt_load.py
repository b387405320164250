"""dlt's whole run into PostgreSQL, pages of 1,000 and CSV, as its documentation says is fastest."""

import json
import sys

import dlt
from records import pages

resource = dlt.resource(pages("mixed", int(sys.argv[1])), name="records", primary_key="id", write_disposition="append")
pipeline = dlt.pipeline("records", destination="postgres", pipelines_dir="pipelines", dataset_name="bench")
pipeline.run(resource, loader_file_format="csv").raise_on_failed_jobs()
print(json.dumps({"records": int(sys.argv[1])}))
