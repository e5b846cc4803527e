"""Eleven weeks of a deployment's life, watched: real frames, real HTTP, a real detector.

A small YOLO answers on a LocalPlatform, three cameras send it frames, and time is simulated. Each
week Driftline looks at what it measured and decides. Nothing below tells it what to find: with
another ``--seed`` the frames differ and the figures follow.

Run it with ``python -m nox -s demo`` or ``python examples/demo.py``.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from attrs import define, field, frozen

from driftline import (
    Action,
    Alert,
    Decision,
    DriftDetector,
    DriftReport,
    Evaluation,
    Evidence,
    HoldoutValidator,
    Monitor,
    PlatformClient,
    Profile,
    ProfileBuilder,
    RetrainPolicy,
    Trend,
    rules,
)
from driftline.holdout import LabelledFrame
from driftline.stores import MemoryStore
from driftline.testing import (
    Frame,
    LocalDeployment,
    LocalPlatform,
    OnnxDetector,
    RecordingSink,
    Scenes,
    hollow,
)

WEIGHTS = Path(__file__).parent.parent / "detector" / "shapes.onnx"
CAMERAS = ("cam-1", "cam-2", "cam-3")
REFERENCE_WEEKS = 4
FRAMES_A_WEEK = 420  # of all cameras together
LABELLED_A_WEEK = 120
DAY = timedelta(days=1)
SERVED = timedelta(days=6, hours=22)  # the rest of the week is for the weekly run
CALM_RUNS = 12
FIRST_DAY = datetime(2026, 1, 5, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)
USUAL_REQUESTS_A_MINUTE = 40.0

Change = Callable[[Frame], Frame]


def as_it_is(frame: Frame) -> Frame:
    return frame


@frozen
class Week:
    """What happens in the world in one week; Driftline is not told."""

    story: str
    change: Change = as_it_is
    objects: tuple[int, int] = (1, 5)
    incident: Callable[[LocalDeployment], None] | None = None


def slow(deployment: LocalDeployment) -> None:
    deployment.slow_down(5)


def stop(deployment: LocalDeployment) -> None:
    deployment.behave(requests_per_minute=0)


WEEKS = (
    *[Week("the first month: the reference is taken")] * REFERENCE_WEEKS,
    Week("an ordinary week"),
    Week("fewer objects before the cameras, otherwise the same", objects=(1, 2)),
    Week("a new variant of the objects appears: half of them hollow", change=hollow(0.5)),
    Week("the new variant stays", change=hollow(0.5)),
    Week("the old objects are back"),
    Week("on Wednesday the endpoint turns slow", incident=slow),
    Week("on Wednesday the frames stop coming", incident=stop),
)


@define
class Site:
    """A deployment, its cameras, and everything that watches them."""

    local: LocalPlatform
    platform: PlatformClient
    seed: int
    deployment: LocalDeployment
    sink: RecordingSink = field(factory=RecordingSink)
    policy: RetrainPolicy = field(factory=RetrainPolicy)
    monitor: Monitor = field(init=False)
    reference: Profile | None = None
    reports: list[DriftReport] = field(factory=list)
    evaluations: list[Evaluation] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.monitor = Monitor(
            self.platform,
            deployments=[self.deployment.reference],
            store=MemoryStore(),
            rules=[
                rules.LatencyBudget(
                    p95_ms=250, samples=3, runbook="Check instances, cold starts and region."
                ),
                rules.ErrorRate(above=0.01, minutes=5, runbook="Read the error logs below."),
                rules.RequestVolume(runbook="Check that the cameras still send frames."),
                rules.DetectionVolume(runbook="Look at the newest frames: covered or moved?"),
            ],
            sinks=[self.sink],
        )

    @property
    def now(self) -> datetime:
        return self.local.clock.now()

    def until(self, when: datetime) -> None:
        """Let time pass; nothing happens where it has passed already."""
        self.local.clock.set(max(self.now, when))

    def evidence(self, alerts: Iterable[Alert]) -> Evidence:
        """All that is known now."""
        return Evidence(
            drift=self.reports[-1] if self.reports else None,
            accuracy=Trend.of(self.evaluations),
            alerts=alerts,
            at=self.now,
        )

    def frames(self, week: Week, number: int, *, labelled: bool) -> Iterator[Frame]:
        """Frames of one week: those that are served, or others that people will label."""
        seed = 2 * (100 * self.seed + number) + labelled
        scenes = Scenes(seed=seed, cameras=CAMERAS, objects=week.objects)
        return (week.change(frame) for frame in scenes.stream())


def serve(site: Site, week: Week, number: int) -> tuple[Profile, Decision | None]:
    """Send a week of frames through the endpoint, observe what it answers, live through trouble."""
    start = FIRST_DAY + (number - 1) * 7 * DAY
    frames = site.frames(week, number, labelled=False)
    builder: ProfileBuilder | None = None
    paged: Decision | None = None
    for k in range(FRAMES_A_WEEK):
        site.until(start + (k + 0.5) * SERVED / FRAMES_A_WEEK)
        if k == FRAMES_A_WEEK * 2 // 5 and week.incident is not None:
            paged = live_through(site, week.incident)
        frame = next(frames)
        prediction = site.platform.predict(site.deployment.reference, frame.image)
        builder = builder or ProfileBuilder(context=prediction.context)
        builder.observe(prediction.detections, camera=frame.camera, at=site.now)
    assert builder is not None
    return builder.profile(), paged


def live_through(site: Site, incident: Callable[[LocalDeployment], None]) -> Decision | None:
    """Two hours of the five-minute cron; trouble begins after one and is mended after the page."""
    usual, paged = site.deployment.behaviour, None
    for run in range(24):
        if run == CALM_RUNS:
            incident(site.deployment)
        site.local.clock.advance(FIVE_MINUTES)
        site.monitor.run_once()
        if site.sink.firing:
            paged = show_page(site, site.sink.firing[0], minutes=5 * (run + 1 - CALM_RUNS))
            break
    site.deployment.behave(
        requests_per_minute=usual.requests_per_minute, p95_ms=usual.p95_ms, p50_ms=usual.median_ms
    )
    for _ in range(8):
        site.local.clock.advance(FIVE_MINUTES)
        site.monitor.run_once()
    return paged


def score(site: Site, week: Week, number: int) -> Evaluation:
    """Score the endpoint: mAP on a random sample of the week's frames, labelled."""
    frames = site.frames(week, number, labelled=True)
    labelled = [
        LabelledFrame(
            truth=frame.truth, image=frame.image, id=f"{number}/{k}", tags={"camera": frame.camera}
        )
        for k, frame in enumerate(islice(frames, LABELLED_A_WEEK))
    ]
    endpoint = site.platform.endpoint(site.deployment.reference)
    return HoldoutValidator(
        data=labelled, model=endpoint, role="recent", clock=site.local.clock
    ).validate()


