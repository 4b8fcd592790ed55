-- What domains publish by MTA-STS.  mode: enforce testing none; hosts: between blanks; max_age in ms; until_at: it holds till then; tried_at, why: the last fetch failed.
CREATE TABLE tls_policy (domain {text} PRIMARY KEY, txt_id TEXT NOT NULL, mode TEXT NOT NULL, max_age BIGINT NOT NULL, hosts TEXT NOT NULL, fetched_at BIGINT NOT NULL,
  until_at BIGINT NOT NULL, used_at BIGINT NOT NULL, tried_at BIGINT NOT NULL DEFAULT 0, why TEXT NOT NULL DEFAULT '');
CREATE INDEX tls_policy_until ON tls_policy (until_at);
CREATE INDEX tls_policy_fetched ON tls_policy (fetched_at);
