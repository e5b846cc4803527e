"""Two fire drills against a deployment itself: break something on purpose, and see who is told.

`Monitor.drill` proves the way from a breach to the pager. These two prove what comes before it:
that the platform counts what goes wrong, and that a real breach is one to the rule. They cost real
requests and page real people; say so to them first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final, Protocol

from attrs import define, field, frozen

from driftline._checks import part, refuse_no_time, refuse_number
from driftline._clock import Clock, as_clock
from driftline._draw import Shown, View
from driftline._progress import Progress
from driftline.errors import ConfigError, InputError, PlatformError
from driftline.monitor._monitor import Monitor
from driftline.monitor._run import Delivered
from driftline.records import Alert, AlertStatus, Sample

TRUNCATED_JPEG: Final = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00 and then nothing that any decoder could read"
)
"""What is sent as a malformed image: it begins as one, so that it gets as far as the endpoint."""
PATIENCE: Final = timedelta(minutes=45)
_MINUTE: Final = timedelta(minutes=1)


class Predicts(Protocol):
    """What is needed of a platform to send it images; `driftline.PlatformClient` is one."""

    def predict(self, deployment: str, image: bytes, /) -> object:
        """Whatever the deployment answers."""
        ...


@frozen(kw_only=True, repr=False)
class FireDrill(Shown):
    """What came of a drill against a deployment.

    Attributes:
        rule: the rule that ought to fire.
        deployment: on which deployment.
        sent: malformed images sent, 0 where traffic was paused instead.
        fired: the alert, None when the rule did not fire in time.
        fired_after: from the first act to the alert.
        delivered: which sinks took the alert, and its end.
        resolved: the end of the alert, None when it did not end in time.
        resolved_after: from the end of the drill to the end of the alert.
        problems: what else did not work.
    """

    rule: str
    deployment: str
    sent: int
    fired: Alert | None
    fired_after: timedelta
    delivered: tuple[Delivered, ...]
    resolved: Alert | None
    resolved_after: timedelta
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the rule fired, some sink was told, and the alert ended afterwards."""
        told = {delivered.status for delivered in self.delivered}
        return self.resolved is not None and told >= {AlertStatus.FIRING, AlertStatus.RESOLVED}

    def __str__(self) -> str:
        """What happened, line by line."""
        head = f"fire drill of {self.rule} on {self.deployment}: {'all well' if self.ok else 'NOT WELL'}"
        lines = [head]
        if self.sent:
            lines.append(f"  {self.sent} malformed images sent")
        if self.fired is None:
            lines.append(f"  it did not fire within {self.fired_after}")
        else:
            lines.append(f"  fired after {self.fired_after}: {self.fired.summary}")
        lines += [
            f"  {d.sink} took {'' if d.status is None else d.status.value}" for d in self.delivered
        ]
        if self.resolved is not None:
            lines.append(
                f"  over {self.resolved_after} after the drill ended: {self.resolved.reason}"
            )
        elif self.fired is not None:
            lines.append(f"  still open {self.resolved_after} after the drill ended")
        return "\n".join([*lines, *(f"  {problem}" for problem in self.problems)])

    def _view(self) -> View:
        first, *lines = str(self).splitlines()
        return View(
            kind="fire drill",
            verdict="all well" if self.ok else "not well",
            tone="good" if self.ok else "bad",
            headline=first,
            lines=[line.strip() for line in lines],
        )


def drill_bad_images(
    monitor: Monitor,
    platform: Predicts,
    deployment: str,
    *,
    rule: str = "error-rate",
    per_minute: int = 6,
    good_image: bytes | None = None,
    patience: timedelta = PATIENCE,
    clock: Clock | None = None,
    samples: Callable[[], Iterable[Sample]] = tuple,
) -> FireDrill:
    """Send malformed images until the error-rate rule fires; then stop and wait for the end.

    Args:
        monitor: runs once a minute of the drill; nothing else should run it meanwhile.
        platform: takes the images.
        deployment: whom they are sent to; it must be watched by the monitor.
        rule: name of the rule.
        per_minute: malformed images a minute. The Platform takes 20 predictions a minute, and
            beside normal traffic they must pass the rule's limit.
        good_image: an image to send as often afterwards, for deployments without traffic of
            their own: a minute without requests says nothing, so that nothing would recover.
        patience: how long to wait for the alert, and again for its end.
        clock: where time comes from and where waiting is done; the monitor's unless given.
        samples: your own numbers, for each run.

    Raises:
        InputError: the rule or the deployment is not the monitor's, or a number is out of range.
        ConfigError: another run of the monitor is at work.
    """
    refuse_number("per_minute", per_minute, "1 or more", least=1, whole=True)
    drill = _begun(monitor, rule, deployment, clock=clock, patience=patience, samples=samples)

    def send(image: bytes) -> None:
        for _ in range(per_minute):
            drill.image(platform, image)
            drill.clock.sleep(60 / per_minute)

    def wait() -> None:
        drill.clock.sleep(60)

    drill.until_fired(lambda: send(TRUNCATED_JPEG))
    drill.bad, drill.counting = drill.sent, False
    drill.until_resolved(wait if good_image is None else lambda: send(good_image))
    return drill.report()


