"""OAuth by the daemon: real tokens of a real server, which no worker ever holds."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest

from harness import CallFailed, Daemon, Identity, Stage
from harness.client import Stream
from harness.daemon import inline
from harness.leaks import files, leaks
from harness.read import read, records
from harness.watch import eventually, settled
from harness.watch import running as running_calls
from servers.between import Between
from servers.httpserver import Api, tied
from servers.oauth import SECRET, OAuth
from servers.secure import Signer
from servers.vault import Vault

POLICY = """
path "secret/data/*"              { capabilities = ["read", "update"] }
path "auth/token/create"          { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
"""
CRM = {"$secret": "vault:secret/data/crm#refresh_token"}
numbers = count()


@pytest.fixture(scope="module")
def oauth(stage: Stage) -> Iterator[OAuth]:
    server = OAuth(stage.folder("oauth"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def vault(stage: Stage, oauth: OAuth) -> Iterator[Vault]:
    server = Vault(stage.folder("oauth-vault"))
    server.put("machine", client_secret=SECRET)
    for algorithm, key in oauth.keys.items():
        server.put(f"robot-{algorithm}", key=key)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def signer(stage: Stage) -> Signer:
    made = Signer(stage.folder("oauth-ca"))
    made.issue("server", "DNS:localhost")
    return made


@pytest.fixture(scope="module")
def made(stage: Stage, identity: Identity, signer: Signer, vault: Vault) -> Iterator[Callable[..., Daemon]]:
    """Daemons that use the vault, or what stands before it."""
    all_of_them = []

    def make(address: str = vault.address) -> Daemon:
        secrets = {"vault": {"address": address, "auth": {"token": {"file": "vault-token"}}}}
        running = Daemon(stage, identity, egress={"ca": "upstream.pem"}, secrets=secrets)
        shutil.copy(signer.folder / "ca.pem", running.folder / "upstream.pem")
        (running.folder / "vault-token").write_text(vault.token(POLICY))
        running.start()
        all_of_them.append(running)
        return running

    yield make
    for running in all_of_them:
        running.remove()


@pytest.fixture(scope="module")
def daemon(made: Callable[..., Daemon]) -> Daemon:
    return made()


@pytest.fixture
def api(signer: Signer, oauth: OAuth) -> Iterator[Api]:
    """An API that takes valid tokens only."""
    with Api(tls=signer.context("server"), guard=oauth.is_valid) as server:
        server.records = tied(25)
        yield server


@pytest.fixture
def crm(vault: Vault, oauth: OAuth) -> Iterator[dict[str, Any]]:
    """Somebody has logged in; what a policy says of it. The life of tokens is as it was afterwards."""
    login(vault, oauth)
    # The scope tells this test's tokens from those of another.
    yield recipe(oauth, grant="refresh_token", client_id="app", client_secret="client_secret", client_auth="body")
    oauth.tell("life", seconds=600)


def login(vault: Vault, oauth: OAuth) -> None:
    vault.put("crm", refresh_token=oauth.login(), note="stays")


def stored(vault: Vault) -> dict[str, str]:
    return dict(vault.ask("GET", "secret/data/crm")["data"]["data"])


def recipe(oauth: OAuth, **fields: Any) -> dict[str, Any]:
    return {"token_url": oauth.token_url, "params": {"test": str(next(numbers))}, **fields}


def allow(daemon: Daemon, api: Api, recipe: dict[str, Any], connector: str = "web", **seal: Any) -> None:
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [api.port], "protocol": "https"}
    own = {"from": ["vault:secret/data/*"]}
    sealed = {**own, "seal": {"hosts": ["localhost"], "ports": [api.port], **seal}, "oauth2": recipe}
    secrets = {"token": sealed, **({"client_secret": own} if "client_secret" in recipe else {})}
    daemon.policy(connector, egress=[rule], secrets=secrets)


def connection(stage: Stage, api: Api, token: dict[str, str] = CRM, **config: Any) -> dict[str, Any]:
    if token is CRM:
        config["client_secret"] = {"$secret": "vault:secret/data/machine#client_secret"}
    return inline(stage.connectors / "web", config={"port": api.port, "scheme": "https", "token": token, **config})


def whole(stream: Stream, rows: int = 25) -> None:
    """All records came, and no error."""
    stream.drain()
    assert stream.summary, stream.failure
    assert len(records(stream)) == rows


def tokens(api: Api) -> list[str]:
    """The distinct Authorization fields that came, in their order."""
    return list(dict.fromkeys(request.headers["authorization"] for request in api.requests))


def slowly(oauth: OAuth) -> Callable[[str], bool]:
    """A guard that lets a token grow old between two requests."""

    def guard(authorization: str) -> bool:
        time.sleep(0.4)
        return oauth.is_valid(authorization)

    return guard


def test_a_clients_own_credentials_become_a_token_for_all_calls(
    daemon: Daemon, stage: Stage, oauth: OAuth, api: Api
) -> None:
    allow(daemon, api, recipe(oauth, grant="client_credentials", client_id="machine", scope="crm"))
    before = len(oauth.asked())
    source = connection(stage, api, {"$secret": "vault:secret/data/machine#client_secret"})
    for _ in range(2):
        whole(read(daemon, source, "asc"))
    assert oauth.asked()[before:] == [200]
    (token,) = tokens(api)
    written = daemon.log + (daemon.folder / "data/audit.jsonl").read_text()
    assert token.removeprefix("Bearer ") not in written and SECRET not in written


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_private_key_signs_for_its_client_and_as_a_grant(
    daemon: Daemon, stage: Stage, oauth: OAuth, api: Api, algorithm: str
) -> None:
    source = connection(stage, api, {"$secret": f"vault:secret/data/robot-{algorithm}#key"})
    signing = {"algorithm": algorithm, "key_id": algorithm}
    proof = {"client_id": f"robot-{algorithm}", "client_auth": "private_key_jwt"}
    allow(daemon, api, recipe(oauth, grant="client_credentials", **proof, **signing))
    whole(read(daemon, source, "asc"))
    grant = {"client_id": "assertions", "issuer": "robot@example.com", "subject": "ann", "scope": "crm"}
    allow(daemon, api, recipe(oauth, grant="jwt_bearer", **grant, **signing))
    whole(read(daemon, source, "asc"))
    assert len(tokens(api)) == 2
    allow(daemon, api, recipe(oauth, grant="jwt_bearer", **{**grant, "issuer": "mallory"}, **signing))
    with pytest.raises(CallFailed) as refused:
        read(daemon, source, "asc").drain()
    assert refused.value.code == "SECRET_UNAVAILABLE"
    assert "invalid_grant" in str(refused.value)


def test_a_rotated_refresh_token_is_stored_and_the_next_daemon_uses_what_is_stored(
    daemon: Daemon, made: Callable[..., Daemon], stage: Stage, oauth: OAuth, vault: Vault, api: Api, crm: dict[str, Any]
) -> None:
    first = stored(vault)["refresh_token"]
    allow(daemon, api, crm)
    whole(read(daemon, connection(stage, api), "asc"))
    kept = stored(vault)
    assert kept["refresh_token"] != first and kept["note"] == "stays"
    assert f"Bearer {kept['refresh_token_access_token']}" == tokens(api)[0]
    assert "refresh_token_in_use_by" not in kept
    before = len(oauth.asked())
    other = made()
    allow(other, api, crm)
    whole(read(other, connection(stage, api), "asc"))
    assert oauth.asked()[before:] == [] and len(tokens(api)) == 1


def test_a_token_that_ends_in_the_middle_of_a_read_is_replaced_and_nobody_notices(
    daemon: Daemon, stage: Stage, oauth: OAuth, vault: Vault, api: Api, crm: dict[str, Any]
) -> None:
    oauth.tell("life", seconds=3)
    api.records = tied(90)
    api.guard = slowly(oauth)
    allow(daemon, api, crm)
    whole(read(daemon, connection(stage, api), "asc"), 90)
    assert len(tokens(api)) >= 2
    assert stored(vault)["refresh_token_access_token"] == tokens(api)[-1].removeprefix("Bearer ")


def test_a_token_that_is_revoked_in_the_middle_of_a_read_is_replaced_and_nobody_notices(
    daemon: Daemon, stage: Stage, oauth: OAuth, api: Api, crm: dict[str, Any]
) -> None:
    revoked: list[str] = []

    def guard(authorization: str) -> bool:
        if len(api.requests) == 2 and not revoked:
            time.sleep(1.1)  # a token that was just given is not at fault
            oauth.revoke(authorization)
            revoked.append(authorization)
        return oauth.is_valid(authorization)

    api.guard = guard
    allow(daemon, api, crm)
    # The CDK's client takes any 401 for the end.
    whole(read(daemon, connection(stage, api), "asc"))
    assert tokens(api)[0] == revoked[0] and len(tokens(api)) == 2


def test_a_token_that_a_fault_ends_in_the_middle_of_a_read_is_replaced_and_nobody_notices(
    daemon: Daemon, stage: Stage, oauth: OAuth, signer: Signer, api: Api
) -> None:
    def guard(authorization: str) -> bool:
        if len(api.requests) == 1:
            time.sleep(1.1)  # a token that was just given is not at fault
        return oauth.is_valid(authorization)

    api.guard = guard
    folder = stage.folder("oauth-faults")
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [api.port], "protocol": "https"}
    way = recipe(oauth, grant="client_credentials", client_id="machine", scope="crm")
    seal = {"hosts": ["localhost"], "ports": [api.port]}
    secrets = {"token": {"from": ["env:CAISSON_SECRET_*"], "seal": seal, "oauth2": way}}
    token = {"$secret": "env:CAISSON_SECRET_MACHINE"}
    fault = {"match": {"host": "localhost", "path": "/asc", "nth": 2}, "expire_token": True}
    for name, content in {
        "policies/web.yaml": {"format": 1, "connector": "web", "egress": [rule], "secrets": secrets},
        "config.yaml": {"port": api.port, "scheme": "https", "token": token},
        "faults.yaml": {"format": 1, "faults": [fault]},
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    shutil.copy(signer.folder / "ca.pem", folder)
    daemon.identity.own(folder)
    before = len(oauth.asked())
    done = daemon.command(
        "read", "--path", stage.connectors / "web", "--config", "config.yaml", "--stream", "asc", "--format", "jsonl",
        "--policies", "policies", "--data-dir", folder / "data", "--faults", "faults.yaml", cwd=folder,
        env={
            "CAISSON_SHIM": str(stage.shim), "CAISSON_PYTHON": str(stage.python),
            "SSL_CERT_FILE": str(folder / "ca.pem"), "CAISSON_SECRET_MACHINE": SECRET,
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("record", line)["id"] for line in found] == list(range(1, 26))
    # The request that found it expired never came here.
    assert len(api.requests) == 3 and len(tokens(api)) == 2
    assert oauth.asked()[before:] == [200, 200]
    written = {"the command": (done.stdout + done.stderr).encode(), **files(folder / "data")}
    for secret in (SECRET, *(each.removeprefix("Bearer ") for each in tokens(api))):
        assert leaks(secret, written) == []


def test_an_upstream_that_takes_no_token_at_all_is_told_to_the_connector_and_asked_for_no_more(
    daemon: Daemon, stage: Stage, oauth: OAuth, api: Api, crm: dict[str, Any]
) -> None:
    api.guard = lambda authorization: False
    allow(daemon, api, crm)
    before = len(oauth.asked())
    stream = read(daemon, connection(stage, api), "asc").drain()
    assert stream.failure["code"] == "ERROR_CODE_CREDENTIALS_INVALID", stream.failure
    assert len(oauth.asked()) - before <= 2


def test_daemons_that_share_a_refresh_token_never_use_one_twice(
    daemon: Daemon, made: Callable[..., Daemon], stage: Stage, oauth: OAuth, vault: Vault, api: Api, crm: dict[str, Any]
) -> None:
    oauth.tell("life", seconds=3)
    api.records = tied(90)
    api.guard = slowly(oauth)
    daemons = [daemon, made()]
    before = len(oauth.asked())
    for one in daemons:
        allow(one, api, crm)
    with ThreadPoolExecutor(6) as pool:
        streams = [read(daemons[number % 2], connection(stage, api), "asc") for number in range(6)]
        for done in [pool.submit(whole, stream, 90) for stream in streams]:
            done.result()
    asked = oauth.asked()[before:]
    assert set(asked) == {200} and 2 <= len(asked) < len(api.requests), asked
    # And the one that is left can be used.
    login_of = {key: value for key, value in stored(vault).items() if not key.startswith("refresh_token_")}
    vault.put("crm", **login_of)
    whole(read(daemon, connection(stage, api), "asc"), 90)


@pytest.mark.parametrize("grant", ["client_credentials", "refresh_token"])
def test_calls_that_need_a_token_at_once_ask_for_it_once(
    daemon: Daemon, stage: Stage, oauth: OAuth, api: Api, crm: dict[str, Any], grant: str
) -> None:
    between = Between(oauth.url)
    between.gate.clear()
    source, way = connection(stage, api), crm
    if grant == "client_credentials":
        source = connection(stage, api, {"$secret": "vault:secret/data/machine#client_secret"})
        way = recipe(oauth, grant=grant, client_id="machine", scope="crm")
    allow(daemon, api, {**way, "token_url": f"{between.url}/token"})
    before = len(oauth.asked())
    streams = [read(daemon, source, "asc") for _ in range(6)]
    with ThreadPoolExecutor(len(streams)) as pool:
        reading = [pool.submit(whole, stream) for stream in streams]
        eventually(
            lambda: len(running_calls(daemon)) == len(streams) and between.came, "all calls to wait for the token"
        )
        assert daemon.process is not None
        settled(daemon.process.pid)
        between.gate.set()
        for done in reading:
            done.result()
    between.stop()
    assert between.came == [("POST", "/token")]
    assert oauth.asked()[before:] == [200]
    assert len(tokens(api)) == 1


def test_a_daemon_that_dies_before_a_rotated_token_is_stored_has_not_used_it_and_left_it_nowhere(
    made: Callable[..., Daemon], stage: Stage, oauth: OAuth, vault: Vault, api: Api, crm: dict[str, Any]
) -> None:
    between = Between(vault.address)
    daemon = made(between.url)
    allow(daemon, api, crm)
    # The first write is the claim, the second one what was given.
    writes = count()
    between.holds = lambda method, path: method == "POST" and "/secret/data/" in path and next(writes) > 0
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: read(daemon, connection(stage, api), "asc").drain())
        assert between.held.wait(20)
        before = oauth.asked()
        daemon.kill()
    assert api.requests == []
    assert stored(vault)["refresh_token_in_use_by"]
    left = [path.read_bytes() for path in daemon.folder.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in text or b"access_token" in text for text in left)
    between.let_go()
    # This server takes no token twice. The claim stands for a minute; a login before that takes it away.
    login(vault, oauth)
    daemon.start()
    whole(read(daemon, connection(stage, api), "asc"))
    assert oauth.asked()[len(before) :] == [200]
    between.stop()


def test_what_cannot_be_stored_is_not_used_until_it_is(
    made: Callable[..., Daemon], stage: Stage, oauth: OAuth, vault: Vault, api: Api, crm: dict[str, Any]
) -> None:
    between = Between(vault.address)
    daemon = made(between.url)
    allow(daemon, api, crm)
    # The first write is the claim, the second one what was given: its answer never comes.
    writes = count()
    between.holds = lambda method, path: method == "POST" and "/secret/data/" in path and next(writes) > 0
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: read(daemon, connection(stage, api), "asc").drain())
        assert between.held.wait(20)
        time.sleep(0.3)
        assert api.requests == []
        between.let_go()
        whole(reading.result())
    assert f"Bearer {stored(vault)['refresh_token_access_token']}" == tokens(api)[0]
    between.stop()


def test_a_refresh_token_that_has_ended_says_what_to_do(
    daemon: Daemon, stage: Stage, vault: Vault, api: Api, crm: dict[str, Any]
) -> None:
    vault.put("crm", refresh_token="of-nobody-0123456789")
    allow(daemon, api, crm)
    with pytest.raises(CallFailed) as refused:
        read(daemon, connection(stage, api), "asc").drain()
    assert refused.value.code == "SECRET_UNAVAILABLE"
    assert refused.value.details["ErrorInfo"].metadata["retryable"] == "false"
    assert "log in again" in str(refused.value) + str(refused.value.details)
    assert "refresh_token_in_use_by" not in stored(vault)


def test_a_refresh_token_that_may_rotate_has_to_be_where_the_next_one_can_be_stored(
    stage: Stage, identity: Identity, oauth: OAuth, api: Api, own: Callable[..., Daemon], signer: Signer
) -> None:
    running = own(egress={"ca": "upstream.pem"})
    shutil.copy(signer.folder / "ca.pem", running.folder / "upstream.pem")
    running.environment["CAISSON_SECRET_REFRESH"] = oauth.login()
    running.environment["CAISSON_SECRET_CLIENT"] = SECRET
    running.start()
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [api.port], "protocol": "https"}
    seal = {"hosts": ["localhost"], "ports": [api.port]}
    source = inline(
        stage.connectors / "web",
        config={
            "port": api.port,
            "scheme": "https",
            "token": {"$secret": "env:CAISSON_SECRET_REFRESH"},
            "client_secret": {"$secret": "env:CAISSON_SECRET_CLIENT"},
        },
    )
    way = recipe(oauth, grant="refresh_token", client_id="app", client_secret="client_secret", client_auth="body")
    for rotates, ends in [(None, True), (False, False)]:
        chosen = way if rotates is None else {**way, "rotates": rotates}
        own_secret = {"from": ["env:CAISSON_SECRET_*"]}
        secrets = {"token": {**own_secret, "seal": seal, "oauth2": chosen}, "client_secret": own_secret}
        if ends:
            with pytest.raises(CallFailed) as refused:
                running.policy("web", egress=[rule], secrets=secrets)
            assert "rotates: false" in str(refused.value.details), refused.value
        else:
            running.policy("web", egress=[rule], secrets=secrets)
            whole(read(running, source, "asc"))
            # This one rotates all the same, and that is told.
            assert "not stored" in running.log


def test_a_connector_that_wants_tokens_is_not_given_the_secret_itself(
    daemon: Daemon, stage: Stage, oauth: OAuth, api: Api, crm: dict[str, Any]
) -> None:
    folder = stage.folder("oauth-web") / "web"
    shutil.copytree(stage.connectors / "web", folder)
    manifest = (folder / "connector.yaml").read_text()
    declared = "token: { type: oauth2_refresh, refresh_token: token, client_secret: client_secret }"
    (folder / "connector.yaml").write_text(manifest.replace("token: { type: bearer, token: token }", declared))
    source = connection(stage, api)
    source["inline"]["path"] = str(folder)
    allow(daemon, api, crm)
    whole(read(daemon, source, "asc"))
    rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [api.port], "protocol": "https"}
    plain = {"from": ["vault:secret/data/*"], "seal": {"hosts": ["localhost"], "ports": [api.port]}}
    daemon.policy("web", egress=[rule], secrets={"token": plain, "client_secret": plain})
    with pytest.raises(CallFailed) as refused:
        read(daemon, source, "asc").drain()
    assert refused.value.code == "SECRET_UNAVAILABLE"
    assert "oauth2" in str(refused.value) + json.dumps(str(refused.value.details))
