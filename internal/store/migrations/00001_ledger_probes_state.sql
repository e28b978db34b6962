-- Read by SQLite and Postgres alike. On Postgres the tables are in the schema
-- chatwoot_sla, which is nobody else's and which Supabase does not publish.
--
-- Every instant (…_at) is in microseconds since 1970, UTC: what Chatwoot sends,
-- unrounded, and the same number on both engines. To read one:
--   Postgres:  to_timestamp(decided_at / 1e6)
--   SQLite:    datetime(decided_at / 1000000, 'unixepoch')

-- One row per first-response clock. With an outcome it is final, but for the
-- late answer and the end.
CREATE TABLE first_responses (
    conversation      BIGINT NOT NULL, -- Chatwoot's display id
    round             BIGINT NOT NULL, -- 1, or more when the customer came back after an end without an answer
    inbox             BIGINT NOT NULL,
    team              TEXT   NOT NULL, -- when it was decided; empty: none
    assignee          TEXT   NOT NULL, -- likewise
    start_at          BIGINT NOT NULL, -- from when the customer was owed an answer
    deadline_at       BIGINT NOT NULL, -- by when
    first_response_at BIGINT,          -- the first human answer, however late; null: none yet
    ended_at          BIGINT,          -- first resolved or gone without an answer; null: never
    outcome           TEXT CHECK (outcome IN ('met', 'breached', 'excluded')), -- null: the clock runs
    decided_at        BIGINT,          -- the answer, the deadline or the end; null: the clock runs
    observed_at       BIGINT NOT NULL, -- by Chatwoot's clock, when the row was true
    PRIMARY KEY (conversation, round),
    CHECK ((outcome IS NULL) = (decided_at IS NULL))
);

-- The windows of the breach rate are counted from this index alone.
CREATE INDEX first_responses_decided ON first_responses (decided_at, inbox, outcome);
CREATE INDEX first_responses_running ON first_responses (conversation) WHERE outcome IS NULL;

-- One row per health probe.
CREATE TABLE probes (
    started_at  BIGINT  NOT NULL,
    probe       TEXT    NOT NULL, -- rails_health, authenticated_api or widget
    success     BOOLEAN NOT NULL,
    duration    BIGINT  NOT NULL, -- microseconds
    reason      TEXT    NOT NULL, -- why it failed; empty on success
    maintenance BOOLEAN NOT NULL, -- inside a window, so that it does not count
    PRIMARY KEY (started_at, probe)
);

-- What a restart must know of conversations that a bot has or had.
CREATE TABLE handoffs (
    conversation BIGINT  NOT NULL PRIMARY KEY,
    pending_at   BIGINT,           -- the version that was last seen pending; null: it no longer is
    born_pending BOOLEAN NOT NULL, -- it was never seen open
    handed_at    BIGINT            -- when the bot let go; null: it has not
);

CREATE TABLE inboxes (
    id   BIGINT NOT NULL PRIMARY KEY,
    name TEXT   NOT NULL -- the last one heard of; kept when Chatwoot has forgotten the inbox
);

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
