"""Callers: who may use which workspace, and who may publish and operate."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from harness import CallFailed, Client, Daemon, Stage
from harness.read import records

# Nobody's account; the daemon's users may name it.
OTHER = 64_999
KEYS = {
    "plain": "",
    "staging": "workspaces=staging",
    "both": "workspaces=default,staging",
    "ci": "workspaces=staging publish",
    "boss": "operator",
}
# Methods that concern no workspace, and why nobody else's is reached by them.
WITHOUT = {
    "Operations.GetCall": "a call of another workspace is not found",
    "Operations.WatchCall": "unimplemented",
    "Operations.Cancel": "a call of another workspace is not found",
    "Operations.ReloadPolicies": "operators only",
    "Operations.WatchAudit": "unimplemented",
    "Operations.Drain": "unimplemented",
    "Registry.Promote": "unimplemented",
    "Registry.Yank": "unimplemented",
}


def free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def keyed(lone: Callable[..., Daemon], stage: Stage) -> Iterator[Callable[[str], Client]]:
    """Clients of one daemon on TCP, by the name of their key; `rows` is published in `default` and `staging`."""
    port = free()
    daemon = lone(listen={"tcp": f"127.0.0.1:{port}", "keys": "keys"})
    lines = [f"{name} {hashlib.sha256(name.encode()).hexdigest()} {rights}\n" for name, rights in KEYS.items()]
    (daemon.folder / "keys").write_text("# name, SHA-256, rights\n" + "".join(lines))
    daemon.start()
    made: dict[str, Client] = {}

    def client(name: str) -> Client:
        if name not in made:
            made[name] = Client(f"127.0.0.1:{port}", metadata=[("authorization", f"Bearer {name}")])
        return made[name]

    daemon._client = client("boss")
    for workspace in ("default", "staging"):
        done = daemon.command(
            "publish", stage.connectors / "rows", "--server", f"http://127.0.0.1:{port}",
            "--key-file", key_file(daemon, "boss"), "--workspace", workspace,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    yield client
    for each in made.values():
        each.close()


def key_file(daemon: Daemon, name: str) -> Path:
    """A file with a key, as the command line takes it."""
    path = daemon.folder / f"{name}.key"
    path.write_text(name)
    daemon.identity.own(path)
    return path


def placed(method: Any, workspace: str) -> dict[str, Any] | None:
    """A request that names a workspace; none where the method's request has no place for one."""
    fields = method.input_type.fields_by_name
    if "workspace" in fields:
        return {"workspace": workspace}
    if "options" in fields:
        return {"options": {"workspace": workspace}}
    if "start" in fields:
        return {"start": {"options": {"workspace": workspace}}}
    return None


# It follows the log until its caller has enough.
ENDLESS = "Operations.WatchAudit"


def ask(client: Client, name: str, method: Any, request: dict[str, Any]) -> None:
    """Calls any method, to its end, or to its deadline where it has none."""
    if method.client_streaming and method.server_streaming:
        client.write([request]).drain()
    elif method.client_streaming:
        client.push(name, [request])
    elif method.server_streaming:
        client.stream(name, timeout=3 if name == ENDLESS else 60, **request).drain()
    else:
        client.call(name, **request)


@pytest.mark.parametrize("name", ["plain", "ci"])
def test_every_method_that_takes_a_workspace_refuses_one_that_is_not_open_to_the_caller(
    keyed: Callable[[str], Client], name: str
) -> None:
    client = keyed(name)
    asked = []
    for full, method in client.methods().items():
        request = placed(method, "production")
        if request is None:
            assert full in WITHOUT, f"{full} takes no workspace: say here why it reaches none"
            continue
        with pytest.raises(CallFailed) as refused:
            ask(client, full, method, request)
        assert refused.value.status == "PERMISSION_DENIED", (full, refused.value)
        assert refused.value.code == "PERMISSION_MISSING", (full, refused.value)
        if full == "Registry.Publish" and name == "plain":
            assert "publish" in refused.value.message, refused.value
            continue
        assert "workspace `production`" in refused.value.message, (full, refused.value)
        assert "listen.keys" in refused.value.message and "workspaces=" in refused.value.message, refused.value
        asked.append(full)
    assert len(asked) >= 17, asked


