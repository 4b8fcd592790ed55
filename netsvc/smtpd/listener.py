"""What one SMTP listener is set to."""

from __future__ import annotations

import time
from dataclasses import dataclass

from netsvc.smtp.terms import Terms


@dataclass(frozen=True, slots=True)
class SmtpListenerSettings:
    """Settings of one listener.

    ``bare_newline`` is reject or normalize.  Sizes are octets, times seconds: ``command_timeout`` is for one whole
    command, ``data_timeout`` is how long content may come in too slowly, ``grace`` for transactions under way when the
    service stops, ``linger`` for the client to close after us.  ``max_messages`` of one session, 0 for no limit;
    ``max_connections`` 0: only what all listeners share bounds them.  ``proxy_from`` and ``xclient_from`` are
    networks.  ``tls`` is none, starttls or implicit; ``auth`` off, optional or required; ``allow_cleartext_auth``:
    peers on this host may log in outside TLS.
    """

    listener: str
    hostname: str
    service: str = "transfer"
    bare_newline: str = "reject"
    max_message_size: int = 50 * 1024 * 1024
    max_recipients: int = 1000
    max_errors: int = 20
    command_timeout: float = 300.0
    data_timeout: float = 60.0
    grace: float = 30.0
    linger: float = 5.0
    max_messages: int = 0
    max_connections: int = 0
    proxy_from: tuple[str, ...] = ()
    xclient_from: tuple[str, ...] = ()
    tls: str = "none"
    auth: str = "off"
    allow_cleartext_auth: bool = False

    def terms(self) -> Terms:
        """Return what sessions of this listener offer.  Raises ValueError for what none could keep."""
        return Terms(
            self.hostname,
            self.max_message_size,
            self.max_recipients,
            self.max_errors,
            self.bare_newline,
            service=self.service,
            max_messages=self.max_messages,
            clock=time.time,
        )
