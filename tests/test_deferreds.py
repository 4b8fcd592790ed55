"""Peeking at Deferreds."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from netsvc.deferreds import at_once


class AtOnceTests(SynchronousTestCase):
    def test_an_answer_that_is_there(self) -> None:
        """A fired Deferred gives its answer, and keeps it."""
        asked = succeed(7)
        self.assertEqual(at_once(asked, int), 7)
        self.assertEqual(self.successResultOf(asked), 7)

    def test_an_answer_of_another_kind(self) -> None:
        """What is not of the kind asked for is none."""
        self.assertIsNone(at_once(succeed("seven"), int))

    def test_no_answer_yet(self) -> None:
        """A Deferred that has not fired has none, and fires later as ever."""
        asked: Deferred[int] = Deferred()
        self.assertIsNone(at_once(asked, int))
        asked.callback(7)
        self.assertEqual(at_once(asked, int), 7)

    def test_a_failure(self) -> None:
        """A failure is no answer, and stays to be dealt with."""
        asked = fail(ValueError("no"))
        self.assertIsNone(at_once(asked, int))
        self.failureResultOf(asked, ValueError)

    def test_waiting_for_another(self) -> None:
        """A Deferred that waits for another has no answer yet."""
        other: Deferred[int] = Deferred()
        asked = succeed(None).addCallback(lambda _: other)
        self.assertIsNone(at_once(asked, int))
        other.callback(7)
        self.assertEqual(at_once(asked, int), 7)
