"""Routes changed while mail waits, smarthosts with credentials, and what operators are told of it."""

import base64
import socket

from netsvc.store.sealing import new_file
from tests.system.service import SITE
from tests.system.wire import CRLF, Sink, send

CONTENT = b"From: <a@example.org>\r\nSubject: routed\r\n\r\nhello\r\n"
PASSWORD = "s3cret words"


class Smarthost(Sink):
    """Takes mail of who has logged in; ``logins`` are (user, password)."""

    def __init__(self):
        self.logins = []
        super().__init__()

    def _talk(self, line):
        line.send(self.banner.encode() + CRLF)
        sender, recipients = b"", []
        while True:
            command = line.read_line()
            verb = command[:4].upper()
            if verb == b"EHLO":
                line.send(b"250-smart.example.net\r\n250 AUTH PLAIN\r\n")
            elif verb == b"AUTH":
                _, user, password = base64.b64decode(command.split()[2]).decode().split("\0")
                self.logins.append((user, password))
                line.send(b"235 2.7.0 welcome\r\n" if password == PASSWORD else b"535 5.7.8 no\r\n")
            elif verb == b"MAIL" and not self.logins:
                line.send(b"530 5.7.0 log in\r\n")
            elif verb == b"MAIL":
                sender, recipients = command.split(b"<", 1)[1].split(b">")[0], []
                line.send(b"250 2.1.0 ok\r\n")
            elif verb == b"RCPT":
                recipients.append(command.split(b"<", 1)[1].split(b">")[0].decode())
                line.send(b"250 2.1.5 ok\r\n")
            elif verb == b"DATA":
                line.send(b"354 go\r\n")
                self._take(line, sender.decode(), recipients)
            elif verb == b"QUIT":
                line.send(b"221 2.0.0 bye\r\n")
                return
            else:
                line.send(b"250 2.0.0 ok\r\n")


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return gone.getsockname()[1]


def steps(operator, line):
    return [(row["is"], row["found"]) for row in operator.rows(line)]


def test_what_waits_follows_a_changed_route_to_a_smarthost(make_service, make_sink, control):
    smart, sink = Smarthost(), make_sink()
    dead = f"[127.0.0.1]:{closed_port()}"
    site = SITE + f'[site.routes]\n"*" = "{dead}"\n"quiet.example" = "{dead}"\n'
    service = make_service(site=site).start()
    try:
        service.wait("secretkey.created")
        waits = [send(service.ports["smtp"], "alice@example.org", [f"x@d{n}.example"], CONTENT) for n in range(3)]
        stays = send(service.ports["smtp"], "alice@example.org", ["x@quiet.example"], CONTENT)
        service.wait("delivery.done", result="deferred", count=3)  # the fourth may find its destination left alone
        operator = control(service)
        operator.do(f"hold {waits[2]} expect any")

        operator.do(f'credential set relay user netsvc password "{PASSWORD}"')
        operator.do(f"route set * [127.0.0.1]:{smart.port} credential relay")
        smart.wait(lambda messages: len(messages) == 2)
        assert set(smart.logins) == {("netsvc", PASSWORD)}
        queue = {row["msg"]: (row["state"], row["route"]) for row in operator.rows("show queue")}
        assert queue[stays] in {("deferred", dead), ("incoming", dead)}
        assert queue[waits[2]] == ("hold", f"[127.0.0.1]:{smart.port}")
        operator.do(f"release {waits[2]} expect any")
        smart.wait(lambda messages: len(messages) == 3)
        assert service.wait("delivery.rerouted")["n"] == 3

        operator.do(f"sender-route add bob@example.org [127.0.0.1]:{sink.port}")
        send(service.ports["smtp"], "bob@example.org", ["y@d1.example"], CONTENT)
        sink.wait(lambda messages: len(messages) == 1)
        operator.do("route delete quiet.example")
        smart.wait(lambda messages: len(messages) == 4)
        service.wait("delivery.done", result="delivered", count=5)
        assert operator.rows("show queue") == []

        told(operator, smart, sink)
        hidden(service, operator)
    finally:
        smart.close()
    service.stop()
    (service.state / "secret.key").write_text(new_file())
    service.start()
    service.wait("secretkey.differs")
    (row,) = control(service).rows("show credentials")
    assert "is not the site's" in row["error"]
    refused = control(service).ask("credential set other user u password p")
    assert "is not the site's" in str(refused.error)
    send(service.ports["smtp"], "alice@example.org", ["x@d1.example"], CONTENT)
    assert service.wait("delivery.done", result="deferred")["status"] == "4.7.0"


def told(operator, smart, sink):
    """``show route`` and ``test route`` tell the rule, and what is at its end."""
    assert steps(operator, "show route sales@example.org")[-1] == ("reply", None)
    assert steps(operator, "show route x@d1.example") == [
        ("elsewhere", None), ("reply", None), ("pattern", "d1.example"), ("pattern", ".example"),
        ("rule", f"[127.0.0.1]:{smart.port}"), ("destination", f"[127.0.0.1]:{smart.port}"),
    ]  # fmt: skip
    assert steps(operator, "show route x@d1.example from bob@example.org")[-1] == (
        "destination", f"[127.0.0.1]:{sink.port}",
    )  # fmt: skip
    looked = operator.rows("test route x@d1.example")
    assert [row["is"] for row in looked[-3:]] == ["host", "tls", "credential"]
    assert "127.0.0.1" in looked[-3]["note"]
    (row,) = operator.rows("show credentials")
    assert (row["name"], row["user"], row["password"]) == ("relay", "netsvc", "<set>")
    assert row["used_by"] == [f"[127.0.0.1]:{smart.port}"]


def hidden(service, operator):
    """The password is in no file of the service, in no log line, and nowhere the console shows."""
    encoded = base64.b64encode(f"\0netsvc\0{PASSWORD}".encode())
    for secret in (PASSWORD.encode(), encoded, PASSWORD.encode().hex().encode()):
        for file in service.state.rglob("*"):
            assert not file.is_file() or secret not in file.read_bytes(), file
        assert secret.decode() not in "\n".join(service.lines)
    for command in ("show credentials", "show audit", "show routes", "show history where all"):
        assert PASSWORD not in str(operator.ask(command).objects)
    assert (service.state / "secret.key").stat().st_mode & 0o777 == 0o600
