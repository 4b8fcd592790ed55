"""Fixtures of the system tests: a service per test, one shared by a module, a scripted sink."""

import pytest

from tests.system.service import Service
from tests.system.wire import Control, Sink


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """One running service shared by the tests of a module: leave nothing behind that another test would trip over."""
    service = Service(tmp_path_factory.mktemp("house"))
    try:
        yield service.start()
    finally:
        service.close()


@pytest.fixture
def make_service(tmp_path):
    """Make services in the test's own folder; all are ended, and none may have logged a traceback."""
    made = []

    def make(name="node", **options):
        service = Service(tmp_path / name, **options)
        made.append(service)
        return service

    yield make
    for service in made:
        service.close()


@pytest.fixture
def make_sink():
    """Make scripted SMTP servers."""
    made = []

    def make(plan=None, **options):
        sink = Sink(plan, **options)
        made.append(sink)
        return sink

    yield make
    for sink in made:
        sink.close()


@pytest.fixture
def control():
    """Open control sessions that are closed with the test."""
    made = []

    def connect(service):
        made.append(Control(service.control))
        return made[-1]

    yield connect
    for session in made:
        session.close()
