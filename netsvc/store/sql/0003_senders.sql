-- Who may send as whom beside his own addresses.  address: one in lower case, or @domain for everybody in it.
CREATE TABLE sender_grant (account {text} NOT NULL, address {text} NOT NULL, PRIMARY KEY (account, address));
-- What all nodes share and nobody outside may know, made at random when it is first needed (hexadecimal).
CREATE TABLE site_secret (name {text} PRIMARY KEY, value TEXT NOT NULL);
