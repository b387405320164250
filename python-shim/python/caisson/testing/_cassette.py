"""Cassettes: recorded HTTP traffic as HAR 1.2, played back in place of the network.

Requests match by method, path, query and body; where the same request was
recorded several times, the recordings are used in order. Credentials are
neither matched nor kept: what `redact` finds is not written.
"""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .._call import Transport

    Headers = list[tuple[str, str]]
    Answer = tuple[int, Headers, bytes]
    Key = tuple[str, str, tuple[tuple[str, str], ...], str]

SENSITIVE = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "x-auth-token"}
)
HIDDEN = "[secret]"


class NotRecorded(Exception):
    """A request that the cassette does not hold."""


class Cassette:
    """One HAR file, or answers given in code.

    Args:
        path: The file; it need not exist while recording.
        ignore: Query parameters and headers that are not compared (credentials).
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, ignore: Sequence[str] = ()) -> None:
        self.path = Path(path) if path is not None else None
        self.ignore = set(ignore)
        self.entries: list[dict[str, Any]] = []
        self._used: set[int] = set()
        if self.path is not None and self.path.exists():
            try:
                self.entries = json.loads(self.path.read_text("utf-8"))["log"]["entries"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{self.path} is no HAR file: {error}") from None
        elif self.path is not None and not recording():
            raise FileNotFoundError(f"no cassette {self.path}; record it with CAISSON_RECORD=1")

    def rewind(self) -> None:
        """The next call starts with the first recording again."""
        self._used.clear()

    def answer(self, method: str, url: str, body: bytes | None) -> Answer:
        """The recorded answer to a request.

        Raises:
            NotRecorded: There is none, or each was used.
        """
        wanted = self._key(method, url, body)
        for number, entry in enumerate(self.entries):
            if number not in self._used and _is_of(self._entry_key(entry), wanted):
                self._used.add(number)
                return _response(entry["response"])
        times = sum(_is_of(self._entry_key(entry), wanted) for entry in self.entries)
        asked = _told(wanted)
        if times:
            raise NotRecorded(f"{asked} was recorded {times} times and is asked once more, in {self.path}")
        raise NotRecorded(f"{asked} is not in {self.path}; {self._nearest(wanted)}")

    def record(self, method: str, url: str, headers: Headers, body: bytes | None, answer: Answer) -> None:
        """Keeps an exchange."""
        self.entries.append(_entry(method, url, headers, body, answer))

    def save(self, secrets: Sequence[str] = ()) -> None:
        """Writes the file, without credentials.

        Args:
            secrets: Values to take out wherever they stand.
        """
        if self.path is None:
            return
        log = {
            "version": "1.2",
            "creator": {"name": "caisson", "version": "1"},
            "entries": [redact(entry, self.ignore) for entry in self.entries],
        }
        text = json.dumps({"log": log}, indent=2, ensure_ascii=False)
        for secret in secrets:
            for form in forms(secret):
                text = text.replace(form, HIDDEN)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(text + "\n", "utf-8")

    def _key(self, method: str, url: str, body: bytes | None) -> tuple[str, str, tuple[tuple[str, str], ...], str]:
        parts = urlsplit(url)
        query = tuple(
            sorted(pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in self.ignore)
        )
        return method.upper(), parts.path or "/", query, _canonical(body)

    def _entry_key(self, entry: dict[str, Any]) -> tuple[str, str, tuple[tuple[str, str], ...], str]:
        request = entry["request"]
        sent = request.get("postData") or {}
        text = sent.get("text")
        body = None if text is None else base64.b64decode(text) if sent.get("encoding") == "base64" else text.encode()
        return self._key(request["method"], request["url"], body)

    def _nearest(self, wanted: tuple[str, str, tuple[tuple[str, str], ...], str]) -> str:
        import difflib

        known = [_told(self._entry_key(entry)) for entry in self.entries]
        near = difflib.get_close_matches(_told(wanted), known, n=1, cutoff=0.0)
        return f"the nearest recording is {near[0]}" if near else "it holds no recording"


def recording() -> bool:
    """True if this run is to record cassettes."""
    return os.environ.get("CAISSON_RECORD", "") not in ("", "0")


def forms(secret: str) -> list[str]:
    """The spellings of a secret that must not be kept."""
    from urllib.parse import quote

    if not secret:
        return []
    raw = secret.encode()
    found = [
        secret,
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
    ]
    return sorted(set(found), key=len, reverse=True)


def redact(entry: dict[str, Any], parameters: set[str]) -> dict[str, Any]:
    """`entry` without credentials in headers, cookies and query."""
    entry = json.loads(json.dumps(entry))
    for side in ("request", "response"):
        entry[side]["cookies"] = []
        for header in entry[side]["headers"]:
            if header["name"].lower() in SENSITIVE or header["name"].lower() in parameters:
                header["value"] = HIDDEN
    request = entry["request"]
    head, _, query = request["url"].partition("?")
    pairs = [pair for pair in query.split("&") if pair and pair.partition("=")[0] not in parameters]
    request["url"] = head + ("?" + "&".join(pairs) if pairs else "")
    request["queryString"] = [each for each in request["queryString"] if each["name"] not in parameters]
    return dict(entry)


def _canonical(body: bytes | None) -> str:
    if not body:
        return ""
    try:
        return json.dumps(json.loads(body), sort_keys=True)
    except ValueError:
        return body.decode("utf-8", "replace")


def _is_of(recorded: Key, asked: Key) -> bool:
    """Equal, but for what is hidden in the recording."""
    if recorded == asked:
        return True
    method, path, query, body = recorded
    return (
        method == asked[0]
        and _hides(path, asked[1])
        and [name for name, _ in query] == [name for name, _ in asked[2]]
        and all(_hides(own[1], other[1]) for own, other in zip(query, asked[2], strict=True))
        and _hides(body, asked[3])
    )


def _hides(recorded: str, asked: str) -> bool:
    """Whether a text is one that was recorded with a part of it hidden; a JSON value that is hidden whole was any."""
    pieces = re.split(re.escape(f'"{HIDDEN}"') + "|" + re.escape(HIDDEN), recorded)
    return re.fullmatch(".*".join(map(re.escape, pieces)), asked, re.DOTALL) is not None


def _told(key: tuple[str, str, tuple[tuple[str, str], ...], str]) -> str:
    method, path, query, body = key
    shown = "&".join(f"{name}={value}" for name, value in query)
    return f"{method} {path}" + (f"?{shown}" if shown else "") + (f" with {body[:200]}" if body else "")


def _response(response: dict[str, Any]) -> Answer:
    content = response.get("content") or {}
    text = content.get("text") or ""
    body = base64.b64decode(text) if content.get("encoding") == "base64" else text.encode()
    dropped = ("content-encoding", "content-length", "transfer-encoding")
    headers = [(each["name"], each["value"]) for each in response.get("headers") or []]
    return response["status"], [pair for pair in headers if pair[0].lower() not in dropped], body


def _text(body: bytes) -> dict[str, str]:
    """A body as HAR has one; base64 where it is no text."""
    try:
        return {"text": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"text": base64.b64encode(body).decode(), "encoding": "base64"}


def _entry(method: str, url: str, headers: Headers, body: bytes | None, answer: Answer) -> dict[str, Any]:
    import datetime

    status, answered, content = answer
    kind = next((value for name, value in answered if name.lower() == "content-type"), "application/octet-stream")
    request: dict[str, Any] = {
        "method": method,
        "url": url,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [{"name": name, "value": value} for name, value in headers],
        "queryString": [{"name": n, "value": v} for n, v in parse_qsl(urlsplit(url).query, keep_blank_values=True)],
        "headersSize": -1,
        "bodySize": len(body or b""),
    }
    if body:
        sent = next((value for name, value in headers if name.lower() == "content-type"), "")
        request["postData"] = {"mimeType": sent, **_text(body)}
    return {
        "startedDateTime": datetime.datetime.now(datetime.UTC).isoformat(),
        "time": 0,
        "request": request,
        "response": {
            "status": status,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [{"name": name, "value": value} for name, value in answered],
            "content": {"size": len(content), "mimeType": kind, **_text(content)},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": len(content),
        },
        "cache": {},
        "timings": {"send": 0, "wait": 0, "receive": 0},
    }


class Player:
    """A transport that plays a cassette back (or records one) and makes faults on the way.

    Args:
        cassette: What to play; None lets every request through to the network.
        faults: Asked first: an answer, an error to raise, or None.
        network: Makes the real transport, for recording and for no cassette.
    """

    def __init__(
        self,
        cassette: Cassette | None,
        faults: Callable[[str, str], Answer | Exception | None],
        network: Callable[[], Transport],
    ) -> None:
        self._cassette = cassette
        self._faults = faults
        self._network = network
        self._made: Transport | None = None

    def request(
        self, method: str, url: str, headers: Headers, body: bytes | None = None, timeout: float | None = None
    ) -> Answer:
        """As `_native.HttpTransport.request`."""
        fault = self._faults(method, url)
        if isinstance(fault, Exception):
            raise fault
        if fault is not None:
            return fault
        cassette = self._cassette
        if cassette is not None and not recording():
            return cassette.answer(method, url, body)
        if self._made is None:
            self._made = self._network()
        answer = self._made.request(method, url, headers, body, timeout)
        if cassette is not None:
            cassette.record(method, url, headers, body, answer)
        return answer
