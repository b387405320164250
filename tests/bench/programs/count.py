"""Reads standard input to its end and tells how many lines hold a record, and the last of them.

The cheapest reader that still verifies: `count.py MARK` counts the bytes of MARK, which stands once in a record's line.
"""

import json
import os
import sys

mark = sys.argv[1].encode()
count, tail, last = 0, b"", b""
while chunk := os.read(0, 1 << 20):
    lines = tail + chunk
    at = lines.rfind(b"\n") + 1
    count += lines.count(mark, 0, at)
    found = lines.rfind(mark, 0, at)
    if found >= 0:
        last = lines[lines.rfind(b"\n", 0, found) + 1 : lines.find(b"\n", found)]
    tail = lines[at:]
print(json.dumps({"records": count, "last": last.decode()}))
