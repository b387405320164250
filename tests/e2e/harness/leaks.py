"""Where a secret shows, in the forms in which a value leaks."""

from __future__ import annotations

import base64
import json
import os
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path


def forms(secret: str) -> list[bytes]:
    """As it is, in base64, percent-encoded and as JSON has it."""
    plain = secret.encode()
    return [
        plain,
        base64.b64encode(plain).rstrip(b"="),
        urllib.parse.quote(secret, safe="").encode(),
        json.dumps(secret)[1:-1].encode(),
    ]


def files_below(folder: Path) -> Iterator[Path]:
    """All files; a folder that is being removed while it is looked through holds nothing any more."""

    def gone(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for root, _, names in os.walk(folder, onerror=gone):
        for name in names:
            yield Path(root) / name


def leaks(secret: str, places: Mapping[str, bytes]) -> list[str]:
    """Names of the places that hold a secret in any form."""
    return [name for name, content in places.items() if any(form in content for form in forms(secret))]


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder with what is in them, by their paths."""
    paths = (path for path in files_below(folder) if path.is_file())
    return {str(path): path.read_bytes() for path in paths}
