"""What every test shares: how coverage is gathered, and a word on what was left to tests/interop."""

import pathlib
import re

HERE = pathlib.Path(__file__).parent


def pytest_terminal_summary(terminalreporter):
    """Say how many tests need system packages and are run by .ci/run."""
    count = sum(
        len(re.findall(r"^(?:async )?def test_|^    (?:async )?def test_", path.read_text(), re.MULTILINE))
        for path in (HERE / "interop").glob("test_*.py")
    )
    terminalreporter.write_line(f"{count} tests need system packages and were left to tests/interop (see .ci/run).")
