"""Somebody else's folder: commands on the host run nothing of it and write nothing outside of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness import Daemon

HASH = "sha256:" + "0" * 64


@pytest.fixture
def home(lone: Callable[..., Daemon]) -> Daemon:
    """A daemon that only this test publishes to."""
    return lone().start()


@pytest.fixture
def folder(home: Daemon) -> Path:
    """A connector of somebody who hopes to be published."""
    done = home.command("new", "shop", cwd=home.folder)
    assert done.returncode == 0, done.stderr
    project = home.folder / "shop"
    (project / "pip.py").write_text("open(__file__ + '.ran', 'w').close()\nraise SystemExit(1)\n")
    (project / "requirements.lock").write_text(f"absent-distribution==1.0 --hash={HASH}\n")
    home.identity.own(project)
    return project


def test_publishing_runs_no_pip_of_the_folder(home: Daemon, folder: Path) -> None:
    done = home.cli("publish", ".", cwd=folder, env={"PIP_NO_INDEX": "1"})
    assert done.returncode != 0
    assert "pip" in done.stderr
    assert not (folder / "pip.py.ran").exists()


def test_what_the_operator_does_not_allow_is_not_fetched(home: Daemon, folder: Path) -> None:
    listed = home.folder / "none.toml"
    listed.write_text("")
    home.identity.own(listed)
    done = home.command("publish", ".", "--dependencies", listed, cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "requirements.lock:1:1: absent-distribution is not in the operator's dependencies.toml" in done.stderr
    assert "locked dependencies" not in done.stderr


def test_a_lock_that_pip_reads_otherwise_is_refused(home: Daemon, folder: Path) -> None:
    (folder / "requirements.lock").write_text(f"# note\r--no-binary :all:\revil==1 --hash={HASH}\n", newline="")
    done = home.cli("publish", ".", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "U+000D has no place in a lock" in done.stderr


def test_a_link_for_the_generated_config_is_replaced_and_not_followed(home: Daemon, folder: Path) -> None:
    profile = home.folder / "profile"
    profile.write_text("mine\n")
    config = folder / "src/caisson_shop/config.py"
    config.unlink()
    config.symlink_to(profile)
    home.identity.own(folder)
    done = home.command("validate", ".", "--write-config", cwd=folder)
    assert "wrote src/caisson_shop/config.py" in done.stderr
    assert profile.read_text() == "mine\n"
    assert not config.is_symlink()
    assert "class Config" in config.read_text()
