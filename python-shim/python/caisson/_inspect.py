"""What the author's source says, by reading it: never by importing it.

    python -m caisson._inspect PROJECT

prints the facts as one JSON object; runtime/bundle/src/facts.rs says what
each key means.
"""

# pathlib costs a worker's start more than all of this module.
# ruff: noqa: PTH114, PTH118, PTH123, T201

from __future__ import annotations

import ast
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Function = ast.FunctionDef | ast.AsyncFunctionDef

FORMAT = 1
MAX_FILES = 2_000
MAX_BYTES = 1 << 20


def inspect(project: str) -> dict[str, Any]:
    """The facts about every `src/**/*.py` of a project.

    Args:
        project: A folder that holds src/.
    """
    modules: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for count, file in enumerate(sorted(_sources(project))):
        if count >= MAX_FILES:
            errors.append(
                _error(file, 1, 1, f"more than {MAX_FILES} Python files; this and the following were not read")
            )
            break
        try:
            modules.append(_module(project, file))
        except SyntaxError as error:
            errors.append(_error(file, error.lineno or 1, max(error.offset or 1, 1), error.msg or "invalid syntax"))
        except (ValueError, OSError, RecursionError, MemoryError) as error:
            errors.append(_error(file, 1, 1, str(error) or type(error).__name__))
    return {
        "format": FORMAT,
        "python": ".".join(map(str, sys.version_info[:3])),
        "stdlib": sorted(sys.stdlib_module_names),
        "modules": modules,
        "errors": errors,
    }


def _sources(project: str) -> Iterator[str]:
    for folder, folders, files in os.walk(os.path.join(project, "src")):
        folders[:] = [name for name in folders if not os.path.islink(os.path.join(folder, name))]
        for name in files:
            path = os.path.join(folder, name)
            if name.endswith(".py") and not os.path.islink(path):
                yield os.path.relpath(path, project).replace(os.sep, "/")


def _error(file: str, line: int, column: int, message: str) -> dict[str, Any]:
    return {"file": file, "line": line, "column": column, "message": message}


def _module(project: str, file: str) -> dict[str, Any]:
    import io
    import tokenize

    path = os.path.join(project, file)
    with open(path, "rb") as handle:
        data = handle.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes; it was not read")
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    try:
        tree = ast.parse(data.decode(encoding), filename=file)
    except UnicodeDecodeError as error:
        raise ValueError(f"no {encoding} text: {error.reason} at byte {error.start}") from None
    parts = file[len("src/") : -len(".py")].split("/")
    package = parts[-1] == "__init__"
    if package:
        parts.pop()
    name = ".".join(parts)
    nodes = list(ast.walk(tree))
    return {
        "file": file,
        "module": name,
        "imports": sorted(
            (each for node in nodes for each in _imports(node, name, package)),
            key=lambda each: int(each["line"]),
        ),
        "classes": [_class(node) for node in tree.body if isinstance(node, ast.ClassDef)],
        "names": _names(tree),
        "config": _config(nodes),
        "reveals": _reveals(nodes),
        "urls": _urls(tree),
    }


def _imports(node: ast.AST, module: str, package: bool) -> Iterator[dict[str, Any]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            yield {"module": alias.name, "name": None, "bound": bound, "line": node.lineno}
    elif isinstance(node, ast.ImportFrom):
        source = _absolute(node, module, package)
        for alias in node.names:
            yield {
                "module": source,
                "name": alias.name,
                "bound": alias.asname or alias.name,
                "line": node.lineno,
            }


def _absolute(node: ast.ImportFrom, module: str, package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + (1 if package else 0)]
    return ".".join(base + ([node.module] if node.module else []))


def _class(node: ast.ClassDef) -> dict[str, Any]:
    return {
        "name": node.name,
        "line": node.lineno,
        "bases": [_unsubscripted(base) for base in node.bases],
        "methods": [_method(each) for each in node.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))],
    }


def _unsubscripted(node: ast.expr) -> str:
    return ast.unparse(node.value if isinstance(node, ast.Subscript) else node)


def _method(node: Function) -> dict[str, Any]:
    return {
        "name": node.name,
        "line": node.lineno,
        "async": isinstance(node, ast.AsyncFunctionDef),
        "generator": any(isinstance(each, (ast.Yield, ast.YieldFrom)) for each in _own(node)),
        "parameters": _parameters(node.args),
        "decorators": [_decorator(each) for each in node.decorator_list],
    }


