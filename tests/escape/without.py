"""Proves, layer by layer, that something escapes once the layer is taken away.

Runs the attempts against `caisson-less` (tests/without), the daemon less one layer. For each layer the attempts that
`suite/layers.py` names must succeed; one that is still refused fails the run, for then either the layer does nothing or
another does its work. `make escape-layers` runs all of it and writes docs/layers.md; `--sample N` takes some by chance.
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

ROOT = Path(__file__).parents[2]


@dataclass
class Proof:
    """What became of the attempts without one layer, as one identity."""

    part: str
    identity: str
    escaped: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    no_worker: str = ""

    def faults(self, layer: Layer) -> list[str]:
        """What was expected and did not happen."""
        if self.identity in layer.no_worker:
            return [] if self.no_worker else ["a worker could be made"]
        return [f"attempt {number} is still refused" for number in layer.expected(self.identity)
                if number not in self.escaped]  # fmt: skip


def prove(stage: Stage, layer: Layer, identity: Identity, explore: bool) -> Proof:
    """Runs the attempts without a layer."""
    proof = Proof(layer.part, identity.name)
    only = set() if explore else set(layer.expected(identity.name)) or {"2"}
    campaign = Campaign(stage, identity, only, without=layer.part)
    try:
        lines = campaign.run()
    except Exception as error:
        proof.no_worker = str(error)[:300]
        return proof
    for line in lines:
        if line.escaped:
            proof.escaped[line.id] = "; ".join(f"{name}: {line.caged[name]['returned']}" for name in line.escaped)
        elif line.faults:
            proof.no_worker = proof.no_worker or line.faults[0][-400:]
        else:
            proof.refused.append(line.id)
    return proof


def main() -> None:
    """Parse, enter, prove, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="parts, separated by commas")
    parser.add_argument("--identity", default="", help="root or user; both where they are possible")
    parser.add_argument("--sample", type=int, default=0, help="so many layers by chance")
    parser.add_argument("--seed", type=int, default=None, help="the chance")
    parser.add_argument("--explore", action="store_true", help="try all attempts and tell which escape")
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
                applies = layer.expected(identity.name) or identity.name in layer.no_worker or arguments.explore
                if arguments.identity not in ("", identity.name) or not applies:
                    continue
                began = time.monotonic()
                proof = prove(stage, layer, identity, arguments.explore)
                proofs.append(proof)
                told = f"escaped {sorted(proof.escaped)}" if proof.escaped else f"no worker: {proof.no_worker}"
                print(f"{layer.part:<18} {identity.name:<5} {time.monotonic() - began:4.0f} s  {told}", flush=True)
                for fault in () if arguments.explore else proof.faults(layer):
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
