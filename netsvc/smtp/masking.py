"""Command lines without what they may tell of a password: what a record of the dialogue keeps."""

from __future__ import annotations

import re

from netsvc.smtp import grammar

_HIDDEN = b" octets hidden)"
_MECHANISM = re.compile(rb"[ \t=]+([A-Za-z0-9_-]{1,20})(?=[ \t]|\Z)")
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")


def hide_secret(line: bytes) -> bytes:
    """Return ``line`` as it may be kept and shown.

    Of AUTH its mechanism stays.  Base64 that is no command is hidden too: it may belong to an exchange that the client
    goes on with although it was refused.
    """
    if line[:4].upper() == b"AUTH":
        if line.endswith(_HIDDEN):
            return line  # it was hidden before
        match = _MECHANISM.match(line, 4)
        kept, secret = (b"AUTH " + match[1], line[match.end() :]) if match else (b"AUTH", line[4:])
        return kept + (b" (%d%s" % (len(secret.strip()), _HIDDEN) if secret.strip() else b"")
    if len(line) >= 4 and len(line) % 4 == 0 and _BASE64.issuperset(line) and not _known(line):
        return b"(%d%s" % (len(line), _HIDDEN)
    return line


def _known(line: bytes) -> bool:
    word = line.decode("ascii").upper()
    return word in grammar.VERBS or word in grammar.NOT_OFFERED
