"""What an attempt is: a number, what should stop it, and the thefts that it consists of."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

World = Mapping[str, Any]
"""What there is to steal, as plain values: see `suite/world.py`."""

Steal = Callable[[World], str]
"""Returns what it got, as text. An OSError, `Nothing` or an empty text means that it got nothing."""

PATIENCE = 30.0
"""Seconds that one theft may take."""


class Nothing(Exception):
    """The theft ran to its end and got nothing; the text says what it met."""


class Apart(Exception):
    """This host gives nobody what the theft needs, inside or outside; the text says what."""


@dataclass(frozen=True)
class Theft:
    """One thing that an attempt tries.

    Attributes:
        name: Unique in its attempt.
        steal: The act.
        needs_root: Only root could do it outside. For an ordinary user it is tried too, and its control listed apart.
        ends: The stable code that the call must end with, where the act ends the worker; such a theft gets a call of
            its own and runs in the worker's first process. Others run in a child each, so that none disturbs the next.
        deadline_ms: The deadline of that call; 0 for none.
    """

    name: str
    steal: Steal
    needs_root: bool = False
    ends: str = ""
    deadline_ms: int = 0


@dataclass(frozen=True)
class Attempt:
    """A numbered attempt.

    Attributes:
        id: Its number in the table of attempts; our own are `A1` and up.
        title: What it tries, in a few words.
        layer: What stops it.
        behind: What would stop it if that layer were gone; empty where nothing would.
        policy: The body of the policy file that its calls run under; none where there is no function.
        identities: Who it is tried as. An ordinary user's daemon lacks what `--allow-missing=cgroup` names.
    """

    id: str
    title: str
    layer: str
    behind: str = ""
    policy: Callable[[World], dict[str, Any]] | None = None
    identities: tuple[str, ...] = ("root", "user")
    thefts: list[Theft] = field(default_factory=list, compare=False)

    def theft(
        self, name: str, *, needs_root: bool = False, ends: str = "", deadline_ms: int = 0
    ) -> Callable[[Steal], Steal]:
        """Registers a function as a theft of this attempt."""

        def register(steal: Steal) -> Steal:
            if any(theft.name == name for theft in self.thefts):
                raise ValueError(f"attempt {self.id} has two thefts named {name}")
            self.thefts.append(Theft(name, steal, needs_root, ends, deadline_ms))
            return steal

        return register


Result = dict[str, Any]
"""`escaped`, `returned`; `apart` where the host lacks something, `broken` where the theft itself is wrong."""


def outcome(theft: Theft, world: World) -> Result:
    """Runs a theft here and judges it."""
    try:
        got = theft.steal(world)
    except Apart as reason:
        return {"escaped": False, "returned": "", "apart": str(reason)}
    except Nothing as met:
        return {"escaped": False, "returned": str(met)}
    except OSError as refused:
        name = errno.errorcode.get(refused.errno or 0, type(refused).__name__)
        return {"escaped": False, "returned": name}
    except Exception:
        # Not a refusal: a theft that cannot work proves nothing.
        return {"escaped": False, "returned": "", "broken": traceback.format_exc()}
    return {"escaped": bool(got), "returned": got or "nothing"}


def commit(theft: Theft, world: World) -> Result:
    """Runs a theft in a child, which may be killed for it."""
    return in_child(lambda: outcome(theft, world))


report = -1
"""The descriptor through which a child answers: the one that it has beside those of its worker."""


def answer(got: str) -> None:
    """What a theft has got, told by whatever is left of its process, which ends."""
    with suppress(OSError):
        os.write(report, json.dumps({"escaped": True, "returned": got}).encode())
    os._exit(0)


def in_child(act: Callable[[], Result], patience: float = PATIENCE) -> Result:
    """What `act` returns, from a process of its own."""
    global report
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(ours)
            report = theirs
            os.write(theirs, json.dumps(act()).encode()[:60_000])
            code = 0
        finally:
            os._exit(code)
    os.close(theirs)
    said, status = b"", None
    until = time.monotonic() + patience
    # Its end counts, not the pipe's: a grandchild that lives on holds the pipe too.
    while status is None or select.select([ours], [], [], 0)[0]:
        if select.select([ours], [], [], 0.02)[0]:
            piece = os.read(ours, 65_536)
            said += piece
            if not piece:
                break
        if status is None:
            ended, code = os.waitpid(child, os.WNOHANG)
            status = code if ended else None
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(ours)
            return {"escaped": False, "returned": f"nothing within {patience:.0f} s"}
    os.close(ours)
    if status is None:
        status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return {"escaped": False, "returned": f"killed by {signal.Signals(os.WTERMSIG(status)).name}"}
    if not said:
        return {"escaped": False, "returned": "", "broken": f"the child ended with {os.WEXITSTATUS(status)}"}
    result: Result = json.loads(said)
    return result