def test_an_operator_is_refused_nowhere(keyed: Callable[[str], Client]) -> None:
    client = keyed("boss")
    for full, method in client.methods().items():
        request = placed(method, "production")
        if request is None:
            continue
        try:
            ask(client, full, method, request)
        except CallFailed as error:
            assert error.status != "PERMISSION_DENIED", (full, error)
            assert error.status != "DEADLINE_EXCEEDED" or full == ENDLESS, (full, error)


def connection(**config: Any) -> dict[str, Any]:
    from harness.daemon import inline

    return inline(connector="rows@1.0.0", config=config)


def test_a_key_uses_the_workspaces_that_are_named_and_default_only_where_none_is(
    keyed: Callable[[str], Client], lone: Callable[..., Daemon]
) -> None:
    open_to = {
        "plain": {"default"},
        "staging": {"staging"},
        "both": {"default", "staging"},
        "boss": {"default", "staging"},
    }
    for name, workspaces in open_to.items():
        for workspace in ("default", "staging"):
            stream = keyed(name).stream(
                "Read", connection=connection(count=3), accept=["ENCODING_JSON_LINES"],
                streams=[{"stream": "rows"}], from_="FROM_BEGINNING", options={"workspace": workspace},
            )  # fmt: skip
            if workspace in workspaces:
                assert len(records(stream.drain())) == 3, (name, workspace)
            else:
                with pytest.raises(CallFailed) as refused:
                    stream.drain()
                assert refused.value.code == "PERMISSION_MISSING", (name, workspace)


def test_the_calls_and_checkpoints_of_another_workspace_are_not_there(keyed: Callable[[str], Client]) -> None:
    boss, plain, staging = keyed("boss"), keyed("plain"), keyed("staging")
    good = {"connector": "rows@1.0.0", "config_json": "{}"}
    boss.call("Put", workspace="staging", name="mine", connection=good)
    ran = boss.stream("List", connection={"name": "mine"}, options={"workspace": "staging"}).drain()
    with pytest.raises(CallFailed) as refused:
        plain.call("Get", name="mine")
    assert refused.value.code == "CONFIG_INVALID", refused.value
    for name in ("GetCall", "Cancel"):
        with pytest.raises(CallFailed) as refused:
            plain.call(name, call_id=ran.call_id)
        assert refused.value.status == "NOT_FOUND", refused.value
    assert staging.call("Get", workspace="staging", name="mine")["name"] == "mine"
    assert plain.call("ListCalls") == {} and staging.call("ListCalls") == {}
    assert len(boss.call("ListCalls")["calls"]) == 1


def test_publishing_and_operating_are_rights_of_their_own(keyed: Callable[[str], Client], stage: Stage) -> None:
    first = {"workspace": "staging", "sha256": "0" * 64}
    for name in ("staging", "plain"):
        with pytest.raises(CallFailed) as refused:
            keyed(name).push("Registry.Publish", [first])
        assert refused.value.code == "PERMISSION_MISSING", refused.value
        assert "publish" in refused.value.message
    # Who may publish is told what is wrong with the bundle instead.
    for name in ("ci", "boss"):
        with pytest.raises(CallFailed) as refused:
            keyed(name).push("Registry.Publish", [first])
        assert refused.value.code == "CONFIG_INVALID", refused.value
    for name in ("plain", "ci"):
        with pytest.raises(CallFailed) as refused:
            keyed(name).call("ReloadPolicies")
        assert refused.value.code == "PERMISSION_MISSING" and "operator" in refused.value.message, refused.value
        with pytest.raises(CallFailed) as refused:
            keyed(name).push(
                "Registry.Validate", [{"workspace": "staging" if name == "ci" else "", "dependencies_toml": "a = '*'"}]
            )
        assert refused.value.code == "PERMISSION_MISSING" and "dependencies_toml" in refused.value.message
    keyed("boss").call("ReloadPolicies")


def test_a_user_of_the_host_uses_the_workspaces_that_are_named_for_it(
    lone: Callable[..., Daemon], stage: Stage
) -> None:
    if os.geteuid() != 0:
        pytest.fail("nobody but root can call as another user; run the suite as root for this promise")
    daemon = lone(listen={"users": [{"uid": OTHER, "workspaces": ["staging"]}, OTHER + 1]})
    daemon.folder.joinpath("data").chmod(0o755)
    daemon.start()
    told = {}
    for uid in (OTHER, OTHER + 1):
        for workspace in ("default", "staging"):
            done = as_user(uid, daemon, "connectors", "--workspace", workspace)
            told[uid, workspace] = (done.returncode, done.stderr)
    assert [key for key, (code, _) in told.items() if code == 0] == [(OTHER, "staging"), (OTHER + 1, "default")], told
    refused = told[OTHER, "default"][1]
    assert f"uid: {OTHER}, workspaces: [default, staging]" in refused, refused


