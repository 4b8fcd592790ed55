"""Command lines without what they may tell of a password: what a record of the dialogue keeps."""

from __future__ import annotations

from netsvc.smtp import grammar

_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")


def hide_secret(line: bytes) -> bytes:
    """Return ``line`` as it may be kept and shown.

    Of AUTH its mechanism stays.  Base64 that is no command is hidden too: it may belong to an exchange that the client
    goes on with although it was refused.
    """
    verb, _, rest = line.partition(b" ")
    if verb.upper() == b"AUTH":
        mechanism, blank, secret = rest.lstrip(b" ").partition(b" ")
        if secret.startswith(b"("):
            return line  # it was hidden before: neither base64 nor "=" or "*" begins so
        return b"AUTH " + mechanism[:40] + (b" (%d octets hidden)" % len(secret) if blank else b"")
    if len(line) >= 4 and len(line) % 4 == 0 and _BASE64.issuperset(line) and not _known(line):
        return b"(%d octets hidden)" % len(line)
    return line


def _known(line: bytes) -> bool:
    word = line.decode("ascii").upper()
    return word in grammar.VERBS or word in grammar.NOT_OFFERED
