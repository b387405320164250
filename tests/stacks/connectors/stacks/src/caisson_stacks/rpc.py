"""grpcio: unary and streamed calls, in the clear and with TLS, blocking and on asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc as grpc_library
import grpc.aio as grpc_aio

Options = dict[str, Any]
# Methods of bytes have no generated stubs that would type them.
grpc: Any = grpc_library
aio: Any = grpc_aio
SHOUT, COUNT, ECHO = "/test.Stack/Shout", "/test.Stack/Count", "/test.Stack/Echo"


def work_grpcio(options: Options) -> dict[str, Any]:
    """All four kinds of calls against a real server."""
    with grpc.insecure_channel(f"localhost:{options['grpc']}") as channel:
        grpc.channel_ready_future(channel).result(20)
        shouted = channel.unary_unary(SHOUT)(b"hello", timeout=10, wait_for_ready=True)
        counted = sum(len(part) for part in channel.unary_stream(COUNT)(b"200", timeout=20))
        echoed = list(channel.stream_stream(ECHO)(iter([b"a", b"b", b"c"]), timeout=10))
        try:
            channel.unary_unary("/test.Stack/Absent")(b"", timeout=5)
            absent = "found"
        except grpc.RpcError as refused:
            absent = refused.code().name
    trusted = grpc.ssl_channel_credentials(options["certificate"].encode())
    with grpc.secure_channel(f"localhost:{options['grpcs']}", trusted) as channel:
        secure = channel.unary_unary(SHOUT)(b"tls", timeout=20, wait_for_ready=True)

    async def later() -> bytes:
        async with aio.insecure_channel(f"localhost:{options['grpc']}") as channel:
            answer: bytes = await channel.unary_unary(SHOUT)(b"later", timeout=20)
            return answer

    return {"shouted": shouted.decode(), "counted": counted, "echoed": b"".join(echoed).decode(),
            "absent": absent, "secure": secure.decode(), "later": asyncio.run(later()).decode()}  # fmt: skip
