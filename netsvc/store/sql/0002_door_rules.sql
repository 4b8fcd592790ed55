-- What operators keep out.  kind: 1 block (key: a network), 2 pause (key: NODE/LISTENER).  until_at 0: until it is taken back.
CREATE TABLE door_rule (kind SMALLINT NOT NULL, key {text} NOT NULL, reason TEXT NOT NULL, actor TEXT NOT NULL, at BIGINT NOT NULL, until_at BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (kind, key));
