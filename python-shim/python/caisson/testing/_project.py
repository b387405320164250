"""A connector under test: its class and manifest, from a project folder or from the class itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .._connector import Connector
from .._settings import fields_of
from .._worker import entrypoint
from ._yaml import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Project:
    """Where a connector comes from.

    Attributes:
        connector: The class.
        manifest: connector.yaml's values.
        folder: Where cassettes are looked for.
    """

    def __init__(self, source: Any, manifest: dict[str, Any] | None) -> None:
        self.folder = Path()
        if isinstance(source, type):
            self.connector: type = source
            self.manifest: dict[str, Any] = dict(manifest or {})
        else:
            self.folder = Path(source).resolve()
            self.manifest = {**read_manifest(self.folder), **(manifest or {})}
            sources = str(self.folder / "src")
            if sources not in sys.path:
                sys.path.insert(0, sources)
            self.connector = entrypoint(self.manifest.get("entrypoint") or "")
        if not issubclass(self.connector, Connector):
            raise TypeError(f"{self.connector.__name__} does not derive from caisson.Connector")

    def configuration(self, values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """(configuration with defaults and with references where secrets stand, the secrets' values)."""
        schema = self.manifest.get("config") or {}
        secrets: list[str] = []
        filled = _filled(schema, values, secrets)
        hinted = getattr(self.connector, "config_type", None)
        if hinted is not None and not schema:
            for name, hint in fields_of(hinted).items():
                if isinstance(filled.get(name), str) and "Secret" in str(hint):
                    secrets.append(filled[name])
                    filled[name] = {"$secret": len(secrets) - 1}
        return filled, secrets


def read_manifest(folder: Path) -> dict[str, Any]:
    """The values of connector.yaml (or connector.json) in `folder`."""
    for name in ("connector.yaml", "connector.yml", "connector.json"):
        path = folder / name
        if path.exists():
            text = path.read_text("utf-8")
            found = json.loads(text) if name.endswith(".json") else load(text, name)
            if not isinstance(found, dict):
                raise ValueError(f"{path} holds no mapping")
            return found
    raise FileNotFoundError(f"no connector.yaml in {folder}")


def _filled(schema: dict[str, Any], values: dict[str, Any], secrets: list[str]) -> dict[str, Any]:
    filled = dict(values)
    for name, inner in (schema.get("properties") or {}).items():
        if name not in filled and "default" in inner:
            filled[name] = inner["default"]
        value = filled.get(name)
        if inner.get("secret") is True and isinstance(value, str):
            secrets.append(value)
            filled[name] = {"$secret": len(secrets) - 1}
        elif inner.get("type") == "object" and isinstance(value, dict):
            filled[name] = _filled(inner, value, secrets)
    return filled
