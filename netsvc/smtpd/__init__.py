"""The SMTP door: the Twisted shell around ``smtp.server.ServerSession`` (floor 5).

``factory`` builds one ``connection`` for each client and keeps their deadlines;
a ``dialogue`` asks the mailbox service what the session's events ask; ``outlet``
is how replies leave; ``listener`` holds a listener's settings.
"""
