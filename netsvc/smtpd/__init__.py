"""The SMTP door: the Twisted shell around ``smtp.server.ServerSession`` (floor 5).

``factory`` builds one ``connection`` for each client and keeps their deadlines;
``outlet`` is how replies leave; ``listener`` holds a listener's settings.
"""

from netsvc.smtpd.factory import SmtpFactory
from netsvc.smtpd.listener import SmtpListenerSettings

__all__ = ["SmtpFactory", "SmtpListenerSettings"]
