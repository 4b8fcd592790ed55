r"""The header a proxy puts before a connection: who the client really is (the PROXY protocol, versions 1 and 2).

Version 1 is one line of text, ``PROXY TCP4 192.0.2.1 192.0.2.9 40000 25\r\n``, of at most V1_LIMIT octets;
version 2 is SIGNATURE, four octets of description, and as many octets of addresses and TLVs as those say, at most
V2_LIMIT.  TLVs are passed over.  Nothing that is no such header is taken for one: whoever reads it ends the
connection.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

V1_LIMIT = 107
"""Octets of the longest line of version 1, with its CR LF."""
V2_LIMIT = 4096
"""Octets of a header of version 2: senders keep it below 536, but for certificates in TLVs."""
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1 = b"PROXY "
_FIXED = 16
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_LENGTHS = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36, _UNIX: 216}


class ProxyError(Exception):
    """What came is no PROXY header; the text says why, for the logbook."""


class ProxyHeader(NamedTuple):
    """What the proxy says.  ``source`` "" when the connection is the proxy's own, or of no IP address."""

    version: int
    source: str = ""
    port: int = 0
    destination: str = ""
    destination_port: int = 0


class ProxyReader:
    """Reads one header, however it is cut; ``rest`` is what came behind it."""

    __slots__ = ("_data", "rest")

    def __init__(self) -> None:
        """Begin empty."""
        self._data = b""
        self.rest = b""

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Take octets; return the header once it is whole.  Raises ProxyError."""
        data = self._data = self._data + data
        if data[:1] == _V1[:1]:
            return self._line(data)
        if data[: len(SIGNATURE)] != SIGNATURE[: len(data)]:
            raise ProxyError("neither the text nor the binary form")
        return self._binary(data)

    def _line(self, data: bytes) -> ProxyHeader | None:
        if data[: len(_V1)] != _V1[: len(data)]:
            raise ProxyError("neither the text nor the binary form")
        end = data.find(b"\r\n", 0, V1_LIMIT)
        if end < 0:
            if len(data) >= V1_LIMIT or b"\n" in data:
                raise ProxyError(f"no CR LF within {V1_LIMIT} octets")
            return None
        self._data, self.rest = b"", data[end + 2 :]
        return _read_line(data[:end])

    def _binary(self, data: bytes) -> ProxyHeader | None:
        if len(data) < _FIXED:
            return None
        size = _FIXED + int.from_bytes(data[14:16], "big")
        if size > V2_LIMIT:
            raise ProxyError(f"{size} octets are more than {V2_LIMIT}")
        command, family = data[12], data[13]
        if command not in (_LOCAL, _PROXY):
            raise ProxyError(f"no command {command:#04x}")
        if command == _PROXY and (family not in _LENGTHS or size < _FIXED + _LENGTHS[family]):
            raise ProxyError(f"no stream of the family {family:#04x}, or too short for one")
        if len(data) < size:
            return None
        self._data, self.rest = b"", data[size:]
        return _read_addresses(family if command == _PROXY else _UNSPECIFIED, data[_FIXED:size])


def _read_line(line: bytes) -> ProxyHeader:
    words = line.decode("latin-1").split(" ")
    family = words[1]
    if family == "UNKNOWN":  # what stands behind it is to be passed over
        return ProxyHeader(1)
    if family not in ("TCP4", "TCP6") or len(words) != 6:
        raise ProxyError("not PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT")
    kind = IPv4Address if family == "TCP4" else IPv6Address
    try:
        source, destination = (_plain(kind(word)) for word in words[2:4])
    except ValueError:
        raise ProxyError(f"no address of {family}") from None
    return ProxyHeader(1, source, _port(words[4]), destination, _port(words[5]))


def _port(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 5 and str(int(word)) == word and int(word) <= 65535):
        raise ProxyError("no port")
    return int(word)


def _read_addresses(family: int, data: bytes) -> ProxyHeader:
    if family not in (_TCP4, _TCP6):
        return ProxyHeader(2)
    size = 4 if family == _TCP4 else 16
    kind = IPv4Address if family == _TCP4 else IPv6Address
    source, destination = (_plain(kind(data[at : at + size])) for at in (0, size))
    ports = data[2 * size :]
    return ProxyHeader(2, source, int.from_bytes(ports[:2], "big"), destination, int.from_bytes(ports[2:4], "big"))


def _plain(address: IPv4Address | IPv6Address) -> str:
    """Return an address as text; IPv4 in the form of IPv6 is IPv4.  Raises ValueError for one with a zone."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError("an address with a zone means nothing here")
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
    return str(address)
