-- Times are microseconds since 1970 in UTC. Revisions begin at 1 and never repeat for a key, also not after a deletion:
-- a writer that slept through one must not pass a compare-and-swap by accident.

-- Connections: the body holds references to secrets, never values. A deleted one keeps its revision and loses its body.
CREATE TABLE connections (
    workspace  TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    revision   INTEGER NOT NULL CHECK (revision >= 1),
    body       TEXT,
    updated_us INTEGER NOT NULL,
    PRIMARY KEY (workspace, name)
) STRICT, WITHOUT ROWID;

-- One row for each key of state that ever was: its newest revision. `cleared`: the state was deleted since.
CREATE TABLE checkpoint_heads (
    id        INTEGER PRIMARY KEY,
    workspace TEXT    NOT NULL,
    state_key TEXT    NOT NULL,
    stream    TEXT    NOT NULL,
    partition TEXT    NOT NULL,
    revision  INTEGER NOT NULL CHECK (revision >= 1),
    cleared   INTEGER NOT NULL DEFAULT 0 CHECK (cleared IN (0, 1)),
    UNIQUE (workspace, state_key, stream, partition)
) STRICT;

-- What was committed, newest and history. The state is opaque: stored, never read.
CREATE TABLE checkpoints (
    head          INTEGER NOT NULL REFERENCES checkpoint_heads (id) ON DELETE CASCADE,
    revision      INTEGER NOT NULL CHECK (revision >= 1),
    checkpoint_id TEXT    NOT NULL,
    call_id       TEXT    NOT NULL,
    format        TEXT    NOT NULL,
    state         BLOB    NOT NULL,
    records       INTEGER NOT NULL CHECK (records >= 0),
    final         INTEGER NOT NULL CHECK (final IN (0, 1)),
    committed_us  INTEGER NOT NULL,
    UNIQUE (head, revision)
) STRICT;

CREATE TABLE calls (
    call_id     TEXT    PRIMARY KEY NOT NULL,
    request_id  TEXT,
    fingerprint TEXT    NOT NULL,
    tenant      TEXT    NOT NULL,
    workspace   TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    connection  TEXT    NOT NULL,
    connector   TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'cancelled')),
    started_us  INTEGER NOT NULL,
    ended_us    INTEGER,
    summary     TEXT,
    failure     TEXT,
    CHECK ((state = 'running') = (ended_us IS NULL))
) STRICT;

-- A repeated request finds its call.
CREATE UNIQUE INDEX calls_by_request ON calls (tenant, workspace, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX calls_newest_first ON calls (started_us DESC, call_id DESC);
