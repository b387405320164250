"""The floor of what Python can do: dicts through orjson into a pipe."""

import sys

import orjson
from records import SETS

name, count = sys.argv[1], int(sys.argv[2])
write = sys.stdout.buffer.write
dumps, option = orjson.dumps, orjson.OPT_APPEND_NEWLINE
for record in SETS[name](count):
    write(dumps(record, default=str, option=option))
