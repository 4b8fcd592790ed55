"""No input made at random costs a parser more than 50 ms of CPU: what the fuzzers of the parsers cannot say.

Inputs are cut, joined and bent from what each parser takes, by a generator with a seed, so that what is found is found
again.  CPU time of this thread; one that is dear is tried again, for other load on the machine is no fault of it.
"""

import os
import random
import time

import pytest

from tests.bench.test_cpu import BUDGET, PARSERS, SEEDS, cost

COUNT = int(os.environ.get("NETSVC_FUZZ_INPUTS", "3000"))
"""Inputs a parser; by hand millions."""
WORDS = [
    b"EHLO a\r\n",
    b"MAIL FROM:<a@b.example> SIZE=1 BODY=8BITMIME\r\n",
    b"RCPT TO:<@a,@b:c@d.example>\r\n",
    b'RCPT TO:<"a\\ b"@[IPv6:::1]> NOTIFY=NEVER ORCPT=rfc822;a+2Bb\r\n',
    b"DATA\r\n",
    b"BDAT 10 LAST\r\n",
    b"XCLIENT ADDR=192.0.2.1 NAME=[UNAVAILABLE] LOGIN=a+20b\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.9 1 2\r\n",
    b"PROXY TCP6 ::1 2001:db8::1 65535 1\r\n",
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c",
    b"250-mx.example.org\r\n250 SIZE 10\r\n",
    b"Subject: =?utf-8?q?a?= b\r\nReceived: from x\r\n\r\n",
    b"where rcpt=*@example.org and not (size>1k or age<5m)",
    b".\r\n",
    b"\r\n.\r\n",
]


def inputs(seed):
    """Yield COUNT inputs."""
    rng = random.Random(seed)
    parts = [*WORDS, *SEEDS.values()]
    for _ in range(COUNT):
        data = bytearray(
            b"".join(rng.choice(parts) * rng.choice((1, 1, 1, 2, 50, 2000)) for _ in range(rng.randint(1, 8)))
        )
        for _ in range(rng.randint(0, 6)):
            at = rng.randrange(len(data) + 1)
            data[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        yield bytes(data[:100_000])


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
@pytest.mark.timeout(600)
def test_no_input_at_random_is_expensive(parser):
    dearest, worst = 0.0, b""
    for data in inputs(parser.__name__):
        start = time.thread_time()
        parser(data)
        took = time.thread_time() - start
        if took > BUDGET:
            took = min(took, cost(parser, data))
        if took > dearest:
            dearest, worst = took, data
    print(f"{parser.__name__}: {COUNT} inputs, at most {dearest * 1000:.1f} ms")
    assert dearest <= BUDGET, (round(dearest * 1000), len(worst), worst[:200])
