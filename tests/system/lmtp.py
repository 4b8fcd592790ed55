"""A scripted LMTP server on a socket or a loopback port, with nothing of the service's own code in it."""

import os
import socket
import threading

from tests.system.wire import CRLF, DEADLINE, Line


class LmtpSink:
    """``plan`` maps a recipient's local part to its reply after the dot (default 250), or to RCPT where it has RCPT in
    front; ``LOST`` ends the connection instead.  ``messages`` are (sender, accepted recipients, content)."""

    def __init__(self, path=None, plan=None):
        self.plan = plan or {}
        self.messages = []
        self.heard = []
        self.connections = 0
        self._news = threading.Condition()
        if path is None:
            self._socket = socket.create_server(("127.0.0.1", 0))
            self.port = self._socket.getsockname()[1]
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(os.fspath(path))
            self._socket.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            with sock:
                self._talk(Line(sock))
        except OSError:
            pass

    def _talk(self, line):
        line.send(b"220 store.example.net LMTP\r\n")
        sender, there = b"", []
        while True:
            command = line.read_line()
            self.heard.append(command.decode())
            verb = command[:4].upper()
            if verb == b"LHLO":
                line.send(b"250-store.example.net\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
            elif verb == b"MAIL":
                sender, there = _path(command), []
                line.send(b"250 2.1.0 ok\r\n")
            elif verb == b"RCPT":
                reply = self.plan.get(_path(command).split("@")[0], "")
                if reply.startswith("RCPT "):
                    line.send(reply[5:].encode() + CRLF)
                else:
                    there.append(_path(command))
                    line.send(b"250 2.1.5 ok\r\n")
            elif verb == b"DATA":
                if not there:
                    line.send(b"503 5.5.1 nobody\r\n")
                    continue
                line.send(b"354 go\r\n")
                if not self._take(line, sender, there):
                    return
            elif verb == b"QUIT":
                line.send(b"221 2.0.0 bye\r\n")
                return
            elif verb == b"RSET":
                line.send(b"250 2.0.0 ok\r\n")
            else:
                line.send(b"500 5.5.1 unknown\r\n")

    def _take(self, line, sender, there):
        rows = []
        while (row := line.read_line()) != b".":
            rows.append(row[1:] if row.startswith(b".") else row)
        taken = []
        for recipient in there:
            reply = self.plan.get(recipient.split("@")[0], "250 2.1.5 kept")
            if reply == "LOST":
                break
            line.send(reply.encode() + CRLF)
            if reply.startswith("2"):
                taken.append(recipient)
        with self._news:
            self.messages.append((sender, taken, b"".join(r + CRLF for r in rows)))
            self._news.notify_all()
        return len(taken) == len(there) or "LOST" not in self.plan.values()

    def wait(self, count):
        with self._news:
            assert self._news.wait_for(lambda: len(self.messages) >= count, DEADLINE), self.messages

    def close(self):
        self._socket.close()


def _path(command):
    return command.split(b"<", 1)[1].split(b">")[0].decode()
