"""Dicts through orjson and grpcio, 1,000 a message, from one process into another."""

import json
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

LARGE = [("grpc.max_receive_message_length", 16 << 20)]


def serve(address, chosen, count):
    import orjson
    from records import pages

    served = threading.Event()

    def read(_request, _context):
        dumps = orjson.dumps
        for page in pages(chosen, count):
            lines = [dumps(record, default=str) for record in page]
            yield b"\n".join(lines) + b"\n"
        served.set()

    server = grpc.server(ThreadPoolExecutor(1), options=LARGE)
    handler = grpc.unary_stream_rpc_method_handler(read)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench.Records", {"Read": handler})])
    server.add_insecure_port(address)
    server.start()
    print("serving", flush=True)
    served.wait()
    server.stop(5).wait()


def read(address):
    options = [*LARGE, ("grpc.default_authority", "localhost")]
    with grpc.insecure_channel(address, options=options) as channel:
        grpc.channel_ready_future(channel).result(30)
        count, last = 0, b""
        for message in channel.unary_stream("/bench.Records/Read")(b""):
            count += message.count(b"\n")
            last = message
    print(json.dumps({"records": count, "last": last.splitlines()[-1].decode()}))


def pair(chosen, count):
    """Both ends; the server is a child that is waited for, so that its time counts."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{folder}/socket"
        server = subprocess.Popen([sys.executable, __file__, "serve", address, chosen, count], stdout=subprocess.PIPE)
        server.stdout.readline()
        read(address)
        server.wait()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        pair(*sys.argv[1:])
