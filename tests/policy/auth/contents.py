"""An IContent for tests."""

from twisted.internet.defer import succeed
from zope.interface import implementer

from netsvc.interfaces import IContent


@implementer(IContent)
class FakeContent:
    """An IContent of ``message``; ``reads`` are (offset, length, octets given)."""

    def __init__(self, message):
        self.message = message
        self.id = 1
        self.size = len(message)
        self.header = message.partition(b"\r\n\r\n")[0] + b"\r\n"
        self.reads = []

    def read(self, offset, length):
        data = self.message[offset : offset + length]
        self.reads.append((offset, length, len(data)))
        return succeed(data)
