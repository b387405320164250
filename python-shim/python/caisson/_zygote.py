"""A zygote: an interpreter that has imported what workers import, and of which they are forked.

Run as a program, by its path below the working directory, and outside every
sandbox: it imports the standard library and this package, and nothing else.
What it imports from here bears the names that a worker sees it under.
"""

# pathlib costs a worker's start more than all of this module.
# ruff: noqa: PTH100, PTH113, PTH118, PTH119, PTH122

from __future__ import annotations

import gc
import importlib
import os
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import NoReturn

SHIM = "/caisson/shim"
PACKAGE = "caisson"
NATIVE = "caisson._native"

# What connectors, their HTTP clients and their data classes are known to import.
STANDARD = (
    "asyncio",
    "base64",
    "bisect",
    "calendar",
    "concurrent.futures.thread",
    "configparser",
    "contextvars",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "email.message",
    "email.parser",
    "email.utils",
    "encodings.idna",
    "fractions",
    "gzip",
    "hashlib",
    "hmac",
    "html",
    "http.client",
    "http.cookiejar",
    "http.cookies",
    "importlib.metadata",
    "importlib.resources",
    "inspect",
    "ipaddress",
    "json",
    "logging",
    "mimetypes",
    "pathlib",
    "platform",
    "pprint",
    "queue",
    "random",
    "secrets",
    "shutil",
    "socket",
    "sqlite3",
    "statistics",
    "string",
    "tempfile",
    "textwrap",
    "timeit",
    "typing",
    "unicodedata",
    "urllib.parse",
    "urllib.request",
    "uuid",
    "xml.etree.ElementTree",
    "zipfile",
    "zoneinfo",
)

# What few connectors use is not in every fork's memory.
SELDOM = ("_program", "airbyte", "singer")


def here(path: str) -> str:
    """Where a path of the worker's lies for now."""
    return "." + path.removeprefix(SHIM) if path.startswith(SHIM) else path


class Loader(SourceFileLoader):
    """Reads this package from the working directory."""

    def get_data(self, path: str) -> bytes:
        """The file's bytes."""
        return super().get_data(here(path))

    def path_stats(self, path: str) -> dict[str, float]:
        """Its size and time."""
        return dict(super().path_stats(here(path)))


class Finder:
    """Finds this package in the working directory, by the names of a worker."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module's spec, or None where it is none of this package."""
        del path, target
        if name.partition(".")[0] != PACKAGE:
            return None
        base = f"{SHIM}/{name.replace('.', '/')}"
        if name == NATIVE:
            file = here(f"{base}.abi3.so")
            return spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))
        if os.path.isfile(here(f"{base}/__init__.py")):
            file = f"{base}/__init__.py"
            return spec_from_file_location(name, file, loader=Loader(name, file), submodule_search_locations=[base])
        file = f"{base}.py"
        return spec_from_file_location(name, file, loader=Loader(name, file)) if os.path.isfile(here(file)) else None


def preload() -> None:
    """Imports everything and leaves no trace of how, nor of where."""
    os.environ.pop("LC_ALL", None)
    _cryptography()
    for name in STANDARD:
        importlib.import_module(name)
    sys.meta_path.insert(0, Finder)
    for file in sorted(os.listdir(here(f"{SHIM}/{PACKAGE}"))):
        name, ending = os.path.splitext(file)
        if ending == ".py" and file != os.path.basename(__file__) and name not in SELDOM:
            importlib.import_module(PACKAGE if name == "__init__" else f"{PACKAGE}.{name}")
    sys.meta_path.remove(Finder)
    for name, module in sys.modules.items():
        if name.partition(".")[0] == PACKAGE:
            _as_in_a_worker(name, module)
    sys.path.append(SHIM)
    sys.argv = ["-c"]
    _forget_the_host()


def _cryptography() -> None:
    """OpenSSL as workers have it: they see no openssl.cnf."""
    os.environ["OPENSSL_CONF"] = os.devnull
    import ssl

    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    del os.environ["OPENSSL_CONF"]


def _forget_the_host() -> None:
    """Loses what modules remember: `uuid` has `platform` ask for the host's name, and this file was run by its path."""
    sys.path_importer_cache.pop(os.path.abspath(__file__), None)
    platform = sys.modules["platform"]
    platform._uname_cache = None  # type: ignore[attr-defined]
    platform._platform_cache.clear()


def _as_in_a_worker(name: str, module: ModuleType) -> None:
    file = str(module.__file__)
    if name == NATIVE:
        file = os.path.join(SHIM, os.path.relpath(file))
        loader: SourceFileLoader | ExtensionFileLoader = ExtensionFileLoader(name, file)
    else:
        loader = SourceFileLoader(name, file)
    assert module.__spec__ is not None
    module.__file__ = module.__spec__.origin = file
    module.__loader__ = module.__spec__.loader = loader


def _standard_streams() -> None:
    """stdin, stdout and stderr anew, as of a worker: its stdin is /dev/null already, and the others will be pipes."""
    read, write = os.pipe()
    own = [(number, os.dup(number)) for number in (1, 2)]
    for number, _ in own:
        os.dup2(write, number)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        errors = getattr(sys, name).errors
        stream = open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
        stream.mode = mode  # type: ignore[misc]
        stream.buffer.raw.name = f"<{name}>"  # type: ignore[attr-defined]
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.stderr.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    for number, kept in own:
        os.dup2(kept, number)
        os.close(kept)
    os.close(read)
    os.close(write)


def main() -> NoReturn:
    """Forks workers until the daemon goes; returns in none of them."""
    preload()
    from caisson._native import serve_forks
    from caisson._rehearsal import rehearse
    from caisson._worker import main as work

    sys.modules["__main__"] = type(sys)("__main__")
    gc.collect()
    gc.freeze()

    def get_ready(has_come: bool) -> None:
        _standard_streams()
        if not has_come:
            rehearse(here(f"{SHIM}/{PACKAGE}"))

    try:
        arguments = serve_forks(get_ready)
    except OSError as error:
        sys.exit(f"workers cannot be forked from a preloaded interpreter, and start slowly: {error}")
    if arguments is None:
        sys.exit()
    work(*arguments)


if __name__ == "__main__":
    main()
