-- One process start. clean: it ended on purpose. settled: nothing of it is unconfirmed and its closing record is written.
CREATE TABLE epoch (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    epoch      TEXT    NOT NULL UNIQUE,
    started_ms INTEGER NOT NULL,
    number     INTEGER NOT NULL DEFAULT 0,
    clean      INTEGER NOT NULL DEFAULT 0,
    settled    INTEGER NOT NULL DEFAULT 0
);

-- One Sparkplug message. id = epoch.id * 2^32 + number, so that ids grow in the order of commits.
-- A row is never updated: its body is large, and SQLite rewrites the whole row.
CREATE TABLE batch (
    id           INTEGER PRIMARY KEY,
    device       TEXT    NOT NULL,
    samples      INTEGER NOT NULL,
    first_ms     INTEGER NOT NULL,
    last_ms      INTEGER NOT NULL,
    committed_ms INTEGER NOT NULL,
    digest       BLOB    NOT NULL,
    body         BLOB    NOT NULL
);

-- Batches that the host has not confirmed; a row goes when it is confirmed, parked or dropped.
CREATE TABLE unconfirmed (
    id      INTEGER PRIMARY KEY,
    device  TEXT    NOT NULL,
    samples INTEGER NOT NULL,
    size    INTEGER NOT NULL
);

-- Who has confirmed a batch that several hosts must confirm.
CREATE TABLE confirmation (
    id   INTEGER NOT NULL,
    host TEXT    NOT NULL,
    PRIMARY KEY (id, host)
) WITHOUT ROWID;

-- Batches that the host refused because it holds another one under the same key.
CREATE TABLE parked (
    id INTEGER PRIMARY KEY
);

CREATE TABLE counter (
    epoch_id   INTEGER NOT NULL,
    device     TEXT    NOT NULL,
    produced   INTEGER NOT NULL DEFAULT 0,
    suppressed INTEGER NOT NULL DEFAULT 0,
    refused    INTEGER NOT NULL DEFAULT 0,
    dropped    INTEGER NOT NULL DEFAULT 0,
    parked     INTEGER NOT NULL DEFAULT 0,
    confirmed  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (epoch_id, device)
) WITHOUT ROWID;

-- The newest stamp that any tag of the device has borne.
CREATE TABLE high_water (
    device TEXT    PRIMARY KEY,
    ts_ms  INTEGER NOT NULL
) WITHOUT ROWID;

-- Aliases are for life: a retyped tag gets a new one, the old one is never given again.
CREATE TABLE alias (
    alias    INTEGER PRIMARY KEY AUTOINCREMENT,
    device   TEXT    NOT NULL,
    tag      TEXT    NOT NULL,
    datatype INTEGER NOT NULL,
    unit     TEXT    NOT NULL,
    UNIQUE (device, tag, datatype, unit)
);

-- When each line was polled last, also when everything was suppressed.
CREATE TABLE line_poll (
    line      TEXT    PRIMARY KEY,
    polled_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- What was not sampled between two process starts. lines: JSON [{line, last_poll_ms, first_new_ms}].
CREATE TABLE gap (
    epoch_id INTEGER PRIMARY KEY,
    previous TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    lines    TEXT    NOT NULL,
    recorded INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE setting (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
