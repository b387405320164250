"""Programs of other languages under `exec`, started from the wheels of a bundle."""

from __future__ import annotations

import json
from typing import Any

import pytest
from stackservers.web import Web
from works import Work, work

from harness import Daemon

PROFILE = "exec"
LIMITS = {"memory": "1GiB", "tmp": "256MiB", "cpu": 2, "pids": 128}


@pytest.fixture
def start(daemon: Daemon, programs: Daemon) -> Work:
    """Starts one program under a profile, with a way to a port."""

    def run(program: str, profile: str = PROFILE, port: int = 0) -> dict[str, Any]:
        rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [port], "protocol": "tcp"}
        daemon.policy("programs", profile=profile, limits=LIMITS, egress=[rule] if port else [])
        config = json.dumps({"program": program, "port": port})
        return work(daemon, {"inline": {"connection": {"connector": "programs@1.0.0", "config_json": config}}})

    return run


def test_node_runs_with_threads_files_and_a_child(start: Work, web: Web) -> None:
    found = start("node", port=web.http)
    assert found["status"] == 0, found
    assert json.loads(found["out"]) == {
        "size": 100_000, "names": ["a", "c"], "packed": "packed", "said": "hello", "sum": 2_999_997, "digest": 16,
        "child": "42",
    }  # fmt: skip


def test_a_program_of_go_runs(start: Work) -> None:
    assert start("go") == {"status": 0, "out": "if true; then\n  echo hello\nfi", "err": ""}


def test_a_program_of_rust_runs(start: Work) -> None:
    found = start("rust")
    assert found["status"] == 0 and len(found["out"].splitlines()) == 33, found


def test_another_interpreter_runs_and_starts_one_more(start: Work) -> None:
    assert start("python") == {"status": 0, "out": "b'7\\n'", "err": ""}


def test_only_what_the_bundle_and_the_interpreter_bring_is_a_program(start: Work) -> None:
    assert start("written") == {"refused": "EACCES"}
    assert start("absent") == {"refused": "ENOENT"}


@pytest.mark.parametrize("profile", ["strict", "native"])
def test_the_other_profiles_start_none_of_them(start: Work, profile: str) -> None:
    for program in ("node", "go", "rust", "python"):
        assert start(program, profile=profile) == {"refused": "EPERM"}
