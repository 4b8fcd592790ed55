"""A Telnet client written for tests: negotiates like a terminal, or not at all like ``nc``, and reads to a prompt."""

import re
import socket

DEADLINE = 20.0
IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
ECHO, SGA, TTYPE, NAWS = 1, 3, 24, 31
PROMPT = re.compile(r"mx1[>#] ?$")


class Telnet:
    """``negotiate``: answer as inetutils-telnet does; without it bytes are only read, and Enter is LF."""

    def __init__(self, port, *, negotiate=True, columns=120, rows=24):
        self.sock = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self.negotiate = negotiate
        self.size = (columns, rows)
        self.enter = "\r\0" if negotiate else "\n"
        self.text = ""
        self.raw = b""
        self._pending = b""
        self.closed = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def read(self, pattern, timeout=DEADLINE):
        """Read until ``pattern`` is found in what came since the last read -> the text up to its end."""
        pattern = re.compile(pattern) if isinstance(pattern, str) else pattern
        self.sock.settimeout(timeout)
        while not (found := pattern.search(self.text)):
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                raise AssertionError(f"no {pattern.pattern!r} in {self.text!r}") from None
            if not data:
                self.closed = True
                raise AssertionError(f"closed; no {pattern.pattern!r} in {self.text!r}")
            self._take(data)
        text, self.text = self.text[: found.end()], self.text[found.end() :]
        return text

    def read_to_end(self, timeout=DEADLINE):
        """-> all that comes until the service closes."""
        self.sock.settimeout(timeout)
        while data := self.sock.recv(65536):
            self._take(data)
        text, self.text = self.text, ""
        return text

    def _take(self, data):
        self.raw += data
        self._pending += data
        plain = bytearray()
        data = self._pending
        i = 0
        while i < len(data):
            if data[i] != IAC:
                plain.append(data[i])
                i += 1
                continue
            length = self._command(data, i)
            if not length:
                break
            if data[i + 1] == IAC:
                plain.append(IAC)
            i += length
        self._pending = data[i:]
        self.text += plain.decode("utf-8", "replace")

    def _command(self, data, i):
        """Obey the command at ``i`` -> its length, 0 when it is not whole yet."""
        if len(data) < i + 2:
            return 0
        if data[i + 1] == SB:
            end = data.find(bytes([IAC, SE]), i)
            if end < 0:
                return 0
            if data[i + 2] == TTYPE:
                self._say(bytes([IAC, SB, TTYPE, 0]) + b"XTERM" + bytes([IAC, SE]))
            return end + 2 - i
        if data[i + 1] in (DO, DONT, WILL, WONT):
            if len(data) < i + 3:
                return 0
            self._answer(data[i + 1], data[i + 2])
            return 3
        return 2

    def _answer(self, verb, option):
        if verb == WILL:
            self._say(bytes([IAC, DO if option in (ECHO, SGA) else DONT, option]))
        elif verb == DO:
            self._say(bytes([IAC, WILL if option in (NAWS, TTYPE) else WONT, option]))
            if option == NAWS:
                size = b"".join(n.to_bytes(2, "big") for n in self.size)
                self._say(bytes([IAC, SB, NAWS]) + size + bytes([IAC, SE]))

    def _say(self, data):
        if self.negotiate:
            self.send(data)

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def line(self, text):
        self.send(text + self.enter)

    def login(self, user, password):
        """Log in -> all that was shown, to the first prompt."""
        seen = self.read("Username: ?$")
        self.line(user)
        seen += self.read("assword: ?$")
        self.line(password)
        return seen + self.read(PROMPT)

    def run(self, command, until=PROMPT):
        """Run a command -> what it showed, without escape sequences."""
        self.line(command)
        return plain(self.read(until))


def plain(text):
    """``text`` without the sequences that move a cursor or colour it."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r", "", text)