def as_user(uid: int, daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command against the daemon as another user of this host."""
    return subprocess.run(
        ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--",
         str(daemon.stage.caisson), *arguments, "--server", f"unix:{daemon.socket}"],
        env={"PATH": "/usr/bin:/bin", "HOME": "/tmp"}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


class Authority:
    """A certificate authority, a server's certificate, and clients', made with openssl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._openssl("req", "-x509", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
        self.issue("server", "DNS:localhost,IP:127.0.0.1")

    def issue(self, name: str, san: str = "") -> None:
        """Writes `name.pem` and `name.key`."""
        more = ["-addext", f"subjectAltName={san}"] if san else []
        issued = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
        self._openssl(
            "req", "-x509", "-subj", f"/CN={name}", *issued, *more, "-keyout", f"{name}.key", "-out", f"{name}.pem"
        )

    def fingerprint(self, name: str) -> str:
        """As the operator's guide says to get it."""
        done = subprocess.run(
            ["openssl", "x509", "-in", f"{name}.pem", "-noout", "-fingerprint", "-sha256"],
            cwd=self.folder, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip().split("=")[1]

    def credentials(self, name: str) -> grpc.ChannelCredentials:
        """For a client that shows `name`'s certificate."""
        read = self.folder.joinpath
        return grpc.ssl_channel_credentials(
            read("ca.pem").read_bytes(), read(f"{name}.key").read_bytes(), read(f"{name}.pem").read_bytes()
        )

    def _openssl(self, *arguments: str) -> None:
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        subprocess.run(["openssl", *arguments, *new_key], cwd=self.folder, check=True, capture_output=True)


def test_a_client_certificate_has_the_rights_that_its_fingerprint_or_name_is_given(
    lone: Callable[..., Daemon], stage: Stage
) -> None:
    port = free()
    folder = stage.folder("tls")
    authority = Authority(folder)
    authority.issue("stranger", "DNS:elsewhere.example")
    authority.issue("pinned")
    authority.issue("dns", "DNS:Airflow.example,DNS:other.example")
    authority.issue("uri", "URI:spiffe://acme.example/dagster")
    # A common name is only what its holder calls itself.
    authority.issue("airflow.example")
    clients = [
        {"name": "pinned", "sha256": authority.fingerprint("pinned"), "workspaces": ["staging"]},
        {"name": "airflow", "san": "airflow.example", "workspaces": ["default", "staging"]},
        {"name": "dagster", "san": "spiffe://acme.example/dagster", "operator": True},
    ]
    tls = {
        "certificate": str(folder / "server.pem"),
        "key": str(folder / "server.key"),
        "client_ca": str(folder / "ca.pem"),
    }
    daemon = lone(listen={"tcp": f"127.0.0.1:{port}", "tls": {**tls, "clients": clients}})
    daemon.identity.own(folder)
    daemon.start()
    found: dict[str, set[str]] = {}
    messages: dict[str, str] = {}
    for name in ("stranger", "pinned", "dns", "uri", "airflow.example"):
        client = Client(f"localhost:{port}", credentials=authority.credentials(name))
        found[name] = set()
        for workspace in ("default", "staging", "production"):
            try:
                client.call("ListConnectors", workspace=workspace)
                found[name].add(workspace)
            except CallFailed as error:
                assert error.code == "PERMISSION_MISSING", error
                messages[name] = error.message
        client.close()
    assert found == {
        "stranger": {"default"},
        "pinned": {"staging"},
        "dns": {"default", "staging"},
        "uri": {"default", "staging", "production"},
        "airflow.example": {"default"},
    }
    plain = authority.fingerprint("stranger").replace(":", "").lower()
    assert f"sha256: {plain}" in messages["stranger"] and "listen.tls.clients" in messages["stranger"], messages
    assert "give `pinned` `workspaces: [production, staging]`" in messages["pinned"], messages
