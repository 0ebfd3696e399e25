-- Boots of the machine whose time was not known at once. UTC = ms since boot + offset_ms; NULL: still unknown.
-- how: by what it is known ('ntp', 'plausible', 'host', 'boot'), or how it was placed afterwards ('between', 'before',
-- 'squeezed'). off_by_ms: how far it may be off, NULL: nobody knows. from_ms, to_ms, samples: of what waited for it.
CREATE TABLE boot (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    boot_id   TEXT    NOT NULL UNIQUE,
    offset_ms INTEGER,
    certain   INTEGER NOT NULL DEFAULT 0,
    how       TEXT    NOT NULL DEFAULT '',
    off_by_ms INTEGER,
    from_ms   INTEGER,
    to_ms     INTEGER,
    samples   INTEGER NOT NULL DEFAULT 0
);

-- Samples that have no stamp yet, in the order in which they were taken; encoded as a batch, stamps in ms since boot.
CREATE TABLE unstamped (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    boot     INTEGER NOT NULL,
    device   TEXT    NOT NULL,
    samples  INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms  INTEGER NOT NULL,
    body     BLOB    NOT NULL
);

-- Samples without a stamp that found no room: their record waits for the time.
CREATE TABLE unstamped_refused (
    boot     INTEGER NOT NULL,
    device   TEXT    NOT NULL,
    samples  INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms  INTEGER NOT NULL,
    PRIMARY KEY (boot, device)
) WITHOUT ROWID;

-- Steps of the clock, as their records.
CREATE TABLE clock_step (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    record TEXT    NOT NULL
);
