"""What a connector raises: one class per stable code.

The class says what the caller can do about it; the daemon adds its own
sentence where `action` is empty. Anything else that is raised becomes
CONNECTOR_FAILED with its type, message and traceback.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "CaissonError",
    "Cancelled",
    "ConfigInvalid",
    "ConnectorFailed",
    "CredentialsInvalid",
    "DiskExhausted",
    "DnsFailed",
    "EgressDenied",
    "MemoryExhausted",
    "NotFound",
    "PermissionMissing",
    "ProcessLimit",
    "QuotaExhausted",
    "RecordRejected",
    "RecordTooLarge",
    "SchemaViolation",
    "SecretUnavailable",
    "Stalled",
    "StateConflict",
    "Timeout",
    "TlsFailed",
    "Upstream",
]


class CaissonError(Exception):
    """The root of all errors that carry a stable code.

    Args:
        message: What failed and on what; never a secret.
        retry_at: When it is worth coming back: an aware datetime or Unix seconds.
        action: One sentence on what to do; empty leaves it to the daemon.
    """

    code: str = "CONNECTOR_FAILED"

    def __init__(
        self,
        message: str = "",
        *,
        retry_at: datetime | float | None = None,
        action: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_at: float | None = (
            retry_at if retry_at is None or isinstance(retry_at, (int, float)) else retry_at.timestamp()
        )
        self.action = action
        self.stream = ""
        self.partition = ""

    def __str__(self) -> str:
        return self.message


class ConfigInvalid(CaissonError):
    """The configuration cannot work as it stands."""

    code = "CONFIG_INVALID"


class CredentialsInvalid(CaissonError):
    """The upstream does not accept these credentials."""

    code = "CREDENTIALS_INVALID"


class PermissionMissing(CaissonError):
    """The credentials are good, but may not do this."""

    code = "PERMISSION_MISSING"


class SecretUnavailable(CaissonError):
    """A secret is missing or cannot be used."""

    code = "SECRET_UNAVAILABLE"


class EgressDenied(CaissonError):
    """The policy does not allow this destination."""

    code = "EGRESS_DENIED"


class DnsFailed(CaissonError):
    """A host name did not resolve."""

    code = "DNS_FAILED"


class TlsFailed(CaissonError):
    """TLS could not be agreed on, or the certificate is wrong."""

    code = "TLS_FAILED"


class Upstream(CaissonError):
    """The system at the other end failed, or answered what nobody can use.

    Args:
        status: The HTTP status, 0 where there was none.
    """

    code = "UPSTREAM_UNAVAILABLE"

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        retry_at: datetime | float | None = None,
        action: str = "",
    ) -> None:
        super().__init__(message, retry_at=retry_at, action=action)
        self.status = status


class NotFound(Upstream):
    """HTTP 404 or 410: what was asked for is not there."""


class QuotaExhausted(CaissonError):
    """The upstream wants us to come back later than this call may wait."""

    code = "QUOTA_EXHAUSTED"


class SchemaViolation(CaissonError):
    """A record does not fit what its stream declares.

    Args:
        stream: The stream; empty leaves it to the CDK.
        record: The place of the record in its batch, from 0; None where no single record is at fault.
        field: The field, dotted where it is nested.
        expected: What the schema declares there.
        found: What is there instead: a type or a shape, never a secret.
    """

    code = "SCHEMA_VIOLATION"

    def __init__(
        self,
        message: str = "",
        *,
        stream: str = "",
        record: int | None = None,
        field: str = "",
        expected: str = "",
        found: str = "",
        retry_at: datetime | float | None = None,
        action: str = "",
    ) -> None:
        super().__init__(message, retry_at=retry_at, action=action)
        self.stream: str = stream
        self.record: int | None = record
        self.field: str = field
        self.expected: str = expected
        self.found: str = found


class RecordRejected(CaissonError):
    """A destination refuses a record and cannot go on without it."""

    code = "RECORD_REJECTED"


class RecordTooLarge(CaissonError):
    """One record exceeds the largest batch there may be.

    Args:
        stream: The stream; empty leaves it to the CDK.
        record: The place of the record in its batch, from 0; None where it is not known.
    """

    code = "RECORD_TOO_LARGE"

    def __init__(
        self,
        message: str = "",
        *,
        stream: str = "",
        record: int | None = None,
        retry_at: datetime | float | None = None,
        action: str = "",
    ) -> None:
        super().__init__(message, retry_at=retry_at, action=action)
        self.stream: str = stream
        self.record: int | None = record


class Timeout(CaissonError):
    """The deadline of the call came first."""

    code = "TIMEOUT"


class Stalled(CaissonError):
    """Nothing moved for too long."""

    code = "STALLED"


class MemoryExhausted(CaissonError):
    """The worker's memory does not suffice."""

    code = "MEMORY_EXHAUSTED"


class DiskExhausted(CaissonError):
    """The worker's /tmp is full."""

    code = "DISK_EXHAUSTED"


class ProcessLimit(CaissonError):
    """The worker may not start another thread or process."""

    code = "PROCESS_LIMIT"


class StateConflict(CaissonError):
    """Somebody else moved the state."""

    code = "STATE_CONFLICT"


class Cancelled(CaissonError):
    """The caller cancelled. Clean up, and let it pass through."""

    code = "CANCELLED"


class ConnectorFailed(CaissonError):
    """The connector is wrong: what it declares and what it does disagree."""

    code = "CONNECTOR_FAILED"
