"""Authoring: new, validate, publish, install, write; and what publish refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import CallFailed, Daemon, Stage
from harness.daemon import inline
from harness.read import read, records

Maker = Callable[..., Daemon]


@pytest.fixture
def home(lone: Maker) -> Daemon:
    """A daemon that only this test publishes to."""
    return lone().start()


def made(home: Daemon, template: str) -> Path:
    """A fresh project of a template."""
    done = home.command("new", "shop", "--template", template, cwd=home.folder)
    assert done.returncode == 0, done.stderr
    return home.folder / "shop"


def codes(home: Daemon, project: Path) -> set[str]:
    """Identifiers of what validate finds."""
    done = home.cli("validate", project, "--format", "json")
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    return {finding["id"] for finding in found if finding["severity"] == "error"}


@pytest.mark.parametrize("template", ["source", "destination"])
def test_a_new_connector_validates_and_its_tests_pass_at_once(home: Daemon, template: str) -> None:
    project = made(home, template)
    assert codes(home, project) == set()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
        cwd=project,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    workflows = list((project / ".github/workflows").glob("*.y*ml"))
    assert workflows and "caisson validate" in workflows[0].read_text()


def test_a_new_destination_takes_sample_payloads_from_a_file(home: Daemon) -> None:
    project = made(home, "destination")
    sample = project / "samples/orders.jsonl"
    count = len(sample.read_text().splitlines())
    (project / "samples/config.yaml").write_text(json.dumps({"dir": str(home.lake)}))
    home.policy("shop", files=[{"dir": "${config.dir}", "within": [str(home.lake)], "access": "write"}])
    home.identity.own(project)
    done = home.command(
        "write", "--path", ".", "--config", "samples/config.yaml", "--input", "samples/orders.jsonl",
        "--policies", home.folder / "policies", "--stats", "stats.json", cwd=project,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((project / "stats.json").read_text())["records"] == count > 0
    assert list(home.lake.iterdir())


INVENTED = """
    def surprise(self) -> object:
        return self.config.invented
"""
KEY = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
BROKEN: dict[str, Callable[[Path], Any]] = {
    "a form field without a property": lambda p: edit(p / "connector.yaml", "fields: [", "fields: [gone, "),
    "an advertised method that does not exist": lambda p: edit(
        p / "connector.yaml", "capabilities: [", "capabilities: [write.append, "
    ),
    "a dependency without a hash": lambda p: (p / "requirements.lock").write_text("requests==2.32.3\n"),
    "a config property that the code invents": lambda p: append(p, INVENTED),
    "a secret in the tree": lambda p: append(p, f'\nKEY = "{KEY}"\n'),
}


def edit(path: Path, old: str, new: str) -> None:
    """Replaces the first occurrence, which must exist."""
    text = path.read_text()
    assert old in text, text
    path.write_text(text.replace(old, new, 1))


def append(project: Path, text: str) -> None:
    """Adds to the connector's module."""
    (module,) = (path for path in project.glob("src/*/*.py") if "Connector[" in path.read_text())
    module.write_text(module.read_text() + text)


@pytest.mark.parametrize("what", BROKEN)
def test_publish_refuses_what_validate_refuses(home: Daemon, what: str) -> None:
    project = made(home, "source")
    BROKEN[what](project)
    assert codes(home, project), what
    done = home.cli("publish", project)
    assert done.returncode == 1, done.stdout + done.stderr
    assert home.client.call("ListConnectors").get("versions", []) == []


def test_a_published_version_is_installed_resolved_and_never_changes(home: Daemon, stage: Stage) -> None:
    done = home.cli("publish", stage.connectors / "rows")
    assert done.returncode == 0, done.stderr
    version = home.client.call("Resolve", connector="rows@1.0.0")
    assert version["digest"].startswith("sha256:")
    assert home.cli("install", "rows@1.0.0").returncode == 0
    again = home.cli("publish", stage.connectors / "rows")
    assert again.returncode == 0, again.stderr
    changed = home.folder / "changed"
    subprocess.run(["cp", "-r", str(stage.connectors / "rows"), str(changed)], check=True)
    append(changed, "\n# another one\n")
    home.identity.own(changed)
    assert home.cli("publish", changed).returncode != 0
    for pin in ("rows@1.0.0", f"rows@{version['digest']}"):
        stream = read(home, inline(connector=pin, config={"count": 4}), "rows").drain()
        assert len(records(stream)) == 4


def test_dependencies_are_refused_unless_the_operator_allows_them(lone: Maker, stage: Stage) -> None:
    home = lone().start()
    done = home.cli("publish", stage.connectors / "postgres")
    assert done.returncode == 1
    assert "adbc" in done.stdout + done.stderr
    with pytest.raises(CallFailed) as refused:
        home.client.call("Resolve", connector="postgres@0.1.0")
    assert refused.value.code == "VERSION_UNKNOWN"
