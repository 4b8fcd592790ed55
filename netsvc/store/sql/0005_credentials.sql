-- What we log in with at smarthosts.  sealed: the password, encrypted with the key key_id of secret_key_file (hexadecimal).
CREATE TABLE credential (name {text} PRIMARY KEY, account TEXT NOT NULL, key_id TEXT NOT NULL, sealed TEXT NOT NULL, at BIGINT NOT NULL, actor TEXT NOT NULL);
-- Keys of secret_key_file that nodes of this site have: a node that has none of them has a wrong file.
CREATE TABLE site_key (key_id {text} PRIMARY KEY, at BIGINT NOT NULL);
