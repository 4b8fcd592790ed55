"""What is shown: the queue, messages, history, mailboxes, mail, sessions, versions, schemas, the audit trail."""

import base64
import json

import pytest

from netsvc.console.reading import PIECE
from netsvc.mail.ids import parse_id
from tests.console.fakeservice import NOW, destination, item, past

TRACE = b"Received: from client.example\r\n\tby mx1.example.org; now\r\n"
CONTENT = b"Subject: =?utf-8?q?x?=\r\nX-Evil: \x1b]52;c;x\x07\r\n\r\nbody \xc3\xa9\xff\r\n.line\r\n"


@pytest.fixture
def queue(desk):
    desk.service.queue.items = [
        item(n, rcpt="ann@gmail.com" if n % 3 else "bob@example.net", state="hold" if n == 5 else "deferred")
        for n in range(30)
    ]
    return desk.service.queue


def test_an_empty_queue(desk):
    assert desk.type("show queue") == "No messages match.\n"
    assert desk.type("show queue summary") == "No messages match.\n"
    assert desk.type("show queue reasons") == "No message waits for a reason.\n"
    assert desk.type("show queue | count") == "0\n"
    assert desk.machine("show queue")[-1]["end"]["total"] == 0


def test_the_queue(desk, queue):
    shown = desk.type("show queue limit 2 newest").split("\n")
    assert shown[0].split() == ["ID", "STATE", "AGE", "SIZE", "FROM", "TO", "TRY", "NEXT", "WHY"]
    assert shown[1].startswith(queue.items[29]["id"])
    assert shown[3] == '2 of 30 shown. Selection saved as "last" (30 items).'
    assert desk.type("show queue").count("deferred") >= 19
    assert desk.type("show queue hold").count("\n") == 2
    assert "No messages match" in desk.type("show queue recycled")
    assert desk.type("show queue all limit 30").count("\n") == 31
    assert desk.type(f"show queue {queue.items[3]['id']}, {queue.items[4]['msg']}").count("\n") == 3
    assert desk.type("show queue limit 1 detail").startswith("id        " + queue.items[0]["id"])
    assert desk.type("show queue limit 1 largest").count("\n") == 3


def test_the_queue_through_pipes(desk, queue):
    queue.calls.clear()
    assert desk.type("show queue where domain=gmail.com | count") == "20\n"
    assert desk.type("show queue | count") == "30\n"
    assert queue.calls == ["counts"]
    assert desk.type("show queue | match bob@ | count") == "10\n"
    assert desk.type("show queue | match 2h31m | count") == "30\n"
    assert desk.type("show queue | first 2").count("\n") == 3
    assert desk.type("show queue limit 25 | last 1").count("\n") == 2
    rows = [json.loads(line) for line in desk.type("show queue | json").split("\n") if line]
    assert len(rows) == 30
    assert rows[0]["next"] == "2026-11-23T14:16:12Z"
    assert desk.type("show queue | list").count("reason") == 20
    assert desk.session.last is not None


def test_first_rows_only_are_read_when_no_more_are_wanted(desk, queue):
    queue.items = [item(n) for n in range(500)]
    queue.calls.clear()
    desk.type("show queue | first 3")
    assert queue.calls == ["page 100"]
    assert desk.session.last is None


def test_a_large_queue_is_not_frozen_for_a_look(desk, queue, monkeypatch):
    monkeypatch.setattr("netsvc.console.verbs.queue.KEPT_IDS", 10)
    queue.calls.clear()
    assert "20 of 30 shown. Say limit N" in desk.type("show queue")
    assert "select" not in queue.calls
    assert desk.session.last is None
    assert len(desk.machine("show queue")) == 31
    assert desk.machine("show queue limit 1 oldest")[-1]["end"]["total"] == 30
    assert desk.machine("show queue where domain=gmail.com limit 1")[-1]["end"]["total"] == 20


