"""Looking at a week before it is over: soon where the shift is large, and never an extra alarm."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from sites import MONDAY, reference_and_weeks
from worlds import Shift, World

from driftline.drift import DriftDetector
from driftline.drift._detector import SPENDING
from driftline.errors import InputError

SMALL = World(frames=80)
WEEK = MONDAY + timedelta(weeks=4)


@pytest.fixture(scope="module")
def blurred():
    """Four reference weeks, and a week in which half of all frames are blurred."""
    reference, (week,) = reference_and_weeks(SMALL, 3, 1, shift=Shift(blurred=0.5), shifted_from=4)
    return DriftDetector(reference=reference, permutations=500), week


def until(week, days, hours=0):
    return week.slice(end=WEEK + timedelta(days=days, hours=hours))


class TestPeek:
    def test_spends_all(self):
        """The looks of a week spend the error rate once, and most of it at the end."""
        assert sum(SPENDING) == pytest.approx(1.0)
        assert len(SPENDING) == 7
        assert max(SPENDING) == SPENDING[-1] == 0.5

    def test_early(self, blurred):
        """A large shift is seen before the week is over."""
        detector, week = blurred
        seen = [detector.peek(until(week, d)).flagged for d in (2, 4, 5)]

        assert seen[0] is False
        assert seen[2] is True

    def test_stays(self, blurred):
        """What was flagged at a look is flagged at every later one of the week."""
        detector, week = blurred
        looks = [detector.peek(until(week, d)) for d in range(3, 8)]
        keys = [{c.key for c in r.flags} for r in looks]

        assert [r.look for r in looks] == [3, 4, 5, 6, 7]
        assert all(a <= b for a, b in pairwise(keys))
        assert {r.alpha for r in looks} == {0.01}

    def test_hours_wait(self, blurred):
        """During a day the answer is that of the last complete day."""
        detector, week = blurred
        noon, midnight = (detector.peek(until(week, 4, hours=h)) for h in (12, 0))

        assert noon == midnight

    def test_until(self, blurred):
        """A day whose counts are still coming in waits."""
        detector, week = blurred
        found = detector.peek(until(week, 5), until=WEEK + timedelta(days=4, hours=23))

        assert found.look == 4

    def test_too_early(self, blurred):
        """On the first days there is no verdict, and it is not a pass."""
        detector, week = blurred
        for days in (0, 1, 2):
            report = detector.peek(until(week, days))

            assert (report.verdict, report.look) == ("too little data", days)

    def test_confirms(self, blurred):
        """The look after the seventh day stands for its week."""
        detector, week = blurred
        first = detector.peek(week)
        later = detector._compared_with(week, [first], alpha=0.01)

        assert later.before == (True,)

    def test_refused(self):
        """More than a week, and methods without days, are refused."""
        reference, weeks = reference_and_weeks(World(frames=20, cameras=1), 0, 2)
        plain = DriftDetector(reference=reference, method="ks")
        with pytest.raises(InputError, match="more than a week"):
            DriftDetector(reference=reference).peek(weeks[0] + weeks[1])
        with pytest.raises(InputError, match="peek needs"):
            plain.peek(weeks[0])

    @pytest.mark.slow
    def test_calm_weeks(self):
        """Looked at every day, calm weeks alarm no more often than alpha allows.

        240 site-weeks at 1 %: 2.4 alarms are expected at most, 8 come with probability 0.003.
        """
        flagged = 0
        for seed in range(60):
            reference, weeks = reference_and_weeks(World(frames=60), seed, 4)
            detector = DriftDetector(reference=reference, permutations=500)
            reports = []
            for week in weeks:
                reports.append(detector.peek(week, previous=reports))
            flagged += int(np.sum([r.flagged for r in reports]))

        assert flagged < 8
