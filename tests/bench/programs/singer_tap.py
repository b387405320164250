"""A tap of singer-sdk with one stream that yields the records."""

import sys

from records import SETS
from singer_sdk import Stream, Tap
from singer_sdk import typing as th
from singer_sdk.contrib.msgspec import MsgSpecWriter

ADDRESS = th.ObjectType(
    th.Property("street", th.StringType),
    th.Property("city", th.StringType),
    th.Property("zip", th.StringType),
    th.Property("floor", th.IntegerType),
)
SCHEMAS = {
    "mixed": th.PropertiesList(
        th.Property("id", th.IntegerType),
        th.Property("email", th.StringType),
        th.Property("name", th.StringType),
        th.Property("active", th.BooleanType),
        th.Property("amount", th.NumberType),
        th.Property("visits", th.IntegerType),
        th.Property("created_at", th.DateTimeType),
        th.Property("note", th.StringType),
        th.Property("address", ADDRESS),
        th.Property("source", th.StringType),
    ),
    "exact": th.PropertiesList(
        th.Property("id", th.IntegerType),
        th.Property("email", th.StringType),
        th.Property("ordered_at", th.DateTimeType),
        th.Property("shipped_at", th.DateTimeType),
        th.Property("price", th.NumberType),
        th.Property("discount", th.NumberType),
        th.Property("paid", th.BooleanType),
        th.Property("lines", th.ArrayType(th.ObjectType(additional_properties=True))),
        th.Property("grid", th.ArrayType(th.ArrayType(th.IntegerType))),
        th.Property("note", th.StringType),
    ),
}


class Records(Stream):
    name = "records"
    primary_keys = ("id",)
    schema = SCHEMAS.get(sys.argv[1], SCHEMAS["mixed"]).to_dict()

    def get_records(self, context):
        yield from SETS[sys.argv[1]](int(sys.argv[2]))


class TapRecords(Tap):
    name = "tap-records"
    message_writer_class = MsgSpecWriter  # the faster of the two that the SDK has
    config_jsonschema = th.PropertiesList().to_dict()

    def discover_streams(self):
        return [Records(self)]


if __name__ == "__main__":
    TapRecords(config={}).sync_all()