def test_summaries(desk, queue):
    shown = desk.type("show queue summary").split("\n")
    assert shown[0].split() == [
        "DESTINATION",
        "TOTAL",
        "<5",
        "<10",
        "<20",
        "<40",
        "<80",
        "<160",
        "160+",
        "SIZE",
        "STATE",
    ]
    assert shown[1].split()[:2] == ["gmail.com", "20"]
    assert shown[3].split()[:2] == ["TOTAL", "30"]
    queue.items = [item(n, rcpt=f"x@d{n:02}.example") for n in range(25)]
    shown = desk.type("show queue summary by domain").split("\n")
    assert shown[0].startswith("DOMAIN")
    assert "STATE" not in shown[0]
    assert shown[21].startswith("5 others")
    assert len(desk.machine("show queue summary by domain where age>1h")) == 26
    assert desk.type("show queue summary by state").count("\n") == 3
    row = desk.machine("show queue summary")[0]["row"]
    assert set(row) == {
        *("key", "total", "bytes", "incoming", "active", "deferred", "hold", "ages", "oldest", "status")
    }
    assert row["ages"] == [0, 0, 0, 0, 0, 1, 0]


def test_reasons(desk, queue):
    assert "20   100%  421 4.7.28  rate limit" in desk.type("show queue reasons for gmail.com where age>1h")
    row = desk.machine("show queue reasons")[0]["row"]
    assert set(row) == {"reason", "code", "status", "count", "share", "sample", "first", "last", "domains"}


def test_destinations(desk):
    assert "backoff" in desk.type("show destinations")
    desk.service.queue.dests = [destination("[192.0.2.1]:25")]
    desk.service.sessions.list = [
        {"kind": "smtp-out", "domain": "[192.0.2.1]:25"},
        {"kind": "smtp-out", "domain": "[192.0.2.1]:25"},
        {"kind": "smtp-out", "domain": "other.example"},
        {"kind": "smtp-in", "domain": ""},
    ]
    assert desk.machine("show destinations")[0]["row"]["connections"] == 2
    desk.service.queue.dests = []
    assert "No destination" in desk.type("show destinations")


def attempt(row):
    return {
        "msg": row["msg"],
        "n": 1,
        "at": NOW,
        "node": "mx1",
        "host": "mx1.gmail.com",
        "addr": "142.250.27.26",
        "tls": None,
        "ms": 41,
        "outcome": "deferred",
        "code": 421,
        "status": "4.7.28",
        "reply": "slow down",
        "reason": "rate limit",
        "transcript": "< 220 x\n> QUIT\x1b",
    }


def test_one_message(desk, queue):
    row = queue.items[7]
    shown = desk.type(f"show message {row['msg'].lower()}")
    assert "sender    news@shop.example" in shown
    assert row["id"] in shown
    assert "No attempt" in desk.type(f"show message {row['msg']} attempts")
    queue.attempts = [attempt(row)]
    queue.past = [past(1, rcpt="gone@example.net") | {"msg": row["msg"], "id": row["msg"] + ".2"}]
    shown = desk.type(f"show message {row['msg']}")
    assert "1 attempt: show message" in shown
    assert "delivered" in shown
    shown = desk.type(f"show message {row['id']} attempts")
    assert "421 4.7.28" in shown
    assert "attempts | list" in shown
    told = desk.type(f"show message {row['msg']} attempts | list")
    assert "QUIT\\x1b" in told
    assert "attempts | list" not in told
    out = desk.machine(f"show message {row['msg']}")
    assert out[0]["row"]["items"][0]["id"] == row["id"]
    assert out[0]["row"]["helo"] == "client.example"
    assert [next(iter(thing)) for thing in out] == ["row", "end"]
    assert desk.machine(f"show message {row['msg']}.2")[0]["row"]["items"] == []
    out = desk.machine(f"show message {row['msg']} attempts")
    assert out[0]["row"]["transcript"] == "< 220 x\n> QUIT\\x1b"
    assert out[-1]["end"]["schema"] == "attempt/1"


