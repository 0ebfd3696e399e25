-- A thinned batch stands for another one. root: the batch tag (epoch:number:samples:digest) of the first version.
CREATE TABLE thinned (
    id   INTEGER PRIMARY KEY,
    root TEXT NOT NULL
);

-- Refused samples whose record is not written yet: one record an hour, not one a commit, while the outbox is full.
CREATE TABLE refusal (
    device   TEXT    PRIMARY KEY,
    from_ms  INTEGER NOT NULL,
    to_ms    INTEGER NOT NULL,
    samples  INTEGER NOT NULL,
    since_ms INTEGER NOT NULL
) WITHOUT ROWID;
