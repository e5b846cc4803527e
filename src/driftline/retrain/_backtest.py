"""What a policy would have done with the evidence of months, and what others would have done.

What was recorded was seen under the models that ran. A retraining that was not made would have
changed what came after it, and nobody knows how; so every policy is replayed twice, as if a
retraining changed nothing, and as if it cured what it was for. How often it would have retrained
lies between; what that would have cost need not, because the same fall may be dearer to mend on
another day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from attrs import asdict, evolve, field, fields_dict, frozen

from driftline._checks import part, parts, refuse_other
from driftline._draw import Axis, Dots, Picture, Shown, Table, View, days, plot
from driftline._progress import Progress, bar
from driftline.errors import InputError
from driftline.records import Entry
from driftline.retrain._decision import Action, Decision
from driftline.retrain._evidence import Evidence
from driftline.retrain._plain import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from driftline.retrain._policy import RetrainPolicy

Threshold: TypeAlias = float | timedelta | None
"""A value of a field of `RetrainPolicy`."""
Past: TypeAlias = list[tuple[datetime, Evidence]]

THRESHOLDS: Final[Mapping[str, tuple[Threshold, ...]]] = {
    "minimum_gain": (0.0, 0.01, 0.02, 0.03, 0.05),
    "cooldown": tuple(timedelta(days=n) for n in (7, 14, 28, 56)),
}
"""What is tried unless something else is asked for: gains around the guide's one point, up to the
five that 200 labelled frames show unpaired (`driftline.holdout.smallest_drop`); cooldowns from one
weekly run to eight."""

ASSUMED: Final = (
    "evidence is replayed as it was recorded: what is drift and what is a fall was decided then",
    (
        "retrainings: as if a retraining changed nothing, so that a fall that lasts asks again "
        "after each cooldown; if each cures: as if it ended the fall it was for"
    ),
    (
        "a retraining ends when it is asked for; like those on record it starts the cooldown and "
        "the model's age, and it costs what the evidence said"
    ),
)
_MARGIN: Final = 0.02
"""Share of the picture's width beside the first and the last piece of evidence."""
_HEAD: Final = ("retrainings", "if each cures", "cost", "first")


@frozen(kw_only=True)
class BacktestRow:
    """What the policy would have decided at one time, as if no retraining changed anything.

    Attributes:
        at: time of the evidence, UTC.
        action: what it would have asked for.
        reason: why, in one sentence.
        wanted: whether it would have retrained but for cooldown and budget.
        drop: how far mAP@0.5:0.95 had fallen; None where not known.
    """

    at: datetime
    action: Action
    reason: str
    wanted: bool
    drop: float | None = None

    @property
    def fired(self) -> bool:
        """Whether it asks for a retraining."""
        return self.action is Action.RETRAIN

    def __str__(self) -> str:
        """The row in a line."""
        return f"{self.at:%Y-%m-%d} {self.action.value}: {self.reason}"


@frozen(kw_only=True)
class BacktestVariant:
    """What one choice of thresholds would have done.

    Attributes:
        thresholds: names and values that were tried; the rest is as in the policy.
        retrainings: when it asks for one, UTC, as if none changed anything.
        if_cured: the same as if each ended the fall it was for; never more of them.
        cost: of `retrainings`, in the unit of `Evidence.retrain_cost`; None where one is not known.
        cost_if_cured: of `if_cured`.
    """

    thresholds: Mapping[str, Threshold] = field(hash=False)
    retrainings: tuple[datetime, ...]
    if_cured: tuple[datetime, ...]
    cost: float | None = None
    cost_if_cured: float | None = None

    @property
    def name(self) -> str:
        """The values of the thresholds in words, in their order."""
        words = [_told(name, value) for name, value in self.thresholds.items()]
        return ", ".join(words) or "as it is"

    @property
    def often(self) -> str:
        """How often it asks for a retraining, in words."""
        low, high = len(self.if_cured), len(self.retrainings)
        if low != high:
            return f"{low} to {high} times"
        return {0: "never", 1: "once"}.get(high, f"{high} times")


