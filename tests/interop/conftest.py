"""Fixtures of the interoperation tests: one running service, and programs that must be there (nothing is skipped)."""

import shutil

import pytest

from tests.system.service import Service


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("house"), covered=False)
    try:
        yield service.start()
    finally:
        service.close()


@pytest.fixture(scope="session")
def program():
    """-> the path of a program; its absence is a failure, see tests/interop/run."""

    def find(name):
        path = shutil.which(name)
        assert path, f"{name} is not installed: run tests/interop/run as root, it installs what these tests need"
        return path

    return find
