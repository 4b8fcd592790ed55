"""netsvcctl: a client of the control socket (floor 7); standard library only, and none of our rooms.

``command`` is its command line, ``wire`` the connection and machine mode,
``person`` what somebody at a terminal sees, ``export`` copies a mailbox out.
"""

from netsvc.ctl.command import main

__all__ = ["main"]
