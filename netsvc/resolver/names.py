"""Names and servers as text: what may be asked, how it is spelt on the wire, which servers there are.

What comes out of an answer is foreign: only names of printable host-name
characters are let through, so that none can forge a header, a log line or a
command by its spelling.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

MAX_NAME = 253
MAX_LABEL = 63
DNS_PORT = 53
MAX_SERVERS = 8
_NAME = re.compile(rb"[A-Za-z0-9_./*-]{1,253}")
"""What a name in an answer may be made of: host names, service labels, and the slash of delegated reverse zones."""


class Server(NamedTuple):
    """One name server: an IP address as text, and a port."""

    host: str
    port: int = DNS_PORT

    def __str__(self) -> str:
        """Return it as it is written in a site."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def wire_name(text: str) -> bytes | None:
    """Return a name as the labels of a question joined by dots, lower case; None for what can be no name.

    Names that are not ASCII are asked for by their IDNA form.
    """
    text = text.removesuffix(".").lower()
    if not text.isascii():
        try:
            text = text.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    if not 0 < len(text) <= MAX_NAME or not all(0 < len(label) <= MAX_LABEL for label in text.split(".")):
        return None
    return text.encode("ascii")


def shown_name(name: bytes) -> str | None:
    """Return a name of an answer as text, lower case, without its final dot; None where it holds odd octets.

    The root, as in a null MX, is the empty text.
    """
    name = name.removesuffix(b".")
    if not name:
        return ""
    return name.decode("ascii").lower() if _NAME.fullmatch(name) else None


def reverse_name(ip: str) -> str | None:
    """Return the name that has an IP address's PTR records (RFC 1035 3.5, RFC 3596 2.5), None for no address."""
    address = address_of(ip)
    return None if address is None else address.reverse_pointer


def address_of(ip: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an IP address from its text, an IPv4-mapped one as IPv4; None for what is none."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(server: Server) -> bool:
    """Say whether a server is on this host."""
    return ipaddress.ip_address(server.host).is_loopback


def server_of(text: str) -> Server:
    """Read ``address``, ``address:port`` or ``[address]:port``.  Raises ValueError with a sentence for the operator."""
    host, port = text, str(DNS_PORT)
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} lacks a bracket")
        port = rest[1:] if rest else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{text!r} is no IP address and port") from None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r} has no port between 1 and 65535")
    return Server(host, int(port))


def servers_of_host(resolv_conf: str) -> tuple[Server, ...]:
    """Return the servers that the text of a resolv.conf(5) names, this host's where it names none."""
    found: list[Server] = []
    for line in resolv_conf.split("\n"):
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                ipaddress.ip_address(words[1])
            except ValueError:
                continue
            if Server(words[1]) not in found:
                found.append(Server(words[1]))
    return tuple(found[:MAX_SERVERS]) or (Server("127.0.0.1"),)
