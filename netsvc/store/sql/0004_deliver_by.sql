-- RFC 2852: when the sender wants mail to have been delivered (0: no such wish); flags 64 of the message: it is returned then.
ALTER TABLE message ADD COLUMN by_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX message_by ON message(by_at) WHERE by_at <> 0;
