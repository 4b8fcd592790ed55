-- When the clock and the time lived differ: id: the first made after the gap; at: the clock then; ms: what does not count (negative: it was set back).
CREATE TABLE clock_gap (id {pk}, at BIGINT NOT NULL, ms BIGINT NOT NULL);
