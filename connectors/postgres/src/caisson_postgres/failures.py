"""The driver's errors as stable codes."""

from __future__ import annotations

import adbc_driver_manager as adbc

from caisson import errors

# By SQLSTATE (postgresql.org/docs/current/errcodes-appendix.html), the longest prefix first.
STATES: list[tuple[str, type[errors.CaissonError]]] = [
    ("42501", errors.PermissionMissing),
    ("28", errors.CredentialsInvalid),
    ("3D", errors.ConfigInvalid),
    ("3F", errors.ConfigInvalid),
    ("42P01", errors.ConfigInvalid),
    ("22", errors.SchemaViolation),
    ("23", errors.SchemaViolation),
    ("08", errors.Upstream),
    ("40", errors.Upstream),
    ("53", errors.Upstream),
    ("55", errors.Upstream),
    ("57", errors.Upstream),
    ("58", errors.Upstream),
]

# While connecting libpq says what went wrong in words alone.
WORDS: list[tuple[str, type[errors.CaissonError]]] = [
    ("could not translate host name", errors.DnsFailed),
    ("authentication failed", errors.CredentialsInvalid),
    ("no password supplied", errors.CredentialsInvalid),
    ("no pg_hba.conf entry", errors.CredentialsInvalid),
    ('role "', errors.CredentialsInvalid),
    ('database "', errors.ConfigInvalid),
    ("SSL", errors.TlsFailed),
    ("certificate", errors.TlsFailed),
    ("timeout expired", errors.Timeout),
    ("Failed to connect", errors.Upstream),
    ("server closed the connection", errors.Upstream),
    ("no connection to the server", errors.Upstream),
]


def reason(cause: Exception) -> str:
    """The server's first line, without the statement and what the driver adds."""
    text = str(cause)
    for mark in ("ERROR:", "FATAL:", "failed: ", "Failed to connect: "):
        if mark in text:
            text = text.split(mark, 1)[1]
            break
    return text.strip().splitlines()[0].strip() if text.strip() else "no reason given"


def translated(cause: adbc.Error) -> Exception:
    """The connector's error for the driver's; what is unknown stays as it is."""
    state = getattr(cause, "sqlstate", None) or ""
    for prefix, kind in STATES:
        if state.startswith(prefix):
            return kind(reason(cause))
    text = str(cause)
    for words, kind in WORDS:
        if words in text:
            return kind(reason(cause))
    return cause


def is_duplicate(cause: Exception) -> bool:
    """Whether a row with that key is there already (23505, unique_violation)."""
    return getattr(cause, "sqlstate", None) == "23505"


def of_the_record(cause: adbc.Error) -> bool:
    """Whether a value or a constraint is to blame: data (22) and integrity (23) errors."""
    return (getattr(cause, "sqlstate", None) or "").startswith(("22", "23"))
