-- The revision of the site that changed routes last, and the one up to which what waits has been compared with them.
CREATE TABLE route_state (one BIGINT PRIMARY KEY, changed BIGINT NOT NULL, applied BIGINT NOT NULL);
