"""SMTP servers of all manners for mail on its way out: each connection is given to a function of the test."""

import base64
import hashlib
import hmac
import secrets
import socket
import ssl
import threading

from tests.system.wire import CRLF, Line

ITERATIONS = 4096


class Peer:
    """A server on loopback; ``talk(conversation)`` is called in a thread for each connection.

    ``errors`` are what went wrong in those threads, beside connections that were lost.
    """

    def __init__(self, talk, leaf=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if leaf is not None:
            leaf.configure_cert(self.context)
        self.talk = talk
        self.messages = []
        self.connections = 0
        self.errors = []
        self._open = set()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        conversation = Conversation(self, sock)
        try:
            self.talk(conversation)
        except OSError:
            pass
        except Exception as why:  # noqa: BLE001 - told to whoever closes the peer
            self.errors.append(why)
        finally:
            self._open.discard(sock)
            conversation.close()

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for sock in list(self._open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._thread.join(5)
        assert not self.errors, self.errors


class Conversation(Line):
    """One connection to a Peer."""

    def __init__(self, peer, sock):
        super().__init__(sock)
        self.peer = peer

    def say(self, *lines):
        self.send(b"".join(line.encode() + CRLF for line in lines))

    def hello(self, *extensions):
        """Answer EHLO with what is offered."""
        assert self.read_line().startswith(b"EHLO ")
        words = ["peer.example.net", "PIPELINING", "8BITMIME", *extensions]
        self.say(*(f"250{'-' if word is not words[-1] else ' '}{word}" for word in words))

    def begin_tls(self):
        """Answer STARTTLS and shake hands."""
        assert self.read_line() == b"STARTTLS"
        self.say("220 go")
        self.sock = self.peer.context.wrap_socket(self.sock, server_side=True)

    def take_mail(self):
        """Take messages until the client leaves."""
        sender = None
        while True:
            line = self.read_line()
            verb = line[:4]
            if verb == b"MAIL":
                sender = line
                self.say("250 ok")
            elif verb == b"DATA":
                self.say("354 go")
                self.peer.messages.append((sender, self.content()))
                self.say("250 2.0.0 taken")
            elif verb == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def content(self):
        """Read content up to its dot."""
        data = self.buffer
        while not data.endswith(b"\r\n.\r\n"):
            piece = self.sock.recv(1 << 16)
            if not piece:
                raise ConnectionError("closed within content")
            data += piece
        self.buffer = b""
        return b"\r\n".join(row.removeprefix(b".") for row in data[:-3].split(b"\r\n"))

    def scram(self, user, password):
        """Be the server of RFC 5802 as the RFC has it -> whether the client knows the password."""
        verb, mechanism, first = self.read_line().split()
        assert (verb, mechanism) == (b"AUTH", b"SCRAM-SHA-256")
        bare = base64.b64decode(first).decode().removeprefix("n,,")
        name, nonce = (part[2:] for part in bare.split(",")[:2])
        salt = secrets.token_bytes(16)
        second = f"r={nonce}{secrets.token_hex(8)},s={base64.b64encode(salt).decode()},i={ITERATIONS}"
        self.say("334 " + base64.b64encode(second.encode()).decode())
        final, _, proof = base64.b64decode(self.read_line()).decode().rpartition(",p=")
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
        key = hmac.digest(salted, b"Client Key", "sha256")
        signed = f"{bare},{second},{final}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        right = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        if name != user or base64.b64decode(proof) != right:
            self.say("535 5.7.8 no")
            return False
        known = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        self.say("334 " + base64.b64encode(b"v=" + base64.b64encode(known)).decode())
        assert self.read_line() == b""
        self.say("235 2.7.0 welcome")
        return True
