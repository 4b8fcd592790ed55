"""DANE (RFC 7672): what the TLSA records of a host ask for.

Records count only where every answer on the way was validated: who could forge
the MX or address records could forge the rest.  Where they were, a question that
gets no answer is an attack or a fault, and the host is not used: never "none".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.delivery.faults import AttemptError
from netsvc.delivery.terms import Host, TlsLevel, TlsTerms
from netsvc.delivery.tlsa import usable
from netsvc.mail.outcome import Fault
from netsvc.records import NameNotFoundError, NameTemporaryError

if TYPE_CHECKING:
    from netsvc.interfaces import IResolver
    from netsvc.records import Found

SOURCE = "dane"


class Dane:
    """Asks for TLSA records."""

    def __init__(self, resolver: IResolver) -> None:
        """Ask ``resolver``, whose word on what was validated counts."""
        self._resolver = resolver

    async def terms(self, host: Host, domain: str = "") -> TlsTerms | None:
        """Return what ``host`` publishes, None where it publishes nothing that is validated.

        ``domain`` is the one whose mail goes there: a certificate under a published authority may bear its name too
        (RFC 7672 3.2.2).  Raises AttemptError (4.7.5) where it cannot be told: the host must not be used.
        """
        if not host.validated:
            return None
        for base in dict.fromkeys((host.alias_of or host.name, host.name)):  # RFC 7672 2.2.2
            found = await self._look(base, host)
            if found is None or not found.validated:
                continue
            records = usable(found.values)
            if not records:
                return TlsTerms(TlsLevel.ENCRYPT, source=SOURCE)
            names = tuple(dict.fromkeys(name for name in (base, host.name, domain.lower()) if name))
            return TlsTerms(TlsLevel.VERIFY, names, records, SOURCE)
        return None

    async def _look(self, base: str, host: Host) -> Found | None:
        """Return the answer for one name, None where there are no records."""
        try:
            return await self._resolver.look("tlsa", f"_{host.port}._tcp.{base}")
        except NameNotFoundError:
            return None
        except NameTemporaryError as why:
            words = f"the TLSA records of {host.name} cannot be looked up: {why}"
            raise AttemptError(Fault.TLS, words, "4.7.5") from None
