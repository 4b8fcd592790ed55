"""What one listener offers of TLS and AUTH, and to whom: the offers its sessions share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netsvc.mail import reply as r
from netsvc.sasl.scram import PLUS
from netsvc.sasl.verifier import MECHANISM
from netsvc.smtp.security import Offer
from netsvc.smtpd.tls import can_bind

if TYPE_CHECKING:
    from netsvc.interfaces import ICertificates, IVerifiers
    from netsvc.logbook import Logbook
    from netsvc.smtpd.listener import SmtpListenerSettings

PASSWORDS = ("PLAIN", "LOGIN")


@dataclass(frozen=True, slots=True)
class Locks:
    """What TLS and AUTH are done with.

    ``portal`` is a Portal for ISubmitter; ``verifiers`` None: no SCRAM; ``clock`` the reactor.
    """

    certificates: ICertificates
    portal: Any
    verifiers: IVerifiers | None
    logbook: Logbook
    clock: Any


class Guard:
    """See the module.  ``auth``: whether anybody may log in at this listener at all."""

    def __init__(self, settings: SmtpListenerSettings, locks: Locks) -> None:
        self.locks = locks
        self.auth = settings.auth != "off"
        self.implicit = settings.tls == "implicit"
        self.listener = settings.listener
        self.hostname = settings.hostname
        starttls = settings.tls == "starttls"
        required = settings.auth == "required"
        scram = (MECHANISM,) if locks.verifiers is not None else ()
        bound: tuple[str, ...] = (PLUS, *scram, *PASSWORDS) if scram else PASSWORDS
        usual: tuple[str, ...] = (*scram, *PASSWORDS)
        if not self.auth:
            usual = bound = ()
        log_in = r.AUTH_REQUIRED if required else None
        self._inside = Offer(tls=True, mechanisms=usual, demand=log_in)
        self._inside_bound = Offer(tls=True, mechanisms=bound, demand=log_in)
        go_inside = r.STARTTLS_FIRST if required else None
        self._outside = Offer(starttls=starttls, demand=go_inside, encrypt_first=self.auth)
        clear = self.auth and settings.allow_cleartext_auth
        self._outside_here = Offer(starttls=starttls, mechanisms=usual, demand=log_in) if clear else self._outside

    def outside(self, *, loopback: bool) -> Offer:
        """Return the offer to a client outside TLS; ``loopback``: it is on this host."""
        return self._outside_here if loopback else self._outside

    def inside(self, handle: Any) -> Offer:
        """Return the offer to a client inside the TLS session ``handle``."""
        if self._inside is not self._inside_bound and self.auth and can_bind(handle):
            return self._inside_bound
        return self._inside
