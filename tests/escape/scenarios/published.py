"""What is published: archives that unpack elsewhere, and documents that fill the memory of who reads them."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass

from harness import CallFailed
from harness.client import as_dict, fill
from harness.daemon import inline
from harness.read import read
from suite.gossips import bundle
from suite.house import House, Result
from suite.scenario import Scenario, apart, got, refused

ARCHIVES = Scenario("C12", "a bundle whose entries lead out of it, or are no files", "bundle", "filesystem")
DOCUMENTS = Scenario("C13", "a document that ends its reader or fills its memory", "document")

MANIFEST = """name: trojan
version: 1.0.0
title: A horse
python: ">=3.11"
entrypoint: caisson_trojan.connector:Trojan
capabilities: [test]
config: { type: object, properties: {} }
form: []
dependencies: requirements.lock
"""
MARK = "planted-by-a-bundle"


def publish(house: House, archive: bytes) -> dict[str, Any]:
    """Registry.Publish, as any client may call it.

    Raises:
        CallFailed: It is refused.
    """
    client = house.daemon.client
    method, path = client._method("Publish")
    request = GetMessageClass(method.input_type)
    rpc: Any = client.channel.stream_unary(
        path,
        lambda message: message.SerializeToString(),
        GetMessageClass(method.output_type).FromString,
    )
    digest = hashlib.sha256(archive).hexdigest()

    def messages() -> Iterator[Any]:
        for at in range(0, len(archive), 1 << 20):
            fields = {"data": archive[at : at + (1 << 20)], **({"sha256": digest} if at == 0 else {})}
            yield fill(request(), fields)

    try:
        return as_dict(rpc(messages(), timeout=60))
    except grpc.RpcError as error:
        raise CallFailed(error) from None


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = MARK.encode(), **fields: Any) -> tarfile.TarInfo:
    """One entry; its content goes along as an attribute."""
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, 0o644
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def archive(entries: list[tarfile.TarInfo]) -> bytes:
    """A bundle with a manifest, and these."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        manifest = member("connector.yaml", content=MANIFEST.encode())
        tar.addfile(manifest, io.BytesIO(MANIFEST.encode()))
        tar.addfile(member("src/caisson_trojan/__init__.py", content=b""))
        for info in entries:
            tar.addfile(info, io.BytesIO(MARK.encode() if info.size else b""))
    return gzip.compress(raw.getvalue(), mtime=0)


UP = "../" * 14


def horses(outside: Path, key: Path) -> dict[str, list[tarfile.TarInfo]]:
    """Bundles by what is wrong with them: `outside` is where files shall come to lie, `key` is a file of the user's."""
    planted = str(outside / MARK)
    up = UP + planted.lstrip("/")
    link, hard = tarfile.SYMTYPE, tarfile.LNKTYPE
    return {
        "a path with ..": [member(f"src/{up}")],
        "an absolute path": [member(planted)],
        "a link, and a file through it": [
            member("src/door", link, linkname=str(outside)),
            member(f"src/door/{MARK}"),
        ],
        "a link to a directory above": [member("src/door", link, linkname=UP), member(f"src/door{planted}")],
        "a hard link to a file of the host": [member("src/key", hard, linkname=str(key))],
        "a long name with ..": [member(f"src/{'x' * 120}/a.py"), member(f"src/{'x' * 120}/../../{up}")],
        "a name in an extended header": [member("src/fine.py", pax_headers={"path": up})],
        "a size in an extended header": [member("src/fine.py", pax_headers={"size": "9999999999"}), member("src/two")],
        "a device": [member("src/null", tarfile.CHRTYPE, devmajor=1, devminor=3)],
        "a pipe": [member("src/pipe", tarfile.FIFOTYPE)],
        "a set-uid program": [member("src/tool", mode=0o6755)],
        "a file twice": [member("src/one.py"), member("src/one.py")],
    }


def harm_in(roots: list[Path], outside: Path, key: Path) -> str:
    """What an unpacking left where it should not, or of a kind that it should not."""
    if (outside / MARK).exists():
        (outside / MARK).unlink()
        return f"{MARK} lies outside"
    for path in (path for root in roots for path in root.rglob("*")):
        facts = path.lstat()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            return f"{path.name} is a link or no file"
        if facts.st_mode & 0o6000:
            return f"{path.name} has mode {facts.st_mode:o}"
        if facts.st_ino == key.stat().st_ino:
            return f"{path.name} is a file of the host's"
    return ""


def outside_of(house: House) -> Path:
    """A directory of the daemon's user, which is no business of bundles."""
    return house.daemon.folder / "lake"


def horse_caged(name: str, house: House) -> Result:
    outside = outside_of(house)
    try:
        publish(house, archive(horses(outside, house.world.key)[name]))
        said = "it was published"
    except CallFailed as failed:
        said = f"{failed.code}: {failed.message[:150]}"
    data = house.daemon.folder / "data"
    harm = harm_in([data / "registry", data / "scratch"], outside, house.world.key)
    return got(f"{harm}; {said}") if harm else refused(said)


UNPACK = """
import io, gzip, os, sys, tarfile
os.umask(0); os.chdir(sys.argv[1])
tar = tarfile.open(fileobj=io.BytesIO(gzip.decompress(sys.stdin.buffer.read())))
seen = set()
for one in tar:
    print("twice" if one.name in seen else one.name); seen.add(one.name)
    tar.extract(one, set_attrs=True, numeric_owner=True)
"""


