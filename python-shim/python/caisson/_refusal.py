"""From an answer that is no success, or none at all, to a stable error."""

from __future__ import annotations

from .errors import (
    CredentialsInvalid,
    DnsFailed,
    EgressDenied,
    NotFound,
    PermissionMissing,
    TlsFailed,
    Upstream,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._response import Response

MAX_EXCERPT = 400
"""Characters of a refusal's body that go into its message."""


def transport_kind(error: Exception) -> str | None:
    """The kind of a native TransportError; None for any other error."""
    if type(error).__name__ != "TransportError":
        return None
    return str(error.args[0]) if error.args else "protocol"


def transport_failure(told: str, kind: str, error: Exception) -> Exception:
    """The stable error of a request that got no answer."""
    detail = str(error.args[1]) if len(error.args) > 1 else kind
    message = f"{told}: {detail}"
    if kind == "dns":
        return DnsFailed(message)
    if kind == "tls":
        return TlsFailed(message)
    return Upstream(message)


def refusal(method: str, response: Response) -> Exception:
    """The stable error of an answer that is no success."""
    status = response.status
    excerpt = " ".join(response.text[:MAX_EXCERPT].split()) if response.content else ""
    message = f"{method} {response.url} answered {status}" + (f": {excerpt}" if excerpt else "")
    if "caisson-refused" in response.headers:
        return EgressDenied(message)
    if status == 401:
        return CredentialsInvalid(message)
    if status == 403:
        return PermissionMissing(message)
    if status in (404, 410):
        return NotFound(message, status=status)
    return Upstream(message, status=status)
