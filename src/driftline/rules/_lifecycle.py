"""Verdicts → the life of an alert. Pure: (state, verdicts) → (state, steps).

Everything is counted in the time of the series. Verdicts that come late, in two parts or all at
once lead to the same steps. The terms are those of Prometheus (``for``, ``keep_firing_for``),
CloudWatch (M of N) and Datadog (recovery threshold).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from driftline.rules._judgement import Judgement
from driftline.rules._rule import NoDataPolicy, Rule
from driftline.rules._state import Change, Phase, State, Step
from driftline.rules._time import span

HISTORY: Final = 21
"""Samples the flap detection looks at (Nagios: the last 21 check results)."""
FLAPPING_FROM: Final = 0.30
FLAPPING_UNTIL: Final = 0.20
"""Weighted share of state changes above which an alert flaps, and below which it has calmed down
(Nagios' defaults for services)."""
_MASK: Final = (1 << HISTORY) - 1
_WEIGHTS: Final = tuple(1.25 - 0.5 * i / (HISTORY - 2) for i in range(HISTORY - 1))
"""A change counts between 1.25 (the newest) and 0.75 (the oldest), as in Nagios."""


def restlessness(phases: int) -> float:
    """Weighted share of the last samples after which the alert came or went, 0 to about 1."""
    changes = (phases ^ (phases >> 1)) & (_MASK >> 1)
    return sum(w for i, w in enumerate(_WEIGHTS) if changes >> i & 1) / len(_WEIGHTS)


def advance(
    rule: Rule, state: State, judgement: Judgement, *, horizon: int | None, until: int = 0
) -> tuple[State, tuple[Step, ...]]:
    """The state after some verdicts, and what happened on the way.

    Args:
        rule: how much it takes.
        state: as the last call left it.
        judgement: verdicts on time not judged before.
        horizon: up to when the source is known to have nothing more, microseconds since 1970;
            None when the source did not answer, so that nobody knows.
        until: up to when everything is accounted for then.
    """
    walk = _Walk(rule, state)
    if not walk.calm(judgement):
        walk.through(judgement)
        if horizon is not None:
            walk.missing(horizon)
    return walk.result(max(state.until, until))


def close(state: State, *, at: int, reason: str) -> tuple[State, Step]:
    """End whatever is going on, for a reason that is not in the verdicts."""
    step = Step(
        change=Change.RESOLVED,
        phase=Phase.OK,
        at=at,
        since=state.since or state.window_start,
        value=state.value,
        threshold=state.threshold,
        window_start=state.window_start,
        window_end=state.window_end,
        reason=reason,
    )
    ended = State(
        until=state.until,
        first_start=state.first_start,
        last_start=state.last_start,
        last_end=state.last_end,
        alert=state.alert,
    )
    return ended, step


class _Walk:
    """One pass over verdicts; holds the fields that change, and the steps."""

    def __init__(self, rule: Rule, state: State) -> None:
        self.rule = rule
        self.before = state
        self.phase = state.phase
        self.first_start = state.first_start
        self.last_start = state.last_start
        self.last_end = state.last_end
        self.recent = state.recent
        self.since = state.since
        self.held_us = state.held_us
        self.good = state.good
        self.good_since = state.good_since
        self.no_data_since = state.no_data_since
        self.value = state.value
        self.threshold = state.threshold
        self.window_start = state.window_start
        self.window_end = state.window_end
        self.phases = state.phases
        self.flapping = state.flapping
        self.reason = state.reason
        self.steps: list[Step] = []
        self.of = rule.of or rule.samples
        self.hold = span(rule.hold)
        self.keep = span(rule.keep_firing)
        self.patience = span(rule.no_data_after) if rule.no_data is not NoDataPolicy.KEEP else None

    def result(self, until: int) -> tuple[State, tuple[Step, ...]]:
        changed = {name: getattr(self, name) for name in _CARRIED}
        changed["until"] = until
        return self.before.but(changed), tuple(self.steps)

    def calm(self, judgement: Judgement) -> bool:
        """Take the short way where nothing can happen: it was calm and nothing breaches."""
        quiet = (
            self.phase is Phase.OK
            and self.patience is None
            and not self.phases
            and not self.flapping
            and not judgement.breach.any()
            and not self.warming(judgement)
        )
        if not quiet:
            return False
        if n := len(judgement):
            starts, ends = judgement.starts, judgement.ends
            self.first_start = self.first_start or int(starts[0].view(np.int64))
            self.last_start = int(starts[-1].view(np.int64))
            self.last_end = int(ends[-1].view(np.int64))
            self.value = float(judgement.values[-1])
            self.threshold = float(judgement.thresholds[-1])
            self.recent = (self.recent + "0" * min(n, self.of))[-self.of :]
        return True

    def warming(self, judgement: Judgement) -> bool:
        """Whether a verdict falls into the first time of the series, which is not judged."""
        if not len(judgement):
            return False
        start = int(judgement.starts[0].view(np.int64))
        return start < (self.first_start or start) + span(self.rule.warm_up)

    def through(self, judgement: Judgement) -> None:
        starts = judgement.starts.view(np.int64).tolist()
        ends = judgement.ends.view(np.int64).tolist()
        warm = span(self.rule.warm_up)
        rows = zip(
            starts,
            ends,
            judgement.values.tolist(),
            judgement.thresholds.tolist(),
            judgement.breach.tolist(),
            judgement.good.tolist(),
            strict=True,
        )
        for start, end, value, threshold, breach, good in rows:
            self.first_start = self.first_start or start
            self.missing(start)
            self.no_data_since = 0
            if start >= self.first_start + warm:
                self.value, self.threshold = value, threshold
                self.sample(start, end, breach=breach, good=good)
            self.last_start, self.last_end = start, end

    def sample(self, start: int, end: int, *, breach: bool, good: bool) -> None:
        """One verdict."""
        mark = len(self.steps)
        held = end - start or (end - self.last_end if self.recent[-1:] == "1" else 0)
        self.recent = (self.recent + ("1" if breach else "0"))[-self.of :]
        if breach:
            if self.of > self.rule.samples and "1" not in self.recent[:-1]:
                self.since = self.held_us = 0  # earlier breaches are too long ago to count
            self.since = self.since or start
            self.held_us += held
        elif self.phase is not Phase.FIRING and (
            self.of == self.rule.samples or "1" not in self.recent
        ):
            self.since = self.held_us = 0
        if self.phase is Phase.FIRING:
            self.firing(end, breach=breach, good=good)
        else:
            self.not_firing(start, end, breach=breach)
        self.phases = (self.phases << 1 | (self.phase is Phase.FIRING)) & _MASK
        if self.phases and self.rule.flap_detection:
            self.flap(end, mark)

    def flap(self, end: int, mark: int) -> None:
        """Notice that the alert comes and goes, ahead of the sample's own step, or that it stopped."""
        share = restlessness(self.phases)
        if not self.flapping and share >= FLAPPING_FROM:
            self.flapping = True
            self.steps.insert(mark, self.stepped(Change.FLAPPING, end))
        elif self.flapping and share < FLAPPING_UNTIL:
            self.flapping = False
            self.step(Change.STEADY, end)

    def not_firing(self, start: int, end: int, *, breach: bool) -> None:
        enough = self.recent.count("1") >= self.rule.samples and self.held_us >= self.hold
        if breach and enough:
            self.window_start, self.window_end = self.since, end
            self.reason = ""
            self.enter(Phase.FIRING, Change.FIRING, end)
        elif self.since and self.phase is Phase.OK:
            self.window_start, self.window_end = start, end
            self.enter(Phase.PENDING, Change.PENDING, end)
        elif not self.since and self.phase is Phase.PENDING:
            self.window_start, self.window_end = start, end
            self.enter(Phase.OK, Change.CLEARED, end)

    def firing(self, end: int, *, breach: bool, good: bool) -> None:
        if breach:
            self.window_end = end
            self.reason = ""
        if not good:
            self.good = self.good_since = 0
            return
        self.good += 1
        self.good_since = self.good_since or end
        if self.good >= self.rule.recover_samples and end - self.good_since >= self.keep:
            self.window_end = end
            self.over(end, "recovered")

    def missing(self, now: int) -> None:
        """What the time without samples up to `now` means."""
        if self.patience is None or not self.last_end or self.no_data_since:
            return
        at = self.last_end + self.patience
        if now < at:
            return
        self.no_data_since = at
        if self.rule.no_data is NoDataPolicy.OK:
            if self.phase is Phase.FIRING:
                self.window_end = at
                self.over(at, "no data: this rule counts that as recovered")
        elif self.phase is not Phase.FIRING:
            self.since = self.since or self.last_end
            self.window_start, self.window_end = self.last_end, at
            self.reason = "no data" if self.rule.no_data is NoDataPolicy.ALERT else ""
            self.step(Change.NO_DATA, at)
            self.enter(Phase.FIRING, Change.FIRING, at)

    def over(self, at: int, reason: str) -> None:
        self.reason = reason
        self.enter(Phase.OK, Change.RESOLVED, at)
        self.recent = ""
        self.since = self.held_us = 0

    def enter(self, phase: Phase, change: Change, at: int) -> None:
        self.phase = phase
        self.good = self.good_since = 0
        self.step(change, at)

    def step(self, change: Change, at: int) -> None:
        self.steps.append(self.stepped(change, at))

    def stepped(self, change: Change, at: int) -> Step:
        return Step(
            change=change,
            phase=self.phase,
            at=at,
            since=self.since or self.window_start,
            value=self.value,
            threshold=self.threshold,
            window_start=self.window_start,
            window_end=self.window_end,
            reason=self.reason,
        )


_CARRIED: Final = frozenset(
    {
        "phase", "first_start", "last_start", "last_end", "recent", "since", "held_us", "good",
        "good_since", "no_data_since", "value", "threshold", "window_start", "window_end",
        "phases", "flapping", "reason",
    }
)  # fmt: skip
