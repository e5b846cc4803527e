"""Everything that was observed, in one pure step: (states, observations, now) → what it means.

No clock, no store, no network. Rules are judged on their subjects first and people's part comes
second, because whether an alert is told depends on what fires beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, TypeAlias

from attrs import define, field, frozen

from driftline.monitor._run import Unjudged
from driftline.monitor._subjects import Place, Subject, dedup_key
from driftline.records import AlertStatus, Metric, Series
from driftline.rules import Change, Gap, Inhibition, NoData, Phase, Rule, Silence
from driftline.rules._follow import Followed, Segment, follow
from driftline.rules._lifecycle import close
from driftline.rules._notify import Notice, notify
from driftline.rules._state import State, Step
from driftline.rules._time import instant

PLATFORM_METRICS: Final = frozenset(
    {
        Metric.REQUESTS,
        Metric.ERRORS,
        Metric.LATENCY_P50_MS,
        Metric.LATENCY_P95_MS,
        Metric.CPU_UTILIZATION,
        Metric.MEMORY_UTILIZATION,
        Metric.INSTANCES,
    }
)
"""What a platform's answer holds; everything else comes from the caller."""

UNWATCHED: Final = "the deployment is not watched any more: it was deleted, or taken off the list"

Stretch: TypeAlias = tuple[int, int | None]
"""From when to when something fired; None: it still does."""


@frozen(kw_only=True)
class Observations:
    """What one run knows before it judges.

    Attributes:
        monitor: name of the monitor.
        rules: what is judged.
        deployments: what is watched.
        asked: of these, whom the platform was asked about just now.
        answers: deployment → the platform's answers, in order of time, widest buckets first.
        refused: deployment → why the platform says there is nothing to know (it is stopped).
        silent: deployments whose platform did not answer.
        gone: deployment → why nobody looks at it any more.
        passed: what callers passed, by subject and metric.
        states: as the last run left them.
        memories: what rules remembered.
        silences: of whom people are not told.
        inhibitions: which alerts silence which.
        acknowledged: keys somebody has taken on.
        now: microseconds since 1970.
        from_platform: whether a platform is asked at all.
    """

    monitor: str
    rules: Sequence[Rule]
    deployments: Collection[str]
    asked: Sequence[str]
    answers: Mapping[str, Sequence[Segment]] = field(factory=dict)
    refused: Mapping[str, str] = field(factory=dict)
    silent: frozenset[str] = frozenset()
    gone: Mapping[str, str] = field(factory=dict)
    passed: Mapping[Subject, Mapping[str, Series]] = field(factory=dict)
    states: Mapping[Place, State] = field(factory=dict)
    memories: Mapping[Place, Mapping[str, Any]] = field(factory=dict)
    silences: Sequence[Silence] = ()
    inhibitions: Sequence[Inhibition] = ()
    acknowledged: frozenset[str] = frozenset()
    now: int
    from_platform: bool = True


@frozen(kw_only=True)
class Telling:
    """Something people are to be told, before it is put into words.

    Attributes:
        key: dedup key.
        rule: the rule; None when it is not there any more.
        place: rule and subject.
        notice: what and why.
        silent: whether the platform did not answer for the deployment.
    """

    key: str
    rule: Rule | None
    place: Place
    notice: Notice
    silent: bool = False


@define(kw_only=True)
class Findings:
    """What a run found out.

    Attributes:
        states: every state, new and old.
        memories: what rules want to remember, only where it changed.
        tellings: what people are to be told, in order.
        steps: all transitions, in order.
        unjudged: time that could not be judged.
        judged: how many samples got a verdict.
        dropped: states that are of no use any more.
    """

    states: dict[Place, State] = field(factory=dict)
    memories: dict[Place, Mapping[str, Any]] = field(factory=dict)
    tellings: list[Telling] = field(factory=list)
    steps: list[tuple[Place, Step]] = field(factory=list)
    unjudged: list[Unjudged] = field(factory=list)
    judged: int = 0
    dropped: list[Place] = field(factory=list)


