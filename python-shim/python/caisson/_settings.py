"""The typed configuration: from the call's JSON and secrets to the author's class.

`Settings` is the light base for a generated Config (importing dataclasses
costs a worker's start some 15 ms); a dataclass works just as well.
"""

from __future__ import annotations

import sys

from ._secret import Secret
from .errors import ConfigInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda cls: cls


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Settings:
    """A configuration whose fields are the annotations of the subclass.

    Fields without a default are required. Values cannot be changed afterwards.
    """

    def __init__(self, **values: Any) -> None:
        fields = fields_of(type(self))
        unknown = sorted(set(values) - set(fields))
        missing = [name for name in fields if name not in values and not hasattr(type(self), name)]
        if unknown or missing:
            told = [f"unknown property {name!r}" for name in unknown]
            told += [f"missing property {name!r}" for name in missing]
            raise ConfigInvalid(f"{type(self).__name__}: " + "; ".join(told))
        for name in fields:
            value = values[name] if name in values else getattr(type(self), name)
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("the configuration of a call cannot be changed")

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(fields_of(type(self))) or "none"
        raise AttributeError(f"no property {name!r} in {type(self).__name__}; there is: {known}")

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({inner})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(type(self))


class Untyped(Settings):
    """The configuration of a connector that declares no class for it."""

    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(vars(self)) or "none"
        raise AttributeError(f"no property {name!r} in this configuration; there is: {known}")


def fields_of(cls: type) -> dict[str, Any]:
    """The annotated fields of a class and its bases, private ones left out."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base not in (object, Settings):
            found.update(getattr(base, "__annotations__", {}))
    return {name: hint for name, hint in found.items() if not name.startswith("_")}


def resolve(value: Any, secrets: list[Secret]) -> Any:
    """Replaces each `{"$secret": N}` by the N-th secret, at any depth.

    Raises:
        ConfigInvalid: N is not one of them.
    """
    if isinstance(value, dict):
        if len(value) == 1 and "$secret" in value:
            index = value["$secret"]
            if type(index) is not int or not 0 <= index < len(secrets):
                raise ConfigInvalid("a secret of the configuration was not delivered with the call")
            return secrets[index]
        return {key: resolve(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, secrets) for item in value]
    return value


def build(cls: type | None, values: dict[str, Any]) -> Any:
    """Makes the author's configuration object.

    Args:
        cls: A Settings class, a dataclass, any class with annotations that takes
            keywords, `dict`, or None.
        values: The configuration with defaults filled in and secrets resolved.

    Raises:
        ConfigInvalid: A property is missing or unknown to the class.
    """
    if cls is None or cls.__module__ == "typing":  # Connector[Any]
        return Untyped(**{key: _untyped(item) for key, item in values.items()})
    if cls is dict or not isinstance(cls, type) or hasattr(cls, "__total__"):
        return dict(values)
    known = fields_of(cls)
    given = {name: _nested(cls, known[name], item) if name in known else item for name, item in values.items()}
    try:
        return cls(**given)
    except TypeError as error:
        raise ConfigInvalid(
            f"the configuration does not fit {cls.__name__}: {error}",
            action="Generate the class again from connector.yaml.",
        ) from None


def _untyped(value: Any) -> Any:
    if isinstance(value, dict):
        return Untyped(**{str(key): _untyped(item) for key, item in value.items()})
    return value


def _nested(owner: type, hint: Any, value: Any) -> Any:
    """Builds nested classes where the annotation names one; anything else stays."""
    if isinstance(hint, str):
        name = hint.split("|")[0].strip()
        many = name.startswith("list[") and name.endswith("]")
        hint = getattr(sys.modules.get(owner.__module__), name[5:-1] if many else name, None)
        if many and isinstance(value, list) and _nests(hint):
            return [build(hint, item) if isinstance(item, dict) else item for item in value]
    if isinstance(value, dict) and _nests(hint):
        return build(hint, value)
    return value


def _nests(hint: Any) -> bool:
    return isinstance(hint, type) and (issubclass(hint, Settings) or hasattr(hint, "__dataclass_fields__"))
