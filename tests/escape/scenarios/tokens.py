"""Tokens of a real OAuth server: what a worker could sign for itself, and what a daemon that dies has in its hands."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from harness.daemon import inline
from harness.leaks import files_below
from harness.read import read, records
from servers.between import Between
from servers.httpserver import Api, tied
from servers.oauth import SECRET
from suite.gossips import found
from suite.house import House, Result, by_theft
from suite.scenario import Scenario, got, refused

SIGNED = Scenario("51", "a signature of the worker's own, for what the daemon signs", "gateway")
ROTATED = Scenario("53", "a rotated refresh token that the daemon dies with, before it is stored", "secrets: tokens")


@contextmanager
def guarded(house: House) -> Iterator[Api]:
    """An API that takes valid tokens only."""
    house.signer.issue("api", "DNS:localhost")
    with Api(tls=house.signer.context("api"), guard=house.oauth.is_valid) as api:
        api.records = tied(5)
        yield api


def local(port: int, protocol: str) -> dict[str, Any]:
    """A rule for a port of this machine."""
    return {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [port], "protocol": protocol}


def keys(house: House) -> dict[str, tuple[str, str]]:
    """A client's name, and the key that it proves itself by."""
    return {"a shared key": ("clerk", SECRET), "a private key": ("robot-RS256", house.oauth.keys["RS256"])}


def signed(kind: str, house: House) -> Result:
    """The worker signs with what stands for the key; where the daemon can sign, it does, and the server takes that."""
    client, key = keys(house)[kind]
    (house.daemon.folder / "secrets" / client).write_text(key)
    house.identity.own(house.daemon.folder / "secrets" / client)
    reference = {"$secret": f"file:{client}"}
    with guarded(house) as api:
        secret: dict[str, Any] = {"from": [f"file:{client}"], "seal": {"hosts": ["localhost"], "ports": [api.port]}}
        if kind == "a private key":
            proof = {"client_id": client, "client_auth": "private_key_jwt", "algorithm": "RS256", "key_id": "RS256"}
            secret["oauth2"] = {"grant": "client_credentials", "token_url": house.oauth.token_url, **proof}
        port = int(house.oauth.url.rpartition(":")[2])
        policy = {"egress": [local(api.port, "https"), local(port, "tcp")], "secrets": {"token": secret}}
        house.allow(policy)
        extra = {"client": client, "url": house.oauth.token_url.replace("127.0.0.1", "localhost")}
        stream = house.burgle([("tool", "sign")], extra=extra, secret=reference).drain()
        result = by_theft(records(stream))["tool", "sign"]
        if not result["escaped"] and "invalid_client" not in result["returned"]:
            return {**result, "broken": f"the server had no say: {result['returned']}"}
        if "oauth2" in secret:
            house.daemon.policy("web", **policy)
            config = {"port": api.port, "scheme": "https", "token": reference}
            stream = read(house.daemon, inline(house.stage.connectors / "web", config=config), "asc").drain()
            if len(records(stream)) != 5:
                return {"escaped": False, "returned": "", "broken": f"the daemon's was not taken: {stream.failure}"}
    return result


def signed_outside(kind: str, house: House) -> Result:
    """With the key itself."""
    client, key = keys(house)[kind]
    return house.use_outside("sign", client=client, url=house.oauth.token_url, token=key)


for _kind in ("a shared key", "a private key"):
    SIGNED.part(f"with {_kind}")(partial(signed, _kind))
    SIGNED.control(f"with {_kind}")(partial(signed_outside, _kind))


# A client as they are written: it keeps what it was given in a file, uses it, and stores it where others look later.
CLIENT = """
import json, ssl, sys, time, urllib.parse, urllib.request
folder, token_url, api, refresh, secret = sys.argv[1:]
asked = {"grant_type": "refresh_token", "client_id": "app", "client_secret": secret, "refresh_token": refresh}
given = urllib.request.urlopen(token_url, urllib.parse.urlencode(asked).encode()).read().decode()
open(folder + "/token.json", "w").write(given)
request = urllib.request.Request(api, headers={"Authorization": "Bearer " + json.loads(given)["access_token"]})
urllib.request.urlopen(request, context=ssl._create_unverified_context()).read()
print(given, flush=True)
time.sleep(600)
"""
REFRESH, CLIENT_SECRET = "vault:secret/data/crm#refresh_token", "vault:secret/data/clerk#secret"
POLICY = """
path "secret/data/*"              { capabilities = ["read", "update"] }
path "auth/token/create"          { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
"""


