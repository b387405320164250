"""From an exception to the Failed frame: a stable code, and what happened."""

from __future__ import annotations

from .errors import CaissonError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_TRACEBACK = 64 * 1024
MAX_MESSAGE = 8 * 1024


def failure(error: BaseException) -> dict[str, Any]:
    """The fields of a Failed frame that describe `error`."""
    code = code_of(error)
    message = (str(error) or type(error).__name__).encode("utf-8", "replace")[:MAX_MESSAGE]
    fields: dict[str, Any] = {
        "code": code,
        "exception": f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."),
        "message": message.decode("utf-8", "replace"),
        "traceback": "" if code == "CANCELLED" else trace(error),
    }
    if isinstance(error, CaissonError):
        fields["action"] = error.action
        fields["stream"] = error.stream
        fields["partition"] = error.partition
        if error.retry_at is not None:
            fields["retry_at_unix_ms"] = max(0, int(error.retry_at * 1000))
    return fields


def code_of(error: BaseException) -> str:
    """The stable code of any exception."""
    import errno

    if isinstance(error, CaissonError):
        return error.code
    if isinstance(error, MemoryError):
        return "MEMORY_EXHAUSTED"
    # EFBIG: where no quota can be mounted, /tmp is bounded by the size of a file.
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "DISK_EXHAUSTED"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "PROCESS_LIMIT"
    if isinstance(error, BlockingIOError) and _at_a_fork(error):
        return "PROCESS_LIMIT"
    if isinstance(error, KeyboardInterrupt):
        return "CANCELLED"
    return "CONNECTOR_FAILED"


def _at_a_fork(error: BaseException) -> bool:
    """Whether EAGAIN came of making a process: of a socket it means something else, and the errno is all there is."""
    import traceback

    raised = traceback.extract_tb(error.__traceback__)[-1:]
    return any("fork" in (frame.line or "") for frame in raised)


def trace(error: BaseException) -> str:
    """The traceback, the middle cut out where it is too long."""
    import traceback

    text = "".join(traceback.format_exception(error))
    data = text.encode("utf-8", "replace")
    if len(data) > MAX_TRACEBACK:
        half = MAX_TRACEBACK // 2 - 32
        data = data[:half] + b"\n[... cut ...]\n" + data[-half:]
        text = data.decode("utf-8", "replace")
    return text
