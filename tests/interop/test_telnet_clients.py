"""Log in, ``show queue``, leave: with each client an operator may have.

Those with a terminal are driven by pexpect in a pseudo terminal; those that are used in pipes get a whole session at
once on standard input, and must show every answer before they end.
"""

import re
import subprocess
import sys
import textwrap

import pexpect
import pytest

PROMPT = r"mx1> ?$"
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>78]")

TERMINALS = {
    "inetutils-telnet": ("inetutils-telnet", "127.0.0.1", "{port}"),
    "inetutils-telnet-8bit": ("inetutils-telnet", "-8", "127.0.0.1", "{port}"),
    "busybox": ("busybox", "telnet", "127.0.0.1", "{port}"),
    "plink": ("plink", "-telnet", "-P", "{port}", "127.0.0.1"),
    "nc.openbsd": ("nc.openbsd", "127.0.0.1", "{port}"),
    "nc.traditional-t": ("nc.traditional", "-t", "127.0.0.1", "{port}"),
    "socat": ("socat", "-", "TCP:127.0.0.1:{port}"),
}  # curl waits for its own standard input between the service's words: it is for pipes
SEES_PASSWORD_HIDDEN = ("inetutils-telnet", "inetutils-telnet-8bit", "busybox", "plink")

PIPES = {
    "inetutils-telnet": ("inetutils-telnet", "127.0.0.1", "{port}"),
    "busybox": ("busybox", "telnet", "127.0.0.1", "{port}"),
    "plink": ("plink", "-telnet", "-batch", "-P", "{port}", "127.0.0.1"),
    "nc.openbsd": ("nc.openbsd", "127.0.0.1", "{port}"),
    "nc.openbsd-N": ("nc.openbsd", "-N", "127.0.0.1", "{port}"),
    "nc.traditional": ("nc.traditional", "-q", "10", "127.0.0.1", "{port}"),
    "nc.traditional-t": ("nc.traditional", "-t", "-q", "10", "127.0.0.1", "{port}"),
    "socat": ("socat", "-t", "10", "-", "TCP:127.0.0.1:{port}"),
    "curl": ("curl", "-s", "-N", "telnet://127.0.0.1:{port}"),
}

LEAVES_AT_END_OF_INPUT = ("busybox", "inetutils-telnet")


def command(program, house, words):
    return [program(words[0]), *(w.replace("{port}", str(house.ports["console"])) for w in words[1:])]


@pytest.mark.parametrize("client", TERMINALS)
def test_a_person_at_a_terminal(house, program, client):
    words = command(program, house, TERMINALS[client])
    child = pexpect.spawn(
        words[0], words[1:], timeout=20, dimensions=(30, 100), encoding="utf-8", codec_errors="replace"
    )
    try:
        child.expect("Username: ?")
        child.sendline("admin")
        child.expect("assword: ?")
        child.sendline(house.password())
        child.expect(PROMPT)
        seen = child.before
        assert (house.password() in seen) == (client not in SEES_PASSWORD_HIDDEN)
        child.sendline("show queue")
        child.expect(PROMPT)
        shown = ANSI.sub("", child.before)
        assert "No messages match" in shown
        assert shown.count("show queue") == 1  # echoed once: by the client or by us
        child.sendline("show mailboxes")
        child.expect(PROMPT)
        assert "alice@example.org" in child.before
        child.sendline("exit")
        if client == "nc.openbsd":
            child.sendeof()  # it goes on reading the keyboard after the other side has closed
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)


@pytest.mark.parametrize("client", ["inetutils-telnet", "busybox", "plink"])
def test_keys_at_a_terminal(house, program, client):
    """Tab, ``?``, history and Ctrl-C work where the client sends each key."""
    words = command(program, house, TERMINALS[client])
    child = pexpect.spawn(
        words[0], words[1:], timeout=20, dimensions=(30, 100), encoding="utf-8", codec_errors="replace"
    )
    try:
        child.expect("Username: ?")
        child.sendline("admin")
        child.expect("assword: ?")
        child.sendline(house.password())
        child.expect(PROMPT)
        child.send("sh mailb\t")
        child.expect("mailbox")
        child.send("\x15show ?")
        child.expect("mailboxes")
        child.expect("mx1> show $")
        child.send("\x03")
        child.expect(PROMPT)
        child.sendline("who")
        child.expect("admin")
        child.expect(PROMPT)
        child.send("\x1b[A")
        child.expect("who")
        child.sendline("")
        child.expect("admin")
        child.expect(PROMPT)
        child.send("\x04")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)


@pytest.mark.parametrize("client", PIPES)
def test_a_session_from_a_pipe(house, program, client):
    script = f"admin\n{house.password()}\nshow queue\nshow mailboxes\nexit\n"
    with subprocess.Popen(
        command(program, house, PIPES[client]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(script.encode())
        process.stdin.flush()
        if client in LEAVES_AT_END_OF_INPUT:  # it drops the connection, answers or not: it must see the service end it
            seen = process.stdout.read()
            process.stdin.close()
        else:
            process.stdin.close()
            seen = process.stdout.read()
        process.wait(20)
    seen = seen.decode("utf-8", "replace")
    assert "No messages match" in seen
    assert "alice@example.org" in seen
    assert house.password() not in seen


@pytest.mark.parametrize("client", ["nc.openbsd-N", "nc.traditional", "socat"])
def test_machine_mode_from_a_pipe(house, program, client):
    script = f"admin+m\n{house.password()}\n@1 show mailboxes\n"
    done = subprocess.run(
        command(program, house, PIPES[client]), input=script.encode(), capture_output=True, timeout=30, check=False
    )
    lines = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.startswith("{")]
    assert '"hello"' in lines[0]
    assert '"tag":"1"' in lines[-1].replace(" ", "")


def run_script(source, house):
    """Run a script in a Python of its own: these libraries' warnings are none of our tests' business."""
    script = textwrap.dedent(source)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(house.ports["console"]), house.password()],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
    return done.stdout


def test_telnetlib3(house):
    shown = run_script(
        """
        import asyncio, sys, telnetlib3

        async def main():
            reader, writer = await telnetlib3.open_connection("127.0.0.1", int(sys.argv[1]), encoding="utf8", cols=100, rows=30)
            seen = ""

            async def until(word):
                nonlocal seen
                text = ""
                while word not in text:
                    piece = await asyncio.wait_for(reader.read(4096), 20)
                    if not piece:
                        break
                    text += piece
                seen += text

            await until("Username: ")
            writer.write("admin\\r")
            await until("assword: ")
            writer.write(sys.argv[2] + "\\r")
            for command in ("show queue", "show mailboxes"):
                await until("mx1> ")
                writer.write(command + "\\r")
            await until("mx1> ")
            writer.write("exit\\r")
            await until("this never comes")
            print(seen)

        asyncio.run(main())
        """,
        house,
    )
    assert "No messages match" in shown
    assert "alice@example.org" in shown
    assert house.password() not in shown


def test_netmiko(house):
    shown = run_script(
        """
        import sys
        from netmiko import ConnectHandler

        device = ConnectHandler(
            device_type="cisco_ios_telnet", host="127.0.0.1", port=int(sys.argv[1]),
            username="admin", password=sys.argv[2], secret=sys.argv[2],
        )
        print(device.find_prompt())
        print(device.send_command("show queue"))
        print(device.send_command("show mailboxes"))
        device.enable()
        print(device.find_prompt())
        print(device.send_command("show audit"))
        device.disconnect()
        """,
        house,
    )
    assert shown.startswith("mx1>")
    assert "No messages match" in shown
    assert "alice@example.org" in shown
    assert "mx1#" in shown