def login(house: House) -> str:
    """A refresh token, stored."""
    token = house.oauth.login()
    house.vault.put("crm", refresh_token=token)
    house.vault.put("clerk", secret=SECRET)
    return token


def died(house: House) -> dict[str, str]:
    """What is where, once a daemon has died while the vault was about to store what the server gave."""
    login(house)
    between = Between(house.vault.address)
    vault = {"address": between.url, "auth": {"token": {"file": "vault-token"}}}
    daemon = house.another_daemon(egress={"ca": "authority.pem"}, secrets={"vault": vault})
    try:
        shutil.copy(house.signer.folder / "ca.pem", daemon.folder / "authority.pem")
        (daemon.folder / "vault-token").write_text(house.vault.token(POLICY))
        daemon.start()
        with guarded(house) as api:
            way = {"grant": "refresh_token", "client_id": "app", "client_secret": "client_secret"}
            way |= {"client_auth": "body", "token_url": house.oauth.token_url}
            sealed = {"from": [REFRESH], "seal": {"hosts": ["localhost"], "ports": [api.port]}, "oauth2": way}
            secrets = {"token": sealed, "client_secret": {"from": [CLIENT_SECRET]}}
            daemon.policy("web", egress=[local(api.port, "https")], secrets=secrets)
            # The first write is the claim, the second one what was given.
            writes = count()
            between.holds = lambda method, path: method == "POST" and "/secret/data/" in path and next(writes) > 0
            references = {"token": {"$secret": REFRESH}, "client_secret": {"$secret": CLIENT_SECRET}}
            config = {"port": api.port, "scheme": "https", **references}
            with ThreadPoolExecutor(1) as pool:
                pool.submit(read(daemon, inline(house.stage.connectors / "web", config=config), "asc").drain)
                assert between.held.wait(20), "nothing was about to be stored"
                daemon.kill()
            given = json.loads(between.kept)["data"]
            return seen(house, api, daemon.folder, given["refresh_token"], given["refresh_token_access_token"])
    finally:
        between.stop()
        daemon.remove()


def died_outside(house: House) -> dict[str, str]:
    """The same of a plain client."""
    first, folder = login(house), house.stage.folder("client")
    house.identity.own(folder)
    command = [*house.identity.prefix, str(house.stage.python), "-I", "-S", "-c", CLIENT, str(folder)]
    with guarded(house) as api:
        asked = [house.oauth.token_url, f"https://localhost:{api.port}/asc", first, SECRET]
        with subprocess.Popen([*command, *asked], stdout=subprocess.PIPE) as client:
            assert client.stdout is not None
            given = json.loads(client.stdout.readline())
            client.kill()
        return seen(house, api, folder, given["refresh_token"], given["access_token"])


def seen(house: House, api: Api, folder: Path, *given: str) -> dict[str, str]:
    """What the tokens were used for, and where they are left; by the part of the attempt."""
    stored = house.vault.ask("GET", "secret/data/crm")["data"]["data"]
    assert not set(given) & set(stored.values()), "they were stored after all"
    files = {path: path.read_text(errors="replace") for path in files_below(folder) if path.is_file()}
    left = [path for path, text in files.items() if any(found(one, text) for one in given)]
    return {
        "used before it is stored": f"{len(api.requests)} requests" if api.requests else "",
        "its predecessor passes for unused": "" if "refresh_token_in_use_by" in stored else "nothing says who used it",
        "left in a file": ", ".join(map(str, left)),
    }


def judged(died: Any, part: str, house: House) -> Result:
    """One death for all parts."""
    if died not in house.kept:
        house.kept[died] = died(house)
    what = house.kept[died][part]
    return got(what) if what else refused("no")


for _part in ("used before it is stored", "its predecessor passes for unused", "left in a file"):
    ROTATED.part(_part)(partial(judged, died, _part))
    ROTATED.control(_part)(partial(judged, died_outside, _part))
