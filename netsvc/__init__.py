"""netsvc: a mail service for Twisted whose console answers what operators ask.

Read the rooms in this order: ``mail`` (the words), ``smtp`` and ``telnet``
(the wires, silent), ``interfaces`` (the promises), ``store`` ``delivery``
``accounts`` ``policy`` (who keeps them), ``mailboxservice`` (the one object
every door shares), ``smtpd`` and ``console`` (the doors), ``plugins`` (how a
door is found) and ``tap`` (the one file that knows every concrete class).
"""

__version__ = "0.1.0"
