"""Tag lists: ``tag=value; …`` of DKIM and DMARC (RFC 6376 3.2).  Quiet and linear."""

from __future__ import annotations

MAX_TAGS = 100


class TagListError(ValueError):
    """A tag list that is none."""


def read_tags(text: str) -> dict[str, str]:
    """Return {tag: value} in the order written, white space around values gone; raises TagListError."""
    tags: dict[str, str] = {}
    parts = text.split(";", MAX_TAGS)
    if len(parts) > MAX_TAGS:
        raise TagListError("too many tags")
    for n, part in enumerate(parts):
        name, equals, value = part.partition("=")
        name = name.strip(" \t\r\n")
        if not name and not equals and n == len(parts) - 1:
            break
        if not equals or not name.replace("_", "").isalnum() or not name.isascii() or not name[0].isalpha():
            raise TagListError(f"no tag: {part.strip()[:40]}")
        if name in tags:
            raise TagListError(f"{name}= is there twice")
        tags[name] = value.strip(" \t\r\n")
    return tags


def unspaced(value: str) -> str:
    """Return ``value`` without any white space (base64, names in lists)."""
    return "".join(value.split())