def judge(seen: Observations) -> Findings:
    """One run's judgement of everything."""
    found = Findings(states=dict(seen.states))
    followed = {
        (rule.name, subject): (rule, _follow(seen, rule, subject))
        for rule in seen.rules
        for subject in _subjects(seen, rule)
    }
    stretches = _stretches(seen, followed)
    for place, (rule, one) in followed.items():
        _report(found, seen, place, one)
        found.states[place] = one.state
        if not one.steps and one.state.phase is not Phase.FIRING:
            continue
        withheld = _withheld(seen, rule, place[1], stretches)
        key = dedup_key(seen.monitor, *place)
        told = notify(
            rule,
            one.state,
            one.steps,
            withheld=withheld,
            acknowledged=key in seen.acknowledged,
            now=seen.now,
        )
        found.states[place] = told.state
        found.steps += [(place, step) for step in told.steps]
        silent = place[1].deployment in seen.silent
        found.tellings += [
            Telling(key=key, rule=rule, place=place, notice=notice, silent=silent)
            for notice in told.notices
        ]
    _close_orphans(found, seen, {place: rule for place, (rule, _) in followed.items()})
    return found


def _report(found: Findings, seen: Observations, place: Place, one: Followed) -> None:
    rule, subject = place
    found.judged += one.judged
    if one.memory != seen.memories.get(place, {}):
        found.memories[place] = one.memory
    found.unjudged += [
        Unjudged(
            rule=rule,
            deployment=subject.deployment,
            labels=dict(subject.labels),
            start=gap.start,
            end=gap.end,
            reason=gap.reason,
        )
        for gap in one.gaps
    ]


def _asked(seen: Observations, rule: Rule) -> bool:
    """Whether a rule judges what the platform answers."""
    return seen.from_platform and rule.metric in PLATFORM_METRICS


def _subjects(seen: Observations, rule: Rule) -> list[Subject]:
    """Whom a rule judges in this run."""
    found: dict[Subject, None] = {}
    if _asked(seen, rule):
        found = {Subject(deployment): None for deployment in seen.asked}
    else:
        found = {subject: None for subject, series in seen.passed.items() if rule.metric in series}
        found |= {s: None for name, s in seen.states if name == rule.name}
        if isinstance(rule, NoData):
            # What never came is missing as well.
            known = {subject.deployment for subject in found}
            found |= {Subject(d): None for d in seen.deployments if d not in known}
    return [
        s
        for s in found
        if s.deployment not in seen.gone and rule.applies(s.deployment, dict(s.labels))
    ]


def _follow(seen: Observations, rule: Rule, subject: Subject) -> Followed:
    place = (rule.name, subject)
    state = seen.states.get(place, _BLANK)
    memory = seen.memories.get(place, {})
    if _asked(seen, rule) and (reason := seen.refused.get(subject.deployment)):
        return _unready(state, memory, seen.now, reason)
    return follow(
        rule,
        state,
        memory,
        _segments(seen, rule, subject),
        deployment=subject.deployment,
        labels=dict(subject.labels),
        now=seen.now,
    )


def _unready(state: State, memory: Mapping[str, Any], now: int, reason: str) -> Followed:
    """Time in which the platform says there is nothing to know: unjudged."""
    gap = Gap(start=instant(min(state.until or now, now)), end=instant(now), reason=reason)
    later = state.but({"until": max(state.until, now)})
    return Followed(state=later, memory=memory, gaps=(gap,) if gap.start < gap.end else ())


def _segments(seen: Observations, rule: Rule, subject: Subject) -> Sequence[Segment]:
    """What there is to judge for a rule on a subject."""
    answers = seen.answers.get(subject.deployment, ())
    if _asked(seen, rule):
        if not answers and subject.deployment in seen.silent and isinstance(rule, NoData):
            return (Segment(series={}, start=None, end=seen.now),)
        return answers
    series = dict(seen.passed.get(subject, {}))
    end = seen.now
    for metric in rule.metrics():
        if metric not in series:
            whole = seen.passed.get(Subject(subject.deployment), {})
            if metric in whole:
                series[metric] = whole[metric]
            elif answers and metric in answers[-1].series:
                series[metric] = answers[-1].series[metric]
                end = min(end, answers[-1].end or end)
    return (Segment(series=series, start=None, end=end),)


