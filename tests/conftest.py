"""What every test shares: what hypothesis draws, and a word on what was left to tests/interop."""

import os
import pathlib
import re

import hypothesis

# The same examples on every run: a change is judged by what it changed, not by a lucky draw.  New ground is for
# those who ask for it (NETSVC_EXPLORE=1) and for the fuzz step of .ci/run.  No deadline: a busy machine is no bug.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("explore" if os.environ.get("NETSVC_EXPLORE") else "same")

HERE = pathlib.Path(__file__).parent


def pytest_terminal_summary(terminalreporter):
    """Say how many tests need system packages and are run by .ci/run."""
    count = sum(
        len(re.findall(r"^(?:async )?def test_|^    (?:async )?def test_", path.read_text(), re.MULTILINE))
        for path in (HERE / "interop").glob("test_*.py")
    )
    terminalreporter.write_line(f"{count} tests need system packages and were left to tests/interop (see .ci/run).")
