"""What users' type checkers see; checked by mypy and pyright, never run."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import assert_type

import numpy as np

from driftline import (
    Action,
    Alert,
    AlertSink,
    AsyncPlatformClient,
    Decision,
    Detections,
    DriftDetector,
    DriftReport,
    Evaluation,
    Evidence,
    HoldoutValidator,
    MetricSink,
    Monitor,
    PlatformClient,
    Profile,
    ProfileBuilder,
    Receipt,
    RetrainLoop,
    RetrainPolicy,
    Sample,
    Severity,
    Trend,
    check,
    drift,
    errors,
    holdout,
    rules,
)
from driftline.holdout import Estimate, Interval
from driftline.lake import DetectionLogger, profile_from_log
from driftline.monitor import Fleet, Run
from driftline.platform import (
    BatchRun,
    Dataset,
    DatasetImage,
    DatasetUpload,
    DatasetVersion,
    Deployment,
    DeploymentMetrics,
    Health,
    ImagePrediction,
    Label,
    LogEntry,
    Model,
    ModelFile,
    Prediction,
    TrainingJob,
    TrainingStart,
)
from driftline.profiles import FrameReservoir, from_coco
from driftline.reports import Checkup, Exported, WeeklyReport, prometheus_rules, weekly
from driftline.retrain import (
    Backtest,
    Collection,
    LocalBackend,
    LoopStatus,
    PlatformBackend,
    RetrainBackend,
    Selection,
)
from driftline.sinks import LogSink
from driftline.stores import MemoryStore, SqlStore
from driftline.testing import FrozenClock, LocalPlatform, RecordingSink


class Pager:
    """A user's own sink, as short as it gets."""

    def send(self, alert: Alert) -> Receipt:
        """Take an alert."""
        return Receipt(sink="pager", detail=alert.summary)


class Numbers:
    """A user's own sink for numbers."""

    def push(self, samples: Sequence[Sample]) -> Receipt:
        """Take samples."""
        return Receipt(sink="numbers", count=len(samples))


def sinks() -> tuple[AlertSink, MetricSink]:
    """Both satisfy the protocols without inheriting."""
    return Pager(), Numbers()


def platform(client: PlatformClient, image: Path) -> None:
    """The endpoint, as a program sees it."""
    for one in client.deployments():
        assert_type(one, Deployment)
    metrics = client.metrics("acme/line-3", window="1h")
    assert_type(metrics, DeploymentMetrics)
    assert_type(client.logs("acme/line-3", limit=200), Iterator[LogEntry])
    assert_type(client.health("acme/line-3"), Health)
    prediction = client.predict("acme/line-3", image)
    assert_type(prediction, Prediction)
    assert_type(prediction.detections, Detections)


async def aplatform(client: AsyncPlatformClient) -> None:
    """The async face gives the same records."""
    assert_type(await client.metrics("acme/line-3"), DeploymentMetrics)
    assert_type(await client.health("acme/line-3"), Health)


def learn(client: PlatformClient, archive: Path) -> None:
    """Datasets, models and trainings, as a program sees them."""
    datasets, models, training = client.datasets, client.models, client.training
    assert_type(datasets.create("frames", class_names=["car"]), Dataset)
    upload = datasets.upload("frames", archive, split="train", wait=False)
    assert_type(upload, DatasetUpload)
    assert_type(datasets.freeze_version("frames"), DatasetVersion)
    assert_type(datasets.export("frames"), bytes)
    images = datasets.images("frames", split="val", labelled=True)
    assert_type(images, Iterator[DatasetImage])
    image = next(images)
    labels = [Label(class_id=0, bbox=(0.5, 0.5, 0.1, 0.1))]
    assert_type(datasets.save_labels(image, labels), tuple[Label, ...])
    assert_type(datasets.predict_image(image, "line/v1"), ImagePrediction)
    assert_type(datasets.predict_batch("frames", "line/v1", approve_cost=True), BatchRun)
    assert_type(datasets.batch("frames"), BatchRun | None)
    model = models.create("line/v2", task="detect")
    assert_type(model, Model)
    assert_type(models.files(model), tuple[ModelFile, ...])
    start = training.start(model, data="frames", base="line/v1", epochs=10, approve_cost=True)
    assert_type(start, TrainingStart)
    assert_type(training.status(model), TrainingJob | None)
    assert_type(training.wait(model, timeout=timedelta(hours=2)), TrainingJob)


async def alearn(client: AsyncPlatformClient, archive: Path) -> None:
    """The async face gives the same records."""
    assert_type(await client.datasets.upload("frames", archive, split="val"), DatasetUpload)
    assert_type(client.datasets.images("frames"), AsyncIterator[DatasetImage])
    assert_type(await client.models.get("line/v1"), Model)
    assert_type(await client.training.status("line/v1"), TrainingJob | None)


