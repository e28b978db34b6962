-- Read by SQLite and Postgres alike; instants as in the first migration.

-- One row per webhook that is processed, kept to know it when it comes again.
-- What it said is with its jobs, and gone when they are done.
CREATE TABLE deliveries (
    event_key    TEXT    NOT NULL PRIMARY KEY, -- the same whenever Chatwoot tells of the same event
    delivery_id  TEXT UNIQUE,                  -- Chatwoot's, of the attempt that came first; null: it named none
    conversation BIGINT  NOT NULL,             -- Chatwoot's display id
    message      BIGINT  NOT NULL,             -- 0 when it is about the conversation
    status       TEXT    NOT NULL,             -- of the conversation, after the event
    updated_at   BIGINT,                       -- version of the conversation's row; null: unknown
    received_at  BIGINT  NOT NULL,
    missed       BOOLEAN NOT NULL              -- no webhook came; a poll found it
);

CREATE INDEX deliveries_received ON deliveries (received_at);

-- What the daily report of webhooks is made of. Several replicas add up.
CREATE TABLE webhook_counts (
    day   TEXT   NOT NULL, -- 2026-11-25, in REPORT_TIMEZONE
    name  TEXT   NOT NULL, -- what is counted
    label TEXT   NOT NULL, -- of which sort; empty: of any
    count BIGINT NOT NULL,
    PRIMARY KEY (day, name, label)
);