def test_a_message_of_which_history_is_left(desk, queue):
    queue.past = [past(7)]
    shown = desk.type(f"show message {queue.past[0]['msg']}")
    assert "delivered" in shown
    assert desk.machine(f"show message {queue.past[0]['msg']}")[0]["row"]["items"] == []
    assert "E401" in desk.type("show message 0000000000000")
    assert desk.machine("show message 0000000000000")[0]["err"]["code"] == "E401"


def test_content_is_for_those_who_may_and_audited(desk, queue):
    row = queue.items[7]
    queue.bodies[parse_id(row["msg"])] = (TRACE, CONTENT)
    assert "needs the content privilege" in desk.type(f"show message {row['msg']} headers")
    assert desk.audited() == [("show message", row["msg"], "headers", 0, "refused E301")]
    desk.login("op", content=True)
    assert desk.type(f"show message {row['msg']} headers") == (
        "Received: from client.example\n        by mx1.example.org; now\nSubject: =?utf-8?q?x?=\n"
        "X-Evil: \\x1b]52;c;x\\x07\n"
    )
    assert desk.audited()[1] == ("show message", row["msg"], "headers", 1, "ok")
    assert desk.type(f"show message {row['msg']} body") == "body é\\xff\n.line\n"
    assert desk.type(f"show message {row['msg']} source | match line") == ".line\n"
    out = desk.machine(f"show message {row['msg']} headers")
    assert out[0]["row"]["headers"].split("\n")[3] == "X-Evil: \\x1b]52;c;x\\x07"
    assert json.loads(desk.type(f"show message {row['msg']} body | json"))["body"] == "body é\\xff\n.line"
    out = desk.machine(f"show message {row['msg']} source")
    assert out[0]["row"] == {
        "id": row["msg"],
        "offset": 0,
        "source": base64.b64encode(TRACE + CONTENT).decode(),
    }
    assert out[-1]["end"]["schema"] == "message.source/1"
    assert "No content" in desk.type(f"show message {queue.items[1]['msg']} body")


@pytest.mark.parametrize(
    ("content", "headers", "body"),
    [
        (b"", [], []),
        (b"Subject: x", ["Subject: x"], []),
        (b"Subject: x\r\n", ["Subject: x"], []),
        (b"\r\nonly a body", [], ["only a body"]),
        (b"A: " + b"x" * 300_000 + b"\r\n\r\nafter", ["(cut)"], ["after"]),
        (b"A: " + b"x" * 300_000, ["(cut)"], []),
        (b"A: 1\r\n\r\n" + b"y" * 70_000, ["A: 1"], ["(the first 64 KiB)"]),
    ],
)
def test_odd_contents(desk, queue, content, headers, body):
    row = queue.items[7]
    desk.login("op", content=True)
    queue.bodies[parse_id(row["msg"])] = (b"", content)
    for part, expected in (("headers", headers), ("body", body)):
        text = desk.machine(f"show message {row['msg']} {part}")[0]["row"][part]
        assert text.split("\n")[-1:] == (expected[-1:] or [""])
        assert len(text) < 300_000


def test_sources_are_copied_byte_for_byte_in_pieces(desk):
    data = bytes(range(256)) * 1000
    desk.login("op", content=True)
    desk.service.mail.boxes["ann@example.org"] = [mail(7, len(data)), mail(9, 0)]
    desk.service.mail.contents = {("ann@example.org", 7): data, ("ann@example.org", 9): b""}
    out = desk.machine("show mail ann@example.org 7 source")
    rows = [thing["row"] for thing in out[:-1]]
    assert [row["offset"] for row in rows] == [0, PIECE, 2 * PIECE]
    assert b"".join(base64.b64decode(row["source"]) for row in rows) == data
    assert {row["uid"] for row in rows} == {7}
    assert out[-1]["end"]["schema"] == "mail.source/1"
    rows = [thing["row"] for thing in desk.machine("show mail ann@example.org 9 source")[:-1]]
    assert [(row["offset"], row["source"]) for row in rows] == [(0, "")]
    assert "\\x00\\x01" in desk.type("show mail ann@example.org 7 source")


