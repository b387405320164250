"""Proves, layer by layer, that something escapes once the layer is taken away.

Runs the attempts against `caisson-less` (tests/without), the daemon less one layer. For each layer the attempts that
`suite/layers.py` names must succeed; one that is still refused fails the run, for then either the layer does nothing or
another does its work. What a layer stops behind another one is tried with that one gone, with it in place and without.
`make escape-layers` runs all of it and writes docs/layers.md; `--sample N` takes some by chance.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness import Identity, Stage
from suite.campaign import Campaign
from suite.layers import LAYERS, Layer
from suite.layers_page import page
from suite.namespaces import enter
from suite.verdict import Line

ROOT = Path(__file__).parents[2]


@dataclass
class Proof:
    """What became of the attempts without one layer, as one identity."""

    part: str
    identity: str
    escaped: dict[str, str] = field(default_factory=dict)
    no_worker: str = ""
    early: list[str] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)

    def faults(self, layer: Layer) -> list[str]:
        """What was expected and did not happen."""
        if self.identity in layer.no_worker:
            return [] if self.no_worker else ["a worker could be made"]
        expected = layer.expected(self.identity)
        return [
            *[f"attempt {name} is still refused" for name in expected if name not in self.escaped],
            *[f"attempt {name} succeeds with this layer in place" for name in expected if name in self.early],
            *self.untried,
        ]


def prove(stage: Stage, layer: Layer, identity: Identity) -> Proof:
    """Runs the attempts without a layer, and first without what it stands behind."""
    proof = Proof(layer.part, identity.name)
    numbers = {name.partition("/")[0] for name in layer.expected(identity.name)} or {"2"}
    try:
        if layer.behind:
            lines = Campaign(stage, identity, numbers, without=layer.behind).run()
            proof.early = list(escapes(lines))
            proof.untried = [fault for line in lines for fault in line.faults]
        parts = ",".join(filter(None, (layer.behind, layer.part)))
        lines = Campaign(stage, identity, numbers, without=parts).run()
    except Exception as error:
        proof.no_worker = str(error)[:300]
        return proof
    proof.escaped = escapes(lines)
    proof.no_worker = next((line.faults[0][-400:] for line in lines if line.faults and not line.escaped), "")
    return proof


def escapes(lines: list[Line]) -> dict[str, str]:
    """What succeeded, by number and by NUMBER/THEFT, with what it got."""
    found: dict[str, str] = {}
    for line in lines:
        got = {name: line.caged[name]["returned"] for name in line.escaped}
        if got:
            found[line.id] = "; ".join(f"{name}: {returned}" for name, returned in got.items())
        found |= {f"{line.id}/{name}": returned for name, returned in got.items()}
    return found


def main() -> None:
    """Parse, enter, prove, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="parts, separated by commas")
    parser.add_argument("--identity", default="", help="root or user; both where they are possible")
    parser.add_argument("--sample", type=int, default=0, help="so many layers by chance")
    parser.add_argument("--seed", type=int, default=None, help="the chance")
    parser.add_argument("--page", type=Path, help="write the table of a whole run there")
    arguments = parser.parse_args()
    enter()
    chosen = [layer for layer in LAYERS if not arguments.only or layer.part in arguments.only.split(",")]
    if arguments.sample:
        seed = arguments.seed if arguments.seed is not None else random.randrange(10_000)
        chosen = random.Random(seed).sample(chosen, arguments.sample)
        print(f"seed {seed}: {', '.join(layer.part for layer in chosen)}")
    faults = 0
    proofs: list[Proof] = []
    stage = Stage()
    try:
        for layer in chosen:
            for identity in Identity.available():
                applies = layer.expected(identity.name) or identity.name in layer.no_worker
                if arguments.identity not in ("", identity.name) or not applies:
                    continue
                began = time.monotonic()
                proof = prove(stage, layer, identity)
                proofs.append(proof)
                numbers = sorted(name for name in proof.escaped if "/" not in name)
                told = f"escaped {numbers}" if numbers else f"no worker: {proof.no_worker}"
                print(f"{layer.part:<18} {identity.name:<5} {time.monotonic() - began:4.0f} s  {told}", flush=True)
                for fault in proof.faults(layer):
                    faults += 1
                    print(f"FAULT {layer.part} ({identity.name}): {fault}; {proof.no_worker}")
    finally:
        stage.remove()
    results = ROOT / "target/escape/layers.jsonl"
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text("".join(json.dumps(vars(proof)) + "\n" for proof in proofs))
    if arguments.page:
        arguments.page.write_text(page(proofs))
    print(f"{len(chosen)} layers taken away, {faults} of them for nothing", flush=True)
    if faults or not proofs:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
