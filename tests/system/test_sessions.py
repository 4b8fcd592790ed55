"""Who is connected, on the real process: shown, traced, ended; peers blocked, listeners paused, over a restart too."""

import json
import re
import socket

import pytest

from tests.system.telnet import Telnet, plain
from tests.system.wire import Control, Line, send

HEAD = b"From: <a@example.net>\r\nSubject: secret words\r\n\r\nbody\r\n"


@pytest.fixture
def client():
    """Open raw SMTP clients that are closed with the test: client(service) -> (connection, greeting)."""
    made = []

    def connect(service):
        line = Line(socket.create_connection(("127.0.0.1", service.ports["smtp"]), 20))
        made.append(line)
        return line, line.read_line()

    yield connect
    for line in made:
        line.close()


def ask(line, command):
    """Send a command -> the last line of its reply."""
    line.sock.sendall(command + b"\r\n")
    while (reply := line.read_line())[3:4] == b"-":
        pass
    return reply


def begin(line):
    """Begin a transaction -> the connection."""
    for command in (b"EHLO slow.example", b"MAIL FROM:<ann@example.net>", b"RCPT TO:<bob@example.org>"):
        assert ask(line, command).startswith(b"250")
    return line


def the_session(operator, where="helo=slow.example"):
    rows = operator.rows(f"show sessions where kind=smtp-in and {where}")
    assert len(rows) == 1, rows
    return rows[0]


def test_a_session_is_shown_traced_and_ended(house, control, client):
    operator = control(house)
    line = begin(client(house)[0])
    row = the_session(operator)
    assert (row["state"], row["sender"], row["rcpts"], row["listener"]) == ("rcpt", "ann@example.net", 1, "smtp")
    [whole] = operator.rows(f"show session {row['id']}")
    assert whole["recipients"] == ["bob@example.org"]
    assert "<< RCPT TO:<bob@example.org>" in whole["dialogue"]

    watcher = Control(house.control)
    watcher.send(f"@t trace session {row['id']}\n".encode())
    assert "Tracing" in json.loads(watcher.read_line(b"\n"))["notice"]["text"]
    assert ask(line, b"DATA").startswith(b"354")
    assert ask(line, HEAD + b".").startswith(b"250")
    assert ask(line, b"AUTH PLAIN AGFubgBhIGxvbmcgc2VjcmV0").startswith(b"5")
    seen = []
    while "AUTH" not in str(seen) or not str(seen[-1]["text"]).startswith("5"):
        seen.append(json.loads(watcher.read_line(b"\n"))["row"])
    texts = [r["text"] for r in seen]
    assert texts[0] == "DATA"
    assert f"content of {len(HEAD)} octets" in texts
    assert "secret" not in " ".join(texts)
    assert "AGFubg" not in " ".join(texts)
    watcher.send(b"stop\n@v show version\n")
    ends = []
    while len(ends) < 2:
        record = json.loads(watcher.read_line(b"\n"))
        if "end" in record:
            ends.append((record["end"]["tag"], record["end"]["status"]))
    assert ends == [("t", "ok"), ("v", "ok")]
    watcher.close()

    answer = operator.ask(f'kick {row["id"]} reason "INC-812"')
    assert answer.rows[0]["result"] == "ended"
    assert re.fullmatch(rb"421 4\.7\.0 \S+ closing connection: INC-812", line.read_line())
    assert line.read_to_end() == b""
    line.close()
    house.wait("session.kicked", session=row["id"])
    past = operator.rows(f"show session {row['id']} dialogue")
    for _ in range(500):  # the client is told before the connection is gone
        if past[-1]["text"].startswith("the session has ended"):
            break
        past = operator.rows(f"show session {row['id']} dialogue")
    assert past[-1]["text"] == "the session has ended: kicked"
    verbs = [r["verb"] for r in operator.rows("show audit limit 5")]
    assert verbs.count("kick") == 2
    assert "trace session" in verbs


