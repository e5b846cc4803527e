"""The log sink: readable lines, which nothing in an alert can break or forge."""

import io
import logging
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import DeliveryFailed, DeliveryRefused, InputError
from driftline.records import AlertStatus, Link, LogLine, Metric, Sample, Severity
from driftline.sinks import LogSink
from driftline.testing import example_alert

NOW = datetime(2026, 11, 22, 21, tzinfo=UTC)


@pytest.fixture
def alert():
    line = LogLine(at=NOW, severity="ERROR", message="worker timed out", http_status=504)
    return example_alert(at=NOW, logs=(line,))


def test_stream(alert):
    """An alert is a few lines: what happened, what was expected, what to do, where to look."""
    stream = io.StringIO()
    receipt = LogSink(stream=stream).send(alert)

    assert ("log", alert.key) == (receipt.sink, receipt.reference)
    assert [
        "2026-11-22T21:00:00.000Z CRITICAL latency_budget acme/line-3: p95 latency is 412 ms",
        "    expected: at most 250 ms in 3 windows of 5 minutes",
        "    runbook: Compare with the deployment before; roll back if it began with it.",
        "    Deployment: https://platform.example/acme/line-3",
        "    log: 2026-11-22T21:00:00.000Z ERROR 504 worker timed out",
        "    key: latency-budget:acme/line-3",
    ] == stream.getvalue().splitlines()


def test_resolved(alert):
    """An end says that it is one, and why."""
    stream = io.StringIO()
    LogSink(stream=stream).send(evolve(alert, status=AlertStatus.RESOLVED, reason="recovered"))

    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("2026-11-22T21:00:00.000Z RESOLVED latency_budget Resolved:")
    assert "    reason: recovered" in lines


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({"severity": Severity.CRITICAL}, logging.CRITICAL),
        ({"severity": Severity.ERROR}, logging.ERROR),
        ({"severity": Severity.WARNING}, logging.WARNING),
        ({"severity": Severity.INFO}, logging.INFO),
        ({"status": AlertStatus.RESOLVED}, logging.INFO),
    ],
)
def test_levels(caplog, alert, changes, level):
    """A logger gets each alert at the level of its severity, whole and unformatted."""
    caplog.set_level(logging.DEBUG)
    LogSink().send(evolve(alert, **changes))

    (record,) = caplog.records
    assert ("driftline.alerts", level) == (record.name, record.levelno)
    assert "p95 latency is 412 ms" in record.getMessage()


def test_own_logger(caplog, alert):
    """A logger of one's own is used as it is; a percent sign is no format."""
    caplog.set_level(logging.DEBUG)
    LogSink(logger=logging.getLogger("ops")).send(evolve(alert, summary="100%s of 5%d"))

    (record,) = caplog.records
    assert "ops" == record.name
    assert "100%s of 5%d" in record.getMessage()


def test_samples(caplog):
    """A series is a line: its newest value, and the range of several; a logger takes it as DEBUG."""
    minute = timedelta(minutes=1)
    samples = [
        Sample(metric=Metric.MAP, value=0.412345678, at=NOW, deployment="acme/line-3"),
        Sample(metric=Metric.DETECTIONS, value=9, at=NOW, labels={"camera": "cam-1"}),
        Sample(metric=Metric.DETECTIONS, value=7, at=NOW - minute, labels={"camera": "cam-1"}),
        Sample(metric=Metric.DETECTIONS, value=3, at=NOW, labels={"camera": "cam-2"}),
    ]
    stream = io.StringIO()
    assert 4 == LogSink(stream=stream).push(samples).count
    caplog.set_level(logging.DEBUG)
    LogSink().push(samples)

    expected = [
        "2026-11-22T21:00:00.000Z accuracy.map=0.412346 deployment=acme/line-3",
        "2026-11-22T21:00:00.000Z detections.count=9 camera=cam-1 (2 values, 7 to 9)",
        "2026-11-22T21:00:00.000Z detections.count=3 camera=cam-2",
    ]
    assert expected == stream.getvalue().splitlines()
    assert ["\n".join(expected)] == caplog.messages
    assert logging.DEBUG == caplog.records[0].levelno


def test_no_samples(caplog):
    """Nothing is written for nothing."""
    caplog.set_level(logging.DEBUG)

    assert 0 == LogSink().push([]).count
    assert [] == caplog.records


@given(st.text())
def test_no_forged_lines(text):
    """No text of an alert can begin a line of its own, or hide one behind control characters."""
    line = LogLine(at=NOW, severity="ERROR", message=text)
    plain = example_alert(logs=(), links=(), reason="r")
    forged = evolve(
        plain,
        rule=text,
        summary=text,
        expected=f"x{text}",
        runbook=f"x{text}",
        reason=f"x{text}",
        deployment=text,
        key=text,
        logs=(line,),
        links=(Link(url=text, text=text),),
    )
    stream = io.StringIO()
    LogSink(stream=stream).send(forged)

    lines = stream.getvalue().split("\n")
    assert 8 == len(lines)  # head, expected, reason, runbook, link, log, key, and the end
    assert all(line.startswith("    ") for line in lines[1:-1])
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in "".join(lines))


def test_narrow_encoding(alert):
    """What the stream's encoding lacks is escaped; the alert is not lost for it."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    LogSink(stream=stream).send(evolve(alert, summary="Förderband 温度 \ud800"))

    assert b"F\\xf6rderband \\u6e29\\u5ea6" in raw.getvalue()


class FullDisk(io.StringIO):
    def flush(self):
        raise OSError(28, "No space left on device")


def test_full_disk(alert):
    """A full disk may be emptied: the outbox tries again."""
    sink = LogSink(stream=FullDisk())
    with pytest.raises(DeliveryFailed, match="No space left"):
        sink.send(alert)
    with pytest.raises(DeliveryFailed):
        sink.check()


def test_closed_stream(alert):
    """A closed stream never opens again."""
    stream = io.StringIO()
    stream.close()
    with pytest.raises(DeliveryRefused, match="closed"):
        LogSink(stream=stream).push([Sample(metric="a.b", value=1, at=NOW)])


def test_check():
    """A check writes nothing and says where lines go."""
    stream = io.StringIO()

    assert "'ops'" in LogSink(logger=logging.getLogger("ops")).check().detail
    assert "open" in LogSink(stream=stream).check().detail
    assert "" == stream.getvalue()


def test_one_target():
    """A logger and a stream together are refused: nobody could say which of them counts."""
    with pytest.raises(InputError):
        LogSink(logger=logging.getLogger("ops"), stream=io.StringIO())


def test_repr():
    """It says where it writes."""
    assert "driftline.alerts" in repr(LogSink())
    assert "StringIO" in repr(LogSink(stream=io.StringIO()))


def test_age(alert):
    """A line carries the time of the alert, not of its writing."""
    stream = io.StringIO()
    LogSink(stream=stream).send(evolve(alert, at=NOW - timedelta(days=9)))

    assert stream.getvalue().startswith("2026-11-13T21:00:00.000Z")
