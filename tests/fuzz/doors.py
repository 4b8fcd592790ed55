"""The SMTP door as it is on the wire, under fuzz: spoiled dialogues, cut, with answers that come at once or late."""

from __future__ import annotations

import random

from tests.fakes import FakeLogbook
from tests.fuzz.spoiling import Target, spoiled
from tests.test_smtpd_fuzz import SEEDS, TOKENS, run

TARGETS: list[Target] = []


def make_talk(rng):
    return spoiled(rng, SEEDS, TOKENS), rng.randrange(1 << 30)


def read_talk(given):
    """The replies and what is kept are those of the dialogue said at once to a service that answers at once."""
    data, whim = given
    logbook = FakeLogbook()
    whole = run(data, None, logbook)
    assert run(data, random.Random(whim), logbook) == whole
    assert not logbook.named("smtp.fault")
    return bool(whole[1])


TARGETS = [Target("SMTP door", make_talk, read_talk, (0.05, 0.95), 0.1)]
