-- Read by SQLite and Postgres alike; instants as in the first migration. On
-- Postgres every insert and change also sends NOTIFY approval_queue, with
-- {"message": …, "conversation": …, "state": …, "priority": …}.

-- One row per message of a customer that a reply was drafted for. It holds what
-- the customer wrote: approvals purge --conversation deletes it, and
-- APPROVAL_RETENTION does in time.
CREATE TABLE approval_queue (
    message          BIGINT  NOT NULL PRIMARY KEY, -- Chatwoot's id of the customer's message
    conversation     BIGINT  NOT NULL,             -- Chatwoot's display id
    inbox            BIGINT  NOT NULL,             -- 0: unknown
    contact          TEXT    NOT NULL,             -- the customer's name; empty: unknown
    customer_message TEXT    NOT NULL,
    draft            TEXT    NOT NULL,             -- empty: none, see problem
    confidence       DOUBLE PRECISION NOT NULL,    -- percent
    action           TEXT    NOT NULL CHECK (action IN ('approve', 'review', 'escalate')), -- suggested
    sources          TEXT    NOT NULL,             -- JSON: [{"title", "content", "relevance", "version"}]
    tags             TEXT    NOT NULL,             -- JSON: suggested labels
    sentiment        TEXT    NOT NULL,             -- as the agent service sees it; empty: unknown
    urgency          TEXT    NOT NULL,             -- likewise
    fallback         BOOLEAN NOT NULL,             -- drafted without any source
    problem          TEXT    NOT NULL,             -- why there is no draft: no_draft, no_text; empty: there is one
    priority         TEXT    NOT NULL CHECK (priority IN ('normal', 'urgent')), -- when it was queued
    urgent_at        BIGINT,                       -- from when on it is urgent in any case
    deadline_at      BIGINT  NOT NULL,             -- by when an answer is owed
    state            TEXT    NOT NULL CHECK (state IN ('pending', 'sending', 'failed', 'sent', 'unknown', 'settled', 'rejected', 'cancelled', 'expired')),
    note             BIGINT  NOT NULL,             -- Chatwoot's id of the private note
    created_at       BIGINT  NOT NULL,
    expires_at       BIGINT  NOT NULL,             -- pending until then
    changed_at       BIGINT  NOT NULL,
    decision         TEXT    NOT NULL,             -- approved, edited, rejected, cancelled, expired; empty: none
    decided_by       TEXT    NOT NULL,             -- a name of API_TOKENS; empty: nobody
    decided_at       BIGINT,
    reply            TEXT    NOT NULL,             -- what was or is to be sent
    attempted_at     BIGINT,                       -- a request to send it was or is under way since
    reply_message    BIGINT,                       -- Chatwoot's id of what was sent
    sent_at          BIGINT,
    reason           TEXT    NOT NULL              -- of a rejection, a cancellation or a failure; who settled it
);

CREATE INDEX approval_queue_pending ON approval_queue (deadline_at, message) WHERE state = 'pending';
CREATE INDEX approval_queue_conversation ON approval_queue (conversation);
CREATE INDEX approval_queue_changed ON approval_queue (changed_at);

-- Drafts whose private note is not posted yet.
CREATE TABLE drafts (
    message      BIGINT NOT NULL PRIMARY KEY,
    conversation BIGINT NOT NULL,
    document     TEXT   NOT NULL, -- JSON; it holds what the customer wrote
    created_at   BIGINT NOT NULL,
    posting_at   BIGINT           -- a request to post the note was or is under way since
);

CREATE INDEX drafts_conversation ON drafts (conversation);