def watch(client: PlatformClient, clock: FrozenClock) -> None:
    """One run of the monitor."""
    monitor = Monitor(
        client,
        deployments=["acme/line-3"],
        store=SqlStore("sqlite:///driftline.db"),
        rules=[
            rules.LatencyBudget(p95_ms=250, samples=3, runbook="Check instances."),
            rules.ErrorRate(above=0.01, minutes=5, runbook="Read the logs."),
            rules.DetectionVolume(runbook="Look at the frames."),
        ],
        sinks=[LogSink(), RecordingSink(), Pager(), Numbers()],
        clock=clock,
    )
    assert_type(monitor.run_once(), Run)
    Monitor(None, rules=[], store=MemoryStore())


def drifted(boxes: Sequence[Detections], at: datetime) -> DriftReport:
    """From boxes to a report."""
    builder = ProfileBuilder()
    for one in boxes:
        builder.observe(one, camera="cam-1", at=at)
    week = builder.profile()
    assert_type(week, Profile)
    assert_type(week + week, Profile)
    detector = DriftDetector(reference=week, alpha=0.01)
    report = detector.compare(week)
    assert_type(report, DriftReport)
    assert_type(report.flagged, bool)
    assert_type(report.drifted, bool | None)
    assert_type(report["confidence"].p_value, float)
    assert_type(drift.ks_2samp(np.zeros(3), np.ones(3)).statistic, float)
    return report


def accurate(truth: Sequence[Detections], found: Sequence[Detections]) -> Trend:
    """From labels to a trend."""
    evaluation = holdout.evaluate(truth, found, class_names=["car"])
    assert_type(evaluation, Evaluation)
    assert_type(evaluation.map_interval, Interval | None)
    assert_type(evaluation.compare(evaluation).difference, Estimate)
    assert_type(HoldoutValidator(data=truth, model=found).validate(), Evaluation)
    return Trend.of([evaluation])


def decide(report: DriftReport, trend: Trend) -> Action:
    """From evidence to a decision."""
    evidence = Evidence(drift=report, accuracy=trend, holdout_age=timedelta(days=3))
    decision = RetrainPolicy().decide(evidence)
    assert_type(decision, Decision)
    assert_type(decision.collect, tuple[Collection, ...])
    backtest = RetrainPolicy().backtest([evidence], thresholds={"minimum_gain": [0.01, 0.03]})
    assert_type(backtest, Backtest)
    assert_type(backtest.own.retrainings, tuple[datetime, ...])
    return decision.action


def logged(boxes: Sequence[Detections], folder: Path, at: datetime) -> Profile:
    """From a detection log, or from COCO's JSON, to a profile."""
    with DetectionLogger(folder) as logger:
        for one in boxes:
            logger.observe(one, camera="cam-1", at=at)
    assert_type(from_coco(folder / "images.json", folder / "results.json"), Profile)
    return profile_from_log(folder)


def fleet(acme: PlatformClient, brick: PlatformClient) -> Checkup:
    """Several owners, each with a key of its own."""
    rule = rules.LatencyBudget(p95_ms=250, runbook="Check instances.")
    clients = {"acme": acme, "brick": brick}
    monitor = Monitor(clients, deployments=Fleet(match="line-*"), rules=[rule])
    assert_type(monitor.run_once().unreached, tuple[str, ...])
    assert_type(prometheus_rules([rule]), Exported)
    return check(monitor)


def places(platform: PlatformClient, folder: Path) -> tuple[RetrainBackend, RetrainBackend]:
    """Both back ends are what the loop asks for."""
    platform_backend = PlatformBackend(
        platform,
        MemoryStore(),
        dataset="acme/frames",
        project="vision",
        deployment="acme/line-3",
        canary="acme/line-3-canary",
        budget_cents=500,
    )
    return platform_backend, LocalBackend(folder)


def retrain(loop: RetrainLoop, decision: Decision, reservoir: FrameReservoir) -> WeeklyReport:
    """From a decision through the loop to a page."""
    assert_type(loop.open(decision), LoopStatus)
    status = loop.advance()
    assert_type(status, LoopStatus)
    chosen = Selection.of([*reservoir.uncertain(), *reservoir.uniform()], budget=100)
    return weekly(decision=decision, progress=status, frames=chosen.frames)


def local() -> None:
    """The local platform, and errors as a tree."""
    with LocalPlatform() as server:
        assert_type(server.url, str)
        assert_type(server.api_key, str)
    try:
        raise errors.RateLimited("slow down")
    except errors.DriftlineError as exc:
        assert isinstance(exc, errors.RateLimited)
        assert_type(exc.retry_after_seconds, float | None)
    assert_type(Severity("critical"), Severity)
