"""Mail handed on by the real service: to LMTP stores, to programs, to a stranger's plugin, into folders with quotas."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.system.lmtp import LmtpSink
from tests.system.service import SITE, Service
from tests.system.wire import Control, Smtp, queue_id, send

HEAD = b"From: <a@example.net>\r\nSubject: handed on\r\nMessage-ID: <agents@example.net>\r\n\r\n"
PROGRAM = """\
#!{python}
import json, os, sys
out = {{"argv": sys.argv[1:], "env": dict(os.environ), "text": sys.stdin.buffer.read().decode("latin-1"),
       "sid": os.getsid(0) == os.getpid(), "cwd": os.getcwd(), "uid": os.getuid(), "fds": sorted(map(int, os.listdir("/proc/self/fd")))}}
with open("{folder}/" + sys.argv[1], "a") as file:
    file.write(json.dumps(out) + "\\n")
print("kept it \\x1b[2J")
"""
FAILING = """\
#!/bin/sh
cat >/dev/null
case "$1" in
full) echo "5.2.2 mailbox full" ; exit 75 ;;
gone) echo "no such\tone" >&2 ; exit 67 ;;
told) echo "5.7.1 not for you" ; exit 1 ;;
loud) yes | head -c 200000 ; exit 0 ;;
early) exec 0<&- ; exit 0 ;;
slow) sleep 60 & echo $! > {folder}/slow ; wait ;;
killed) kill -9 $$ ;;
esac
"""


def example():
    """-> the drop-in that docs/plugins.md shows as a delivery agent."""
    page = Path(__file__).parents[2].joinpath("docs/plugins.md").read_text("utf-8")
    return re.search(r"```python\n(# netsvc/plugins/mbox\.py.*?)```", page, re.DOTALL)[1]


class House:
    """One service with every kind of agent, and what stands behind them."""

    def __init__(self, folder):
        self.folder = folder
        self.said = folder / "said"
        self.said.mkdir()
        self.program = self.script("keep", PROGRAM.format(python=sys.executable, folder=self.said))
        self.failing = self.script("fail", FAILING.format(folder=self.said))
        plugins = folder / "theirs" / "netsvc" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "mbox.py").write_text(example())
        self.unix = LmtpSink(folder / "lmtp", {"full": "452 4.2.2 full", "none": "RCPT 550 5.1.1 no such user"})
        self.tcp = LmtpSink(None, {"second": "LOST"})
        self.service = Service(folder / "node", site=SITE + self.site())
        self.service.env["PYTHONPATH"] = str(folder / "theirs")
        self.service.start()

    def script(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def site(self):
        return f"""
