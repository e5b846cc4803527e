"""Alerts and samples as readable lines, to ``logging`` or to a text stream."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TextIO

from driftline._checks import part, refuse_no_text
from driftline.errors import DeliveryFailed, DeliveryRefused, InputError
from driftline.records import Alert, AlertStatus, Receipt, Sample, Severity
from driftline.sinks._text import clean, facts, headline, iso, log_line, one_line, sample_line

_LEVELS = {
    Severity.CRITICAL: logging.CRITICAL,
    Severity.ERROR: logging.ERROR,
    Severity.WARNING: logging.WARNING,
    Severity.INFO: logging.INFO,
}


def alert_lines(alert: Alert) -> list[str]:
    """An alert as lines: what happened, what was expected, what to do, the newest log lines.

    Only the first begins with a time; the rest are indented, and no value can break a line.
    """
    known = facts(alert)
    mark = "RESOLVED" if alert.status is AlertStatus.RESOLVED else alert.severity.name
    lines = [f"{iso(alert.at)} {mark} {one_line(alert.rule)} {headline(alert)}"]
    lines += [
        f"    {name}: {known[name]}" for name in ("expected", "reason", "runbook") if name in known
    ]
    lines += [f"    {one_line(link.text)}: {one_line(link.url)}" for link in alert.links]
    lines += [f"    log: {log_line(line)}" for line in alert.logs]
    return [*lines, f"    key: {one_line(alert.key)}"]


def sample_lines(samples: Sequence[Sample]) -> list[str]:
    """One line a series: its newest value, and the range where there are several.

    >>> from datetime import UTC, datetime, timedelta
    >>> noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    >>> at = [noon, noon + timedelta(minutes=5)]
    >>> sample_lines([Sample(metric="queue.depth", value=n, at=t) for n, t in zip([7, 9], at)])
    ['2026-11-22T12:05:00.000Z queue.depth=9 (2 values, 7 to 9)']
    """
    by_series: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Sample]] = {}
    for sample in samples:
        labels = tuple(sorted(sample.labels.items()))
        by_series.setdefault((sample.metric, sample.deployment, labels), []).append(sample)
    return [_series_line(series) for series in by_series.values()]


def _series_line(series: Sequence[Sample]) -> str:
    newest = max(series, key=lambda sample: sample.at)
    if len(series) == 1:
        return sample_line(newest)
    values = [sample.value for sample in series]
    return f"{sample_line(newest)} ({len(values)} values, {min(values):.6g} to {max(values):.6g})"


class LogSink:
    """Writes what it is sent as readable lines.

    To a logger, an alert goes at the level of its severity, a resolve at INFO and numbers at
    DEBUG; to a stream, everything goes. Without either it uses the logger ``driftline.alerts``,
    so that the application decides where lines end up; Python prints warnings and worse to
    stderr when the application has decided nothing.

    Attributes:
        name: name of the sink in receipts and in the outbox.
    """

    def __init__(
        self,
        *,
        logger: logging.Logger | None = None,
        stream: TextIO | None = None,
        name: str = "log",
    ) -> None:
        """Keep where to write; a stream is flushed after each alert and never closed.

        Raises:
            InputError: both a logger and a stream were passed, or one that is none.
        """
        if logger is not None and stream is not None:
            msg = f"logger={logger!r} and stream={stream!r}: pass one of them, or make two sinks"
            raise InputError(msg)
        if logger is not None:
            what = 'a logger, such as logging.getLogger("my.alerts")'
            part(logger, logging.Logger, name="logger", what=what)
        if stream is not None and not callable(getattr(stream, "write", None)):
            msg = f"stream={stream!r} must be an open text file, such as sys.stderr"
            raise InputError(msg)
        refuse_no_text("name", name)
        self.name = name
        self._stream = stream
        self._logger = logger if logger is not None else logging.getLogger("driftline.alerts")
        self._lock = threading.Lock()

    def send(self, alert: Alert) -> Receipt:
        """Write one alert.

        Raises:
            DeliveryFailed: the stream did not take it now (a full disk).
            DeliveryRefused: the stream is closed, or was opened for reading only.
        """
        resolved = alert.status is AlertStatus.RESOLVED
        level = logging.INFO if resolved else _LEVELS[alert.severity]
        self._write(alert_lines(alert), level)
        return Receipt(sink=self.name, reference=alert.key)

    def push(self, samples: Sequence[Sample]) -> Receipt:
        """Write one line a series, at DEBUG; errors as in `send`."""
        if lines := sample_lines(samples):
            self._write(lines, logging.DEBUG)
        return Receipt(sink=self.name, count=len(samples))

    def check(self) -> Receipt:
        """Tell whether the stream is open; errors as in `send`."""
        if self._stream is None:
            return Receipt(sink=self.name, detail=f"writes to the logger {self._logger.name!r}")
        self._write([], logging.INFO)
        return Receipt(sink=self.name, detail="the stream is open")

    def _write(self, lines: list[str], level: int) -> None:
        if self._stream is None:
            self._logger.log(level, "%s", "\n".join(lines))
            return
        # What the stream's encoding lacks is escaped: an alert is not lost for an accent.
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        text = "".join(f"{clean(line)}\n" for line in lines)
        text = text.encode(encoding, "backslashreplace").decode(encoding)
        with self._lock:
            try:
                self._stream.write(text)
                self._stream.flush()
            except ValueError as exc:  # for good, so before OSError: "not writable" is both
                msg = f"{self.name}: the stream is closed, or not for writing; pass one that stays open"
                raise DeliveryRefused(msg) from exc
            except OSError as exc:
                msg = f"{self.name}: the stream did not take the lines: {exc}"
                raise DeliveryFailed(msg) from exc

    def __repr__(self) -> str:
        """Say where it writes."""
        target = self._logger if self._stream is None else self._stream
        return f"LogSink({target!r})"