def test_people_are_shown_a_bounded_source(desk, monkeypatch):
    monkeypatch.setattr("netsvc.console.reading.MAX_SHOWN", 1000)
    desk.login("op", content=True)
    desk.service.mail.boxes["ann@example.org"] = [mail(7, 1)]
    desk.service.mail.contents = {("ann@example.org", 7): b"line\r\n" * 50_000}
    shown = desk.type("show mail ann@example.org 7 source")
    assert shown.endswith("copies mail whole)\n")
    assert len(shown) < 60_000


def mail(uid, size=700):
    return {
        "uid": uid,
        "id": "01ARZ3NDEKTSV",
        "msgid": None,
        "sender": "",
        "subject": "Hi\u202e",
        "size": size,
        "time": NOW,
        "flags": [],
        "folder": "INBOX",
    }


def test_mailboxes_and_mail(desk):
    assert "No mailboxes match" in desk.type("show mailboxes")
    desk.service.mail.boxes["ann@example.org"] = [mail(n) for n in range(1, 31)]
    desk.service.mail.boxes["bob@example.org"] = []
    assert desk.type("show mailboxes where messages>1").count("\n") == 2
    assert desk.type("show mailboxes all").count("\n") == 3
    assert "messages        30" in desk.type("show mailbox Ann@Example.org | list")
    assert "E401" in desk.type("show mailbox cy@example.org")
    shown = desk.type("show mail ann@example.org")
    assert "20 of 30 shown" in shown
    assert "\u202e" not in shown
    assert "Hi\\u{202E}" in shown
    assert "No mail" in desk.type("show mail bob@example.org")
    assert len(desk.machine("show mail ann@example.org")) == 31
    assert desk.machine("show mail ann@example.org limit 5")[-1]["end"]["total"] == 30
    assert desk.machine("show mail ann@example.org 7")[0]["row"]["uid"] == 7
    assert "E401" in desk.type("show mail ann@example.org 99")
    assert "E401" in desk.type("show mail cy@example.org")
    assert "E103" in desk.type("show mail ann@example.org body")
    assert "E301" in desk.type("show mail ann@example.org 7 body")
    desk.login("op", content=True)
    assert "E401" in desk.type("show mail ann@example.org 7 body")
    desk.service.mail.contents[("ann@example.org", 7)] = CONTENT
    assert "body é" in desk.type("show mail ann@example.org 7 body")
    assert desk.machine("show mail ann@example.org 7 headers")[0]["row"]["uid"] == 7


def test_history(desk, queue):
    assert "No messages match" in desk.type("show history")
    queue.past = [past(n, "bounced" if n % 2 else "delivered") for n in range(30)]
    assert "20 shown; there are more" in desk.type("show history")
    assert desk.type("show history where result=bounced | count") == "15\n"
    assert desk.type("show history limit 1 oldest").count("\n") == 3
    assert len(desk.machine("show history")) == 31
    row = desk.machine(f"show history {queue.past[3]['id']}")[0]["row"]
    assert row["delay"] == 2
    assert row["done"] == "2026-11-23T13:05:14Z"


def session_row(**more):
    row = {"id": "S1", "kind": "smtp-in", "peer": "10.1.2.3", "user": "", "state": "data", "since": NOW, "idle": 5000}
    return {**row, "cmds": 3, "msgs": 1, "bytes": 10, "tls": "", "helo": "x", "domain": "", "node": "mx1", **more}


def test_sessions(desk):
    assert "No sessions match" in desk.type("show sessions")
    desk.service.sessions.list = [session_row(), session_row(id="S2", kind="console", user="op", peer="127.0.0.1")]
    assert desk.type("show sessions").count("\n") == 3
    assert desk.type("show sessions where peer=10.0.0.0/8 and idle>4s").count("\n") == 2
    assert desk.type("who").count("\n") == 2
    assert desk.machine("show sessions")[0]["row"]["idle"] == 5


