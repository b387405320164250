"""A source of airbyte-cdk with one stream that yields the records."""

import json
import sys
from pathlib import Path

from airbyte_cdk.entrypoint import launch
from airbyte_cdk.sources import AbstractSource
from airbyte_cdk.sources.streams import Stream
from records import SETS


class Records(Stream):
    primary_key = "id"
    name = "records"

    def __init__(self, chosen, count):
        self.chosen, self.count = chosen, count

    def get_json_schema(self):
        return {"type": "object", "additionalProperties": True, "properties": {"id": {"type": "integer"}}}

    def read_records(self, *_, **__):
        if self.chosen == "mixed":
            yield from SETS["mixed"](self.count)
            return
        # Its messages take what JSON knows; this is what authors write for the rest.
        for record in SETS["exact"](self.count):
            record["ordered_at"] = record["ordered_at"].isoformat()
            record["shipped_at"] = record["shipped_at"] and record["shipped_at"].isoformat()
            record["price"] = str(record["price"])
            record["discount"] = record["discount"] and str(record["discount"])
            yield record


class Source(AbstractSource):
    def spec(self, _):
        from airbyte_cdk.models import ConnectorSpecification

        return ConnectorSpecification(connectionSpecification={"type": "object", "properties": {}})

    def check_connection(self, *_):
        return True, None

    def streams(self, config):
        return [Records(config["chosen"], config["count"])]


if __name__ == "__main__":
    if sys.argv[1] == "check":
        Path("config.json").write_text(json.dumps({"chosen": "mixed", "count": 1}))
        launch(Source(), ["check", "--config", "config.json"])
    else:
        Path("config.json").write_text(json.dumps({"chosen": sys.argv[1], "count": int(sys.argv[2])}))
        stream = {"name": "records", "json_schema": {}, "supported_sync_modes": ["full_refresh"]}
        chosen = {"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "append"}
        Path("catalog.json").write_text(json.dumps({"streams": [chosen]}))
        launch(Source(), ["read", "--config", "config.json", "--catalog", "catalog.json"])
