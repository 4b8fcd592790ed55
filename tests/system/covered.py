"""Runs twistd or netsvcctl under coverage, and saves what was measured although twistd ends itself with a signal.

Used by service.py in place of the scripts when NETSVC_COVERAGE is set:  python covered.py twistd -n netsvc …
"""

import sys
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    measured = coverage.Coverage(
        data_file=str(ROOT / ".coverage"), data_suffix=True, config_file=str(ROOT / "pyproject.toml")
    )
    measured.start()

    def save() -> None:
        measured.stop()
        measured.save()

    script = sys.argv[1]
    sys.argv = sys.argv[1:]
    try:
        if script == "twistd":
            from twisted.application import app
            from twisted.scripts import twistd

            end = app._exitWithSignal

            def end_saved(number: int) -> None:
                save()
                end(number)

            app._exitWithSignal = end_saved
            twistd.run()
        else:
            from netsvc import ctl

            sys.exit(ctl.main())
    finally:
        save()


if __name__ == "__main__":
    main()
