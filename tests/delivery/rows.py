"""Rows that delivery tests begin with."""

from netsvc.mail.ids import make_id
from netsvc.mail.message import Kind, Leased

NOW = 1_790_000_000_000


def row(**changes):
    facts = {
        "id": 5000,
        "message_id": make_id(NOW, 1, 1),
        "n": 1,
        "rcpt": "bob@example.net",
        "domain": "example.net",
        "dest_id": 7,
        "dest_key": "[127.0.0.1]:2526",
        "route": "[127.0.0.1]:2526",
        "kind": Kind.SMTP,
        "attempts": 1,
        "crashes": 0,
        "size": 22,
        "prev_state": 1,
        "orcpt": "",
        "notify": 0,
        "hdr": b"Received: here\r\n",
        "blob_id": 1,
        "sender": "alice@example.org",
        "received_at": NOW,
        "expires_at": NOW + 5 * 86_400_000,
        "flags": 0,
        "msgid": "",
        "envid": "",
        "ret": 0,
        "lease_epoch": 1,
    }
    return Leased(**(facts | changes))
