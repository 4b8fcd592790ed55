"""A milter for tests, written against the protocol's description and sharing no code with the client under test.

It listens on loopback or on a unix socket, answers by plan and keeps what it was told.  ``plan`` maps a command's letter
(``C H M R T L N B E``) to the packets of its answer: a list of (letter, data), or a callable of the command's data that
returns one.  What is not planned is answered with ``c``.
"""

import contextlib
import socket
import struct
import threading

DEADLINE = 20.0


def packet(letter, data=b""):
    return struct.pack("!I", len(data) + 1) + letter + data


class Milter:
    """``steps`` and ``actions`` are what it says in the negotiation; ``told`` are lists of (letter, data), one a message."""

    def __init__(self, plan=None, *, path=None, steps=0, actions=0x1FF, version=6):
        self.plan = plan or {}
        self.terms = struct.pack("!III", version, actions, steps)
        self.first = b"O"
        self.told = []
        self.connections = 0
        self.offers = []
        self._current = None
        self._closed = False
        self._socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._socket.bind(str(path) if path else ("127.0.0.1", 0))
        self._socket.listen(50)
        self.at = f"unix:{path}" if path else f"tcp:127.0.0.1:{self._socket.getsockname()[1]}"
        self._open = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            if self._closed:
                client.close()
                return
            self.connections += 1
            self._open.append(client)
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        with client:
            client.settimeout(DEADLINE)
            message = None
            try:
                while True:
                    letter, data = self._packet(client)
                    if letter == b"O":
                        self.offers.append(struct.unpack("!III", data))
                        client.sendall(packet(self.first, self.terms if self.first == b"O" else b""))
                        continue
                    if letter == b"Q":
                        return
                    if letter == b"K":
                        message = None
                        continue
                    if message is None:
                        message = []
                        self.told.append(message)
                    message.append((letter, data))
                    if letter == b"D" or letter == b"A":
                        continue
                    answers = self.plan.get(letter.decode(), [(b"c", b"")])
                    if callable(answers):
                        answers = answers(data)
                    if answers == "close":
                        return
                    client.sendall(b"".join(packet(*answer) for answer in answers))
            except (ConnectionError, TimeoutError, OSError):
                return

    def _packet(self, client):
        length = struct.unpack("!I", self._exactly(client, 4))[0]
        data = self._exactly(client, length)
        return data[:1], data[1:]

    def _exactly(self, client, count):
        data = b""
        while len(data) < count:
            piece = client.recv(count - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data

    def commands(self, n=-1):
        """The letters of message ``n`` as one text, macros left out."""
        return b"".join(letter for letter, _ in self.told[n] if letter != b"D").decode()

    def said(self, letter, n=-1):
        """The data of every command ``letter`` of message ``n``."""
        return [data for each, data in self.told[n] if each == letter.encode()]

    def close(self):
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for client in self._open:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
