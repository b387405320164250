-- A call that ended before anything of it ran: its request id is free again, and still shown.
ALTER TABLE calls ADD COLUMN released INTEGER NOT NULL DEFAULT 0 CHECK (released IN (0, 1));

DROP INDEX calls_by_request;
CREATE UNIQUE INDEX calls_by_request ON calls (tenant, workspace, request_id) WHERE request_id IS NOT NULL AND released = 0;
