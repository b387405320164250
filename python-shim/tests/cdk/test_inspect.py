"""Facts about source that is read and never imported."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from caisson._inspect import MAX_BYTES, inspect


def project(tmp_path: Path, **files: str | bytes) -> dict[str, Any]:
    for name, text in files.items():
        path = tmp_path / "src" / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
    return inspect(str(tmp_path))


def test_the_shape_that_the_checks_read(tmp_path: Path) -> None:
    (tmp_path / "src/shop").mkdir(parents=True)
    (tmp_path / "src/shop/__init__.py").write_text(
        '"""See https://in.a.docstring."""\nfrom .connector import Shop\n__all__ = ["Shop"]\n'
    )
    facts = project(
        tmp_path,
        shop__connector='''
            import urllib.parse
            import os.path as p
            from caisson import Connector, stream
            from .config import Config
            from .. import up
            PAGE: int = 100
            a, (b, c) = 1, (2, 3)

            class Shop(Connector[Config], caisson.Other):
                """http://not.this.one"""
                def open(self):
                    self.http = client(f"https://{self.config.shop}.example.com/{self.config.a.b}/{x!r}")
                    getattr(self.config, "region", None)
                    self.config.network.port.bit_length()

                @stream(schema=Order, primary_key=("id", "at"), cursor="at")
                async def orders(self, since, /, *rest, key=1, **more):
                    from json import loads as l
                    def inner():
                        yield 1
                    yield {}

                @staticmethod
                def plain(a, b=2): return lambda: (yield)

            def helper(): "ftp://docs"; return "s3://bucket/key"
        ''',
    )
    first, second = facts["modules"]
    assert (first["file"], first["module"]) == ("src/shop/__init__.py", "shop")
    assert first["imports"] == [{"module": "shop.connector", "name": "Shop", "bound": "Shop", "line": 2}]
    assert first["names"] == ["__all__"]
    assert first["urls"] == []
    assert second["module"] == "shop.connector"
    assert [(each["module"], each["name"], each["bound"]) for each in second["imports"]] == [
        ("urllib.parse", None, "urllib"), ("os.path", None, "p"), ("caisson", "Connector", "Connector"),
        ("caisson", "stream", "stream"), ("shop.config", "Config", "Config"), ("", "up", "up"),
        ("json", "loads", "l"),
    ]  # fmt: skip
    assert second["names"] == ["PAGE", "a", "b", "c", "helper"]
    (cls,) = second["classes"]
    assert (cls["name"], cls["bases"]) == ("Shop", ["Connector", "caisson.Other"])
    methods = {each["name"]: each for each in cls["methods"]}
    assert (methods["orders"]["async"], methods["orders"]["generator"]) == (True, True)
    assert not methods["plain"]["generator"]
    assert methods["orders"]["parameters"] == [
        {"name": "self", "kind": "positional", "default": False},
        {"name": "since", "kind": "positional", "default": False},
        {"name": "rest", "kind": "var_positional", "default": False},
        {"name": "key", "kind": "keyword_only", "default": True},
        {"name": "more", "kind": "var_keyword", "default": False},
    ]
    (decorator,) = methods["orders"]["decorators"]
    assert decorator["keywords"] == {
        "schema": {"expression": "Order"}, "primary_key": {"literal": ["id", "at"]}, "cursor": {"literal": "at"},
    }  # fmt: skip
    assert methods["plain"]["decorators"] == [{"name": "staticmethod", "line": 24, "called": False}]
    assert [each["path"] for each in second["config"]] == [
        ["a", "b"], ["shop"], ["region"], ["network", "port", "bit_length"],
    ]  # fmt: skip
    assert [each["value"] for each in second["urls"]] == [
        "https://${config.shop}.example.com/{}/{}", "s3://bucket/key",
    ]  # fmt: skip
    assert "json" in facts["stdlib"]
    json.dumps(facts)


def test_files_that_are_no_python_are_errors_with_a_place(tmp_path: Path) -> None:
    facts = project(
        tmp_path,
        good="x = 1",
        bad="def f(:\n  pass",
        binary=b"\x00\x01",
        latin=b"x = '\xff'\n",
        declared=b"# -*- coding: latin-1 -*-\nx = '\xff'\n",
        huge=b"#" * (MAX_BYTES + 1),
        coded=b"# coding: nothing-such\n",
    )
    assert [each["module"] for each in facts["modules"]] == ["declared", "good"]
    found = {each["file"]: each for each in facts["errors"]}
    assert sorted(found) == [f"src/{name}.py" for name in ("bad", "binary", "coded", "huge", "latin")]
    assert (found["src/bad.py"]["line"], found["src/bad.py"]["column"]) == (1, 7)
    assert "larger than" in found["src/huge.py"]["message"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text("x = 1")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "linked").symlink_to(outside)
    (tmp_path / "src" / "file.py").symlink_to(outside / "secret.py")
    assert inspect(str(tmp_path))["modules"] == []


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    project(tmp_path, one="x = 1")
    done = subprocess.run(
        [sys.executable, "-m", "caisson._inspect", str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["modules"][0]["names"] == ["x"]
    assert subprocess.run([sys.executable, "-m", "caisson._inspect"], capture_output=True).returncode == 2


def test_every_place_that_takes_a_secrets_value_is_told(tmp_path: Path) -> None:
    facts = project(
        tmp_path,
        shop="""
            from operator import attrgetter, methodcaller
            from caisson import Secret

            class Shop:
                def open(self):
                    direct = self.config.api_key.reveal()
                    nested = (
                        self.config.database
                        .password
                        .reveal()
                    )
                    password = self.config.password
                    sent = password.reveal() if password else ""
                    changed = self.config.token
                    changed = self.other
                    changed.reveal()
                    if held := self.config.walrus:
                        return held.reveal
                    Secret.reveal(direct)
                    getattr(self.config.key, "reveal")()
                    map(methodcaller("reveal"), attrgetter("config.key.reveal")(self))
                    return self.config.key._Secret__value

                def other(self):
                    password.reveal()
                    "reveal"; reveal(); self.reveal = 1
                    self.curtain.reveal("slowly")
                    # self.config.api_key.reveal()
                    from caisson._program import plain
                    S = vars(Secret)["reveal"]
                    type(password).reveal(password)
                    password.reveal(*())
        """,
    )
    (module,) = facts["modules"]
    assert [(each["line"], each["path"]) for each in module["reveals"]] == [
        (7, ["api_key"]), (11, ["database", "password"]), (14, ["password"]), (17, []), (19, ["walrus"]), (20, []),
        (21, ["key"]), (22, []), (22, []), (23, ["key"]), (26, []),
        (30, []), (31, []), (32, []), (33, []),
    ]  # fmt: skip
