"""Cassettes: recorded HTTP traffic as HAR 1.2, played back in place of the network.

Requests match by method, path, query and body; where the same request was
recorded several times, the recordings are used in order. Credentials are
neither matched nor kept: what `redact` finds is not written.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote_plus, urlsplit

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
# Parameters and members whose values are credentials (RFC 6749, 6750, 7521, 7636), most of them made by the server.
CREDENTIALS = (
    "access_token",
    "refresh_token",
    "id_token",
    "client_secret",
    "client_assertion",
    "assertion",
    "code_verifier",
    "password",
)
HIDDEN = "[secret]"
# Shorter values, in characters, are not looked for: they would blank out half of every body.
SHORTEST = 6


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
                log = json.loads(self.path.read_text("utf-8"))["log"]
                self.entries = log["entries"]
                self.ignore.update(log.get("_ignored", []))
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
            secrets: Values to take out wherever they stand; those of fewer
                than 6 characters are not looked for.

        Raises:
            ValueError: A body that is no text holds a secret, where nothing can
                be put in its place.
        """
        if self.path is None:
            return
        found = sorted({form for secret in secrets for form in forms(secret)}, key=len, reverse=True)
        log = {
            "version": "1.2",
            "creator": {"name": "caisson", "version": "1"},
            # What a recorder leaves out, a player elsewhere must not ask for.
            **({"_ignored": sorted(self.ignore)} if self.ignore else {}),
            "entries": [_without(redact(entry, self.ignore), found) for entry in self.entries],
        }
        text = json.dumps({"log": log}, indent=2, ensure_ascii=False)
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
    from urllib.parse import quote, quote_plus

    if len(secret) < SHORTEST:
        return []
    raw = secret.encode()
    written = [secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    # JSON inside of a JSON text.
    twice = [json.dumps(each, ensure_ascii=False)[1:-1] for each in written]
    found = [
        *written,
        *twice,
        *(each.replace("/", "\\/") for each in written),
        quote(secret, safe=""),
        quote_plus(secret),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
    ]
    return sorted(set(found), key=len, reverse=True)


def redact(entry: dict[str, Any], parameters: set[str]) -> dict[str, Any]:
    """`entry` without credentials in headers, cookies, query and bodies."""
    entry = json.loads(json.dumps(entry))
    names = {name.lower() for name in parameters}
    for side in ("request", "response"):
        entry[side]["cookies"] = []
        for header in entry[side]["headers"]:
            if header["name"].lower() in SENSITIVE or header["name"].lower() in names:
                header["value"] = HIDDEN
    request = entry["request"]
    head, _, query = request["url"].partition("?")
    query = _query(query, parameters)
    request["url"] = head + ("?" + query if query else "")
    request["queryString"] = [
        {"name": name, "value": value} for name, value in parse_qsl(query, keep_blank_values=True)
    ]
    for body in (request.get("postData"), entry["response"].get("content")):
        if body and body.get("encoding") != "base64":
            body["text"] = _body(body.get("text") or "")
    return dict(entry)


def _query(text: str, ignored: set[str] | frozenset[str]) -> str:
    """A query or form as it is written, without ignored parameters and without the values of credentials."""
    kept = []
    for pair in text.split("&"):
        spelt = pair.partition("=")[0]
        name = unquote_plus(spelt)
        if pair and name not in ignored:
            kept.append(f"{spelt}={HIDDEN}" if name in CREDENTIALS else pair)
    return "&".join(kept)


def _body(text: str) -> str:
    """A body without the values of credentials; as it was where it holds none."""
    if not any(name in unquote_plus(text) for name in CREDENTIALS):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        is_form = not re.search(r"\s", text) and any(name in CREDENTIALS for name, _ in parse_qsl(text))
        return _query(text, frozenset()) if is_form else text
    if not isinstance(value, dict) or not any(isinstance(value.get(name), str) for name in CREDENTIALS):
        return text
    hidden = {name: HIDDEN for name in CREDENTIALS if isinstance(value.get(name), str)}
    return json.dumps(value | hidden, ensure_ascii=False)


def _without(value: Any, found: Sequence[str]) -> Any:
    """A part of an entry without these texts; names stay, which are HAR's own."""
    if isinstance(value, list):
        return [_without(item, found) for item in value]
    if isinstance(value, dict):
        if value.get("encoding") == "base64" and any(
            form.encode() in base64.b64decode(value["text"]) for form in found
        ):
            raise ValueError("a body that is no text holds a secret, so the cassette is not written")
        return {name: _without(item, found) for name, item in value.items()}
    if not isinstance(value, str) or not any(form in value for form in found):
        return value
    with contextlib.suppress(ValueError):
        value = _numbers(value, found)
    for form in found:
        value = value.replace(form, HIDDEN)
    return value


def _numbers(text: str, found: Sequence[str]) -> str:
    """A JSON text whose numbers hold no secret: a text without quotes in their place would be no JSON."""
    hidden = []

    def number(digits: str) -> Any:
        if any(form in digits for form in found):
            hidden.append(digits)
            return HIDDEN
        return float(digits) if re.search("[.eE]", digits) else int(digits)

    value = json.loads(text, parse_int=number, parse_float=number)
    return json.dumps(value, ensure_ascii=False) if hidden else text


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


def _plain(headers: Headers, body: bytes | None) -> bytes | None:
    """A request's body without its codings; as it is where they are not known."""
    import zlib

    plain = body
    named = ",".join(value for name, value in headers if name.lower() == "content-encoding")
    for coding in reversed([each.strip().lower() for each in named.split(",")]):
        if not plain or coding in ("", "identity"):
            continue
        if coding not in ("gzip", "x-gzip", "deflate"):
            return body
        try:
            plain = zlib.decompress(plain, zlib.MAX_WBITS | 32)
        except zlib.error:
            return body
    return plain


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
            return cassette.answer(method, url, _plain(headers, body))
        if self._made is None:
            self._made = self._network()
        answer = self._made.request(method, url, headers, body, timeout)
        if cassette is not None:
            cassette.record(method, url, headers, _plain(headers, body), answer)
        return answer