@frozen(kw_only=True)
class Seen:
    """What Driftline saw in one week, and what it decided."""

    number: int
    profile: Profile
    evaluation: Evaluation
    report: DriftReport | None = None
    plain: DriftReport | None = None
    decision: Decision | None = None
    page: Decision | None = None

    @property
    def boxes_a_frame(self) -> float:
        return self.profile.boxes / self.profile.frames

    @property
    def confidence(self) -> float:
        """Mean over all boxes."""
        means, boxes = self.profile.mean_confidence(), self.profile.boxes_by_block()
        return float(means[boxes > 0] @ boxes[boxes > 0] / boxes.sum())

    @property
    def score(self) -> tuple[float, float, float]:
        """Return mAP@0.5:0.95 and both ends of its 95 % interval."""
        low, high = self.evaluation.map_interval or (math.nan, math.nan)
        return self.evaluation.map or math.nan, low, high

    @property
    def decided(self) -> Decision | None:
        """What the week came to: what was decided at a page, else at its end."""
        return self.page or self.decision

    @property
    def verdict(self) -> str:
        return "reference" if self.report is None else self.report.verdict

    @property
    def plain_text(self) -> str:
        if self.plain is None:
            return ""
        cell = self.plain["confidence"]
        return f"D={cell.statistic:.3f} p={cell.p_value:.1e}"


def look_back(site: Site, week: Week, number: int, profile: Profile, page: Decision | None) -> Seen:
    """What the weekly run sees: drift against the first month, accuracy, and one decision."""
    site.evaluations.append(score(site, week, number))
    if number <= REFERENCE_WEEKS:
        site.reference = profile if site.reference is None else site.reference + profile
        return Seen(number=number, profile=profile, evaluation=site.evaluations[-1])
    assert site.reference is not None
    report = DriftDetector(reference=site.reference).compare(profile, previous=site.reports)
    plain = DriftDetector(reference=site.reference, method="ks").compare(profile)
    site.reports.append(report)
    decision = site.policy.decide(site.evidence(site.sink.firing))
    return Seen(
        number=number,
        profile=profile,
        evaluation=site.evaluations[-1],
        report=report,
        plain=plain,
        decision=decision,
        page=page,
    )


# What is shown ---------------------------------------------------------------------------

COLOURS = {
    Action.NONE: "32",
    Action.WATCH: "33",
    Action.COLLECT: "36",
    Action.INVESTIGATE: "35",
    Action.INFRA: "34",
    Action.RETRAIN: "31",
}
HEADER = "week  boxes/frame  confidence  plain KS on confidence  drift       mAP@0.5:0.95         decision"


