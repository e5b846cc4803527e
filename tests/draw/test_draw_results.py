"""Result objects draw themselves: the title is the verdict, the data is theirs."""

import importlib
import pkgutil
import re
from datetime import UTC, datetime, timedelta

import matplotlib as mpl
import numpy as np
import pytest

import driftline
from driftline import Alert, Detections, DriftReport, Profile, ProfileBuilder, Severity, Trend
from driftline._draw import Shown
from driftline.drift import Cell, Curve
from driftline.errors import TooLittleData
from driftline.holdout import TrendPoint, evaluate
from driftline.monitor import Transition
from driftline.monitor._views import alerts
from driftline.records import AlertStatus, LogLine, Series
from driftline.retrain import (
    AccuracyFacts,
    Difference,
    Evidence,
    Judgement,
    LoopStatus,
    Measure,
    Move,
    Note,
    RetrainPolicy,
    Verdict,
)
from driftline.rules import Change

mpl.use("agg")

from matplotlib.figure import Figure  # after the backend

EVIL = "<script>alert(1)</script>"
T0 = datetime(2026, 11, 2, 8, tzinfo=UTC)


@pytest.fixture
def ax():
    return Figure().add_subplot()


def title(ax):
    return ax.get_title(loc="left").replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")


def minutes(n):
    return T0 + timedelta(minutes=n)


# Drift ---------------------------------------------------------------------------------------

CURVE = Curve(at=[0.2, 0.4, 0.6, 0.8], reference=[0.1, 0.3, 0.6, 0.9], current=[0.2, 0.7, 0.9, 1.0])


def cell(feature="confidence", *, flagged=True, effect=0.4, **more):
    given = {"unit": "confidence, 0 to 1", "direction": "lower", "at": 0.4, "curve": CURVE} | more
    return Cell(
        feature=feature,
        effect=effect,
        effect_low=effect - 0.05,
        effect_high=effect + 0.05,
        p_value=0.001,
        flagged=flagged,
        n_blocks=7,
        n_frames=900,
        n_boxes=1000,
        **given,
    )


def report(*cells, before=()):
    return DriftReport(
        start=T0, end=T0 + timedelta(days=7), method="block", alpha=0.01, cells=cells, before=before
    )


def test_shift(ax):
    """A flagged cell's title says what moved, by how much and where, at the widest gap."""
    report(cell()).plot(ax)

    assert "Confidence is lower: 70 % lie below 0.4, before 30 %" == title(ax)
    assert "confidence, 0 to 1" == ax.get_xlabel()


def test_shift_is_drawn_from_the_curve(ax):
    """The pair of histograms is the differences of the two curves."""
    cell().plot(ax)
    before, now, marked = ax.lines

    np.testing.assert_allclose(np.diff(CURVE.reference), before.get_ydata()[2:-2:2])
    np.testing.assert_allclose(np.diff(CURVE.current), now.get_ydata()[2:-2:2])
    assert [0.4, 0.4] == list(marked.get_xdata())


def test_higher_is_told_from_above(ax):
    """What moved up is told as the share above the place."""
    up = Curve(at=CURVE.at, reference=CURVE.current, current=CURVE.reference)
    cell(direction="higher", curve=up).plot(ax)

    assert "Confidence is higher: 70 % lie above 0.4, before 30 %" == title(ax)


def test_octaves_read_as_shares(ax):
    """A size in log2 is drawn as the share it is, on a logarithmic axis."""
    octaves = Curve(at=[-8, -7, -6], reference=[0.2, 0.5, 0.9], current=[0.3, 0.8, 1.0])
    unit = "log2 of the box's share of the frame's area"
    cell("area", unit=unit, at=-7, curve=octaves).plot(ax)

    assert "Area is lower: 80 % lie below 0.78 %, before 50 %" == title(ax)
    assert ("log", "share of the frame's area") == (ax.get_xscale(), ax.get_xlabel())


def test_class_mix(ax):
    """The class mix names the class that moved most."""
    mix = Curve(at=[0, 1], reference=[0.8, 0.2], current=[0.5, 0.5], names=["bolt", "nut"])
    cell("class", unit="class", direction="more", at=1, curve=mix).plot(ax)

    assert "Class mix moved: bolt is 50 % of boxes, before 80 %" == title(ax)
    assert ["bolt", "nut"] == [label.get_text() for label in ax.get_yticklabels()]


def test_calm_holds(ax):
    """A cell that is not flagged is said to hold."""
    cell(flagged=False).plot(ax)

    assert title(ax).startswith("Confidence holds: ")