def test_version_schema_and_other_words(desk):
    assert "version  1.0" in desk.type("show version")
    assert desk.machine("show version")[0]["row"]["uptime"] == 12 * 86400
    schema = desk.machine("show schema queue.item/1")[0]["row"]["schema"]
    assert schema["properties"]["state"]["enum"][:2] == ["incoming", "active"]
    assert schema["title"] == "queue.item/1"
    assert json.loads(desk.type("show schema message"))["properties"]["items"]["items"]["title"] == "queue.item/1"
    assert "E401" in desk.type("show schema nothing")
    assert "did you mean retry or delete?  [E101]" in desk.type("flush")
    assert "Here: show queue summary where state=deferred\nNo messages match" in desk.type("qshape -s deferred")
    assert '"postsuper" is of another system. Here: hold all  [E101]' in desk.type("postsuper -h ALL")
    assert "help has our words" in desk.type("postsuper -x")
    assert desk.machine("postqueue -p")[0]["err"]["suggest"] == ["show queue"]
    assert desk.type("exim -bpc") == "Here: show queue | count\n0\n"


def test_help(desk):
    assert "Looking" in desk.type("help")
    assert desk.type("help | match hold | count") == "3\n"
    assert desk.type("help hold").startswith("hold ID")
    assert "More: show queue summary" in desk.type("help show queue")
    assert "domain delete" in desk.type("help domain")
    assert "held-why" in desk.type("help fields queue")
    assert "E101" in desk.type("help shwo")
    assert desk.machine("help fields mail")[0]["row"]["name"] == "uid"


def test_the_audit_trail(desk):
    assert "nothing yet" in desk.type("show audit")
    audit = desk.service.audit
    for n in range(60):
        audit.record("op" if n % 2 else "root", "operator", "telnet", "hold", f"t{n}", "", n, "ok")
    shown = desk.type("show audit")
    assert "root" not in shown
    assert desk.type("show audit limit 5").count("op") >= 5
    assert desk.type("show audit | count") == "30\n"
    assert desk.type("show audit | first 2").count("\n") == 3
    desk.login("root", "admin")
    assert "20 shown; there are more" in desk.type("show audit")
    assert len(desk.machine("show audit")) == 61
    assert desk.machine("show audit limit 1")[0]["row"]["at"] == "2026-11-23T14:05:12Z"


def test_every_schema_of_the_contract_has_its_fields():
    from netsvc.console.schemas import TABLES

    contract = {
        "queue.item": "id msg n state domain rcpt sender user peer listener size rcpts subject msgid age queued next last "
        "attempts expires code status reason error route host tag held_by held_why node",
        "queue.summary": "key total bytes incoming active deferred hold ages oldest status",
        "reason": "reason code status count share sample first last domains",
        "message": "id sender rcpts size queued expires listener peer helo tls user msgid subject items headers body",
        "attempt": "msg n at node host addr tls ms outcome code status reply reason transcript",
        "history": "id msg n result done queued delay sender rcpt domain size msgid subject user peer listener host tls "
        "code status reply attempts",
        "mailbox": "address driver messages bytes quota last_access state",
        "mail": "uid id msgid sender subject size time flags folder",
        "mail.source": "uid id offset source",
        "message.source": "id offset source",
        "session": "id kind peer user state since idle cmds msgs bytes tls helo domain node",
        "destination": "key domain state connections limit rate deferred oldest last_error until reason by",
        "job": "id verb actor reason state matched done skipped started ended undo",
        "audit": "seq at node actor role source verb target args affected result",
    }
    for name, fields in contract.items():
        assert TABLES[name].schema == f"{name}/1"
        assert set(fields.split()) <= {column.name for column in TABLES[name].fields}, name