def paint(text: str, code: str) -> str:
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def show_week(seen: Seen, story: str) -> None:
    value, low, high = seen.score
    line = (
        f"{seen.number:>4}  {seen.boxes_a_frame:>11.2f}  {seen.confidence:>10.3f}  "
        f"{seen.plain_text:<22}  {seen.verdict:<10}  {value:.3f} ({low:.3f}-{high:.3f})  "
    )
    decided = seen.decision.action if seen.decision is not None else None
    print(line + (paint(decided.value, COLOURS[decided]) if decided else "-"))
    print(paint(f"      in truth: {story}", "2"))
    if seen.decision is not None and decided is not Action.NONE:
        for reason in seen.decision.reasons:
            print(f"      because {reason}")
        print(f"      first: {seen.decision.runbook}")
        for collection in seen.decision.collect:
            print(f"      next: {collection}")


def show_page(site: Site, alert: Alert, minutes: int) -> Decision:
    decision = site.policy.decide(site.evidence([alert]))
    when = f"{site.now:%a %H:%M}"
    print(f"      {when}  {paint('PAGED', '1')} {minutes} minutes after it began: {alert.summary}")
    print(f"                 expected: {alert.expected}")
    print(f"                 runbook: {alert.runbook}")
    print(f"                 decision: {paint(decision.action.value, COLOURS[decision.action])}")
    return decision


def draw(weeks: list[Seen], folder: Path) -> Path:
    """One picture of all weeks: what was measured above, what was decided below."""
    import matplotlib as mpl  # noqa: PLC0415 - only the picture needs it

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    numbers = [week.number for week in weeks]
    figure, (sizes, shift, accuracy) = plt.subplots(
        3, 1, figsize=(10, 8), sharex=True, constrained_layout=True
    )
    sizes.plot(numbers, [week.boxes_a_frame for week in weeks], "o-", color="#4477aa")
    sizes.set_ylabel("boxes a frame")
    judged = [week for week in weeks if week.plain is not None]
    shift.plot(
        [week.number for week in judged],
        [week.plain["confidence"].statistic for week in judged if week.plain is not None],
        "o-",
        color="#aa3377",
    )
    shift.set_ylabel("KS distance of confidence")
    values, low, high = zip(*[week.score for week in weeks], strict=True)
    accuracy.fill_between(numbers, low, high, color="#228833", alpha=0.25, label="95 % interval")
    accuracy.plot(numbers, values, "o-", color="#228833")
    accuracy.set_ylabel("mAP@0.5:0.95")
    accuracy.set_xlabel("week")
    accuracy.set_xticks(numbers)
    accuracy.legend(loc="lower left")
    told = []
    for week in judged:
        if week.decided is None or week.decided.action is Action.NONE:
            continue
        told.append(f"week {week.number}: {week.decided.action.value}")
        for axes in (sizes, shift, accuracy):
            axes.axvspan(week.number - 0.4, week.number + 0.4, color="#bbbbbb", alpha=0.3)
        sizes.annotate(
            week.decided.action.value,
            (week.number, 1.02),
            xycoords=("data", "axes fraction"),
            ha="center",
        )
    figure.suptitle("; ".join(told) or "nothing to do in any week")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "timeline.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def main() -> None:
    arguments = argparse.ArgumentParser(description="Eleven weeks of a deployment, watched.")
    arguments.add_argument("--seed", type=int, default=0, help="of the world (default 0)")
    arguments.add_argument(
        "--out", type=Path, default=Path("demo-out"), help="where the picture goes"
    )
    chosen = arguments.parse_args()
    began = time.perf_counter()
    print(HEADER)
    with (
        LocalPlatform(
            start=FIRST_DAY,
            deployments=["line-3"],
            detector=OnnxDetector(WEIGHTS).predict,
            seed=chosen.seed,
        ) as local,
        PlatformClient(api_key=local.api_key, base_url=local.url, clock=local.clock) as platform,
    ):
        site = Site(local, platform, chosen.seed, local.deployment("line-3"))
        site.deployment.behave(requests_per_minute=USUAL_REQUESTS_A_MINUTE)
        seen = []
        for number, week in enumerate(WEEKS, start=1):
            profile, page = serve(site, week, number)
            seen.append(look_back(site, week, number, profile, page))
            show_week(seen[-1], week.story)
    picture = draw(seen, chosen.out)
    print(f"\n{len(WEEKS)} weeks in {time.perf_counter() - began:.0f} s; the picture is {picture}")


if __name__ == "__main__":
    main()
