"""Canaries of OAuth and of client certificates: what a policy turns into something else before anybody sends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from harness.daemon import inline
from harness.read import read
from house import Canary, House
from servers.httpserver import Api, tied
from servers.oauth import SECRET, OAuth

MACHINE = "env:CAISSON_SECRET_MACHINE"
# An upstream that says back what it was sent.
ECHO = json.dumps({"error": "no access for {authorization}"})
KEY = "env:CAISSON_SECRET_KEY"
REFRESH = "vault:secret/data/sealed-crm#refresh_token"


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
            api.fail("/asc", status, times=2, body=ECHO)
            house.hear(canary, partial(read, daemon, source, "asc", options={"deadline_ms": 1_500}))
            api.forgive()
    running = read(daemon, source, "events", mode="streaming")
    running.until("batch")
    running.cancel()


def of_a_client(house: House, oauth: OAuth) -> list[Canary]:
    """A client's secret, and the token that it becomes."""
    api = house.api
    way = {"grant": "client_credentials", "client_id": "machine", "token_url": oauth.token_url, "scope": "crm"}
    seal = {"hosts": ["localhost"], "ports": [api.port]}
    policy(house, api, {"token": {"from": [MACHINE], "seal": seal, "oauth2": way}})
    config = {"port": api.port, "scheme": "https", "token": {"$secret": MACHINE}}
    secret = Canary("a client's secret", MACHINE, sealed=True, value=SECRET)
    source = inline(house.stage.connectors / "web", config=config)
    calls(house, [secret], source, api)
    house.hear(secret, partial(read, house.daemon, source, "asc"), well=True)
    return [secret, Canary("its access token", MACHINE, sealed=True, value=_sent(api), told=secret.told)]


def of_a_login(house: House, oauth: OAuth) -> list[Canary]:
    """A refresh token, the one that came in its place, and the access token."""
    api, first = house.api, oauth.login()
    house.vault.put("sealed-crm", refresh_token=first)
    way = {"grant": "refresh_token", "client_id": "app", "client_secret": "client_secret", "client_auth": "body"}
    sealed = {"seal": {"hosts": ["localhost"], "ports": [api.port]}, "oauth2": {**way, "token_url": oauth.token_url}}
    policy(house, api, {"token": {"from": [REFRESH], **sealed}, "client_secret": {"from": [MACHINE]}})
    references = {"token": {"$secret": REFRESH}, "client_secret": {"$secret": MACHINE}}
    config = {"port": api.port, "scheme": "https", **references}
    used = Canary("a refresh token", REFRESH, sealed=True, value=first)
    calls(house, [used], inline(house.stage.connectors / "web", config=config), api)
    kept = house.vault.ask("GET", "secret/data/sealed-crm")["data"]["data"]
    if kept["refresh_token"] == first:
        raise RuntimeError("the refresh token was not used: nothing was tried")
    others = [("the refresh token that came", "refresh_token"), ("its own access token", "refresh_token_access_token")]
    return [used, *[Canary(name, REFRESH, sealed=True, value=kept[field], told=used.told) for name, field in others]]


def of_a_key(house: House, oauth: OAuth) -> list[Canary]:
    """The key of a client certificate."""
    signer = house.signer
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
        key = Canary("a client's key", KEY, sealed=True, value=line)
        source = inline(house.stage.connectors / "web", config=config)
        calls(house, [key], source, api)
        before = len(api.requests)
        house.hear(key, partial(read, house.daemon, source, "asc"), well=True)
        # Nobody comes in without a certificate.
        assert len(api.requests) > before, "the key opened nothing: nothing was tried"
    return [key]


def _sent(api: Api) -> str:
    """The token that came last."""
    fields = [request.headers.get("authorization", "") for request in api.requests]
    if not fields or not fields[-1].startswith("Bearer "):
        raise RuntimeError(f"no token came: nothing was tried; {fields}")
    return fields[-1].removeprefix("Bearer ")


Kind = Callable[[House, OAuth], list[Canary]]
KINDS: tuple[Kind, ...] = (of_a_client, of_a_login, of_a_key)
