"""The other side of the wire, written by hand: a raw SMTP client, a control-socket client, a scripted SMTP server.

Blocking sockets with deadlines and threads, so that what the service does can be seen byte by byte and nothing of the
service's own code stands on both sides.
"""

import json
import socket
import threading
from pathlib import Path

DEADLINE = 20.0
CRLF = b"\r\n"


class Line:
    """A connection read by lines."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(DEADLINE)
        self.buffer = b""

    def read_line(self, end=CRLF):
        while end not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError(f"closed after {self.buffer!r}")
            self.buffer += data
        line, self.buffer = self.buffer.split(end, 1)
        return line

    def read_to_end(self):
        data = self.buffer
        self.buffer = b""
        while True:
            try:
                piece = self.sock.recv(65536)
            except ConnectionResetError:
                return data
            if not piece:
                return data
            data += piece

    def send(self, data):
        self.sock.sendall(data)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Smtp(Line):
    """A raw SMTP client: ``say`` a command, get the whole reply as text."""

    def __init__(self, port, host="127.0.0.1", source=None):
        super().__init__(
            socket.create_connection((host, port), DEADLINE, source_address=(source, 0) if source else None)
        )
        try:
            self.greeting = self.reply()
        except BaseException:
            self.close()
            raise

    def reply(self):
        lines = []
        while True:
            line = self.read_line().decode("latin-1")
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    def say(self, command):
        self.send(command.encode("latin-1") + CRLF)
        return self.reply()

    def begin(self, sender, recipients, *, ehlo=True, parameters=""):
        """EHLO to DATA -> the replies to RCPT; the 354 is asserted."""
        if ehlo:
            assert self.say("EHLO client.example.net").startswith("250")
        assert self.say(f"MAIL FROM:<{sender}>{parameters}").startswith("250")
        replies = [self.say(f"RCPT TO:<{r}>") for r in recipients]
        data = self.say("DATA")
        assert data.startswith("354"), (replies, data)
        return replies

    def content(self, content):
        """Send content with dots stuffed and the end of data -> the reply."""
        self.send(stuffed(content) + b".\r\n")
        return self.reply()


def stuffed(content):
    """Dot-stuff CRLF text; what does not end a line is given its CRLF, as RFC 5321 4.1.1.4 asks of the client."""
    if content and not content.endswith(CRLF):
        content += CRLF
    return (b".." + content[1:] if content.startswith(b".") else content).replace(b"\r\n.", b"\r\n..")


def queue_id(reply):
    """The id in ``250 2.0.0 ID queued``."""
    words = reply.split()
    assert words[0] == "250", reply
    assert words[-1] == "queued", reply
    return words[2]


def send(port, sender, recipients, content):
    """One whole message on a connection of its own -> its queue id."""
    with Smtp(port) as smtp:
        for reply in smtp.begin(sender, recipients):
            assert reply.startswith("250"), reply
        return queue_id(smtp.content(content))


class Control(Line):
    """Machine mode over the control socket: ``ask`` a command, get its rows, end and the rest."""

    def __init__(self, path):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEADLINE)
        sock.connect(str(path))
        super().__init__(sock)
        self.hello = json.loads(self.read_line(b"\n"))["hello"]

    def ask(self, command):
        """-> Answer"""
        self.send(command.encode() + b"\n")
        answer = Answer()
        while answer.end is None:
            record = json.loads(self.read_line(b"\n"))
            answer.objects.append(record)
            answer.end = record.get("end")
        return answer

    def rows(self, command):
        """Ask what must succeed -> its rows."""
        answer = self.ask(command)
        assert answer.end["status"] == "ok", answer.objects
        return answer.rows

    def do(self, command):
        """Run an action on whatever number of items matches -> Answer, asserted ok."""
        answer = self.ask(command)
        assert answer.end["status"] == "ok", answer.objects
        return answer


class Answer:
    """All that came back for one command."""

    def __init__(self):
        self.objects = []
        self.end = None

    def _all(self, key):
        return [o[key] for o in self.objects if key in o]

    @property
    def rows(self):
        return self._all("row")

    @property
    def error(self):
        errors = self._all("err")
        return errors[0] if errors else None

    @property
    def preview(self):
        previews = self._all("preview")
        return previews[0] if previews else None


class Sink:
    """An SMTP server that answers by plan and keeps what it took.

    ``plan`` maps a recipient's local part to the reply to its RCPT (default 250); ``messages`` are
    (sender, recipients, content, unstuffed).  ``reply_to_data`` answers the end of data, ``banner`` is said first.
    """

    def __init__(self, plan=None, *, host="127.0.0.1", port=0, banner="220 sink.example.net ESMTP"):
        self.plan = plan or {}
        self.banner = banner
        self.reply_to_data = "250 2.0.0 taken"
        self.messages = []
        self.connections = 0
        self._news = threading.Condition()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=128)
        self.port = self._socket.getsockname()[1]
        self._open = set()
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
        try:
            with sock:
                self._talk(Line(sock))
        except OSError:
            pass
        finally:
            self._open.discard(sock)

    def _talk(self, line):
        line.send(self.banner.encode() + CRLF)
        sender, recipients = b"", []
        while True:
            command = line.read_line()
            verb = command[:4].upper()
            if verb == b"EHLO":
                line.send(b"250-sink.example.net\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
            elif verb == b"MAIL":
                sender, recipients = command.split(b"<", 1)[1].split(b">")[0], []
                line.send(b"250 2.1.0 ok\r\n")
            elif verb == b"RCPT":
                recipient = command.split(b"<", 1)[1].split(b">")[0]
                reply = self.plan.get(recipient.split(b"@")[0].decode(), "250 2.1.5 ok")
                if reply.startswith("2"):
                    recipients.append(recipient.decode())
                line.send(reply.encode() + CRLF)
            elif verb == b"DATA":
                if not recipients:
                    line.send(b"554 5.5.1 no valid recipients\r\n")
                    continue
                line.send(b"354 go\r\n")
                self._take(line, sender.decode(), recipients)
            elif verb == b"QUIT":
                line.send(b"221 2.0.0 bye\r\n")
                return
            else:
                line.send(b"250 2.0.0 ok\r\n")

    def _take(self, line, sender, recipients):
        rows = []
        while (row := line.read_line()) != b".":
            rows.append(row[1:] if row.startswith(b".") else row)
        if self.reply_to_data.startswith("2"):
            with self._news:
                self.messages.append((sender, recipients, b"".join(r + CRLF for r in rows)))
                self._news.notify_all()
        line.send(self.reply_to_data.encode() + CRLF)

    def wait(self, test, timeout=DEADLINE):
        """Wait until ``test(messages)`` holds."""
        with self._news:
            assert self._news.wait_for(lambda: test(self.messages), timeout), f"{len(self.messages)} messages came"

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for sock in list(self._open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._thread.join(5)


def without_trace(content):
    """Cut an exported mail's ``Return-Path`` and the ``Received`` we added -> (those two, the content as sent)."""
    assert content.startswith(b"Return-Path:"), content[:80]
    first, rest = content.split(CRLF, 1)
    assert rest.startswith(b"Received:"), rest[:80]
    cut = 0
    while True:  # our field ends with its date; content may begin with a blank of its own
        cut = rest.index(CRLF, cut) + 2
        if rest[:cut].endswith(b" +0000\r\n"):
            return first + CRLF + rest[:cut], rest[cut:]


def corpus(folder):
    """-> [(name, content in CRLF, whether it may be taken)] of a folder of .eml files.

    Files in LF alone become CRLF; what then holds a stray CR, LF or NUL may not be taken.
    """
    found = []
    for path in sorted(Path(folder).glob("*.eml")):
        data = path.read_bytes()
        if CRLF not in data:
            data = data.replace(b"\n", CRLF)
        rest = data.replace(CRLF, b"")
        found.append((path.name, data, not (b"\r" in rest or b"\n" in rest or b"\0" in data)))
    return found
