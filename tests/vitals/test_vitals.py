"""All of the node's condition in one place."""

import os
import resource

from twisted.internet.defer import execute
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from netsvc.interfaces import ISlots, IVitals
from netsvc.smtpd.slots import Slots
from netsvc.vitals import vitals as module
from netsvc.vitals.readiness import Readiness
from netsvc.vitals.vitals import Vitals, descriptors, memory
from netsvc.vitals.watchdog import Watchdog
from tests.fakes import FakeLogbook
from tests.vitals.test_readiness import Checkup


def make():
    logbook = FakeLogbook()
    readiness = Readiness(Checkup(), logbook, Clock(), execute, 1000)
    return Vitals(readiness, Watchdog(lambda answer: answer(), logbook), Slots(100, logbook))


def test_promises():
    vitals = make()
    assert verifyObject(IVitals, vitals)
    assert verifyObject(ISlots, vitals.slots)


def test_rows():
    vitals = make()
    vitals.start()
    try:
        names = [row["name"] for row in vitals.rows()]
    finally:
        vitals.stop()
    assert names == [
        "disk-free",
        "store",
        "smtp-sessions",
        "smtp-kept-for-submission",
        "smtp-kept-for-loopback",
        "reactor-held-up",
        "descriptors",
        "memory",
    ]
    assert vitals.refusal(1) is None
    vitals.not_stored(OSError())
    assert vitals.refusal(1).code == 451


def test_descriptors_and_memory(monkeypatch):
    row = descriptors()
    assert (row["state"], row["limit"]) == ("ok", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    assert row["value"] > 2
    assert memory()["value"] > 1 << 20
    monkeypatch.setattr(module.os, "listdir", lambda _: ["x"] * row["limit"])
    assert descriptors()["state"] == "warn"


def test_where_the_system_does_not_tell(monkeypatch):
    def missing(*_):
        raise FileNotFoundError

    monkeypatch.setattr(os, "listdir", missing)
    monkeypatch.setattr(module, "open", missing, raising=False)
    assert descriptors()["value"] is None
    assert memory()["value"] is None
