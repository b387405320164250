"""The floor of what Python can do: dicts through orjson into a pipe."""

import sys

import orjson
from records import SETS

name, count = sys.argv[1], int(sys.argv[2])
# Standard output's own buffer of 8 KiB would cost both ends twice as much.
write = open(1, "wb", buffering=1 << 18).write  # noqa: SIM115
dumps, option = orjson.dumps, orjson.OPT_APPEND_NEWLINE
for record in SETS[name](count):
    write(dumps(record, default=str, option=option))
