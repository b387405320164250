"""From what came back to one line an attempt, and the suite's last line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .house import Result


@dataclass
class Line:
    """One attempt as one identity."""

    id: str
    identity: str
    title: str
    layer: str
    behind: str
    caged: dict[str, Result] = field(default_factory=dict)
    controls: dict[str, Result] = field(default_factory=dict)

    @property
    def apart(self) -> dict[str, str]:
        """Parts whose control this host cannot show, with the reason."""
        return {name: result["apart"] for name, result in self.controls.items() if result.get("apart")}

    @property
    def counted(self) -> bool:
        """Whether there is a part whose control could be shown."""
        return len(self.apart) < len(self.caged)

    @property
    def escaped(self) -> list[str]:
        """Parts that got what they wanted in a worker."""
        return [name for name, result in self.caged.items() if result["escaped"]]

    @property
    def faults(self) -> list[str]:
        """What is wrong with the attempt itself or with its control."""
        found = []
        for name, result in self.caged.items():
            control = self.controls.get(name)
            if result.get("broken"):
                found.append(f"{name}: broken: {result['broken']}")
            if result.get("apart"):
                found.append(f"{name}: sets itself apart in a worker: {result['apart']}")
            if control is None:
                found.append(f"{name}: has no control")
            elif control.get("broken"):
                found.append(f"{name}: its control is broken: {control['broken']}")
            elif not control["escaped"] and not control.get("apart"):
                found.append(f"{name}: its control got nothing: {control['returned']}")
        return found + [f"{name}: was not tried" for name in self.controls if name not in self.caged]

    @property
    def control_succeeded(self) -> bool:
        """Whether every control that can be shown got what it wanted."""
        shown = [result for name, result in self.controls.items() if name not in self.apart]
        return bool(shown) and all(result["escaped"] for result in shown)

    def as_json(self) -> dict[str, Any]:
        """As it stands in results.jsonl."""
        return {
            "id": self.id,
            "identity": self.identity,
            "title": self.title,
            "layer": self.layer,
            "behind": self.behind,
            "verdict": "escaped" if self.escaped else "broken" if self.faults else "refused",
            "returned": {name: result["returned"] for name, result in self.caged.items()},
            "control": "succeeded" if self.control_succeeded else "failed" if self.counted else "apart",
            "control_returned": {
                name: result["returned"] for name, result in self.controls.items() if name not in self.apart
            },
            "apart": self.apart,
            "faults": self.faults,
        }


def conclude(lines: list[Line], harm: list[str], path: Path) -> bool:
    """Writes the lines, tells what is wrong, prints the last line; whether all is well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line.as_json()) + "\n" for line in lines))
    for line in lines:
        for name, reason in line.apart.items():
            print(f"apart   {line.id} ({line.identity}) {name}: {reason}")
    # Last, where the end of a long output is all that somebody sees.
    for line in lines:
        for fault in line.faults:
            print(f"FAULT   {line.id} ({line.identity}) {fault}")
        for name in line.escaped:
            print(f"ESCAPED {line.id} ({line.identity}) {name}: {line.caged[name]['returned']}")
    for each in harm:
        print(f"HARM    {each}")
    counted = [line for line in lines if line.counted]
    refused = sum(not line.escaped and not line.faults for line in counted)
    escaped = sum(bool(line.escaped) for line in lines)
    succeeded = sum(line.control_succeeded for line in counted)
    print(f"{len(counted)} attempts, {refused} refused, {escaped} escaped, {succeeded} controls succeeded", flush=True)
    well = bool(counted) and escaped == 0 and len(counted) == refused == succeeded
    return well and not harm and not any(line.faults for line in lines)