def test_no_curve():
    """A cell that keeps no curve says which cells do."""
    with pytest.raises(TooLittleData, match="flagged ones keep one"):
        cell(curve=None).plot()


def test_effects_are_ranked(ax):
    """Flagged cells come first, then the largest; each with its interval."""
    cells = [cell(camera="cam-1", effect=0.2), cell(effect=0.5, flagged=False), cell("area")]
    report(*cells).plot_effects(ax)
    names = [label.get_text() for label in ax.get_yticklabels()]

    assert ["area", "confidence on cam-1", "confidence"] == names
    assert "Watch: 2 of 3 cells are flagged" == title(ax)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (report(cell(), before=[True]), "Drift is confirmed"),
        (report(cell()), "not confirmed yet"),
        (report(cell(flagged=False)), "No shift worth an alarm"),
        (report(Cell(feature="confidence", reason="2 days of 5")), "Too little data"),
    ],
)
def test_report_says_its_verdict(made, said):
    """The page of a report begins with its verdict in words."""
    page = made._repr_html_()

    assert said in page
    assert f">{made.verdict}</span>" in page


# Holdout -------------------------------------------------------------------------------------


def points(*scores):
    return tuple(
        TrendPoint(
            week=i,
            map=score,
            corrected=score,
            standard_error=0.01,
            interval=None,
            n_frames=100,
            at=T0 + timedelta(weeks=i),
        )
        for i, score in enumerate(scores)
    )


def trend(verdict, *scores, drop):
    return Trend(
        verdict=verdict,
        reason="why",
        role="recent",
        rule="union",
        points=points(*scores),
        drop=drop,
    )


def test_falling(ax):
    """The title is the verdict with the drop; weeks and the two compared levels are drawn."""
    trend("falling", 0.7, 0.7, 0.6, 0.5, drop=0.15).plot(ax)
    first, last = ax.lines[-2:]

    assert "mAP@0.5:0.95 is falling: the last weeks are 15.0 points below the first" == title(ax)
    assert [0.7, 0.7, 0.6, 0.5] == list(ax.lines[0].get_ydata())
    assert [0.7, 0.7] == list(first.get_ydata())
    np.testing.assert_allclose([0.55, 0.55], last.get_ydata())


def test_holding(ax):
    """A trend that holds says so; a rise is not called a drop."""
    trend("holding", 0.6, 0.7, drop=-0.1).plot(ax)

    assert "mAP@0.5:0.95 holds: the last weeks are 10.0 points above the first" == title(ax)


def test_too_few_weeks(ax):
    """Without a verdict the title gives the reason."""
    trend("too little data", 0.6, drop=None).plot(ax)

    assert "Too little data for a trend: why" == title(ax)


@pytest.fixture(scope="module")
def evaluation():
    truth = Detections(
        xyxy=[[10, 10, 60, 60], [100, 10, 160, 60]],
        confidence=[1, 1],
        class_id=[0, 1],
        image_size=(200, 200),
    )
    good = Detections(
        xyxy=[[10, 10, 60, 60], [100, 10, 150, 60]],
        confidence=[0.9, 0.6],
        class_id=[0, 1],
        image_size=(200, 200),
    )
    none = Detections(xyxy=np.zeros((0, 4)), confidence=[], class_id=[], image_size=(200, 200))
    names = {0: "bolt", 1: EVIL}
    return evaluate([truth] * 30, [good, none, good] * 10, class_names=names, replicates=50)


def test_precision_recall(ax, evaluation):
    """The curves are those whose mean is the average precision at IoU 0.5."""
    evaluation.plot(ax)
    curves = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}

    assert title(ax).startswith("mAP@0.5 is 0.6")
    for name, score in evaluation.per_class.items():
        assert curves[name].get_ydata().mean() == pytest.approx(score.map50)
        assert curves[name].get_xdata().max() == 1


def test_scores(ax, evaluation):
    """The ranked scores name the weakest class and hold every class."""
    evaluation.plot_scores(ax)

    assert title(ax).endswith(f"weakest is {EVIL} at {evaluation.per_class[EVIL].map:.3f}")
    assert {"bolt", EVIL} <= {label.get_text() for label in ax.get_yticklabels()}


def test_reliability(ax, evaluation):
    """Confidence against precision, and the direction in which they differ."""
    evaluation.calibration.plot(ax)

    assert "Detections are right more often than they say: off by 0.25 on average" == title(ax)
    np.testing.assert_allclose([0.6, 0.9], ax.lines[-1].get_xdata())
    np.testing.assert_allclose([1, 1], ax.lines[-1].get_ydata())


