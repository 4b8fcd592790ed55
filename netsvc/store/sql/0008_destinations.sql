-- open_at: until when a destination is left alone (paused, dead or at rest), copied from dest by whoever changes it there, so that
-- closed destinations are not even looked at.  A destination is looked at from the later of both times.
ALTER TABLE dest_head ADD COLUMN open_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX dest_head_ready ON dest_head({later}(next_due, open_at));
DROP INDEX dest_head_due;
INSERT INTO dest_head (dest_id, next_due, open_at)
  SELECT id, 4611686018427387904, {later}(dead_until, limit_until, CASE WHEN paused = 0 THEN 0 WHEN pause_until = 0 THEN 4611686018427387904 ELSE pause_until END)
  FROM dest WHERE paused <> 0 OR dead_until <> 0 OR limit_until <> 0 ON CONFLICT (dest_id) DO UPDATE SET open_at = excluded.open_at;
-- What operators allow a destination for a time (until_at 0: until they say otherwise); 0: as the site says.
CREATE TABLE dest_limit (dest_id BIGINT PRIMARY KEY, connections BIGINT NOT NULL DEFAULT 0, messages BIGINT NOT NULL DEFAULT 0,
  rate_count BIGINT NOT NULL DEFAULT 0, rate_ms BIGINT NOT NULL DEFAULT 0, until_at BIGINT NOT NULL DEFAULT 0, limited_by TEXT, at BIGINT NOT NULL DEFAULT 0);
