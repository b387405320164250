"""Ways for a text to get out of a process: exceptions, lines, logs; as it is, and in the forms that programs write."""

from __future__ import annotations

import base64
import json
import logging
import os
import resource
import sys
import time
import urllib.parse
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in base64, behind a name": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "in base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "in hexadecimal": lambda text: text.encode().hex(),
    "percent-encoded": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "in a query": lambda text: urllib.parse.urlencode({"key": text}),
    "in JSON, escaped": lambda text: json.dumps({"key": "".join(f"\\u{ord(one):04x}" for one in text)}),
    "as bytes": lambda text: repr(text.encode()),
}


def exception(text: str) -> None:
    """Says it in its last words."""
    raise RuntimeError(f"the key {text} was refused")


def chained(text: str) -> None:
    """Says it in what led to its last words."""
    try:
        exception(text)
    except RuntimeError as cause:
        raise ValueError("no connection") from cause


def note(text: str) -> None:
    """Says it beside its last words."""
    error = ValueError("no connection")
    error.add_note(f"with {text}")
    raise error


def os_error(text: str) -> None:
    """Says it as the name of a file."""
    Path(f"/nowhere/{text}").read_text()


def printed(text: str) -> None:
    """One line on stdout."""
    print("the key is", text, flush=True)


def warned(text: str) -> None:
    """One line on stderr."""
    print("the key is", text, file=sys.stderr, flush=True)


def split(text: str) -> None:
    """In two writes, so that neither holds it."""
    middle = len(text) // 2
    for piece in (f"the key is {text[:middle]}", f"{text[middle:]}\n"):
        os.write(1, piece.encode())
        time.sleep(0.05)


def letters(text: str) -> None:
    """One letter a write."""
    for letter in f"the key is {text}\n":
        os.write(2, letter.encode())


def logged(text: str) -> None:
    """As a line of the log."""
    logging.getLogger("gossip").warning("the key is %s", text)


def logger(text: str) -> None:
    """As the name of the logger."""
    logging.getLogger(f"gossip.{text}").warning("hello")


def logged_exception(text: str) -> None:
    """As the traceback in a line of the log."""
    try:
        exception(text)
    except RuntimeError:
        logging.getLogger("gossip").exception("it went wrong")


def abort(text: str) -> None:
    """Dies while its caller has it in memory, and asks for a core."""
    del text
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.abort()


WAYS: dict[str, Callable[[str], None]] = {
    "an exception": exception, "a cause of an exception": chained, "a note of an exception": note,
    "the file of an error": os_error, "a line on stdout": printed, "a line on stderr": warned,
    "a line in two writes": split, "a line letter by letter": letters, "a line of the log": logged,
    "the name of a logger": logger, "a traceback in the log": logged_exception,
    "an abort": abort,
}  # fmt: skip


LINES = tuple(name for name in WAYS if "line" in name or "log" in name)


def tell(way: str, token: str) -> None:
    """Lets the token out: `WAY` or `WAY, FORM`; all that end nothing for `lines`."""
    if way == "lines":
        for line in LINES:
            for encode in FORMS.values():
                WAYS[line](encode(token))
        return
    name, _, form = way.partition(", ")
    WAYS[name](FORMS[form or "as it is"](token))


def main(way: str, token: str) -> None:
    """The same outside."""
    logging.basicConfig(level=logging.INFO)
    tell(way, token)
