"""A header section taken apart, as far as authentication needs it (RFC 5322 2.2, 3.4).  Quiet, linear, bounded (T23).

Nothing here runs in the reactor's thread: a header section may be a mebibyte.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_FIELDS = 1000
"""Fields looked at; a message with more of them has no signature that can be checked."""
MAX_FROM = 64 << 10
"""Octets of a From field that are read."""
MAX_AUTHORS = 50


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its ``name`` in lower case, ``raw`` as it came, CRLF ended; ``colon`` is where that is in ``raw``."""

    name: bytes
    raw: bytes
    colon: int

    @property
    def value(self) -> bytes:
        """What comes after the colon, folds and all."""
        return self.raw[self.colon + 1 :]

    def relaxed(self) -> bytes:
        """Return the field in DKIM's relaxed form, CRLF ended (RFC 6376 3.4.2)."""
        return self.name + b":" + collapse(self.value) + b"\r\n"


@dataclass(frozen=True, slots=True)
class Header:
    """A header section's fields, top first.

    ``complete`` says that there are not more of them; ``size`` is how many octets they take: fewer than the section
    has where it goes on with what is no field.
    """

    fields: tuple[Field, ...]
    complete: bool
    size: int

    def named(self, name: bytes) -> list[Field]:
        """Return the fields called ``name`` (lower case), top first."""
        return [field for field in self.fields if field.name == name]


def collapse(value: bytes) -> bytes:
    """Return ``value`` unfolded, its white space collapsed and none at its ends."""
    value = value.replace(b"\r\n", b"").replace(b"\n", b"").replace(b"\t", b" ")
    while b"  " in value:  # each turn halves every run; a regular expression would hold up other threads for longer
        value = value.replace(b"  ", b" ")
    return value.strip(b" \r")


def read_header(section: bytes, most: int = MAX_FIELDS) -> Header:
    """Return the fields of a header section with CRLF line ends, ``most`` of them; what is no field ends it."""
    fields: list[Field] = []
    at = 0
    size = len(section)
    while at < size:
        if len(fields) == most:
            return Header(tuple(fields), complete=False, size=at)
        end = _field_end(section, at)
        raw = section[at:end]
        colon = raw.find(b":")
        name = raw[:colon].rstrip(b" \t").lower() if colon > 0 else b""
        if not name or not all(33 <= octet <= 126 for octet in name[:1000]) or len(name) > 1000:
            break
        fields.append(Field(name, raw, colon))
        at = end
    return Header(tuple(fields), complete=True, size=at)


def _field_end(section: bytes, at: int) -> int:
    """Return where the field that begins at ``at`` ends: behind the CRLF that no white space follows."""
    end = section.find(b"\r\n", at)
    while end >= 0 and section[end + 2 : end + 3] in (b" ", b"\t"):
        end = section.find(b"\r\n", end + 2)
    return len(section) if end < 0 else end + 2


def author_domains(header: Header) -> tuple[str, ...] | None:
    """Return the domains of the authors, lower case and in A-labels, each once; None where From cannot be trusted.

    That is: it is missing, is there twice (RFC 5322 3.6), or holds what is no mailbox.
    """
    found = header.named(b"from")
    if len(found) != 1 or len(found[0].raw) > MAX_FROM:
        return None
    mailboxes = _mailboxes(found[0].value.decode("utf-8", "surrogateescape"))
    if not mailboxes or len(mailboxes) > MAX_AUTHORS:
        return None
    domains: dict[str, None] = {}
    for mailbox in mailboxes:
        domain = _domain_of(mailbox)
        if domain is None:
            return None
        domains[domain] = None
    return tuple(domains)


def _mailboxes(text: str) -> list[str]:
    """Cut an address list at its commas; comments go, quoted strings become ``q`` (RFC 5322 3.4, 4.4)."""
    found: list[str] = []
    current: list[str] = []
    depth = 0
    angle = False
    at = 0
    while at < len(text):
        c = text[at]
        at += 1
        if depth:
            depth += (c == "(") - (c == ")")
            at += c == "\\"
        elif c == "(":
            depth = 1
        elif c == '"':
            at = _quoted_end(text, at)
            current.append("q")
        elif c in ",;" and not angle:
            found.append("".join(current))
            current = []
        elif c == ":" and not angle:  # the name of a group
            current = []
        else:
            angle = (angle or c == "<") and c != ">"
            current.append(c)
    found.append("".join(current))
    return [mailbox for mailbox in (part.strip() for part in found) if mailbox]


def _quoted_end(text: str, at: int) -> int:
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return at + 1


def _domain_of(mailbox: str) -> str | None:
    """Return the domain of one mailbox, None when it is none."""
    if "<" in mailbox:
        opened, _, rest = mailbox.rpartition("<")
        inner, closed, after = rest.partition(">")
        if "<" in opened or not closed or after.strip():
            return None
        mailbox = inner.rpartition(":")[2]  # an obsolete route goes
    local, at, domain = mailbox.rpartition("@")
    domain = "".join(domain.split()).rstrip(".").lower()
    if not at or not local.strip() or "@" in local:
        return None
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    labels = domain.split(".")
    usable = all(0 < len(label) < 64 and label.replace("-", "").replace("_", "").isalnum() for label in labels)
    return domain if usable and len(domain) < 254 else None
