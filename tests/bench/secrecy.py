"""Part 10: what secrets cost: reading all that is said, a vault before a call, a seal on a request.

The redactor is measured alone, on one thread, in its processor time, on text that
holds no secret: `redact_gib_per_s` is of a log with ten secrets, by bytes half
JSON, a quarter base64, a sixth plain, the rest percent-encoded URLs and JSON in
JSON; `redact_logs_least_gib_per_s` is the least of JSON, plain lines and base64
with up to a hundred secrets, `redact_least_gib_per_s` of everything that was tried.
A vault is a real OpenBao on loopback; a call with a secret of it takes turns with
one whose secret is in a file, and with a bare client that reads the same secret
with the daemon's token and without a login. A sealed request takes turns with the
same request whose key the worker has itself.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from servers.attacker import free_port
from servers.secure import Signer
from servers.vault import POLICY, Vault

from .caisson import ROOT, Caisson
from .contest import say
from .inspecting import UPSTREAM, nginx
from .start import PAUSE_MS, publish

CALLS = 15
"""Of each contestant in a round."""
REQUESTS = 2_000
TURNS = 3
"""Of sealed and other calls in a round: each is the median of its requests."""
GIB = 1 << 30
KV = {"$secret": "vault:secret/data/shop#key"}
FILE = {"$secret": "file:key"}


def rates() -> dict[str, float]:
    """Bytes a nanosecond that the redactor reads, by kind of text, number of secrets and way."""
    command = [os.environ.get("CARGO", "cargo"), "run", "--quiet", "--release", "-p", "caisson-secrets"]
    told = subprocess.run(
        [*command, "--example", "redaction_rate"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(told.stdout)
    for name, rate in found.items():
        say(f"  redactor, {name}: {rate * 1e9 / GIB:.2f} GiB/s")
    return found


def trip(address: str, token: str) -> float:
    """Milliseconds of a bare client's read of the secret, its connection too."""
    began = time.perf_counter()
    bare = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
    try:
        bare.request("GET", "/v1/secret/data/shop", headers={"X-Vault-Token": token})
        answer = bare.getresponse()
        text = answer.read()
    finally:
        bare.close()
    if answer.status != 200:
        raise RuntimeError(f"the vault said {answer.status}: {text[:200]!r}")
    return (time.perf_counter() - began) * 1e3


def vault(rounds: int, folder: Path) -> dict[str, float]:
    """A call whose secret is in a vault, against one whose secret is in a file, and the vault alone."""
    with ExitStack() as stack:
        server = Vault(folder)
        stack.callback(server.stop)
        server.put("shop", key="a-key-of-the-benchmark-4c19")
        token = server.token(POLICY)
        address = {"address": server.address, "auth": {"token": {"file": "vault-token"}}}
        running = Caisson(dependencies="dependencies.toml", secrets={"files": "secrets", "vault": address})
        (running.daemon.folder / "vault-token").write_text(token)
        (running.daemon.folder / "secrets/key").write_text("a-key-of-the-benchmark-4c19")
        stack.enter_context(running)
        grant = {"token": {"from": ["vault:secret/data/*", "file:key"], "reveal": True}}
        running.daemon.policy("plumb", secrets=grant)
        name = publish(running, "plumb")

        def calls(reference: dict[str, str], count: int) -> list[float]:
            config: dict[str, Any] = {"port": 1, "what": "nothing", "token": reference}
            told = running.ask("calls", name, stream="figure", count=count, config=config, pause_ms=PAUSE_MS).told
            if told["errors"]:
                raise RuntimeError(f"{told['errors']} of {count} calls failed, the first with: {told['fault']}")
            return list(told["end_ms"])

        taken: dict[str, list[float]] = {"vault": [], "file": [], "bare": []}
        for reference in (KV, FILE):
            calls(reference, 2)  # installs the version, and logs in
        for _ in range(rounds):
            taken["vault"] += calls(KV, CALLS)
            taken["file"] += calls(FILE, CALLS)
            taken["bare"] += [trip(server.address, token) for _ in range(CALLS)]
    half = {name: statistics.median(values) for name, values in taken.items()}
    say("  " + ", ".join(f"{name} {value:.2f} ms" for name, value in half.items()))
    added = half["vault"] - half["file"]
    return {
        "secret_kv_added_ms_p50": added,
        "secret_kv_vs_bare_vault": added / half["bare"],
        "secret_bare_vault_ms_p50": half["bare"],
    }


def seal(rounds: int, folder: Path) -> dict[str, float]:
    """A request whose key the gateway puts in, against one whose key the worker has."""
    with ExitStack() as stack:
        signer = Signer(folder)
        signer.issue("server", "DNS:localhost")
        (folder / "server.key").chmod(0o644)
        port = free_port()
        text = UPSTREAM.format(folder=folder, port=port, payload="x" * 1024)
        stack.enter_context(nginx(folder, "up", text, port))
        running = Caisson(egress={"ca": f"{folder}/ca.pem"})
        (running.daemon.folder / "secrets/key").write_text("a-key-of-the-benchmark-4c19")
        stack.enter_context(running)
        rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [port], "protocol": "https"}
        secrets = {
            "sealed": {"from": ["file:key"], "seal": {"hosts": ["localhost"], "ports": [port]}},
            "token": {"from": ["file:key"], "reveal": True},
        }
        running.daemon.policy("plumb", egress=[rule], secrets=secrets)
        taken: dict[str, list[float]] = {"sealed": [], "token": []}
        for number in range(rounds * TURNS):
            for key, values in taken.items():
                config = {"port": port, "what": "latency", "amount": REQUESTS, key: FILE}
                values.append(running.ask("read", "plumb", stream="figure", config=config).told["sum"] / 1e6)
            say(f"  turn {number + 1}: sealed {taken['sealed'][-1]:.4f} ms, not {taken['token'][-1]:.4f} ms")
    half = {name: statistics.median(values) for name, values in taken.items()}
    return {"seal_added_ms_p50": half["sealed"] - half["token"]}


def metrics(rounds: int = 5, others: bool = True) -> dict[str, float]:
    """The keys of this part."""
    read = rates()
    logs = [rate for name, rate in read.items() if name.split()[0] in ("json", "plain", "base64")]
    found = {
        "redact_gib_per_s": read["mix"] * 1e9 / GIB,
        "redact_logs_least_gib_per_s": min(logs) * 1e9 / GIB,
        "redact_least_gib_per_s": min(read.values()) * 1e9 / GIB,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        return {**found, **vault(rounds, folder), **seal(rounds, folder)}
