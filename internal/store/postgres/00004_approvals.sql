-- Runs after the migration of the same name, on Postgres alone. A trigger tells
-- of every change, whoever makes it; texts stay in the table.
CREATE FUNCTION chatwoot_sla.announce_approval() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('approval_queue', json_build_object(
        'message', NEW.message, 'conversation', NEW.conversation, 'state', NEW.state, 'priority', NEW.priority)::text);
    RETURN NULL;
END $$;

CREATE TRIGGER approval_queue_announced AFTER INSERT OR UPDATE ON chatwoot_sla.approval_queue
    FOR EACH ROW EXECUTE FUNCTION chatwoot_sla.announce_approval();
