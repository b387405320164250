"""A tap of singer-sdk that reads the pages with RESTStream."""

import sys
from urllib.parse import parse_qsl

from singer_sdk import Tap
from singer_sdk import typing as th
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.pagination import JSONPathPaginator
from singer_sdk.streams import RESTStream
from singer_tap import SCHEMAS


class Records(RESTStream):
    name = "records"
    primary_keys = ("id",)
    path = "/records"
    url_base = sys.argv[1].rstrip("/")
    records_jsonpath = "$.data[*]"
    schema = SCHEMAS["mixed"].to_dict()

    def get_new_paginator(self):
        return JSONPathPaginator("$.next")

    def get_url_params(self, context, next_page_token):
        return dict(parse_qsl(next_page_token.partition("?")[2])) if next_page_token else {"page": 1}


class TapPages(Tap):
    name = "tap-pages"
    message_writer_class = MsgSpecWriter
    config_jsonschema = th.PropertiesList().to_dict()

    def discover_streams(self):
        return [Records(self)]


TapPages(config={}).sync_all()
