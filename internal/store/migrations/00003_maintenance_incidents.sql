-- Windows of maintenance that somebody opened by hand.
CREATE TABLE maintenance_windows (
    id       BIGINT NOT NULL PRIMARY KEY,
    start_at BIGINT NOT NULL,
    end_at   BIGINT NOT NULL, -- moved forward when it is stopped
    reason   TEXT   NOT NULL
);

CREATE INDEX maintenance_windows_end ON maintenance_windows (end_at);

-- One row per window of maintenance, planned or not: how things were when it
-- began, and what was found when it was over.
CREATE TABLE checklists (
    window_at  BIGINT NOT NULL PRIMARY KEY, -- when the window began
    baseline   TEXT   NOT NULL,             -- JSON; empty: nobody saw it begin
    claimed_at BIGINT,                      -- when a process began to run the checklist
    done_at    BIGINT,                      -- when it was through
    failed     TEXT                         -- items, with a comma between them; null: it has not been run
);

-- One row per incident, of which at most one is under way, however many
-- processes watch.
CREATE TABLE incidents (
    id         BIGINT  NOT NULL PRIMARY KEY,
    version    BIGINT  NOT NULL, -- counts the changes, so that nobody overwrites another's
    started_at BIGINT  NOT NULL,
    ended_at   BIGINT,           -- null: it is under way
    level      BIGINT  NOT NULL CHECK (level IN (1, 2, 3)), -- the highest
    exit_code  BIGINT  NOT NULL, -- the worst
    affected   TEXT    NOT NULL, -- names with a comma between them
    failing_at BIGINT,           -- since when a check has failed without a break; null: none does
    overran    BOOLEAN NOT NULL  -- it had begun in maintenance, and lasted when that was over
);

CREATE UNIQUE INDEX incidents_one_open ON incidents ((ended_at IS NULL)) WHERE ended_at IS NULL;

CREATE TABLE incident_entries (
    incident BIGINT NOT NULL,
    number   BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    kind     TEXT   NOT NULL,
    text     TEXT   NOT NULL,
    PRIMARY KEY (incident, number)
);