def _stretches(
    seen: Observations, followed: Mapping[Place, tuple[Rule, Followed]]
) -> dict[tuple[str, str], list[Stretch]]:
    """(inhibiting rule, deployment) → when it fired, as far as this run knows."""
    found: dict[tuple[str, str], list[Stretch]] = {}
    for (name, subject), (_, one) in followed.items():
        if any(fnmatchcase(name, inhibition.by) for inhibition in seen.inhibitions):
            before = seen.states.get((name, subject), _BLANK)
            stretches = found.setdefault((name, subject.deployment), [])
            stretches += _fired(before, one.steps)
    return found


def _fired(before: State, steps: Iterable[Step]) -> list[Stretch]:
    found: list[Stretch] = []
    start: int | None = 0 if before.phase is Phase.FIRING else None
    for step in steps:
        if step.change is Change.FIRING:
            start = step.at
        elif step.change is Change.RESOLVED and start is not None:
            found.append((start, step.at))
            start = None
    return found if start is None else [*found, (start, None)]


def _withheld(
    seen: Observations,
    rule: Rule,
    subject: Subject,
    stretches: Mapping[tuple[str, str], Sequence[Stretch]],
) -> Callable[[int], str]:
    """Time → why people are not told of a rule on a subject then, "" when they are."""
    silences = [
        s for s in seen.silences if s.covers(rule.name, subject.deployment, dict(subject.labels))
    ]
    inhibitors = [
        (name, when)
        for (name, deployment), when in stretches.items()
        if when
        and deployment == subject.deployment
        and name != rule.name
        and any(i.covers(rule.name) and fnmatchcase(name, i.by) for i in seen.inhibitions)
    ]
    if not silences and not inhibitors:
        return _never

    def why(at: int) -> str:
        moment = instant(at)
        for silence in silences:
            if silence.holds(moment):
                return str(silence)
        for name, when in inhibitors:
            if any(start <= at and (end is None or at < end) for start, end in when):
                return f"inhibited: {name} fires on the same deployment"
        return ""

    return why


def _never(_at: int) -> str:
    return ""


def _close_orphans(found: Findings, seen: Observations, judged: Mapping[Place, Rule]) -> None:
    """End what nobody judges any more, and say why; never merely because a run did not come."""
    rules = {rule.name: rule for rule in seen.rules}
    for place, state in seen.states.items():
        if place in judged:
            continue
        rule = rules.get(place[0])
        reason = _unruled(rule, place[1])
        if reason:
            found.dropped.append(place)
            found.states.pop(place, None)
        elif rule is not None:
            reason = _unwatched(seen, rule, place[1])
        if not reason or (state.phase is Phase.OK and not state.told):
            continue
        ended, step = close(state, at=seen.now, reason=reason)
        found.steps.append((place, step))
        if state.told:
            ended = ended.but({"resolved_at": seen.now})
            key = dedup_key(seen.monitor, *place)
            notice = Notice(status=AlertStatus.RESOLVED, step=step)
            found.tellings.append(Telling(key=key, rule=rule, place=place, notice=notice))
        if place in found.states:
            found.states[place] = ended


def _unruled(rule: Rule | None, subject: Subject) -> str:
    """Why no rule judges it any more: its state is of no use."""
    if rule is None:
        return "the rule was removed from the monitor"
    if not rule.applies(subject.deployment, dict(subject.labels)):
        return "the rule is not for this deployment any more"
    return ""


def _unwatched(seen: Observations, rule: Rule, subject: Subject) -> str:
    """Why nobody looks at it any more: what was learnt stays, it may come back."""
    if subject.deployment in seen.gone:
        return seen.gone[subject.deployment]
    if _asked(seen, rule) and subject.deployment not in seen.deployments:
        return UNWATCHED
    return ""


_BLANK: Final = State()
