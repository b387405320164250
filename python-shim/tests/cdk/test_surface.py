"""What the package shows is what it means to show."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import caisson
from caisson import errors

PACKAGE = Path(caisson.__file__).parent
ROOT = Path(__file__).parents[3]


def test_every_public_name_can_be_had_and_nothing_else_is_named() -> None:
    for name in caisson.__all__:
        assert getattr(caisson, name) is not None
    assert set(caisson._HOME) | {"errors", "pages", "__version__"} == set(caisson.__all__)
    assert dir(caisson) == sorted(caisson.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        caisson.nothing  # noqa: B018


def test_all_and_what_type_checkers_see_agree() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == set(caisson.__all__)


@pytest.mark.parametrize("name", ["airbyte", "errors", "pages", "singer", "testing"])
def test_each_public_module_names_what_it_gives(name: str) -> None:
    module = importlib.import_module(f"caisson.{name}")
    for each in module.__all__:
        assert hasattr(module, each)
    assert module.__all__ == sorted(module.__all__)


def test_modules_are_private_unless_they_are_meant_to_be_public() -> None:
    public = {each.name for each in pkgutil.iter_modules([str(PACKAGE)]) if not each.name.startswith("_")}
    assert public == {"airbyte", "errors", "pages", "singer", "testing"}


def test_every_stable_code_of_the_protocol_that_a_connector_may_use_has_a_class() -> None:
    codes = {getattr(errors, name).code for name in errors.__all__}
    design = {
        "CONFIG_INVALID", "CREDENTIALS_INVALID", "PERMISSION_MISSING", "SECRET_UNAVAILABLE", "EGRESS_DENIED",
        "DNS_FAILED", "TLS_FAILED", "UPSTREAM_UNAVAILABLE", "QUOTA_EXHAUSTED", "SCHEMA_VIOLATION",
        "RECORD_REJECTED", "RECORD_TOO_LARGE", "TIMEOUT", "STALLED", "MEMORY_EXHAUSTED", "DISK_EXHAUSTED",
        "PROCESS_LIMIT", "CONNECTOR_FAILED", "STATE_CONFLICT", "CANCELLED",
    }  # fmt: skip
    assert codes == design


def test_a_worker_imports_nothing_heavy_before_it_knows_its_call() -> None:
    code = (
        "import sys; sys.path.append(sys.argv[1]); import caisson._worker; "
        "print(*sorted(set(sys.modules) & {'json', 're', 'typing', 'asyncio', 'inspect', 'dataclasses', "
        "'logging', 'urllib', 'http', 'email', 'random', 'traceback', 'threading', 'datetime', 'pathlib'}))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(PACKAGE.parent)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_the_package_needs_nothing_but_the_standard_library() -> None:
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                assert name.partition(".")[0] in sys.stdlib_module_names | {"caisson"}, f"{file}: {name}"


def test_the_wire_of_the_tests_is_that_of_the_protocol() -> None:
    from caisson.testing._wire import FROM_WORKER, MESSAGES, TO_WORKER

    proto = re.sub(r"//.*", "", (ROOT / "proto/caisson/worker/v1/worker.proto").read_text())
    kinds = {"uint32": "uint", "uint64": "uint", "Operation": "operation", "Encoding": "encoding"}
    for name, body in re.findall(r"message (\w+) \{(.*?)\}", proto, re.DOTALL):
        if name in ("ToWorker", "FromWorker"):
            continue
        snake = re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
        fields = {}
        for repeated, kind, field, number in re.findall(r"(repeated )?(\w+) (\w+) = (\d+);", body):
            plain = kinds.get(kind, re.sub(r"(?<!^)([A-Z])", r"_\1", kind).lower())
            fields[int(number)] = (field, ("*" if repeated else "") + plain)
        assert MESSAGES[snake] == fields, name
    for direction, body in re.findall(r"message (ToWorker|FromWorker) \{(.*?)\}", proto, re.DOTALL):
        found = {int(number): field for field, number in re.findall(r"\w+ (\w+) = (\d+);", body)}
        assert found == (TO_WORKER if direction == "ToWorker" else FROM_WORKER)


def test_errors_about_records_say_which() -> None:
    violation = errors.SchemaViolation("m", stream="orders", record=3, field="id", expected="int64", found="string")
    told = (violation.stream, violation.record, violation.field, violation.expected, violation.found)
    assert told == ("orders", 3, "id", "int64", "string")
    large = errors.RecordTooLarge("m", stream="orders", record=0)
    assert (large.stream, large.record) == ("orders", 0)
    assert (errors.RecordTooLarge("m").stream, errors.SchemaViolation("m").record) == ("", None)
