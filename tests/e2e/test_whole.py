"""The product has every layer: what the escape suite's own build can leave out, it cannot."""

from __future__ import annotations

from collections.abc import Callable

from harness import Daemon, Stage
from harness.daemon import inline
from harness.read import read, records

VARIABLE = b"CAISSON_WITHOUT"


def test_nothing_in_the_product_can_leave_a_layer_out(stage: Stage) -> None:
    for path in (stage.caisson, stage.shim / "caisson/_native.abi3.so"):
        assert VARIABLE not in path.read_bytes(), path


def test_the_variable_of_that_build_means_nothing_to_the_product(own: Callable[..., Daemon], stage: Stage) -> None:
    daemon = own()
    daemon.environment[VARIABLE.decode()] = "seccomp,landlock,no-such-part"
    daemon.start()
    stream = read(daemon, inline(stage.connectors / "probe"), "attempts", mode="full").drain()
    outcomes = {record["attempt"]: record["outcome"] for record in records(stream)}
    assert outcomes["netlink socket"] == "EPERM" and outcomes["exec sh"] == "EPERM", outcomes