def horse_outside(name: str, house: House) -> Result:
    """Unpacked as archives are by who trusts them."""
    outside = outside_of(house)
    root = house.stage.folder("unpacked")
    house.identity.own(root)
    done = subprocess.run(
        [*house.identity.prefix, str(house.stage.python), "-I", "-S", "-c", UNPACK, str(root)],
        input=archive(horses(outside, house.world.key)[name]),
        capture_output=True,
        check=False,
    )
    harm = harm_in([root], outside, house.world.key)
    if not harm and b"twice" in done.stdout:
        harm = "the second file of a name took the first one's place"
    if not harm and name == "a size in an extended header":
        harm = "two readers see two archives" if b"src/two" not in done.stdout else ""
    if not harm and b"Operation not permitted" in done.stderr:
        return apart("only root makes device files")
    return got(harm) if harm else refused(done.stderr.decode()[-200:])


for _name in horses(Path("/"), Path("/")):
    ARCHIVES.part(_name)(partial(horse_caged, _name))
    ARCHIVES.control(_name)(partial(horse_outside, _name))


LONG = "k" * 500_000


def texts() -> dict[str, str]:
    """Documents of at most a megabyte that are much more to who reads them without care."""
    laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    doubling = "".join(
        f"    d{n}: {{ allOf: [{{ $ref: '#/$defs/d{n + 1}' }}, {{ $ref: '#/$defs/d{n + 1}' }}] }}\n" for n in range(40)
    )
    return {
        "lists in lists without end": "- " * 500_000,
        "aliases of aliases": laughs,
        "a long text, repeated": f"a: &a {LONG}\nb: [{'*a,' * 90_000}1]\n",
        "a long key over many values": f'{{"{LONG}": [{"1," * 90_000}1]}}',
        "a config schema that doubles": MANIFEST.replace(
            "config: { type: object, properties: {} }",
            "config:\n  type: object\n  properties: { a: { $ref: '#/$defs/d0' } }\n  $defs:\n"
            + doubling
            + "    d40: {}",
        ),
        "a config schema that refers to itself": MANIFEST.replace(
            "config: { type: object, properties: {} }",
            "config: { type: object, properties: { a: { $ref: '#/$defs/a' } }, "
            "$defs: { a: { type: object, default: {}, properties: { a: { $ref: '#/$defs/a' } } } } }",
        ),
    }


def with_manifest(text: str) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        tar.addfile(member("connector.yaml", content=text.encode()), io.BytesIO(text.encode()))
    return gzip.compress(raw.getvalue(), mtime=0)


def alive(house: House, said: str) -> Result:
    """Whether the daemon is the one that it was, and answers."""
    if house.daemon.process is None or house.daemon.process.poll() is not None:
        return got(f"the daemon ended; {said}")
    began = time.monotonic()
    house.daemon.client.call("ListCalls", timeout=10)
    peak = int(Path(f"/proc/{house.daemon.process.pid}/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
    if time.monotonic() - began > 5 or peak > 1024:
        return got(f"the daemon took {peak} MiB; {said}")
    return refused(f"{said}; the daemon's peak is {peak} MiB")


def document_caged(name: str, house: House) -> Result:
    text = texts()[name]
    began = time.monotonic()
    try:
        if text.startswith("{"):
            read(house.daemon, inline(bundle(house), config=text), "told", mode="full").drain()
        else:
            publish(house, with_manifest(text))
        said = "it was taken"
    except CallFailed as failed:
        said = f"{failed.code}: {failed.message[:150]} {str(failed.details.get('BadRequest', ''))[:150]}"
    return alive(house, f"{said} after {time.monotonic() - began:.1f} s")


# Reads as libraries do: by recursion, with aliases and places written out, references followed.
READER = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
sys.path.insert(0, sys.argv[1]); import yaml
def places(value, at=""):
    if isinstance(value, dict): return [(at + "/" + k, p) for k, v in value.items() for p in places(v, at + "/" + k)]
    if isinstance(value, list): return [p for n, v in enumerate(value) for p in places(v, at + f"/{n}")]
    return [at + "."]
def copied(value): return json.loads(json.dumps(value))
def follow(root, schema, value):
    for one in schema.get("allOf", []): follow(root, one, value)
    if "$ref" in schema:
        at = root
        for key in schema["$ref"].strip("#/").split("/"): at = at[key]
        follow(root, at, value)
    for name, inner in schema.get("properties", {}).items():
        follow(root, inner, value.setdefault(name, {}) if isinstance(value, dict) else {})
document = yaml.safe_load(sys.stdin.read())
kept = copied(document); kept = places(kept)
if isinstance(document, dict) and "config" in document: follow(document["config"], document["config"], {})
print("read", len(kept))
"""


def document_outside(name: str, house: House) -> Result:
    """A reader with a gigabyte and five seconds, bounded so that its host is not harmed."""
    site = next(path for path in sys.path if path.endswith("site-packages"))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", READER, site], input=texts()[name].encode(), capture_output=True, check=False
    )
    if done.returncode == 0:
        return refused(done.stdout.decode())
    return got(f"the reader ended with {done.returncode}: {done.stderr.decode()[-60:].strip()}")


for _name in texts():
    DOCUMENTS.part(_name)(partial(document_caged, _name))
    DOCUMENTS.control(_name)(partial(document_outside, _name))
