"""Every attempt to get out of a worker, as a root daemon's and as an ordinary user's, each with its control.

`make escape` runs this on the built binary. The last line is `N attempts, N refused, 0 escaped, N controls
succeeded`; anything else is a failure. Every attempt's line is in target/escape/results.jsonl.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from harness import Identity, Stage
from servers import oauth
from suite import table
from suite.campaign import Campaign
from suite.namespaces import enter
from suite.verdict import Line, conclude

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Parse, enter, run, conclude."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="numbers of attempts, separated by commas")
    parser.add_argument("--identity", default="", help="root or user; both where they are possible")
    parser.add_argument("--results", type=Path, default=ROOT / "target/escape/results.jsonl")
    parser.add_argument("--write-table", action="store_true", help="write docs/threat-model.md's table and end")
    arguments = parser.parse_args()
    if arguments.write_table:
        table.write()
        return
    if absent := table.missing():
        raise SystemExit(f"no attempt has the numbers {', '.join(absent)}")
    if not table.is_written():
        raise SystemExit("docs/threat-model.md has another table; tests/setup/escape.sh --write-table writes it")
    # From outside of the network that is entered, where npm reaches nobody.
    oauth.modules()
    enter()
    began = time.monotonic()
    lines: list[Line] = []
    harm: list[str] = []
    stage = Stage()
    try:
        for identity in Identity.available():
            if arguments.identity in ("", identity.name):
                campaign = Campaign(stage, identity, set(filter(None, arguments.only.split(","))))
                lines += campaign.run()
                harm += campaign.harm
    finally:
        stage.remove()
    print(f"{time.monotonic() - began:.0f} seconds")
    if not conclude(lines, harm, arguments.results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
