"""What one SMTP listener is set to."""

from __future__ import annotations

import resource
from dataclasses import dataclass

from netsvc.smtp.server import Terms

RESERVED_DESCRIPTORS = 200
"""File descriptors left to the store, deliveries and the console (T18)."""


@dataclass(frozen=True, slots=True)
class SmtpListenerSettings:
    """Settings of one listener.

    ``bare_newline`` is reject or normalize.  Sizes are octets, times seconds: ``command_timeout`` is for one whole
    command, ``data_timeout`` for each MIN_PROGRESS octets of content, ``grace`` for transactions under way when the
    service stops, ``linger`` for the client to close after us.  ``max_connections`` 0 is the descriptor limit less
    RESERVED_DESCRIPTORS.
    """

    listener: str
    hostname: str
    service: str = "transfer"
    bare_newline: str = "reject"
    max_message_size: int = 50 * 1024 * 1024
    max_recipients: int = 1000
    max_errors: int = 20
    command_timeout: float = 300.0
    data_timeout: float = 300.0
    grace: float = 30.0
    linger: float = 5.0
    max_connections: int = 0

    @property
    def connection_cap(self) -> int:
        """How many connections are served at a time."""
        if self.max_connections:
            return self.max_connections
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            return 100_000
        return max(soft - RESERVED_DESCRIPTORS, soft // 4, 1)

    def terms(self) -> Terms:
        """Return what sessions of this listener offer.  Raises ValueError for what none could keep."""
        return Terms(self.hostname, self.max_message_size, self.max_recipients, self.max_errors, self.bare_newline)
