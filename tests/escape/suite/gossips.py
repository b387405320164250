"""The connector that tells its secrets, and a look for them wherever they may have gone."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import subprocess
import urllib.parse
from pathlib import Path

from harness.client import Stream
from harness.daemon import inline
from harness.read import read

from .house import House

GOSSIP = Path(__file__).parents[1] / "gossip"
REFERENCE = {"$secret": "file:gossip"}
OUTSIDE = "import sys; sys.path.insert(0, sys.argv[1]); from caisson_gossip.ways import main; main(*sys.argv[2:])"


def bundle(house: House) -> Path:
    """The gossip's folder, where every user can read it."""
    folder = house.stage.connectors / "gossip"
    if not folder.exists():
        shutil.copytree(GOSSIP, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def token(house: House) -> str:
    """The gossip's own secret, in the daemon's directory of secret files. It has what encoders change."""
    path = house.daemon.folder / "secrets/gossip"
    if not path.exists():
        path.write_text(f"tok/{secrets.token_hex(12)}+=?&é")
        house.identity.own(path)
    return path.read_text()


def forms(secret: str) -> list[str]:
    """What a secret may look like, also in the middle of something longer."""
    raw = secret.encode()
    pieces = [base64.b64encode(b"x" * shift + raw).decode()[4:-4] for shift in range(3)]
    return [
        secret,
        *pieces,
        *[piece.translate(str.maketrans("+/", "-_")) for piece in pieces],
        raw.hex(),
        "".join(f"%{byte:02X}" for byte in raw),
        urllib.parse.quote_plus(secret),
        urllib.parse.quote(secret, safe=""),
        "".join(f"\\u{ord(one):04x}" for one in secret),
        json.dumps(secret)[1:-1],
        repr(raw)[2:-1],
        # Its unmistakable part alone.
        secret[4:28],
    ]


def found(secret: str, where: str) -> str:
    """The form in which it is there; empty where it is not. Backslashes may have been doubled on the way."""
    plain = where.replace("\\\\", "\\")
    return next((form for form in forms(secret) if form in where or form in plain), "")


def gossip(
    house: House,
    operation: str,
    way: str,
    mode: str = "full",
    redact_records: bool = False,
    folder: Path | None = None,
) -> Stream:
    """A call of the gossip, begun; it stands in `folder`, which it may write to."""
    grant = {"token": {"from": ["file:gossip"], "reveal": True}}
    files = [{"dir": str(folder), "within": [str(folder)], "access": "write"}] if folder else []
    house.daemon.policy("gossip", secrets=grant, redact_records=redact_records, files=files)
    token(house)
    where = {"folder": str(folder)} if folder else {}
    connection = inline(bundle(house), config={"token": REFERENCE, "way": way, **where})
    if operation == "Test":
        return house.daemon.client.stream("Test", connection=connection)
    return read(house.daemon, connection, "told", mode=mode)


def outside(house: House, way: str, folder: Path | None = None) -> str:
    """All that the same way lets out of a plain Python, which stands in `folder`."""
    python = [*house.identity.prefix, str(house.stage.python), "-I", "-S", "-c", OUTSIDE]
    done = subprocess.run(
        [*python, str(bundle(house) / "src"), way, token(house)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr
