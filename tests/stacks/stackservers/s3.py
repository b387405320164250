"""As much of S3 and STS as a client needs to put, get, list by pages, and ask who it is.

Requests must be signed for the right service (Signature Version 4 in its
Authorization header); what the signature is worth is not looked at.
"""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

OBJECTS: dict[str, bytes] = {}
IDENTITY = (
    "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account>"
    "</GetCallerIdentityResult></GetCallerIdentityResponse>"
)


class S3(BaseHTTPRequestHandler):
    """One bucket in memory."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        """Keeps an object."""
        if self.headers.get("expect") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        OBJECTS[self.place] = self.body()
        self.answer(200, b"", signed="s3")

    def do_GET(self) -> None:
        """An object, or a page of keys."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if "list-type" in asked:
            self.answer(
                200, self.keys(int(asked.get("max-keys", 1000)), asked.get("continuation-token", "")), signed="s3"
            )
        elif self.place in OBJECTS:
            self.answer(200, OBJECTS[self.place], signed="s3")
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>absent</Message></Error>", signed="s3")

    def do_POST(self) -> None:
        """STS: who asks."""
        self.body()
        self.answer(200, IDENTITY.encode(), signed="sts")

    def keys(self, most: int, after: str) -> bytes:
        """ListObjectsV2."""
        bucket = self.place.strip("/") + "/"
        names = sorted(name.removeprefix(f"/{bucket}") for name in OBJECTS if name.startswith(f"/{bucket}"))
        left = [name for name in names if name > after]
        page, more = left[:most], len(left) > most
        contents = "".join(f"<Contents><Key>{escape(name)}</Key><Size>1</Size></Contents>" for name in page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        cut = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        return f"<ListBucketResult>{cut}{token}{contents}</ListBucketResult>".encode()

    @property
    def place(self) -> str:
        """Bucket and key."""
        return urlsplit(self.path).path

    def body(self) -> bytes:
        """What came, out of chunks if it came so."""
        length = int(self.headers.get("content-length", 0))
        content = self.rfile.read(length)
        if "aws-chunked" not in self.headers.get("content-encoding", ""):
            return content
        plain, rest = b"", content
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            count = int(size.split(b";")[0], 16)
            if count == 0:
                break
            plain, rest = plain + rest[:count], rest[count + 2 :]
        return plain

    def answer(self, status: int, body: bytes, signed: str) -> None:
        """An answer, if the request was signed."""
        if f"/{signed}/aws4_request" not in self.headers.get("authorization", ""):
            status, body = 403, b"<Error><Code>AccessDenied</Code><Message>unsigned</Message></Error>"
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("content-type", "application/xml")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""
