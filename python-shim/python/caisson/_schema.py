"""From what an author declares as `schema=` to an Arrow schema.

Python types map to: str string, int int64, float float64, bool bool, bytes
binary, datetime timestamp (UTC, microseconds), date, time, timedelta
duration, Decimal decimal(38,9), list[X] list, dict[str, X] map, TypedDict and
dataclass struct, Any and bare dict or list JSON text. `Annotated[Decimal,
"decimal(12,2)"]` names the type itself. Optional fields are nullable.
"""

# pathlib costs a worker's start more than all of this module.
# ruff: noqa: PTH118, PTH123

from __future__ import annotations

from .errors import ConnectorFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ._native import ArrowSchema


def arrow_schema(declared: Any, primary_key: Sequence[str] = (), beside: str = "") -> ArrowSchema | None:
    """The Arrow schema of a declaration; None where there is none.

    Args:
        declared: What the author gave as `schema=`.
        primary_key: Fields that the schema must have.
        beside: The folder that a relative path of a JSON Schema starts from.

    Raises:
        ConnectorFailed: The declaration is no schema, or its primary key is no field of it.
    """
    if declared is None:
        return None
    from ._native import ArrowSchema

    if isinstance(declared, ArrowSchema):
        schema = declared
    elif hasattr(declared, "__arrow_c_schema__"):
        schema = ArrowSchema.from_arrow(declared)
    elif isinstance(declared, dict):
        schema = ArrowSchema.from_json_schema(declared)
    elif isinstance(declared, (str, bytes)) or hasattr(declared, "__fspath__"):
        schema = ArrowSchema.from_json_schema(_load(declared, beside))
    elif isinstance(declared, type):
        schema = ArrowSchema.from_fields(class_fields(declared))
    elif isinstance(declared, (list, tuple)):
        schema = ArrowSchema.from_fields([dict(field) for field in declared])
    else:
        raise ConnectorFailed(
            f"schema= is a {type(declared).__name__}; give a TypedDict, dataclass, JSON Schema, "
            "Arrow schema or list of fields"
        )
    if primary_key:
        names = {field["name"] for field in schema.fields()}
        for key in primary_key:
            if key not in names:
                raise ConnectorFailed(f"the primary key {key!r} is no field of the schema")
    return schema


def _load(path: Any, beside: str) -> Any:
    import json
    import os

    path = os.path.join(beside, os.fspath(path))
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise ConnectorFailed(f"the JSON Schema {path!r} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConnectorFailed(f"the JSON Schema {path!r} is no JSON: {error}") from None


def class_fields(cls: type) -> list[dict[str, Any]]:
    """The fields of a TypedDict or dataclass (any class with annotations)."""
    import typing

    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise ConnectorFailed(
            f"{cls.__name__}: {error}; its types must be importable when the connector runs"
        ) from None
    required = getattr(cls, "__required_keys__", None)
    fields = []
    for name, hint in hints.items():
        kind, nullable = _type(hint, f"{cls.__name__}.{name}")
        if required is not None and name not in required:
            nullable = True
        fields.append({"name": name, "type": kind, "nullable": nullable})
    if not fields:
        raise ConnectorFailed(f"{cls.__name__} has no annotated field to make a schema of")
    return fields


def _type(hint: Any, where: str) -> tuple[Any, bool]:
    """(Arrow type, nullable) of a Python type."""
    import types
    import typing

    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Required:
        return _type(arguments[0], where)
    if origin is typing.NotRequired:
        return _type(arguments[0], where)[0], True
    if origin is typing.Annotated:
        named = [note for note in arguments[1:] if isinstance(note, str)]
        kind, nullable = _type(arguments[0], where)
        return (named[0] if named else kind), nullable
    if origin in (typing.Union, types.UnionType):
        inner = [each for each in arguments if each is not type(None)]
        nullable = len(inner) < len(arguments)
        kinds = [_type(each, where)[0] for each in inner]
        if all(kind == kinds[0] for kind in kinds):
            return kinds[0], nullable
        if set(map(str, kinds)) == {"int64", "float64"}:
            return "float64", nullable
        return "json", nullable
    if origin is typing.Literal:
        kinds = [_type(type(each), where)[0] for each in arguments if each is not None]
        return (kinds[0] if all(kind == kinds[0] for kind in kinds) else "json"), None in arguments
    if origin in (list, set, frozenset, tuple) or str(origin) == "<class 'collections.abc.Sequence'>":
        return {"list": _type(arguments[0], where)[0]}, False
    if origin is dict or str(origin) == "<class 'collections.abc.Mapping'>":
        value = _type(arguments[1], where)[0]
        return ("json" if value == "json" else {"map": value}), False
    return _plain(hint, where)


def _plain(hint: Any, where: str) -> tuple[Any, bool]:
    import typing

    if hint in (typing.Any, object):
        return "json", True
    if hint is None or hint is type(None):
        return "null", True
    simple = {
        "str": "string", "int": "int64", "float": "float64", "bool": "bool", "bytes": "binary",
        "datetime.datetime": "timestamp", "datetime.date": "date", "datetime.time": "time",
        "datetime.timedelta": "duration", "decimal.Decimal": "decimal(38,9)", "uuid.UUID": "string",
        "dict": "json", "list": "json",
    }  # fmt: skip
    if isinstance(hint, type):
        module = "" if hint.__module__ == "builtins" else hint.__module__ + "."
        name = simple.get(module + hint.__name__)
        if name:
            return name, False
        for base in hint.__mro__[1:]:
            if base in (str, int, float, bytes):
                return simple[base.__name__], False
        if getattr(hint, "__annotations__", None):
            return {"struct": class_fields(hint)}, False
    supertype = getattr(hint, "__supertype__", None)
    if supertype is not None:
        return _type(supertype, where)
    raise ConnectorFailed(f"{where}: no Arrow type for {hint!r}; annotate one: Annotated[…, 'string']")
