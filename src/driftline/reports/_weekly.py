"""The week on one page: what to do, what changed, whether the model is still right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from attrs import evolve, field, frozen

from driftline._checks import part, parts
from driftline._clock import SystemClock, as_utc
from driftline._draw import DARK, LIGHT, STYLE, Shown, Table, Tone, View, body, escaped
from driftline._files import write_whole
from driftline.drift import DriftReport
from driftline.holdout import Evaluation, Trend
from driftline.monitor import Transition
from driftline.monitor._views import alerts as alerts_picture
from driftline.profiles import SampledFrame
from driftline.reports import _frame, _markdown
from driftline.retrain import Decision, LoopStatus, RolloutStatus
from driftline.rules import Change

WEEK: Final = timedelta(days=7)
FRAMES: Final = 8
"""Frames on a page: with pictures of at most some 60 kB it stays below a megabyte."""


@frozen(kw_only=True)
class Section:
    """One part of the page.

    Attributes:
        title: its heading.
        views: what there is to see; empty where nothing was handed in.
        missing: what is said then.
        frames: frames to show with their boxes.
    """

    title: str
    views: tuple[View, ...]
    missing: str
    frames: tuple[SampledFrame, ...] = ()

    def html(self) -> str:
        """The section; frames whose pictures are not at hand are named."""
        drawn = [(_frame.caption(frame), _frame.figure(frame)) for frame in self.frames]
        figures = "".join(figure for _, figure in drawn)
        named = [caption for caption, figure in drawn if not figure]
        told = "".join(
            f"<div>{body(view)}</div>"
            for view in (*self.views, *_listed("frames, not at hand here", named))
        )
        pictures = f'<div class="dl-figures">{figures}</div>' if figures else ""
        missing = "" if told or pictures else f'<p class="dl-notes">{escaped(self.missing)}</p>'
        return f"<section><h2>{escaped(self.title)}</h2>{told}{pictures}{missing}</section>"

    def markdown(self) -> str:
        """The section, without pictures."""
        views = (*self.views, *_listed("frames", [_frame.caption(f) for f in self.frames]))
        told = [_markdown.view(view) for view in views] or [self.missing]
        return "\n\n".join([f"## {self.title}", *told])


def _listed(kind: str, lines: Sequence[str]) -> tuple[View, ...]:
    return (View(kind=kind, lines=lines),) if lines else ()


@frozen(kw_only=True, repr=False)
class WeeklyReport:
    """A week on one page.

    Attributes:
        title: heading of the page.
        detail: what it is about: the deployment and the time.
        sections: its parts, the decision first.
    """

    title: str
    detail: str
    sections: tuple[Section, ...] = field(repr=False)

    @property
    def html(self) -> str:
        """The page as one file: it needs no network and no script, and prints."""
        head = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            f"<title>{escaped(self.title)}, {escaped(self.detail)}</title>"
            f"<style>{STYLE}{_PAGE}</style></head>"
        )
        return f'{head}<body class="driftline">{self._main()}</body></html>\n'

    @property
    def markdown(self) -> str:
        """The page for a chat or an issue, without pictures."""
        top = f"# {_markdown.plain(self.title)}\n\n{_markdown.plain(self.detail)}"
        return "\n\n".join([top, *(section.markdown() for section in self.sections)]) + "\n"

    def write(self, path: str | Path) -> Path:
        """Write the page: Markdown where the name ends in ``.md``, else HTML; answer where it is.

        Raises:
            InputError: the path cannot be written.
            StoreError: the machine failed, such as a full disk; the old file stays.
        """
        target = Path(part(path, (str, Path), name="path", what="the path of a file"))
        text = self.markdown if target.suffix.lower() in {".md", ".markdown"} else self.html
        write_whole(target, text.encode(errors="replace"), what="the page")
        return target

    def _main(self) -> str:
        sections = "".join(section.html() for section in self.sections)
        top = f"<h1>{escaped(self.title)}</h1><p>{escaped(self.detail)}</p>"
        return f"<main>{top}{sections}</main>"

    def _repr_html_(self) -> str:
        return f'<style>{STYLE}{_PAGE}</style><article class="driftline">{self._main()}</article>'

    def __repr__(self) -> str:
        """Say what it is about."""
        return f"<WeeklyReport {self.detail}>"


_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_PAGE: Final = f"""
html{{background:{LIGHT["ground"]}}}
@media (prefers-color-scheme:dark){{html{{background:{DARK["ground"]}}}}}
body.driftline{{margin:0 auto}}
.driftline h1{{font-size:1.5rem;margin:.2rem 0}}
.driftline h2{{font-size:1.15rem;margin:1.6rem 0 .5rem;padding-top:.7rem;
border-top:1px solid var(--dl-grid);break-after:avoid}}
.driftline section>div+div{{margin-top:1rem}}
.driftline .dl-key{{white-space:normal}}
.driftline svg{{overflow:visible}}
.driftline tr{{break-inside:avoid}}
.driftline td{{overflow-wrap:break-word}}
@media (max-width:40rem){{.driftline th,.driftline td{{padding-right:.5rem}}}}
@media print{{html{{background:#fff}}@page{{margin:14mm}}
.driftline .dl-wide{{overflow:visible}}.driftline .dl-figures{{grid-template-columns:1fr 1fr}}}}
"""


def weekly(
    *,
    decision: Decision | None = None,
    drift: DriftReport | None = None,
    accuracy: Trend | None = None,
    evaluation: Evaluation | None = None,
    alerts: Sequence[Transition] | None = None,
    progress: RolloutStatus | LoopStatus | None = None,
    frames: Iterable[SampledFrame] = (),
    deployment: str = "",
    at: datetime | None = None,
    title: str = "Weekly report",
) -> WeeklyReport:
    """One page of a week; every part may be left out, and the page says which were.

    Args:
        decision: what to do.
        drift: what changed.
        accuracy: mAP over the weeks.
        evaluation: the newest week's accuracy, class by class.
        alerts: ``monitor.transitions()``: which alerts came and went. Pass them all: one that
            began weeks ago may still be firing.
        progress: where a rollout or a retraining stands.
        frames: what to look at, such as ``selection.frames``; the first eight are shown, with
            their boxes where `SampledFrame.frame` is an image's bytes or the path of its file.
        deployment: ``"owner/deployment"`` to name in the heading.
        at: the time of the page, now unless given.
        title: its heading.

    Raises:
        InputError: a part is of another kind.
    """
    now = as_utc(at, name="at") if at is not None else SystemClock().now()
    given = {
        "decision": decision,
        "drift": drift,
        "accuracy": accuracy,
        "evaluation": evaluation,
        "progress": progress,
    }
    for name, (kind, what) in _PARTS.items():
        if given[name] is not None:
            part(given[name], kind, name=name, what=f"{what}, or None")
    if alerts is not None:
        what = "a Transition, as monitor.transitions() gives them"
        alerts = parts(alerts, Transition, name="alerts", what=what)
    part(deployment, str, name="deployment", what="text")
    part(title, str, name="title", what="text")
    shown = parts(frames, SampledFrame, name="frames", what="a SampledFrame")[:FRAMES]
    wanted = () if decision is None or not decision.collect else (_wanted(decision),)
    return WeeklyReport(
        title=title,
        detail=f"{deployment or 'all deployments'}, {now:%Y-%m-%d %H:%M} UTC",
        sections=(
            Section(
                title="Decision",
                views=_seen(decision, without_tables=True),
                missing="No decision was made: pass RetrainPolicy().decide(evidence).",
            ),
            Section(title="What changed", views=_seen(drift), missing=_left_out("drift report")),
            Section(
                title="Accuracy",
                views=(*_seen(accuracy), *_seen(evaluation)),
                missing=_left_out("accuracy trend"),
            ),
            Section(
                title="Alerts of the week",
                views=() if alerts is None else (_alerts(alerts, now),),
                missing=_left_out("history of alerts"),
            ),
            Section(
                title="Rollout and retraining",
                views=_seen(progress),
                missing="No rollout or retraining was handed in.",
            ),
            Section(
                title="What to label next",
                views=wanted,
                missing="Nothing was asked for, and no frames were handed in.",
                frames=shown,
            ),
        ),
    )


_PARTS: Final = {
    "decision": (Decision, "a Decision, as RetrainPolicy().decide(…) gives it"),
    "drift": (DriftReport, "a DriftReport, as detector.compare(…) gives it"),
    "accuracy": (Trend, "a Trend, as Trend.of(…) gives it"),
    "evaluation": (Evaluation, "an Evaluation, as validator.validate() gives it"),
    "progress": ((RolloutStatus, LoopStatus), "the status of a rollout or of a retraining"),
}


def _left_out(what: str) -> str:
    return f"Not known: no {what} was handed in. That is no sign that all is well."


def _seen(one: Shown | None, *, without_tables: bool = False) -> tuple[View, ...]:
    if one is None:
        return ()
    view = one._view()  # noqa: SLF001 - what `_repr_html_` shows, to be set on a page
    return (evolve(view, tables=()),) if without_tables else (view,)


def _wanted(decision: Decision) -> View:
    rows = [
        (item.frames, item.camera or "all", item.class_name or "all", item.why)
        for item in decision.collect
    ]
    head = ("Frames", "Camera", "Class", "What their labels will tell")
    return View(kind="asked for by the decision", tables=[Table(head=head, rows=rows)])


def _alerts(transitions: Sequence[Transition], now: datetime) -> View:
    """The alerts of the last seven days; drills are in a history of their own."""
    recent = [step for step in transitions if step.at >= now - WEEK]
    picture = alerts_picture(transitions, since=now - WEEK, now=now)  # some began before it
    fired = sum(mark.role == "bad" for mark in picture.marks)
    turns = {step.key: step.change for step in transitions if step.change in _TURNS}
    still = sum(change is Change.FIRING for change in turns.values())
    verdict, tone = _state(fired, still)
    rows = [
        (f"{step.at:%m-%d %H:%M}", step.name, step.change.value, step.reason)
        for step in recent
        if step.change not in {Change.PENDING, Change.CLEARED}  # nobody was told of these
    ]
    return View(
        kind="last seven days",
        verdict=verdict,
        tone=tone,
        headline="" if picture.marks else picture.title,
        pictures=[picture] if picture.marks else [],
        tables=[Table(head=("At (UTC)", "Alert", "What happened", "Why"), rows=rows)],
    )


_TURNS: Final = frozenset({Change.FIRING, Change.RESOLVED})


def _state(fired: int, still: int) -> tuple[str, Tone]:
    if still:
        return f"{still} firing", "bad"
    return (f"{fired} fired", "warn") if fired else ("none", "good")