def test_comparison(ax, evaluation):
    """A comparison with itself shows no difference, and says so."""
    evaluation.compare(evaluation, replicates=50).plot(ax)

    assert title(ax).startswith("No difference is shown: +0.0 points of mAP@0.5:0.95")


# Monitor and retrain -------------------------------------------------------------------------


def step(change, at, *, since=None, key="a", rule="latency-budget"):
    return Transition(
        key=key,
        change=change,
        at=minutes(at),
        rule=rule,
        deployment="acme/line-3",
        value=300,
        threshold=250,
        since=minutes(at if since is None else since),
    )


HISTORY = [
    step(Change.PENDING, 0),
    step(Change.FIRING, 10, since=0),
    step(Change.SUPPRESSED, 20, since=0),
    step(Change.RELEASED, 30, since=0),
    step(Change.RESOLVED, 60, since=0),
    step(Change.PENDING, 70, key="b", rule="error-rate"),
    step(Change.CLEARED, 80, since=70, key="b", rule="error-rate"),
]


def spans(picture):
    first = picture.x.low
    return [
        (mark.row, mark.role, round((mark.start - first) * 1440), round((mark.end - first) * 1440))
        for mark in picture.marks
    ]


def test_timeline():
    """Each alert has a row, the latest on top, with what it was when."""
    found = alerts(HISTORY, since=None, now=minutes(100))

    assert "No alert is firing; 1 fired and ended" == found.title
    assert ("error-rate on acme/line-3", "latency-budget on acme/line-3") == found.y.names
    assert [
        (0, "warn", 70, 80),
        (1, "warn", 0, 10),
        (1, "bad", 10, 60),
        (1, "muted", 20, 30),
    ] == spans(found)


def test_timeline_of_an_open_alert():
    """An alert that fires lasts until now, and the title names it."""
    found = alerts(HISTORY[:2], since=None, now=minutes(100))

    assert "latency-budget on acme/line-3 is firing since 2026-11-02 08:10 UTC" == found.title
    assert (0, "bad", 10, 100) in spans(found)


def test_timeline_from_later_on():
    """What began before the picture does is shown from its left end, also where it lasts."""
    open_one = alerts(HISTORY[:2], since=minutes(50), now=minutes(100))
    ended = alerts(HISTORY, since=minutes(50), now=minutes(100))

    assert [(0, "bad", 0, 50)] == spans(open_one)
    assert (1, "bad", 0, 10) in spans(ended)
    assert "No alert has fired" == alerts(HISTORY, since=minutes(90), now=minutes(100)).title


def test_forgotten_beginning():
    """Of an alert whose beginning the store has forgotten, its end says when it began."""
    found = alerts([step(Change.RESOLVED, 60, since=20)], since=None, now=minutes(100))

    assert [(0, "bad", 0, 40)] == spans(found)


def test_no_alert():
    """A quiet history says so."""
    assert "No alert has fired" == alerts([], since=None, now=T0).title


def test_arms(ax):
    """The arms are drawn as multiples of what is tolerated, titled with the verdict."""
    slow = Difference(
        measure=Measure.SLOW,
        incumbent=0.03,
        candidate=0.08,
        difference=0.05,
        tolerance=0.02,
        observations=900,
        worse=80,
        not_worse=0.1,
        needed=(60, 20),
    )
    Judgement(verdict=Verdict.ROLL_BACK, reasons=("slow is worse",), differences=(slow,)).plot(ax)

    assert "Roll back: slow is worse" == title(ax)
    assert [2.5] == pytest.approx(list(ax.lines[-1].get_xdata()))
    assert "candidate less incumbent, as a multiple of the tolerance" == ax.get_xlabel()


def test_retraining():
    """A retraining says what it waits for, and how each of its seven steps stands."""
    status = LoopStatus(
        id="ab12",
        name="acme/line-3",
        decision=decision(),
        move=Move.TRAIN,
        step=4,
        incumbent="v1",
        candidate="",
        began=T0,
        since=T0,
        at=T0,
        waits_for="epoch 3 of 50",
        notes=(Note(at=T0, step=2, said="drew 200 frames"),),
    )
    page = status._repr_html_()

    assert "Waits for epoch 3 of 50" in page
    words = re.sub(r"(<[^>]+>)+", "\n", page)
    assert "annotate\ndone" in words
    assert "retrain\nnow" in words
    assert "drew 200 frames" in page


