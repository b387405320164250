"""Canaries of OAuth and of client certificates: what a policy turns into something else before anybody sends it."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.daemon import inline
from harness.read import read
from servers.httpserver import Api, tied
from servers.oauth import SECRET, OAuth
from servers.secure import Signer

if TYPE_CHECKING:
    from __main__ import Canary, House

MACHINE = "env:CAISSON_SECRET_MACHINE"
KEY = "env:CAISSON_SECRET_KEY"
REFRESH = "vault:secret/data/sealed-crm#refresh_token"


def environment(signer: Signer) -> dict[str, str]:
    """What the daemon has before it starts."""
    return {"CAISSON_SECRET_MACHINE": SECRET, "CAISSON_SECRET_KEY": (signer.folder / "client.key").read_text()}


def policy(house: House, api: Api, secrets: dict[str, Any]) -> None:
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [api.port], "protocol": "https"}
    house.daemon.policy("web", egress=[rule], secrets=secrets)


def calls(house: House, canaries: list[Canary], source: dict[str, Any], api: Api) -> None:
    """Calls that succeed, fail, are cancelled and die."""
    daemon = house.daemon
    for canary in canaries:
        for stream in ("asc", "plain"):
            house.hear(canary, partial(read, daemon, source, stream))
        house.hear(canary, lambda: daemon.client.stream("Test", connection=source))
        for status in (401, 429, 500):
            api.fail("/asc", status, times=2)
            house.hear(canary, partial(read, daemon, source, "asc", options={"deadline_ms": 1_500}))
            api.requests.clear()
    running = read(daemon, source, "events", mode="streaming")
    running.until("batch")
    running.cancel()


def of_a_client(house: House, oauth: OAuth, made: type[Canary]) -> list[tuple[Canary, Path | None]]:
    """A client's secret, and the token that it becomes; with a cassette."""
    api = house.api
    way = {"grant": "client_credentials", "client_id": "machine", "token_url": oauth.token_url, "scope": "crm"}
    seal = {"hosts": ["localhost"], "ports": [api.port]}
    policy(house, api, {"token": {"from": [MACHINE], "seal": seal, "oauth2": way}})
    config = {"port": api.port, "scheme": "https", "token": {"$secret": MACHINE}}
    secret = made("a client's secret", MACHINE, sealed=True, value=SECRET)
    calls(house, [secret], inline(house.stage.connectors / "web", config=config), api)
    api.requests.clear()
    cassette = house.recorded(secret, config)
    token = made("its access token", MACHINE, sealed=True, value=_sent(api), told=secret.told)
    return [(secret, cassette), (token, cassette)]


def of_a_login(house: House, oauth: OAuth, made: type[Canary]) -> list[tuple[Canary, Path | None]]:
    """A refresh token, the one that came in its place, and the access token."""
    api, first = house.api, oauth.login()
    house.vault.put("sealed-crm", refresh_token=first)
    way = {"grant": "refresh_token", "client_id": "app", "client_secret": "client_secret", "client_auth": "body"}
    sealed = {"seal": {"hosts": ["localhost"], "ports": [api.port]}, "oauth2": {**way, "token_url": oauth.token_url}}
    policy(house, api, {"token": {"from": [REFRESH], **sealed}, "client_secret": {"from": [MACHINE]}})
    references = {"token": {"$secret": REFRESH}, "client_secret": {"$secret": MACHINE}}
    config = {"port": api.port, "scheme": "https", **references}
    used = made("a refresh token", REFRESH, sealed=True, value=first)
    calls(house, [used], inline(house.stage.connectors / "web", config=config), api)
    kept = house.vault.ask("GET", "secret/data/sealed-crm")["data"]["data"]
    if kept["refresh_token"] == first:
        raise RuntimeError("the refresh token was not used: nothing was tried")
    others = [("the refresh token that came", "refresh_token"), ("its own access token", "refresh_token_access_token")]
    more = [made(name, REFRESH, sealed=True, value=kept[field], told=used.told) for name, field in others]
    return [(canary, None) for canary in (used, *more)]


def of_a_key(house: House, signer: Signer, made: type[Canary]) -> list[tuple[Canary, Path | None]]:
    """The key of a client certificate."""
    with Api(tls=signer.demanding("server")) as api:
        api.records = tied(25)
        place = {"place": "client_key", "certificate": "client_certificate"}
        seal = {"hosts": ["localhost"], "ports": [api.port], **place}
        policy(house, api, {"client_key": {"from": [KEY], "seal": seal}})
        certificate = (signer.folder / "client.pem").read_text()
        given = {"auth": "tls", "client_key": {"$secret": KEY}, "client_certificate": certificate}
        config = {"port": api.port, "scheme": "https", **given}
        # A line of it: a text in several lines is found line by line.
        line = (signer.folder / "client.key").read_text().splitlines()[2]
        key = made("a client's key", KEY, sealed=True, value=line)
        calls(house, [key], inline(house.stage.connectors / "web", config=config), api)
    return [(key, None)]


def _sent(api: Api) -> str:
    """The token that came last."""
    fields = [request.headers.get("authorization", "") for request in api.requests]
    if not fields or not fields[-1].startswith("Bearer "):
        raise RuntimeError(f"no token came: nothing was tried; {fields}")
    return fields[-1].removeprefix("Bearer ")


def issue(signer: Signer, folder: Path) -> None:
    """The server's certificate and the client's; the daemon trusts who signed them."""
    signer.issue("server", "DNS:localhost")
    signer.issue("client", "DNS:client")
    shutil.copy(signer.folder / "ca.pem", folder / "upstream.pem")
