"""DKIM signatures: read, and checked against a key (RFC 6376, 8301, 8463).  Quiet: no DNS, no clock, no threads.

What is hostile here: the signature field, the key record, and every header field.  All of it is linear; a message is
given MAX_SIGNATURES checks at most.  RSA keys below 1,024 bits and SHA-1 are not accepted (RFC 8301 3).
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from netsvc.policy.auth.fields import Field, Header, collapse
from netsvc.policy.auth.spfrecord import is_domain
from netsvc.policy.auth.taglist import TagListError, read_tags, unspaced

MAX_SIGNATURES = 8
"""Signatures of one message that are looked at, from the top."""
MAX_SIGNATURE = 32 << 10
"""Octets of one signature field that is read."""
MAX_BODY_HASHES = 4
"""Different ways to hash one body; signatures that need a further one are not looked at."""
MIN_RSA, MAX_RSA = 1024, 8192
CLOCK_SLOP = 3600
"""Seconds a signature may come from the future (``t=``) or be past its end (``x=``)."""

_FORMS = ("simple", "relaxed")
_NEEDED = ("v", "a", "b", "bh", "d", "h", "s")
_ALGORITHMS = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}


class DkimError(Exception):
    """A signature that cannot count: ``result`` of RFC 8601 2.7.1 (fail policy neutral temperror permerror)."""

    def __init__(self, result: str, why: str) -> None:
        super().__init__(why)
        self.result = result
        self.why = why


@dataclass(frozen=True, slots=True)
class Signature:
    """One DKIM-Signature field as it says."""

    field: Field
    domain: str
    selector: str
    algorithm: str
    header_form: str
    body_form: str
    length: int | None
    signature: bytes
    body_hash: bytes
    names: tuple[bytes, ...]
    identity: str

    @property
    def key_name(self) -> str:
        """Where the key is published."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def body_kind(self) -> tuple[str, int | None]:
        """How the body is hashed: signatures alike share one hash."""
        return self.body_form, self.length


@dataclass(slots=True)
class DkimResult:
    """What became of one signature: ``result`` as in RFC 8601, and what Authentication-Results says of it."""

    result: str
    why: str = ""
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    start: str = ""
    testing: bool = field(default=False)


def read_signature(source: Field, now: int) -> Signature:
    """Return what a DKIM-Signature field says, at ``now`` (seconds since 1970); raises DkimError."""
    if len(source.raw) > MAX_SIGNATURE:
        raise DkimError("permerror", "the signature is too long")
    try:
        tags = read_tags(source.value.decode("utf-8"))
    except UnicodeDecodeError:
        raise DkimError("permerror", "the signature is not UTF-8") from None
    except TagListError as error:
        raise DkimError("permerror", str(error)) from None
    missing = [name for name in _NEEDED if not tags.get(name)]
    if missing:
        raise DkimError("permerror", f"{missing[0]}= is missing")
    if tags["v"] != "1":
        raise DkimError("permerror", "a version other than 1")
    if "dns/txt" not in unspaced(tags.get("q", "dns/txt")).lower().split(":"):
        raise DkimError("permerror", "the key is not in DNS")
    _check_times(tags, now)
    domain, selector = _name(tags["d"]), _name(tags["s"])
    if not is_domain(domain) or not is_domain(f"{selector}._domainkey.{domain}"):
        raise DkimError("permerror", "d= and s= are no names")
    names = tuple(name.encode() for name in unspaced(tags["h"]).lower().split(":"))
    if b"from" not in names:
        raise DkimError("permerror", "From is not signed")
    header_form, _, body_form = unspaced(tags.get("c", "simple/simple")).lower().partition("/")
    body_form = body_form or "simple"
    if header_form not in _FORMS or body_form not in _FORMS:
        raise DkimError("permerror", "an unknown canonicalization")
    algorithm = unspaced(tags["a"]).lower()
    if algorithm == "rsa-sha1":
        raise DkimError("policy", "SHA-1 is not accepted")
    if algorithm not in _ALGORITHMS:
        raise DkimError("permerror", "an unknown algorithm")
    return Signature(
        field=source,
        domain=domain,
        selector=selector,
        algorithm=algorithm,
        header_form=header_form,
        body_form=body_form,
        length=_number(tags["l"], "l") if "l" in tags else None,
        signature=_base64(tags["b"], "b"),
        body_hash=_base64(tags["bh"], "bh"),
        names=names,
        identity=_identity(tags, domain),
    )


def _check_times(tags: dict[str, str], now: int) -> None:
    made = _number(tags["t"], "t") if "t" in tags else None
    ends = _number(tags["x"], "x") if "x" in tags else None
    if made is not None and made > now + CLOCK_SLOP:
        raise DkimError("permerror", "signed in the future")
    if ends is not None and ends < now - CLOCK_SLOP:
        raise DkimError("permerror", "the signature has expired")
    if made is not None and ends is not None and ends < made:
        raise DkimError("permerror", "x= is before t=")


def _identity(tags: dict[str, str], domain: str) -> str:
    """Return the domain of ``i=``, which is ``d=`` or below it."""
    identity = _name(tags.get("i", "@" + domain).rpartition("@")[2])
    if identity != domain and not identity.endswith("." + domain):
        raise DkimError("permerror", "i= is not below d=")
    return identity