def test_series(ax):
    """A series draws its values; those still filling are apart."""
    at = np.datetime64("2026-11-02T08:00", "us") + np.arange(4) * np.timedelta64(60_000_000, "us")
    series = Series(
        metric="p95_ms",
        times=at,
        values=np.array([200.0, 210, 190, 50]),
        width=timedelta(minutes=1),
        settled_until=minutes(3),
    )
    series.plot(ax)

    assert "p95_ms is 190 at the end, between 190 and 210" == title(ax)
    assert [200, 210, 190, 50] == list(ax.lines[0].get_ydata())


# Every result, with hostile names --------------------------------------------------------------


def profile() -> Profile:
    builder = ProfileBuilder()
    found = Detections(
        xyxy=[[0, 0, 9, 9]],
        confidence=[0.5],
        class_id=[0],
        image_size=(10, 10),
        class_names={0: EVIL},
    )
    builder.observe(found, camera=EVIL, at=T0)
    return builder.profile()


def alert() -> Alert:
    return Alert(
        key="k",
        rule="latency-budget",
        severity=Severity.CRITICAL,
        status=AlertStatus.FIRING,
        summary=EVIL,
        expected="at most 250 ms",
        runbook="look at the logs",
        window_start=T0,
        window_end=T0,
        since=T0,
        at=T0,
        logs=[LogLine(at=T0, severity="ERROR", message=EVIL)],
    )


def decision():
    falling = AccuracyFacts(verdict="falling", drop=0.1, drop_low=0.05, drop_high=0.2, basis=EVIL)
    return RetrainPolicy().decide(Evidence(accuracy=falling))


@pytest.mark.parametrize("make", [alert, decision, profile, lambda: report(cell(camera=EVIL))])
def test_views(make):
    """Every result has a page without scripts, a short repr, and words for a terminal."""
    result = make()
    page = result._repr_html_()

    assert "<script" not in page
    assert len(repr(result)) < 400
    assert repr(result).startswith(f"<{type(result).__name__}")
    assert result.__rich__()


def test_log_lines_are_shown():
    """The log lines of an alert are on its page, as text."""
    assert 2 == alert()._repr_html_().count("&lt;script&gt;alert(1)&lt;/script&gt;")


def test_evaluation_page(evaluation):
    """An evaluation's page shows its three pictures, and a class may be called anything."""
    page = evaluation._repr_html_()

    assert 3 == page.count("<figure>")
    assert "<script" not in page


def test_many_classes(ax):
    """Of eighty classes the weakest are drawn, as many as can be told apart, and it is said."""
    n = 80
    boxes = [[10.0 * i, 0.0, 10.0 * i + 9, 9.0] for i in range(n)]
    truth = Detections(xyxy=boxes, confidence=[1] * n, class_id=range(n), image_size=(10, 10 * n))
    found = Detections(
        xyxy=np.array(boxes) + np.linspace(0, 3, n)[::-1, None] * [0, 0, 1, 0],
        confidence=[0.9] * n,
        class_id=range(n),
        image_size=(10, 10 * n),
    )
    many = evaluate([truth] * 20, [found] * 20, replicates=20)
    many.plot(ax)
    told = [text.get_text() for text in ax.texts]

    assert 6 == len(ax.get_legend().get_texts())
    assert any("74 more are not shown" in text for text in told)
    assert len(many._repr_html_()) < 100_000


def test_confirmed_by_others(ax):
    """Drift that the two weeks before confirm is no contradiction to a calm week."""
    report(cell(flagged=False), before=[True, True]).plot_effects(ax)

    assert "Drift: none of 1 cells is flagged this week, the two before it were" == title(ax)


def test_gaps_stay_gaps(ax):
    """Buckets that nobody observed are not bridged by a line; a lonely one is a point."""
    at = [0, 1, 2, 10, 20, 21]
    one = Series(
        metric="endpoint.requests",
        times=np.array([minutes(m).replace(tzinfo=None) for m in at], dtype="datetime64[us]"),
        values=np.arange(6.0),
        width=timedelta(minutes=1),
    )
    one.plot(ax)
    *lines, dots = ax.lines

    assert [[0, 1, 2], [3], [4, 5]] == [list(line.get_ydata()) for line in lines]
    assert 6 == len(dots.get_ydata())


def test_every_result_is_short():
    """No result's repr is a dump of its fields."""
    for module in pkgutil.walk_packages(driftline.__path__, "driftline."):
        if not module.name.endswith(("__main__", "_child", "sinks.apprise")):
            importlib.import_module(module.name)
    dumped = {
        one.__name__
        for one in every(Shown)
        if one.__repr__.__code__.co_filename.startswith("<attrs generated")
    }

    assert set() == dumped


def every(base):
    return {one for direct in base.__subclasses__() for one in {direct, *every(direct)}}
