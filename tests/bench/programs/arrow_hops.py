"""The floor of moving Arrow: the same IPC bytes over two bare sockets.

`arrow_hops.py BATCHES` makes two children: one sends the batch's bytes BATCHES times, one passes them on.
This process reads them, decodes every message and sums its first column, as the caller of Caisson does.
"""

import json
import os
import socket
import sys

import pyarrow as pa
import pyarrow.compute as pc
from columns import batch

count = int(sys.argv[1])
sends, passes_in = socket.socketpair()
passes_out, reads = socket.socketpair()
one = batch()
schema = one.schema.serialize().to_pybytes()
body = one.serialize().to_pybytes()

if (sender := os.fork()) == 0:
    for _ in range(count):
        sends.sendall(body)
    sends.shutdown(socket.SHUT_WR)
    os._exit(0)
if (relay := os.fork()) == 0:
    sends.close()
    room = memoryview(bytearray(1 << 20))
    while n := passes_in.recv_into(room):
        passes_out.sendall(room[:n])
    passes_out.shutdown(socket.SHUT_WR)
    os._exit(0)
sends.close()
passes_out.close()
records = total = 0
room = memoryview(bytearray(len(body)))
for _ in range(count):
    at = 0
    while at < len(body):
        at += reads.recv_into(room[at:])
    found = pa.ipc.read_record_batch(pa.py_buffer(room), one.schema)
    records += found.num_rows
    total += pc.sum(found.column(0)).as_py()
os.waitpid(sender, 0)
os.waitpid(relay, 0)
print(json.dumps({"records": records, "sum": total, "bytes": count * len(body)}))
