"""The suite that every rule passes, ours and yours."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from attrs import define, evolve, field

from driftline.records import Series
from driftline.rules import Change, Judgement, Phase, Reading, Rule
from driftline.rules._follow import Followed, Segment, follow
from driftline.rules._rehearsal import after, rehearsal, step_of
from driftline.rules._state import State
from driftline.rules._time import instant, micros, span, starts_of

START: Final = datetime(2026, 11, 23, tzinfo=UTC)
PIECES: Final = 7
"""Into how many pieces an example is cut to see that it does not matter."""


def check_rule(rule: Rule) -> None:
    """Check that a rule behaves as `driftline.Monitor` and its drills expect.

    It must have a name, a runbook and metrics; fire once on its own example of a breach, stay
    calm on the calm one, and end the alert when calm comes after the breach; be a pure function
    whose judgement is the same in one piece or in several; find nothing in nothing; bear numbers
    as large and as small as they come; remember only JSON; and have words for it all.

    >>> from driftline import rules
    >>> check_rule(rules.LatencyBudget(p95_ms=250, runbook="Roll back to the last model"))

    Raises:
        ExceptionGroup: of an AssertionError for each thing that is wrong.
    """
    suite = _Suite(rule=rule)
    for check in (
        suite.shape,
        suite.words,
        suite.fires_and_ends,
        suite.stays_calm,
        suite.pure,
        suite.pieces,
        suite.nothing,
        suite.extremes,
    ):
        suite.run(check)
    if suite.faults:
        msg = f"{type(rule).__name__} is no rule as Driftline needs it"
        raise ExceptionGroup(msg, suite.faults)


@define(kw_only=True)
class _Suite:
    """The checks, one method each; what they find is gathered."""

    rule: Rule
    faults: list[AssertionError] = field(factory=list)

    def run(self, check: Callable[[], None]) -> None:
        try:
            check()
        except AssertionError as fault:
            self.faults.append(fault)
        except Exception as exc:  # noqa: BLE001 - border: a rule of the user's may raise anything
            raised = AssertionError(f"{check.__name__}: it raises {type(exc).__name__}: {exc}")
            raised.__cause__ = exc
            self.faults.append(raised)

    # --- what it is --------------------------------------------------------------------------

    def shape(self) -> None:
        rule = self.rule
        metrics: object = rule.metrics()
        demand(bool(rule.name) and bool(rule.runbook), "it has no name or no runbook")
        demand(
            isinstance(metrics, tuple) and len(metrics) > 0 and all(metrics),
            f"metrics() must be a tuple of names, the one it is about first; got {metrics!r}",
        )
        demand(rule == evolve(rule), "two rules with equal fields must be equal: use attrs.frozen")

    def words(self) -> None:
        for value in (0.0, 1.5, 1e12):
            for text in (self.rule.summary(value, value), self.rule.expected(value)):
                demand(
                    bool(text.strip()) and len(text.splitlines()) == 1,
                    f"summary() and expected() must be one line each, got {text!r}",
                )

    # --- what it does ------------------------------------------------------------------------

    def fires_and_ends(self) -> None:
        breach = rehearsal(self.rule, breach=True, start=START)
        fired = self.followed(State(), {}, [breach])
        changes = [step.change for step in fired.steps]
        demand(
            fired.state.phase is Phase.FIRING and changes.count(Change.FIRING) == 1,
            f"example(breach=True) must make it fire once, it did: {_told(changes)}",
        )
        calm = rehearsal(self.rule, breach=False, start=instant(after(self.rule, breach)))
        ended = self.followed(fired.state, fired.memory, [calm])
        demand(
            ended.state.phase is Phase.OK,
            f"example(breach=False) after the breach must end the alert: {_told(ended.steps)}",
        )
        again = self.followed(ended.state, ended.memory, [breach, calm])
        demand(
            not again.steps, f"judging the same time twice must do nothing: {_told(again.steps)}"
        )

    def stays_calm(self) -> None:
        found = self.followed(State(), {}, [rehearsal(self.rule, breach=False, start=START)])
        demand(
            found.state.phase is Phase.OK and not found.steps,
            f"example(breach=False) must leave it calm, it did: {_told(found.steps)}",
        )

    def pure(self) -> None:
        for breach in (True, False):
            segment = rehearsal(self.rule, breach=breach, start=START)
            before = {name: series.values.copy() for name, series in segment.series.items()}
            first, second = (self.judged(segment) for _ in range(2))
            demand(
                _same(first, second),
                "the same reading must get the same judgement: keep no state in the rule",
            )
            demand(
                all(np.array_equal(before[n], s.values) for n, s in segment.series.items()),
                "judge() must not change the arrays it is shown",
            )
            self.sound(segment, first)

    def sound(self, segment: Segment, judgement: Judgement) -> None:
        starts, ends = _us(judgement.starts), _us(judgement.ends)
        demand(bool(np.all(np.diff(starts) > 0)), "starts must be strictly increasing")
        demand(bool(np.all(ends >= starts)), "no sample may end before it starts")
        demand(
            (segment.end is not None and not len(ends)) or int(ends[-1]) <= (segment.end or 0),
            "no sample may end after what it was shown",
        )
        demand(bool(np.all(np.isfinite(judgement.values))), "values must be finite")
        demand(
            not bool(np.any(judgement.breach & judgement.good)),
            "a sample cannot be good and a breach at once",
        )
        text = json.dumps(dict(judgement.memory), allow_nan=False)
        demand(
            json.loads(text) == dict(judgement.memory),
            "memory must be a JSON object that comes back equal (no tuples, arrays, numbers as keys)",
        )

    def pieces(self) -> None:
        for breach in (True, False):
            whole = rehearsal(self.rule, breach=breach, start=START)
            at_once = self.followed(State(), {}, [whole])
            state, memory, steps = State(), dict[str, Any](), list[Any]()
            for piece in _cut(whole, step_of(self.rule)):
                found = self.followed(state, memory, [piece])
                state, memory = found.state, dict(found.memory)
                steps += found.steps
            demand(
                steps == list(at_once.steps) and state == at_once.state,
                f"in one piece it did {_told(at_once.steps)}, in several {_told(steps)}: a sample must "
                "rest on its own buckets and on memory",
            )

    def nothing(self) -> None:
        reading = Reading(deployment="", series={}, start=START, end=instant(micros(START) + 1))
        judgement = self.rule.judge(reading)
        demand(len(judgement) == 0, "where nothing was observed there is no sample")

    def extremes(self) -> None:
        segment = rehearsal(self.rule, breach=False, start=START)
        for factor in (0.0, 1e12, 1e-12):
            scaled = {
                name: evolve(series, values=series.values * factor)
                for name, series in segment.series.items()
            }
            self.sound(segment, self.judged(evolve(segment, series=scaled)))

    # --- how ---------------------------------------------------------------------------------

    def followed(self, state: State, memory: Any, segments: Sequence[Segment]) -> Followed:
        return follow(
            self.rule,
            state,
            memory,
            segments,
            deployment="acme/line-3",
            labels={},
            now=max(segment.end or 0 for segment in segments) + span(self.rule.delay),
        )

    def judged(self, segment: Segment) -> Judgement:
        assert segment.start is not None
        assert segment.end is not None
        end = segment.end // step_of(self.rule) * step_of(self.rule)
        return self.rule.judge(
            Reading(
                deployment="acme/line-3",
                series={n: _between(s, segment.start, end) for n, s in segment.series.items()},
                start=instant(segment.start),
                end=instant(end),
                answered=True,
            )
        )


def demand(fulfilled: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as an assertion
    """Raise what is wrong, with or without ``python -O``."""
    if not fulfilled:
        raise AssertionError(otherwise)


def _cut(whole: Segment, step: int) -> list[Segment]:
    """The same time in pieces, each ending at a window's end, and none twice."""
    assert whole.start is not None
    assert whole.end is not None
    step = max([step, *(span(series.width) for series in whole.series.values())])
    cuts = sorted(
        {
            whole.start + (whole.end - whole.start) * i // PIECES // step * step
            for i in range(1, PIECES)
        }
        - {whole.start}
        | {whole.end}
    )
    begins = [whole.start, *cuts]
    return [
        Segment(series={n: _between(s, a, b) for n, s in whole.series.items()}, start=a, end=b)
        for a, b in zip(begins, cuts, strict=False)
    ]


def _between(series: Series, start: int, end: int) -> Series:
    # Views, not copies: what a rule does to them must be seen.
    first, last = starts_of(series).searchsorted([start, end]).tolist()
    return evolve(series, times=series.times[first:last], values=series.values[first:last])


def _same(first: Judgement, second: Judgement) -> bool:
    arrays = ("starts", "ends", "values", "breach", "good", "thresholds")
    return (
        all(np.array_equal(getattr(first, name), getattr(second, name)) for name in arrays)
        and first.gaps == second.gaps
        and first.memory == second.memory
    )


def _us(times: Any) -> Any:
    return times.astype("datetime64[us]").view(np.int64)


def _told(found: Sequence[Any]) -> str:
    words = [getattr(one, "change", one).value for one in found]
    return ", ".join(words) or "nothing"