def drill_paused_traffic(
    monitor: Monitor,
    deployment: str,
    *,
    pause: Callable[[], None],
    resume: Callable[[], None],
    rule: str = "request-volume",
    patience: timedelta = PATIENCE,
    clock: Clock | None = None,
    samples: Callable[[], Iterable[Sample]] = tuple,
) -> FireDrill:
    """Pause the traffic until the volume rule fires; then let it flow and wait for the end.

    Traffic is resumed whatever happens.

    Args:
        monitor: runs once a minute of the drill; nothing else should run it meanwhile.
        deployment: whose traffic is paused; it must be watched by the monitor.
        pause: stops the traffic: your cameras, your gateway.
        resume: starts it again.
        rule: name of the rule.
        patience: how long to wait for the alert, and again for its end.
        clock: where time comes from and where waiting is done; the monitor's unless given.
        samples: your own numbers, for each run.

    Raises:
        InputError: the rule or the deployment is not the monitor's, or a number is out of range.
        ConfigError: another run of the monitor is at work.
    """
    drill = _begun(monitor, rule, deployment, clock=clock, patience=patience, samples=samples)
    pause()
    try:
        drill.until_fired(lambda: drill.clock.sleep(60))
    finally:
        resume()
    drill.until_resolved(lambda: drill.clock.sleep(60))
    return drill.report()


def _begun(
    monitor: Monitor,
    rule: str,
    deployment: str,
    *,
    clock: Clock | None,
    patience: timedelta,
    samples: Callable[[], Iterable[Sample]],
) -> _Drill:
    part(monitor, Monitor, name="monitor", what="a driftline.Monitor")
    refuse_no_time("patience", patience)
    names = [each.name for each in monitor.rules]
    if rule not in names or deployment not in monitor.deployments:
        msg = (
            f"rule={rule!r}, deployment={deployment!r}: the monitor has the rules {names} and "
            f"watches {list(monitor.deployments)}"
        )
        raise InputError(msg)
    timer = as_clock(monitor.clock if clock is None else clock)
    return _Drill(monitor, rule, deployment, timer, patience, samples)


@define
class _Drill:
    """A drill on its way."""

    monitor: Monitor
    rule: str
    deployment: str
    clock: Clock
    patience: timedelta
    samples: Callable[[], Iterable[Sample]]
    sent: int = 0
    bad: int = 0
    counting: bool = True
    fired: Alert | None = None
    resolved: Alert | None = None
    fired_after: timedelta = timedelta(0)
    resolved_after: timedelta = timedelta(0)
    delivered: list[Delivered] = field(factory=list)
    problems: dict[str, None] = field(factory=dict)

    def image(self, platform: Predicts, image: bytes) -> None:
        """Send one image; that it is refused is the point."""
        self.sent += self.counting
        try:
            platform.predict(self.deployment, image)
        except PlatformError as exc:
            if exc.status is None or not self.counting:
                self.problems[f"an image got no answer: {exc}"] = None

    def until_fired(self, act: Callable[[], None]) -> None:
        """Act and run until the alert fires."""
        self.fired, self.fired_after = self._until(act, AlertStatus.FIRING)

    def until_resolved(self, act: Callable[[], None]) -> None:
        """Act and run until the alert is over."""
        if self.fired is not None:
            self.resolved, self.resolved_after = self._until(act, AlertStatus.RESOLVED)

    def _until(
        self, act: Callable[[], None], status: AlertStatus
    ) -> tuple[Alert | None, timedelta]:
        began: datetime = self.clock.now()
        with Progress(shown=None) as line:
            while (passed := self.clock.now() - began) <= self.patience:
                minutes = f"{passed // _MINUTE} of at most {self.patience // _MINUTE} minutes"
                line.tell(f"drill of {self.rule}: waiting until it is {status.value}, {minutes}")
                act()
                if (found := self._run(status)) is not None:
                    return found, self.clock.now() - began
        return None, passed

    def _run(self, status: AlertStatus) -> Alert | None:
        run = self.monitor.run_once(samples=self.samples())
        if run.busy:
            msg = f"another run of the monitor is at work; stop it for the drill: {run.busy}"
            raise ConfigError(msg)
        self.problems |= dict.fromkeys(map(str, run.problems))
        mine = [a for a in run.alerts if (a.rule, a.deployment) == (self.rule, self.deployment)]
        keys = {alert.key for alert in mine} | ({self.fired.key} if self.fired else set())
        self.delivered += [d for d in run.delivered if d.key in keys and not d.repeated]
        return next((alert for alert in mine if alert.status is status), None)

    def report(self) -> FireDrill:
        """What came of it."""
        return FireDrill(
            rule=self.rule,
            deployment=self.deployment,
            sent=self.bad,
            fired=self.fired,
            fired_after=self.fired_after,
            delivered=tuple(self.delivered),
            resolved=self.resolved,
            resolved_after=self.resolved_after,
            problems=tuple(self.problems),
        )
