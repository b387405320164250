"""A source of airbyte-cdk that reads the pages: `stream` with HttpStream, `declarative` from a manifest."""

import json
import sys
from pathlib import Path

from airbyte_cdk.entrypoint import launch
from airbyte_cdk.models import ConfiguredAirbyteCatalogSerializer
from airbyte_cdk.sources import AbstractSource
from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource
from airbyte_cdk.sources.streams.http import HttpStream

SCHEMA = {"type": "object", "additionalProperties": True, "properties": {"id": {"type": "integer"}}}
BASE = sys.argv[2]


class Records(HttpStream):
    url_base = BASE
    primary_key = "id"
    name = "records"

    def path(self, **_):
        return "records"

    def get_json_schema(self):
        return SCHEMA

    def next_page_token(self, response):
        body = response.json()
        return {"page": body["page"] + 1} if body["next"] else None

    def request_params(self, stream_state, stream_slice=None, next_page_token=None):
        return next_page_token or {"page": 1}

    def parse_response(self, response, **_):
        yield from response.json()["data"]


class Source(AbstractSource):
    def spec(self, _):
        from airbyte_cdk.models import ConnectorSpecification

        return ConnectorSpecification(connectionSpecification={"type": "object", "properties": {}})

    def check_connection(self, *_):
        return True, None

    def streams(self, config):
        return [Records()]


MANIFEST = {
    "version": "6.0.0",
    "type": "DeclarativeSource",
    "check": {"type": "CheckStream", "stream_names": ["records"]},
    "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": {}}},
    "streams": [
        {
            "type": "DeclarativeStream",
            "name": "records",
            "primary_key": ["id"],
            "schema_loader": {"type": "InlineSchemaLoader", "schema": SCHEMA},
            "retriever": {
                "type": "SimpleRetriever",
                "requester": {"type": "HttpRequester", "url_base": BASE, "path": "records", "http_method": "GET"},
                "record_selector": {
                    "type": "RecordSelector",
                    "extractor": {"type": "DpathExtractor", "field_path": ["data"]},
                },
                "paginator": {
                    "type": "DefaultPaginator",
                    "page_token_option": {"type": "RequestPath"},
                    "pagination_strategy": {
                        "type": "CursorPagination",
                        "cursor_value": "{{ response['next'] }}",
                        "stop_condition": "{{ not response['next'] }}",
                    },
                },
            },
        }
    ],
}

Path("config.json").write_text("{}")
stream = {"name": "records", "json_schema": {}, "supported_sync_modes": ["full_refresh"]}
chosen = {"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "append"}
CATALOG = {"streams": [chosen]}
Path("catalog.json").write_text(json.dumps(CATALOG))
arguments = ["read", "--config", "config.json", "--catalog", "catalog.json"]
if sys.argv[1] == "stream":
    launch(Source(), arguments)
else:
    known = ConfiguredAirbyteCatalogSerializer.load(CATALOG)
    launch(ConcurrentDeclarativeSource(catalog=known, config={}, state=None, source_config=MANIFEST), arguments)
