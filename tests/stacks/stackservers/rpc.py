"""A gRPC server of bytes: one port in the clear, one with TLS."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc


def shout(request: bytes, _context: Any) -> bytes:
    """One in, one out."""
    return request.upper()


def count(request: bytes, _context: Any) -> Iterator[bytes]:
    """One in, many out, each a kilobyte."""
    for _ in range(int(request)):
        yield b"x" * 1024


def echo(requests: Iterator[bytes], _context: Any) -> Iterator[bytes]:
    """Many in, many out."""
    yield from requests


class Rpc:
    """The server until `close`.

    Attributes:
        plain: The port in the clear.
        tls: The port with TLS.
    """

    def __init__(self, key: bytes, certificate: bytes) -> None:
        self._server = grpc.server(ThreadPoolExecutor(4))
        methods: dict[str, Any] = {
            "Shout": grpc.unary_unary_rpc_method_handler(shout),
            "Count": grpc.unary_stream_rpc_method_handler(count),
            "Echo": grpc.stream_stream_rpc_method_handler(echo),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Stack", methods),))
        self.plain = self._server.add_insecure_port("127.0.0.1:0")
        self.tls = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
        self._server.start()

    def close(self) -> None:
        """Stops it."""
        self._server.stop(0).wait()
