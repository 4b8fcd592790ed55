"""A client of the control socket (floor 7), for netsvcctl: standard library only, and none of our rooms.

``wire`` is the connection and machine mode, ``person`` what somebody at a
terminal sees, ``export`` copies a mailbox out.
"""
