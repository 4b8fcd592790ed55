"""All checks of the conformance suite."""

from tests.smtp.conformance import commands, contents, extensions, paths, reports, security

CHECKS = commands.CHECKS + paths.CHECKS + contents.CHECKS + extensions.CHECKS + security.CHECKS + reports.CHECKS
