"""Canaries that are no fields of a config: what a policy turns into something else or puts elsewhere, or is lent."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote_plus

from harness.daemon import inline
from harness.read import read
from house import Canary, House
from servers.httpserver import Api, tied
from servers.oauth import SECRET, OAuth
from servers.parcels import Parcels
from servers.postgres import Postgres

MACHINE = "env:CAISSON_SECRET_MACHINE"
# An upstream that says back what it was sent.
ECHO = json.dumps({"error": "no access for {authorization}"})
KEY = "env:CAISSON_SECRET_KEY"
PASSWORD = "vault:database/creds/reader#password"
ROBOT = "vault:secret/data/sealed-robot#key"
ROLES = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'"
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


def of_a_signer(house: House, oauth: OAuth) -> list[Canary]:
    """The key that signs for a client, and the token that its signature becomes."""
    api = house.api
    house.vault.put("sealed-robot", key=oauth.keys["RS256"])
    way = {"grant": "client_credentials", "client_id": "robot-RS256", "token_url": oauth.token_url}
    signing = {"client_auth": "private_key_jwt", "algorithm": "RS256", "key_id": "RS256"}
    seal = {"hosts": ["localhost"], "ports": [api.port]}
    policy(house, api, {"token": {"from": [ROBOT], "seal": seal, "oauth2": {**way, **signing}}})
    config = {"port": api.port, "scheme": "https", "token": {"$secret": ROBOT}}
    # A line of it, as of every key.
    key = Canary("a key that signs", ROBOT, sealed=True, value=oauth.keys["RS256"].splitlines()[2])
    source = inline(house.stage.connectors / "web", config=config)
    calls(house, [key], source, api)
    house.hear(key, partial(read, house.daemon, source, "asc"), well=True)
    token = _sent(api)
    if not oauth.is_valid(f"Bearer {token}"):
        raise RuntimeError("the token is none of the OAuth server's: nothing was tried")
    return [key, Canary("the token that it signed for", ROBOT, sealed=True, value=token, told=key.told)]


def of_a_role(house: House, oauth: OAuth) -> list[Canary]:
    """Passwords of roles that are made for one call each: revealed and sealed, of calls that end well and do not."""
    del oauth
    api, found = house.api, []
    with Postgres() as postgres:
        house.vault.lend(postgres)
        try:
            seal = {"hosts": ["localhost"], "ports": [api.port]}
            ways: dict[str, dict[str, Any]] = {"revealed": {"reveal": True}, "sealed": {"seal": seal}}
            for name, shown in ways.items():
                policy(house, api, {"token": {"from": [PASSWORD], **shown}})
                config = {"port": api.port, "scheme": "https", "token": {"$secret": PASSWORD}}
                source = inline(house.stage.connectors / "web", config=config)
                heard = Canary("of a call", PASSWORD, sealed=name == "sealed")
                before = len(api.requests)
                house.hear(heard, partial(read, house.daemon, source, "asc"), well=True)
                well = _sent(api)
                assert len(api.requests) > before, "nobody asked the upstream: nothing was tried"
                api.fail("/asc", 401, body=ECHO)
                house.hear(heard, partial(read, house.daemon, source, "asc"))
                api.forgive()
                refused = _sent(api)
                running = read(house.daemon, source, "events", mode="streaming")
                running.until("batch")
                assert postgres.sql(ROLES, "postgres").strip(), "the database has no role: nothing was tried"
                running.cancel()
                house.hear(heard, lambda running=running: running)  # type: ignore[misc]
                ends = {"ended well": well, "was refused": refused, "was cancelled": _sent(api)}
                assert len(set(ends.values())) == len(ends), "two calls had one role"
                found += [
                    Canary(
                        f"a role's password, {name}, of a call that {end}", PASSWORD, heard.sealed, value, heard.told
                    )
                    for end, value in ends.items()
                ]
        finally:
            # The roles go with it.
            house.vault.ask("DELETE", "sys/mounts/database")
    return found


# Places that are no field of a request's head, of names that say nothing, and what is asked there.
FORM, JSON = ({"Content-Type": kind} for kind in ("application/x-www-form-urlencoded", "application/json"))
PLACES: dict[str, dict[str, Any]] = {
    "query:note": {"method": "GET", "path": "/in-query?a=b&note={token}"},
    "form:note": {"method": "POST", "path": "/in-form", "body": "a=b&note={token}", "headers": FORM},
    "json:/note": {"method": "POST", "path": "/in-json", "body": '{"a":"b","note":"{token}"}', "headers": JSON},
    # No seal allows it, so a connector that sees the value does this itself.
    "path": {"method": "GET", "path": "/in-path/{token}/end"},
}


def of_a_place(house: House, oauth: OAuth) -> list[Canary]:
    """What is put into a query, bodies and a path: sent, sent back by the upstream, sent to the wrong place."""
    del oauth
    with Parcels(house.signer) as parcels:
        found = [
            _at_a_place(house, parcels, place, sealed)
            for place in PLACES
            for sealed in (False, True)
            if place != "path" or not sealed
        ]
    recorded = (house.daemon.folder / "cassette.har").read_text()
    for ask in PLACES.values():
        path = "/".join(ask["path"].partition("?")[0].split("/")[:2])
        assert path in recorded, f"{path} is not in the cassette: nothing was tried"
    return found


def _at_a_place(house: House, parcels: Parcels, place: str, sealed: bool) -> Canary:
    name = f"{place.partition(':')[0]}-{'sealed' if sealed else 'revealed'}"
    canary, ask, port = Canary(f"put into {name}", f"file:{name}", sealed), PLACES[place], parcels.port
    (house.daemon.folder / "secrets" / name).write_text(canary.value)
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [port], "protocol": "https"}
    seal = {"seal": {"hosts": ["localhost"], "ports": [port], "place": place}}
    token = {"from": [canary.reference], **(seal if sealed else {"reveal": True})}
    house.daemon.policy("courier", egress=[rule], secrets={"token": token})

    def asked(well: bool = False, **ask: Any) -> None:
        config = {"port": port, "asks": json.dumps([ask]), "token": {"$secret": canary.reference}}
        source = inline(house.stage.connectors / "courier", config=config)
        house.hear(canary, partial(read, house.daemon, source, "answers", options={"deadline_ms": 10_000}), well)

    asked(well=True, **ask)
    parcel = parcels.came[-1]
    came = f"{parcel.target} {parcel.head.decode()}"
    assert canary.value in came or canary.value in unquote_plus(came), f"{name} did not come: nothing was tried; {came}"
    parcels.echoes = 1
    asked(well=True, **ask)
    assert not parcels.echoes, "the upstream said nothing back"
    parcels.busy = 1
    asked(**ask)
    parcels.busy = 0
    asked(**{**ask, "port": 1})
    if sealed:
        asked(method="GET", path="/", headers={"X-Elsewhere": "{token}"})
        assert "secret_misplaced" in "".join(canary.told), "a wrong place was not told: nothing was tried"
    return canary


def _sent(api: Api) -> str:
    """The token that came last."""
    fields = [request.headers.get("authorization", "") for request in api.requests]
    if not fields or not fields[-1].startswith("Bearer "):
        raise RuntimeError(f"no token came: nothing was tried; {fields}")
    return fields[-1].removeprefix("Bearer ")


Kind = Callable[[House, OAuth], list[Canary]]
KINDS: tuple[Kind, ...] = (of_a_client, of_a_login, of_a_key, of_a_signer, of_a_role, of_a_place)