[site.routes]
"store.example" = "lmtp:unix:{self.folder}/lmtp"
"tcp.example" = "lmtp:[127.0.0.1]:{self.tcp.port}"
"keep.example" = "command:keep"
"fail.example" = "command:fail"
"mbox.example" = "agent:mbox lists"
"folder.example" = "maildir:{self.folder}/mail/{{domain}}/{{local}}"
[site.commands.keep]
argv = ["{self.program}", "{{local}}", "--", "{{sender}}", "{{rcpt}}", "{{domain}}", "{{id}}", "$(touch {self.said}/shell)"]
environment = ["HOME=/nonexistent"]
[site.commands.fail]
argv = ["{self.failing}", "{{local}}"]
timeout = "1s"
at_once = 8
[site.agents.mbox]
folder = "{self.folder}/theirs"
[site.delivery]
maildir_quota = {{ bytes = 2000, messages = 3 }}
"""

    def close(self):
        self.unix.close()
        self.tcp.close()
        self.service.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("agents"))
    try:
        yield made
    finally:
        made.close()


def outcomes(house, sent, count):
    """-> {recipient: logged outcome} of a message once there are ``count``."""
    house.service.wait("delivery.done", count=count, msg=sent)
    return {each["rcpt"]: each for each in house.service.events("delivery.done", msg=sent)}


def hand(house, recipients, content=HEAD + b"..dots\r\n.\r\nend\r\n", sender="alice@example.org"):
    return send(house.service.ports["smtp"], sender, recipients, content)


def test_each_recipient_of_lmtp_has_its_own_answer(house):
    before = len(house.unix.messages)
    sent = hand(house, [f"{name}@store.example" for name in ("ann", "full", "none", "bob")])
    done = outcomes(house, sent, 4)
    assert {rcpt.split("@")[0]: (each["result"], each["code"], each["status"]) for rcpt, each in done.items()} == {
        "ann": ("delivered", 250, "2.1.5"),
        "full": ("deferred", 452, "4.2.2"),
        "none": ("bounced", 550, "5.1.1"),
        "bob": ("delivered", 250, "2.1.5"),
    }
    ((sender, taken, content),) = house.unix.messages[before:]
    assert (sender, taken) == ("alice@example.org", ["ann@store.example", "bob@store.example"])
    assert content.endswith(HEAD + b"..dots\r\n.\r\nend\r\n")
    assert house.unix.heard[0] == "LHLO mx1.example.org"
    hand(house, ["ann@store.example"])
    connections = house.unix.connections
    house.unix.wait(before + 2)
    assert house.unix.connections == connections  # it was kept


def test_what_a_lost_lmtp_session_had_answered_is_not_sent_again(house):
    sent = hand(house, [f"{name}@tcp.example" for name in ("first", "second", "third")])
    done = outcomes(house, sent, 3)
    assert [done[f"{name}@tcp.example"]["result"] for name in ("first", "second", "third")] == [
        "delivered", "deferred", "deferred",
    ]  # fmt: skip
    house.tcp.plan.clear()
    with Control(house.service.control) as operator:
        operator.do(f"retry {sent} expect any")
    house.tcp.wait(2)
    assert [taken for _, taken, _ in house.tcp.messages] == [
        ["first@tcp.example"],
        ["second@tcp.example", "third@tcp.example"],
    ]


def test_a_program_gets_its_words_the_message_and_nothing_else(house):
    sent = hand(house, ["Ann+x@keep.example", "a`id`|x@keep.example"], sender="-odd@example.net")
    done = outcomes(house, sent, 2)
    assert {each["result"] for each in done.values()} == {"delivered"}, done
    (said,) = [json.loads(line) for line in (house.said / "Ann+x").read_text().splitlines()]
    assert said["argv"][1:] == [
        *("--", "-odd@example.net", "Ann+x@keep.example", "keep.example", f"{sent}.1"),
        f"$(touch {house.said}/shell)",
    ]
    assert not (house.said / "shell").exists()
    assert said["env"].keys() - {"LC_CTYPE"} == {"PATH", "LANG", "HOME"}
    assert (said["sid"], said["cwd"], said["uid"]) == (True, "/", os.getuid())
    assert said["fds"] == [0, 1, 2, 3]  # the last is the list's own
    assert said["text"].startswith("Return-Path: <-odd@example.net>\nReceived: ")
    assert said["text"].endswith("\n\n..dots\n.\nend\n")
    assert "\r" not in said["text"]
    assert len(list(house.said.iterdir())) == 2


def test_a_value_like_an_option_is_refused_where_nothing_ends_the_options(house):
    sent = hand(house, ["-rf@fail.example"])
    done = outcomes(house, sent, 1)["-rf@fail.example"]
    assert (done["result"], done["status"]) == ("bounced", "5.1.3")


def test_how_programs_end_is_how_their_mail_ends(house):
    names = ("full", "gone", "told", "loud", "early", "killed", "slow")
    sent = hand(house, [f"{name}@fail.example" for name in names], HEAD + b"x" * 70 + b"\r\n" + b"y\r\n" * 100_000)
    done = {rcpt.split("@")[0]: each for rcpt, each in outcomes(house, sent, len(names)).items()}
    assert {name: (each["result"], each["status"]) for name, each in done.items()} == {
        "full": ("deferred", "4.3.0"),
        "gone": ("bounced", "5.1.1"),
        "told": ("bounced", "5.7.1"),
        "loud": ("delivered", ""),
        "early": ("delivered", ""),
        "killed": ("deferred", "4.3.0"),
        "slow": ("deferred", "4.3.0"),
    }
    assert "no such\\x09one" in done["gone"]["reply"]
    assert "not for you" in done["told"]["reply"]
    assert "longer than 1 s" in done["slow"]["reply"]
    child = int((house.said / "slow").read_text())
    (house.said / "slow").unlink()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text():
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
        pytest.fail("what the program started lives on")


def test_the_plugin_of_the_documentation_takes_mail(house):
    file = house.folder / "theirs" / "lists"
    before = file.stat().st_size if file.exists() else 0
    sent = hand(house, ["one@mbox.example", "two@mbox.example"])
    done = outcomes(house, sent, 2)
    assert {each["result"] for each in done.values()} == {"delivered"}
    kept = file.read_bytes()[before:]
    assert kept.startswith(b"From alice@example.org ")
    assert kept.count(b"Subject: handed on") == 1


def test_a_full_folder_takes_no_more(house):
    ids = [hand(house, ["ann@folder.example"], HEAD + b"x" * 100 + b"\r\n") for _ in range(4)]
    house.service.wait("delivery.done", count=4, rcpt="ann@folder.example")
    ends = [outcomes(house, sent, 1)["ann@folder.example"] for sent in ids]
    assert sorted(each["result"] for each in ends) == ["deferred", "delivered", "delivered", "delivered"]
    (late,) = [each for each in ends if each["result"] == "deferred"]
    assert (late["status"], late["reply"]) == ("4.2.2", "the mailbox is full")
    box = house.folder / "mail" / "folder.example" / "ann"
    files = list((box / "new").iterdir())
    assert len(files) == 3
    assert all(path.name.endswith(f",S={path.stat().st_size}") for path in files)
    big = hand(house, ["eve@folder.example"], HEAD + b"x" * 900 + b"\r\n" + b"y" * 900 + b"\r\n")
    assert outcomes(house, big, 1)["eve@folder.example"]["status"] == "4.2.2"


def test_a_message_for_many_ways_goes_each_of_them(house):
    with Smtp(house.service.ports["smtp"]) as smtp:
        smtp.begin("alice@example.org", ["ann@store.example", "x@keep.example", "bob@folder.example", "y@mbox.example"])
        sent = queue_id(smtp.content(HEAD + b"x\r\n"))
    done = outcomes(house, sent, 4)
    assert {each["result"] for each in done.values()} == {"delivered"}
    (house.said / "x").unlink()