def test_an_operator_looks_on_by_telnet(house, client):
    with Telnet(house.ports["console"]) as telnet:
        telnet.login("admin", house.password())
        telnet.line("trace session where helo=watched.example for 1m")
        telnet.read("Ctrl-C ends it")
        line, _ = client(house)
        ask(line, b"EHLO watched.example")
        ask(line, b"NOOP \x1b[2J")
        shown = plain(telnet.read(r">> 250 2\.0\.0|>> 50\d"))
        assert "<< EHLO watched.example" in shown
        assert "\\x1b[2J" in shown or "\\x1b[2J" in plain(telnet.text)
        telnet.send(b"\x03")
        assert "lines of 1 session." in plain(telnet.read(r"mx1[>#] ?$"))
        line.close()
        back = telnet.run("trace session where helo=watched.example last 5m")
        assert "<< EHLO watched.example" in back
        assert "show session" not in back


def test_an_outgoing_dialogue_is_remembered(make_service, make_sink, control):
    sink = make_sink()
    site = f"""
[site]
domains = ["example.org"]
relay_from = ["127.0.0.0/8"]
limits_exempt = ["127.0.0.0/8"]
[site.routes]
"*" = "[127.0.0.1]:{sink.port}"
"""
    service = make_service(site=site).start()
    send(service.ports["smtp"], "ann@example.net", ["eve@away.example"], HEAD)
    service.wait("delivery.done", result="delivered")
    operator = control(service)
    [row] = operator.rows("show sessions where kind=smtp-out")
    lines = operator.rows(f"show session {row['id']} dialogue")
    spoken = [(r["direction"], r["text"]) for r in lines]
    assert ("out", "RCPT TO:<eve@away.example>") in [(d, t[:26]) for d, t in spoken]
    assert any(d == "note" and t.startswith("content of ") for d, t in spoken)
    assert spoken[-1][0] == "in"
    assert "secret" not in str(spoken)
    assert operator.ask(f"kick {row['id']}").rows[0]["result"] == "ended"


def test_blocks_keep_peers_out_over_a_restart_but_not_operators(make_service, control, client):
    service = make_service().start()
    line = begin(client(service)[0])
    operator = control(service)
    assert operator.ask("block peer 127.0.0.0/8").error["code"] == "E405"
    assert operator.ask('block peer 127.0.0.1 for 1h force kick reason "spam run"').end["status"] == "ok"
    assert line.read_line().startswith(b"421 4.7.0")
    line.close()
    assert client(service)[1] == b"421 4.7.1 mx1.example.org takes no mail from 127.0.0.1 for now"
    assert operator.ask("block peer 127.0.0.1 force").end["status"] == "ok"
    with Telnet(service.ports["console"]) as telnet:  # operators come in
        assert "mx1" in telnet.login("admin", service.password())
    service.stop()
    service.start()
    late, greeting = client(service)
    assert greeting == b"554 5.7.1 mx1.example.org takes no mail from 127.0.0.1"
    assert late.read_to_end() == b""
    service.wait("peer.turned_away", listener="smtp")
    operator = control(service)
    assert [(r["network"], r["until"]) for r in operator.rows("show blocks")] == [("127.0.0.1/32", None)]
    operator.ask("unblock peer 127.0.0.1")
    assert client(service)[1].startswith(b"220")


def test_a_paused_listener_lets_present_sessions_go_on(make_service, control, client):
    service = make_service().start()
    operator = control(service)
    line = begin(client(service)[0])
    assert operator.ask('pause listener smtp reason "new disk"').end["status"] == "ok"
    assert client(service)[1] == b"421 4.3.2 mx1.example.org takes no mail here for now"
    assert ask(line, b"DATA").startswith(b"354")
    assert ask(line, HEAD + b".").startswith(b"250")
    row = next(r for r in operator.rows("show listeners") if r["name"] == "smtp")
    assert (row["state"], row["reason"], row["refused"], row["sessions"]) == ("paused", "new disk", 1, 1)
    line.close()
    service.stop()
    service.start()
    assert service.wait("listener.paused", listener="smtp")["why"] == "new disk"
    assert client(service)[1].startswith(b"421 4.3.2")
    operator = control(service)
    assert operator.ask("resume listener smtp").end["status"] == "ok"
    assert client(service)[1].startswith(b"220")
    assert operator.ask("pause listener nonsense").error["code"] == "E401"


@pytest.mark.parametrize("line", ["show sessions summary by state", "show sessions sort idle | count"])
def test_summaries(house, control, line):
    assert control(house).ask(line).end["status"] == "ok"
