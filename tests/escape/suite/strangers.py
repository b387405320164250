"""What workers sent out into the suite's internet, against what their policies allowed."""

from __future__ import annotations

from collections.abc import Iterable

from .internet import Arrival
from .nameserver import ADDRESS, LOCAL_OPTION, PUBLIC, Question

# Every name that a policy of the burglar's allows; the host looks nothing else up for it.
NAMES = {"allowed.test", "db.test", "mixed.test", "host.test", "metadata.test", "metadata6.test"}
PATTERNS = {"example.test", "private.test", "rebind.test"}


def strangers(arrivals: Iterable[Arrival], questions: Iterable[Question]) -> str:
    """Everything that no policy allowed, as text; empty where there is nothing."""
    found = [
        f"{arrival.transport} to {arrival.address}:{arrival.port} ({arrival.said[:20]!r})"
        for arrival in arrivals
        if arrival.transport != "tcp" or arrival.address != PUBLIC
    ]
    found += [
        f"a question about {question.name!r} to {question.asked}" for question in questions if not _allowed(question)
    ]
    return f"uninvited: {'; '.join(found)}" if found else ""


def _allowed(question: Question) -> bool:
    _, _, rest = question.name.partition(".")
    named = question.name in NAMES or rest in PATTERNS
    return named and question.asked == ADDRESS and LOCAL_OPTION not in question.raw
