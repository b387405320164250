"""The test operation: opens the connector and runs its test, one step after another."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._call import Call

# How far a test came that ended with this code: the steps before passed.
STEPS = ("dns", "tls", "connect", "authentication", "permissions")
FAILED_AT = {
    "DNS_FAILED": "dns",
    "TLS_FAILED": "tls",
    "EGRESS_DENIED": "connect",
    "UPSTREAM_UNAVAILABLE": "connect",
    "CREDENTIALS_INVALID": "authentication",
    "PERMISSION_MISSING": "permissions",
}


def probe(call: Call, connector: Any) -> None:
    """Runs open() and test() and sends a Step for each thing that they prove.

    Raises:
        Exception: What the connector raised; its step is sent before.
    """
    from ._worker import shut

    step = "open"
    started = False
    told_of: set[str] = set()
    try:
        call.finish(connector.open())
        call.send("started", {})
        started = True
        _passed(call, "open", "the connector started with this configuration")
        step = "test"
        for told in call.iterate(_result(call, connector)):
            name, message = told if isinstance(told, (tuple, list)) else (str(told), "")
            told_of.add(name)
            _passed(call, name, message)
        if type(connector).test.__qualname__ == "Connector.test":
            call.send("step", {"name": "test", "status": "skipped", "message": "the connector defines no test()"})
        else:
            for name in STEPS[3:] if call.requests else ("test",):
                if name not in told_of:
                    _passed(call, name, "")
    except Exception as error:
        from ._failure import MAX_MESSAGE, code_of

        if not started:
            call.send("started", {})
        failed_at = FAILED_AT.get(code_of(error), step)
        if failed_at in STEPS:
            for name in STEPS[3 : STEPS.index(failed_at)]:
                if name not in told_of:
                    _passed(call, name, "")
        message = (str(error) or type(error).__name__)[:MAX_MESSAGE]
        call.send("step", {"name": failed_at, "status": "failed", "message": message})
        raise
    finally:
        shut(call, connector)


def _result(call: Call, connector: Any) -> Any:
    """What test() gave, if it is a generator (None otherwise)."""
    result = connector.test()
    if hasattr(result, "__anext__"):
        return result
    result = call.finish(result)
    return result if hasattr(result, "__next__") else None


def _passed(call: Call, name: str, message: str) -> None:
    from ._failure import MAX_MESSAGE

    call.send("step", {"name": name, "status": "passed", "message": message[:MAX_MESSAGE]})