@frozen(kw_only=True, repr=False)
class Backtest(Shown):
    """When a policy would have asked for a retraining, and what others would have done.

    Attributes:
        trigger: when the policy retrains, in one sentence.
        rows: what it would have decided, by time.
        own: the policy's own thresholds, replayed.
        variants: every other combination of thresholds that was asked for.
        assumed: what the replay takes for granted.
    """

    trigger: str
    rows: tuple[BacktestRow, ...]
    own: BacktestVariant
    variants: tuple[BacktestVariant, ...] = ()
    assumed: tuple[str, ...] = ASSUMED

    @property
    def span(self) -> timedelta:
        """From the first evidence to the last."""
        return self.rows[-1].at - self.rows[0].at

    @property
    def sentence(self) -> str:
        """The trigger and what it would have done, to be quoted."""
        on = ", ".join(f"{at:%Y-%m-%d}" for at in self.own.if_cured)
        least = "" if self.own.if_cured == self.own.retrainings else ", at the least"
        when = f"{least} on {on}" if on else ""
        return f"{self.trigger}: {self.own.often} in {self.span.days} days{when}"

    def __repr__(self) -> str:
        """How much was replayed, and how often it fired."""
        return (
            f"<Backtest: {len(self.rows)} pieces of evidence over {self.span.days} days, "
            f"{self.own.often}, {len(self.variants)} other choices of thresholds>"
        )

    def __str__(self) -> str:
        """The sentence, when a retraining was wanted, and a line for each choice of thresholds."""
        table = [(self._varied, *_HEAD), *map(_cells, self._all)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [self.sentence, *(f"  {row}" for row in self._wanted)]
        lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return "\n".join([*lines, *(f"assumed: {line}" for line in self.assumed)])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; durations are seconds."""
        return asdict(self, value_serializer=plain)

    def plot(self, ax: Axes | None = None) -> Axes:
        """When each choice of thresholds would have retrained, the policy's own on top.

        Args:
            ax: where to draw; None makes a figure of its own.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return plot(self._picture(), ax)

    @property
    def _all(self) -> tuple[BacktestVariant, ...]:
        return (self.own, *self.variants)

    @property
    def _varied(self) -> str:
        return ", ".join(self.own.thresholds) or "thresholds"

    @property
    def _wanted(self) -> list[BacktestRow]:
        return [row for row in self.rows if row.wanted or row.fired]

    def _view(self) -> View:
        return View(
            kind=f"backtest over {self.span.days} days",
            headline=self.sentence,
            lines=self._wanted,
            pictures=[self._picture()],
            tables=[Table(head=(self._varied, *_HEAD), rows=map(_cells, self._all))],
            notes=self.assumed,
        )

    def _picture(self) -> Picture:
        first, last = days(self.rows[0].at), days(self.rows[-1].at)
        beside = _MARGIN * (last - first)
        again = [set(one.retrainings) - set(one.if_cured) for one in self._all]
        return Picture(
            title=f"This policy retrains {self.own.often} in {self.span.days} days",
            detail=self.trigger,
            x=Axis(
                label="time of the evidence, UTC",
                scale="time",
                low=first - beside,
                high=last + beside,
            ),
            y=Axis(label=self._varied, scale="names", names=[one.name for one in self._all]),
            marks=[
                _dots(again, "again, if it cured nothing", hollow=True),
                _dots([one.if_cured for one in self._all], "retrain"),
            ],
        )


def _dots(rows: Sequence[Iterable[datetime]], label: str, *, hollow: bool = False) -> Dots:
    places = [(days(at), row) for row, times in enumerate(rows) for at in sorted(times)]
    x, y = [x for x, _ in places], [y for _, y in places]
    return Dots(x=x, y=y, role="muted" if hollow else "bad", label=label, hollow=hollow)


def _cells(one: BacktestVariant) -> tuple[str, ...]:
    cost = "-"
    if one.cost_if_cured is not None and one.cost is not None:
        ends = sorted((one.cost_if_cured, one.cost))
        cost = " to ".join(dict.fromkeys(f"{end:g}" for end in ends))
    first = f"{one.retrainings[0]:%Y-%m-%d}" if one.retrainings else "-"
    return one.name, str(len(one.retrainings)), str(len(one.if_cured)), cost, first


def points(value: float) -> str:
    """A difference of mAP in words."""
    return "1 point" if value == 0.01 else f"{100 * value:g} points"  # noqa: PLR2004 - singular


def _told(name: str, value: Threshold) -> str:
    if isinstance(value, timedelta):
        return f"{value / timedelta(days=1):g} d"
    if value is None:
        return "none"
    return points(value) if name == "minimum_gain" else f"{value:g}"


# Replaying ---------------------------------------------------------------------------------


def backtest(
    policy: RetrainPolicy,
    history: Iterable[Evidence | Entry],
    thresholds: Mapping[str, Sequence[Threshold]] | None,
) -> Backtest:
    """`RetrainPolicy.backtest`."""
    past = _past(history)
    tried = THRESHOLDS if thresholds is None else thresholds
    _refuse_unknown(policy, tried)
    own = {name: getattr(policy, name) for name in tried}
    grid: list[dict[str, Any]] = [
        dict(zip(tried, values, strict=True)) for values in product(*tried.values())
    ]
    others = [values for values in grid if values != own]
    variants = []
    with Progress(shown=None) as line:
        for number, values in enumerate(others, start=1):
            variants.append(_variant(evolve(policy, **values), values, past))
            line.tell(bar(number, len(others), "choices of thresholds"))
    return Backtest(
        trigger=policy.trigger,
        rows=tuple(_row(step) for step in _replay(policy, past, cures=False)),
        own=_variant(policy, own, past),
        variants=tuple(variants),
    )


def _past(history: Iterable[Evidence | Entry]) -> Past:
    """The evidence, each with its time, by time."""
    what = "an Evidence, or an entry of a store whose record is evidence.to_dict()"
    past: Past = []
    for i, given in enumerate(parts(history, (Evidence, Entry), name="history", what=what)):
        evidence = given if isinstance(given, Evidence) else Evidence.from_dict(given.record)
        at = given.at if evidence.at is None else evidence.at
        if at is None:
            msg = f"history[{i}] has no time; make it with Evidence(at=…) to replay it"
            raise InputError(msg)
        past.append((at, evidence))
    if not past:
        msg = "history=[] holds no evidence; keep evidence.to_dict() of each week in a store"
        raise InputError(msg)
    return sorted(past, key=lambda each: each[0])


def _refuse_unknown(policy: RetrainPolicy, thresholds: Mapping[str, Sequence[Threshold]]) -> None:
    known = [name for name in fields_dict(type(policy)) if name != "clauses"]
    part(thresholds, Mapping, name="thresholds", what='such as {"minimum_gain": [0.01, 0.02]}')
    for name, values in thresholds.items():
        refuse_other("threshold", name, known)
        given: object = values
        if isinstance(given, str) or not isinstance(given, Sequence) or not given:
            msg = f"thresholds[{name!r}]={given!r} must be a list of values to try"
            raise InputError(msg)


class _Step(NamedTuple):
    at: datetime
    evidence: Evidence
    decision: Decision
    wanted: bool

    @property
    def fired(self) -> bool:
        return self.decision.action is Action.RETRAIN


def _replay(policy: RetrainPolicy, past: Past, *, cures: bool) -> Iterator[_Step]:
    """What the policy decides, one piece of evidence after the other.

    With `cures` a retraining ends the fall it was for: what still asks for one is passed over,
    until the evidence asks for none.
    """
    last: datetime | None = None
    cured = False
    free = evolve(policy, cooldown=timedelta(0), budget=None)
    for at, evidence in past:
        wanted = free.decide(evidence).action is Action.RETRAIN
        cured = cured and wanted
        if cured:
            continue
        decision = policy.decide(_after(evidence, None if last is None else at - last))
        step = _Step(at, evidence, decision, wanted)
        if step.fired:
            last, cured = at, cures
        yield step


def _after(evidence: Evidence, since: timedelta | None) -> Evidence:
    """The evidence as it was, but for the time since a retraining that was only replayed."""
    if since is None:
        return evidence
    made, model = evidence.since_retrain, evidence.model_age
    return evolve(
        evidence,
        since_retrain=since if made is None else min(made, since),
        model_age=None if model is None else min(model, since),
    )


def _row(step: _Step) -> BacktestRow:
    accuracy = step.evidence.accuracy
    return BacktestRow(
        at=step.at,
        action=step.decision.action,
        reason=step.decision.reasons[0],
        wanted=step.wanted,
        drop=None if accuracy is None else accuracy.drop,
    )


def _variant(policy: RetrainPolicy, values: Mapping[str, Threshold], past: Past) -> BacktestVariant:
    lasting, cured = (
        [step for step in _replay(policy, past, cures=cures) if step.fired]
        for cures in (False, True)
    )
    return BacktestVariant(
        thresholds=values,
        retrainings=tuple(step.at for step in lasting),
        if_cured=tuple(step.at for step in cured),
        cost=_cost(lasting),
        cost_if_cured=_cost(cured),
    )


def _cost(retrainings: Sequence[_Step]) -> float | None:
    costs = [step.evidence.retrain_cost for step in retrainings]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
