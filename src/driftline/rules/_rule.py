"""What every rule has: a name, a runbook, and when its verdicts become an alert."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

from attrs import Attribute, Factory, field, frozen
from attrs.validators import optional

from driftline._checks import a, not_negative, parts, positive, refuse_number
from driftline.records import Link, Series, Severity
from driftline.rules._checks import (
    AT_LEAST_ONE,
    SEVERITY,
    named,
    one_line,
)
from driftline.rules._judgement import Judgement, Reading


class NoDataPolicy(Enum):
    """What a rule makes of samples that do not come (Grafana's and Datadog's four choices)."""

    KEEP = "keep"
    """what was, stays: an open alert stays open"""
    OK = "ok"
    """counts as recovery: an open alert is resolved and says why"""
    ALERT = "alert"
    """is an alert of its own right: "no data", under the rule's key"""
    BREACH = "breach"
    """counts as a breach that has been held long enough"""


def _enough(instance: Rule, _attribute: Attribute[Any], value: int | None) -> None:
    if value is not None:
        what = f"None or at least samples={instance.samples}"
        refuse_number("of", value, what, least=instance.samples, whole=True)


def _links(value: Iterable[Link]) -> tuple[Link, ...]:
    return parts(value, Link, name="links", what="a Link")


def kebab(name: str) -> str:
    """A class's name as a rule's name: ``LatencyBudget`` → ``latency-budget``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


def _own_name(rule: Rule) -> str:
    return kebab(type(rule).__name__)


@frozen(kw_only=True)
class Rule(ABC):
    """Samples → verdicts, and when verdicts become an alert.

    Subclass it (``@attrs.frozen(kw_only=True)``) with `metrics`, `judge` and `example`; all the
    rest has defaults. `driftline.testing.check_rule` tells whether it is a good one.

    A rule fires when of its last `of` samples `samples` breached, the newest among them, and the
    breach has been held for `hold`. A sample that does not breach sets `hold` back to nothing
    (as Prometheus' ``for`` does) unless `of` is greater than `samples`. It resolves when
    `recover_samples` good samples came in a row and the first of them is `keep_firing` ago.
    All of it is counted in the time of the series, never in runs.

    Attributes:
        runbook: what whoever is woken does first, in one line. There is no rule without one.
        name: unique within a monitor; part of the dedup key, so renaming it is a new rule.
        severity: how urgent an alert of it is.
        samples: how many of the last `of` samples must breach.
        of: out of how many; None: as many as `samples`, that is, consecutive ones.
        hold: for how long the breach must last: the widths of the breaching samples of the
            streak together (for measurements without width: the time from the first to the last).
        recover_samples: how many good samples in a row end an alert.
        keep_firing: how long the condition must have been gone before an alert ends (as
            Prometheus' ``keep_firing_for``).
        no_data: what to make of samples that do not come.
        no_data_after: how long they must have stayed away.
        warm_up: how long a new series is watched without being judged.
        delay: how late data may be: time younger than this is not judged yet.
        renotify: repeat the notice of an open alert that often until somebody acknowledges it;
            None: people are told once.
        renotify_limit: how many repeats at most.
        flap_detection: keep an alert that comes and goes as one open alert, instead of paging each time.
        links: further places to look at; they travel with each alert.
        deployments: pattern of the deployments it is for, such as ``"acme/line-*"``.
        every: length of the windows that make a sample, aligned to the clock; None: each bucket
            of the series is a sample.
        unit: unit of value and threshold in an alert.
    """

    runbook: str = field(validator=one_line)
    name: str = field(default=Factory(_own_name, takes_self=True), validator=named)
    severity: Severity = field(default=Severity.CRITICAL, validator=SEVERITY)
    samples: int = field(default=1, validator=AT_LEAST_ONE)
    of: int | None = field(default=None, validator=_enough)
    hold: timedelta = field(default=timedelta(0), validator=not_negative)
    recover_samples: int = field(default=1, validator=AT_LEAST_ONE)
    keep_firing: timedelta = field(default=timedelta(0), validator=not_negative)
    no_data: NoDataPolicy = field(
        default=NoDataPolicy.KEEP, validator=a(NoDataPolicy, "a NoDataPolicy, such as KEEP")
    )
    no_data_after: timedelta = field(default=timedelta(minutes=30), validator=not_negative)
    warm_up: timedelta = field(default=timedelta(0), validator=not_negative)
    delay: timedelta = field(default=timedelta(0), validator=not_negative)
    renotify: timedelta | None = field(default=None, validator=optional(positive))
    renotify_limit: int = field(default=3, validator=AT_LEAST_ONE)
    flap_detection: bool = field(default=True, validator=a(bool, "True or False"))
    links: tuple[Link, ...] = field(default=(), converter=_links)
    deployments: str = field(default="*", validator=a(str, "a pattern, such as 'acme/line-*'"))
    every: timedelta | None = field(default=None, validator=optional(positive))
    unit: str = field(default="", validator=a(str, "a unit, such as 'ms', or ''"))

    @property
    def metric(self) -> str:
        """The metric the rule is about: the first of `metrics`."""
        return self.metrics()[0]

    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """The metrics the rule wants to be shown, the one it is about first."""

    @abstractmethod
    def judge(self, reading: Reading) -> Judgement:
        """Samples and verdicts of a reading.

        A pure function: the same reading, the same judgement; reading a time in two parts gives
        what reading it at once gives, with the memory handed on.
        """

    @abstractmethod
    def example(self, *, breach: bool, start: datetime) -> tuple[Series, ...]:
        """Series from `start` on that must make the rule fire, or that must leave it calm.

        `driftline.Monitor.drill` pushes them through the whole engine, and `check_rule` checks
        the rule by them: the breach makes a blank rule fire before the series end, and the calm
        ones, coming after it, end the alert. `start` is a multiple of `every` (or a minute).
        """

    def applies(self, deployment: str, labels: Mapping[str, str]) -> bool:
        """Whether it judges a slice at all."""
        del labels
        return fnmatchcase(deployment, self.deployments)

    def summary(self, value: float, threshold: float) -> str:
        """What went wrong, in one line, with value and unit."""
        del threshold
        return f"{self.metric} is {_with_unit(value, self.unit)}"

    def expected(self, threshold: float) -> str:
        """What was expected instead, in one line."""
        return f"within {_with_unit(threshold, self.unit)}"


def _with_unit(value: float, unit: str) -> str:
    return f"{value:.4g} {unit}".strip()
