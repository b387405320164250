"""Sockets, TLS, HTTP, names."""

from __future__ import annotations

import http.client
import socket
import socketserver
import ssl
import urllib.request
from functools import partial
from typing import Any

from .refused import outcome

OPTIONS = {
    "reuse": (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
    "keepalive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    "send buffer": (socket.SOL_SOCKET, socket.SO_SNDBUF, 65536),
    "receive buffer": (socket.SOL_SOCKET, socket.SO_RCVBUF, 65536),
    "nodelay": (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    "keepalive idle": (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    "keepalive interval": (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    "keepalive count": (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    "user timeout": (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000),
    "fast open": (socket.IPPROTO_TCP, 30, 1),
    "bind to device": (socket.SOL_SOCKET, 25, b"lo\0"),
    "packet filter": (socket.SOL_SOCKET, 26, b"\0" * 16),
}


def sockets(http_port: int, _tls: int) -> dict[str, Any]:
    """TCP by name and by address, options, datagrams, both families."""
    found: dict[str, Any] = {}
    with socket.create_connection(("localhost", http_port), 10) as way:
        found["options"] = {name: outcome(partial(way.setsockopt, *option)) for name, option in OPTIONS.items()}
        found["asked"] = [way.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), way.getpeername()[1] == http_port]
        way.getsockname()
        way.sendmsg([b"GET /hello HTTP/1.0\r\n", b"Host: x\r\n\r\n"])
        way.shutdown(socket.SHUT_WR)
        first, *_ = way.recvmsg(100)
        rest = bytearray(4096)
        way.recv_into(rest)
        found["answer"] = first.split(b"\r\n")[0].decode()
    with socket.socket(socket.AF_INET6) as six:
        six.settimeout(5)
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found["six"] = outcome(lambda: six.connect(("2001:db8::1", 9)))
    found["six by address"] = outcome(lambda: socket.create_connection(("2001:db8::1", 9), 5).close())
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asks:
        # Which address a packet would leave from: the idiom, and how the C library orders addresses.
        asks.connect(("2001:db8::1", 53))
        found["own address"] = asks.getsockname()[0]
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(type=kind) as server:
            found[f"bind {kind.name}"] = outcome(partial(server.bind, ("127.0.0.1", 0)))
    with socket.socket() as server:
        found["listen"] = outcome(server.listen)
    found["server"] = outcome(
        lambda: socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler).server_close()
    )
    found["unix"] = outcome(lambda: socket.socket(socket.AF_UNIX).close())
    return found


def names(_http: int, _tls: int) -> dict[str, Any]:
    """Names that exist, names that do not, services."""
    found = {"localhost": sorted({str(entry[4][0]) for entry in socket.getaddrinfo("localhost", 80)})}
    try:
        socket.getaddrinfo("absent.example", 80)
        found["absent"] = ["found"]
    except socket.gaierror:
        found["absent"] = []
    found["host"] = [socket.gethostname(), socket.getfqdn("192.0.2.1")]
    return found


def http_client(http_port: int, _tls: int) -> dict[str, Any]:
    """http.client and urllib, with a body and kept alive."""
    kept = http.client.HTTPConnection("localhost", http_port, timeout=10)
    statuses = []
    for _ in range(3):
        kept.request("POST", "/echo", body=b"x" * 100_000)
        answer = kept.getresponse()
        statuses.append([answer.status, len(answer.read())])
    kept.close()
    with urllib.request.urlopen(f"http://localhost:{http_port}/hello", timeout=10) as answer:
        text = answer.read().decode()
    return {"statuses": statuses, "text": text}


def tls(_http: int, tls_port: int) -> dict[str, Any]:
    """A handshake that trusts nobody, and one that does."""
    try:
        with (
            socket.create_connection(("localhost", tls_port), 10) as way,
            ssl.create_default_context().wrap_socket(way, server_hostname="localhost"),
        ):
            strict = "trusted"
    except ssl.SSLCertVerificationError:
        strict = "refused"
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    kept = http.client.HTTPSConnection("localhost", tls_port, timeout=10, context=context)
    kept.request("POST", "/echo", body=b"y" * 50_000)
    answer = kept.getresponse()
    body = len(answer.read())
    kept.close()
    return {"strict": strict, "status": answer.status, "body": body}


WORKLOADS = (sockets, names, http_client, tls)