def _name(text: str) -> str:
    """Return a domain or selector in lower case, in A-labels where it is not ASCII (RFC 8616 5)."""
    name = unspaced(text).lower()
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        raise DkimError("permerror", "a name that has no ASCII form") from None


def _number(text: str, tag: str) -> int:
    if not (0 < len(text) <= 18 and text.isascii() and text.isdigit()):
        raise DkimError("permerror", f"{tag}= is no number")
    return int(text)


def _base64(text: str, tag: str) -> bytes:
    try:
        return base64.b64decode(unspaced(text), validate=True)
    except ValueError:  # binascii.Error, or other letters than ASCII
        raise DkimError("permerror", f"{tag}= is not base64") from None


@dataclass(frozen=True, slots=True)
class Key:
    """A public key as its record says; ``testing``: failures are to be taken as if there were no signature."""

    key: rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    testing: bool


def read_key(record: bytes, signature: Signature) -> Key:
    """Return the key of ``record`` (RFC 6376 3.6.1) for ``signature``; raises DkimError."""
    try:
        tags = read_tags(record.decode("ascii"))
    except (UnicodeDecodeError, TagListError):
        raise DkimError("permerror", "the key record cannot be read") from None
    if "v" in tags and (tags["v"] != "DKIM1" or next(iter(tags)) != "v"):
        raise DkimError("permerror", "the key record is of another version")
    kind = tags.get("k", "rsa").lower()
    if kind != _ALGORITHMS[signature.algorithm]:
        raise DkimError("permerror", "the key is of another kind")
    if "h" in tags and "sha256" not in unspaced(tags["h"]).lower().split(":"):
        raise DkimError("permerror", "the key is not for SHA-256")
    if not {"*", "email"} & set(unspaced(tags.get("s", "*")).lower().split(":")):
        raise DkimError("permerror", "the key is not for mail")
    flags = unspaced(tags.get("t", "")).lower().split(":")
    if "s" in flags and signature.identity != signature.domain:
        raise DkimError("permerror", "the key is not for names below d=")
    if "p" not in tags:
        raise DkimError("permerror", "the key record has no key")
    if not tags["p"]:
        raise DkimError("permerror", "the key was revoked")
    return Key(_public_key(kind, _base64(tags["p"], "p")), "y" in flags)


def _public_key(kind: str, data: bytes) -> rsa.RSAPublicKey | ed25519.Ed25519PublicKey:
    try:
        if kind == "ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(data)
        key = load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise DkimError("permerror", "the key cannot be read") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise DkimError("permerror", "the key is of another kind")
    if key.key_size < MIN_RSA:
        raise DkimError("policy", f"a key of {key.key_size} bits is not accepted")
    if key.key_size > MAX_RSA:
        raise DkimError("permerror", f"a key of {key.key_size} bits is too long")
    return key


def check_body(signature: Signature, digest: bytes, size: int) -> None:
    """Compare the body's hash and canonical size with the signature's; raises DkimError."""
    if signature.length is not None and signature.length > size:
        raise DkimError("permerror", "l= is more than there is")
    if digest != signature.body_hash:
        raise DkimError("fail", "the body was changed")


def check_signature(header: Header, signature: Signature, key: Key) -> None:
    """Check the signature over the header fields; raises DkimError."""
    if signature.names.count(b"from") < len(header.named(b"from")):
        raise DkimError("policy", "a From field is not signed")
    digest = header_hash(header, signature)
    try:
        if isinstance(key.key, rsa.RSAPublicKey):
            key.key.verify(signature.signature, digest, padding.PKCS1v15(), Prehashed(SHA256()))
        else:
            key.key.verify(signature.signature, digest)
    except InvalidSignature:
        raise DkimError("fail", "the signature is not of this key and header") from None


def header_hash(header: Header, signature: Signature) -> bytes:
    """Return the hash the signature is made over (RFC 6376 3.7): signed fields from the bottom up, then itself."""
    places: dict[bytes, list[Field]] = {}
    for each in header.fields:
        places.setdefault(each.name, []).append(each)
    hashed = hashlib.sha256()
    relaxed = signature.header_form == "relaxed"
    for name in signature.names:
        left = places.get(name)
        if left:
            chosen = left.pop()
            hashed.update(chosen.relaxed() if relaxed else chosen.raw)
    hashed.update(_own_field(signature.field, relaxed=relaxed))
    return hashed.digest()


def _own_field(own: Field, *, relaxed: bool) -> bytes:
    """Return the DKIM-Signature field with an empty ``b=`` and without its last CRLF (RFC 6376 3.5, 3.7)."""
    parts = own.value.removesuffix(b"\r\n").split(b";")
    for n, part in enumerate(parts):
        name, equals, _ = part.partition(b"=")
        if equals and name.strip(b" \t\r\n") == b"b":
            parts[n] = name + b"="
    value = b";".join(parts)
    if relaxed:
        return own.name + b":" + collapse(value)
    return own.raw[: own.colon + 1] + value
