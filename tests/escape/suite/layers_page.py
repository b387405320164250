"""The table of layers and of what escapes without each, as a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from .layers import LAYERS, Layer
from .table import by_number

HEAD = """# Layers, and what each one stops

Written by `make escape-layers`, which runs attempts of the [escape suite](../tests/escape/README.md) against a daemon
that leaves one layer out, in a build that exists for this alone (`runtime/without`, `tests/without`). An attempt in
the columns *succeeds* once the layer is gone, and is refused when it is there. *No worker* means that the other
layers cannot be put on without this one, so that nothing runs at all. What a layer stops *behind* others is tried with
those gone: refused while this layer is there, and not without it. The attempts are those of the
[threat model](threat-model.md).

| layer | root's daemon | ordinary user's daemon | remark |
|---|---|---|---|
"""


class Proven(Protocol):
    """What a proof has to tell."""

    part: str
    identity: str
    escaped: dict[str, str]


def page(proofs: Iterable[Proven]) -> str:
    """The whole page."""
    by_place = {(proof.part, proof.identity): proof for proof in proofs}
    rows = []
    for layer in LAYERS:
        cells = [_cell(layer, identity, by_place.get((layer.part, identity))) for identity in ("root", "user")]
        behind = f"behind {layer.behind.replace(',', ' and ')}" if layer.behind else ""
        remark = "; ".join(filter(None, (behind, layer.remark)))
        rows.append(f"| {layer.title} (`{layer.part}`) | {cells[0]} | {cells[1]} | {remark} |\n")
    return HEAD + "".join(rows)


def _cell(layer: Layer, identity: str, proof: Proven | None) -> str:
    if identity in layer.no_worker:
        return "no worker"
    expected = layer.expected(identity)
    if proof is None or not expected:
        return "–"
    shown = sorted((name for name in expected if name in proof.escaped), key=lambda name: by_number(name.split("/")[0]))
    return ", ".join(name.replace("/", " ", 1) for name in shown)