def _own(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function's own body, without those of functions inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            waiting.extend(ast.iter_child_nodes(node))


def _parameters(arguments: ast.arguments) -> list[dict[str, Any]]:
    plain = arguments.posonlyargs + arguments.args
    without = len(plain) - len(arguments.defaults)
    found: list[dict[str, Any]] = [
        {"name": each.arg, "kind": "positional", "default": index >= without} for index, each in enumerate(plain)
    ]
    if arguments.vararg:
        found.append({"name": arguments.vararg.arg, "kind": "var_positional", "default": False})
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append({"name": each.arg, "kind": "keyword_only", "default": default is not None})
    if arguments.kwarg:
        found.append({"name": arguments.kwarg.arg, "kind": "var_keyword", "default": False})
    return found


def _decorator(node: ast.expr) -> dict[str, Any]:
    if not isinstance(node, ast.Call):
        return {"name": ast.unparse(node), "line": node.lineno, "called": False}
    return {
        "name": ast.unparse(node.func),
        "line": node.lineno,
        "called": True,
        "arguments": [_argument(each) for each in node.args],
        "keywords": {each.arg: _argument(each.value) for each in node.keywords if each.arg is not None},
    }


def _argument(node: ast.expr) -> dict[str, Any]:
    import json

    try:
        return {"literal": json.loads(json.dumps(ast.literal_eval(node), allow_nan=False))}
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return {"expression": ast.unparse(node)}


def _names(tree: ast.Module) -> list[str]:
    found: dict[str, None] = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[node.name] = None
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
            targets = [node.target]
        for target in targets:
            for each in ast.walk(target):
                if isinstance(each, ast.Name):
                    found[each.id] = None
    return list(found)


def _config(nodes: list[ast.AST]) -> list[dict[str, Any]]:
    inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    found = []
    for node in nodes:
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            path = _chain(node)
            if path:
                found.append({"path": path, "line": node.lineno})
        elif isinstance(node, ast.Call) and _is_getattr(node):
            name = node.args[1]
            assert isinstance(name, ast.Constant)
            found.append({"path": [name.value], "line": node.lineno})
    return sorted(found, key=lambda each: (int(each["line"]), list(each["path"])))


def _is_getattr(node: ast.Call) -> bool:
    return (
        isinstance(node.func, ast.Name)
        and node.func.id == "getattr"
        and len(node.args) >= 2
        and _is_config(node.args[0])
        and isinstance(node.args[1], ast.Constant)
        and isinstance(node.args[1].value, str)
    )


def _chain(node: ast.expr) -> list[str]:
    """["a", "b"] of `self.config.a.b`; empty if it is something else."""
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        if _is_config(node):
            return path[::-1]
        path.append(node.attr)
        node = node.value
    return []


def _is_config(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "config"
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )


def _reveals(nodes: list[ast.AST]) -> list[dict[str, Any]]:
    """Where a secret's value is taken out of it, and of which property, where that can be told."""
    hidden = ("reveal", "_Secret__value")
    paths: dict[int, list[str]] = {}
    for function in nodes:
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            own = list(_own(function))
            names = _aliases(own)
            for node in own:
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    paths[id(node)] = names.get(node.value.id, [])
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    # curtain.reveal("slowly"): what takes a constant is another reveal().
    others = {id(node.func) for node in calls if any(isinstance(each, ast.Constant) for each in node.args)}
    found = []
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in hidden and isinstance(node.ctx, ast.Load):
            if id(node) not in others:
                path = _chain(node.value) or paths.get(id(node), [])
                found.append({"path": path, "line": node.end_lineno or node.lineno})
        elif isinstance(node, ast.Call):
            # getattr(secret, "reveal"), methodcaller("reveal"), attrgetter("config.key.reveal")
            for each in node.args:
                text = each.value if isinstance(each, ast.Constant) else None
                if isinstance(text, str) and text.rpartition(".")[2] in hidden:
                    path = _chain(node.args[0]) if each is not node.args[0] else []
                    found.append({"path": path, "line": each.lineno})
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value in hidden:
            found.append({"path": [], "line": node.lineno})  # vars(Secret)["reveal"]
        elif isinstance(node, ast.ImportFrom) and node.module == "caisson._program":
            found.append({"path": [], "line": node.lineno})  # what reveals whole configurations
    return sorted(found, key=lambda each: (int(each["line"]), list(each["path"])))


def _aliases(own: list[ast.AST]) -> dict[str, list[str]]:
    """Names of a function that are bound once, to a property of the config."""
    bound: dict[str, int] = {}
    paths: dict[str, list[str]] = {}
    for node in own:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound[node.id] = bound.get(node.id, 0) + 1
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
                paths[target.id] = _chain(node.value) if node.value else []
    return {name: path for name, path in paths.items() if path and bound.get(name) == 1}


def _urls(tree: ast.Module) -> list[dict[str, Any]]:
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                skipped.add(id(first.value))
        if isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in node.values)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(_hole(part) for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            text = node.value
        else:
            continue
        if "://" in text:
            found.append({"value": text, "line": node.lineno})
    return sorted(found, key=lambda each: int(each["line"]))


def _hole(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    if isinstance(part, ast.FormattedValue):
        path = _chain(part.value)
        if len(path) == 1 and part.conversion == -1 and part.format_spec is None:
            return "${config." + path[0] + "}"
    return "{}"


def main(arguments: list[str]) -> int:
    """Prints the facts about the project named on the command line."""
    import json

    if len(arguments) != 1:
        print("usage: python -m caisson._inspect PROJECT", file=sys.stderr)
        return 2
    json.dump(inspect(arguments[0]), sys.stdout, separators=(",", ":"))
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
