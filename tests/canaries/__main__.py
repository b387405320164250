"""`make canaries`: secrets that are planted in every provider, and looked for wherever calls may have left them.

Each is used, revealed or sealed, by every call, by calls that fail in every way, from a cassette and under faults; and
the daemon is killed in the middle of a call with each. Each search has a control: the same look finds the same canary
where it was put. The product has no metrics, so none are searched.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from harness import Identity, Stage
from harness.read import read
from house import Canary, House, of_providers
from looking import PARTS, Count, at_rest, in_processes, in_texts
from servers.oauth import OAuth
from servers.vault import Vault
from tokens import KINDS, Kind

# What is met by the streams that `use_faults` reads.
FAULTS = """
format: 1
faults:
  - { match: { host: localhost, path: /asc }, truncate: { after: 20 } }
  - { match: { host: localhost, path: /me }, answer: { status: 401, body: not you } }
  - { match: { host: localhost, path: /repeating }, redirect_loop: true }
  - { match: { host: localhost, path: /events, nth: 2 }, expire_token: true }
"""


# What a call tells that met its fault, and no other does.
MET = {
    "asc": "ERROR_CODE_UPSTREAM_UNAVAILABLE",
    "plain": "ERROR_CODE_CONNECTOR_FAILED",
    "repeating": "more than 10 redirects",
    "Test": "/me answered 401: not you",
    "events": "/events answered 401",
}


def use_faults(house: House) -> None:
    """Calls whose upstream is faulty; the token that ends is the first one that comes, another is a fresh one."""
    ended = False
    for canary in house.each():
        web = house.connection("web", canary)
        calls: dict[str, Callable[[], Any]] = {
            stream: partial(read, house.daemon, web, stream, options={"deadline_ms": 2_000})
            for stream in ("asc", "plain", "repeating")
        }
        calls["Test"] = partial(house.daemon.client.stream, "Test", connection=web)
        calls["events"] = partial(read, house.daemon, web, "events", mode="streaming", options={"deadline_ms": 1_000})
        for name, call in calls.items():
            before = len(canary.told)
            well = house.hear(canary, call)
            told = "\n".join(canary.told[before:])
            met = not well and MET[name] in told
            assert met or (name == "events" and ended), f"{name} with {canary.name} met no fault: {told[-2000:]}"
        ended = True


def use_cassette(house: House) -> None:
    """Calls without an upstream: what was recorded, failures too."""
    before, well = len(house.api.requests), 0
    for canary in house.each():
        for source in (house.connection("web", canary), house.published(canary)):
            well += house.hear(canary, partial(read, house.daemon, source, "asc", options={"deadline_ms": 2_000}))
    assert well, "nothing was played"
    assert len(house.api.requests) == before, "the upstream was asked"


def run(house: House, oauth: OAuth, chosen: tuple[Kind, ...], count: Count) -> None:
    """All of it as one identity: three lives of a daemon."""
    folder = house.daemon.folder
    cassette, faults = folder / "cassette.har", folder / "faults.yaml"
    faults.write_text(FAULTS)
    house.start("--record", str(cassette))
    house.calls()
    turned = [canary for kind in chosen for canary in kind(house, oauth)]
    canaries = [*house.canaries, *turned]
    house.use()
    logins = house.logins()
    canaries += logins
    # In what lived while they were used, and later in what comes after a daemon that died with them.
    in_processes(house, canaries, count, PARTS)
    recorded = cassette.read_text()
    house.end(by=signal.SIGABRT)
    at_rest(house, canaries, count)
    house.start("--faults", str(faults))
    use_faults(house)
    in_processes(house, canaries, count)
    house.end(by=signal.SIGKILL)
    at_rest(house, canaries, count)
    house.start("--replay", str(cassette))
    use_cassette(house)
    in_processes(house, canaries, count)
    at_rest(house, canaries, count)
    # Any call may have told these.
    for login in logins:
        login.told = [text for canary in canaries for text in canary.told]
    in_texts(house, canaries, recorded, count)


def sample(dice: random.Random) -> tuple[list[Identity], list[Canary], tuple[Kind, ...]]:
    """One identity, one canary of each provider, and one of what policies turn into something else."""
    every, sealed = of_providers(), dice.random() < 0.5
    half = len(every) // 2
    canaries = [every[number + half * ((number + sealed) % 2)] for number in range(half)]
    return [dice.choice(Identity.available())], canaries, (dice.choice(KINDS),)


def main() -> int:
    """Parse, run as every identity, conclude."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--identity", default="", help="root or user; both where they are possible")
    parser.add_argument("--sample", action="store_true", help="one identity, one canary of each provider")
    parser.add_argument("--seed", type=int, default=None, help="which sample")
    arguments = parser.parse_args()
    identities, canaries, kinds = Identity.available(), of_providers(), KINDS
    if arguments.sample:
        seed = arguments.seed if arguments.seed is not None else random.randrange(10_000)
        identities, canaries, kinds = sample(random.Random(seed))
        print(
            f"seed {seed}: {identities[0].name}; {'; '.join(canary.name for canary in canaries)}; {kinds[0].__name__}"
        )
    began, stage, count = time.monotonic(), Stage(), Count()
    try:
        vault, oauth = Vault(stage.folder("vault")), OAuth(stage.folder("vault"))
        try:
            for identity in identities:
                if arguments.identity in ("", identity.name):
                    house = House(
                        stage, identity, vault, [Canary(one.name, one.reference, one.sealed) for one in canaries]
                    )
                    try:
                        run(house, oauth, kinds, count)
                    finally:
                        house.remove()
        finally:
            oauth.stop()
            vault.stop()
    finally:
        stage.remove()
    print(f"{time.monotonic() - began:.0f} seconds")
    return 0 if count.conclude() else 1


if __name__ == "__main__":
    sys.exit(main())
