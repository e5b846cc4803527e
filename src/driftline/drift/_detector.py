"""The drift detector: a reference, and weeks that are compared with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import get_args

import numpy as np
from attrs import evolve, field, frozen

from driftline._checks import part, parts, refuse_no_time, refuse_number, refuse_other
from driftline._clock import as_optional_utc
from driftline._stats.multiplicity import holm
from driftline.drift._block import Finding, Options, enough_splits, judge
from driftline.drift._cell import Cell, Direction
from driftline.drift._days import CLASS_MIX, DAY, Days, complete_days, part_length
from driftline.drift._describe import Described
from driftline.drift._family import (
    MIN_COUNT,
    PRIMARY,
    REDUNDANT,
    SHARES,
    Candidate,
    Reference,
    Sides,
)
from driftline.drift._guard import Baseline, Inflation
from driftline.drift._plain import THRESHOLDS, Plain, distance, effective_ks
from driftline.drift._report import CONFIRMED_OF, DriftReport, Memory, Method
from driftline.drift._volume import VolumeReport, volume_of
from driftline.errors import ContextMismatch, InputError
from driftline.profiles import Profile, require_comparable
from driftline.records import as_datetime

PART_OF_DAY = timedelta(hours=6)
"""Hours that are compared with like hours, where the profiles tell hours apart."""
MOST_PERMUTATIONS = 1_000_000
"""More relabellings tell nothing more, and take minutes and gigabytes."""
LOOK_BACK = timedelta(days=35)
"""A flagged week further back than this confirms nothing."""
SPENDING = (0.0, 0.0, 0.18, 0.12, 0.10, 0.10, 0.50)
"""Share of the error rate that the look after each day of a week may spend: none before the third
day (too few relabellings for a small p-value), half of it at the end of the week."""
PLAIN_FEATURES = ("confidence", "area")
"""What the guide compares: confidences and object sizes."""
_FEATURES_OF = {"deff": PRIMARY, "chi_square": (CLASS_MIX,)}


def _merged(value: Profile | Iterable[Profile]) -> Profile:
    if isinstance(value, Profile):
        return value
    return Profile.merge(*parts(value, Profile, name="reference", what="a Profile"))


def _features(value: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if value is None else _several(value, "features")


def _ignored(value: Iterable[str]) -> tuple[str, ...]:
    return _several(value, "ignore")


def _several(value: Iterable[str], name: str) -> tuple[str, ...]:
    """One name, or several; never the letters of one."""
    return (value,) if isinstance(value, str) else parts(value, str, name=name, what="a name")


@frozen(kw_only=True, eq=False)
class DriftDetector:
    """Compares weeks of detections with a reference: the weeks after deployment.

    The default, ``method="block"``, treats whole days as the independent units: boxes of one
    frame, one camera-day or one parked car are never counted as independent evidence. It
    compares like with like (cameras, weekends, hours), judges every feature of all cameras
    together, of each camera and each class in one family, and asks for an effect worth an
    alarm. Where days of reference and week are exchangeable, the probability that a calm week
    is flagged is at most `alpha`, exactly; see the page on the guarantee for what happens
    where they are not. ``method="ks"`` is the guide's plain rule, which on real cameras alarms
    in most weeks of a year.

    Attributes:
        reference: what is normal: four complete weeks after deployment; one complete week is
            accepted and finds half as much.
        alpha: probability of a false alarm in a week, for all cells together, (0, 0.5).
        method: ``"block"``: permutation of whole days. ``"deff"``: KS with effective sizes and
            Holm's correction. ``"ks"``: plain KS on pooled confidences and sizes, ``p < alpha``
            (chi-square for the class mix). ``"wasserstein"``, ``"psi"``, ``"jensen_shannon"``:
            a distance against `threshold`. ``"chi_square"``: the class mix.
        features: names of the features compared; None: all of the reference's but width and
            height (area and aspect say the same); what the guide names for the plain methods.
        min_effect: least D worth an alarm, [0, 1): the guide calls 0.04 stable and 0.18 drift.
        threshold: where a distance alarms; None: 0.1, the custom for all three.
        permutations: relabellings of days, 100 to a million; all of them where there are fewer.
        seed: of the relabellings: same counts and seed, same report.
        part_of_day: hours that are compared with like hours, for profiles by the hour.
        ignore: settings of the context that may differ between reference and week.
    """

    reference: Profile = field(converter=_merged)
    alpha: float = 0.01
    method: Method = "block"
    features: tuple[str, ...] | None = field(default=None, converter=_features)
    min_effect: float = 0.05
    threshold: float | None = None
    permutations: int = 2000
    seed: int = 0
    part_of_day: timedelta = PART_OF_DAY
    ignore: tuple[str, ...] = field(default=(), converter=_ignored)

    def __attrs_post_init__(self) -> None:
        """Refuse settings that cannot be meant."""
        what = "in (0, 0.5); 0.01 is one calm week in a hundred"
        refuse_number("alpha", self.alpha, what, above=0, below=0.5)
        refuse_other("method", self.method, get_args(Method))
        what = f"100 to {MOST_PERMUTATIONS:,}: a level of 1 % needs a hundred"
        most = MOST_PERMUTATIONS
        refuse_number("permutations", self.permutations, what, least=100, most=most, whole=True)
        refuse_number("min_effect", self.min_effect, "in [0, 1)", least=0, below=1)
        if self.threshold is not None:
            what = "a number above 0, or None for the custom"
            refuse_number("threshold", self.threshold, what, above=0, below=math.inf)
        refuse_number("seed", self.seed, "a whole number from 0 on", least=0, whole=True)
        refuse_no_time("part_of_day", self.part_of_day)
        if self.features == ():
            msg = "features=() names none to compare; None takes those of the reference"
            raise InputError(msg)
        unknown = set(self.features or ()) - set(self.reference.features)
        if unknown:
            msg = (
                f"features {sorted(unknown)} are not in the reference, which has "
                f"{', '.join(self.reference.features)}"
            )
            raise InputError(msg)
        if not len(self.reference.periods):
            msg = "the reference holds no frame; build it from the weeks after deployment"
            raise InputError(msg)

    # What is worked out once -----------------------------------------------------------------

    @cached_property
    def _compared(self) -> tuple[str, ...]:
        if self.features is not None:
            return self.features
        known = self.reference.features
        if self.method == "block":
            return tuple(name for name in known if name not in REDUNDANT)
        return tuple(n for n in _FEATURES_OF.get(self.method, PLAIN_FEATURES) if n in known)

    @cached_property
    def _part(self) -> timedelta:
        if self.method == "block":
            return part_length(self.reference.period, self.part_of_day)
        return DAY

    @cached_property
    def _laid_out(self) -> Reference:
        return Reference.of(self.reference, features=self._compared, part=self._part)

    @cached_property
    def _baseline(self) -> Baseline:
        return Baseline(reference=self._laid_out)

    @cached_property
    def reference_digest(self) -> str:
        """``sha256:…`` of the reference, by which reports know what they were compared with."""
        return self.reference.digest

    # Comparing ---------------------------------------------------------------------------------

    def compare(self, week: Profile, previous: Sequence[DriftReport] = ()) -> DriftReport:
        """One week against the reference.

        Args:
            week: counts of the week (any number of days; seven complete ones are best).
            previous: reports of earlier weeks against the same reference, in any order: two
                flagged of the last three weeks confirm drift, and all of them teach the guard
                how much weeks scatter. Those of this week or later are passed over, so that a
                repeated run says the same.

        Raises:
            ContextMismatch: the week was made under other settings than the reference, or an
                earlier report is about another reference or method.
            InputError: the week is part of the reference, or an argument is of another kind.
        """
        earlier = self._checked(week, previous)
        return self._compared_with(week, earlier, alpha=self.alpha)

    def peek(
        self,
        week_so_far: Profile,
        previous: Sequence[DriftReport] = (),
        *,
        until: datetime | None = None,
    ) -> DriftReport:
        """A week that is not over, as often as one likes: looking early costs no false alarm.

        Each complete day from the third on is a look of its own with a part of `alpha`
        (`SPENDING`; half of it is kept for the seventh), and a cell that was flagged at any
        look stays flagged. By the union bound the probability that a calm week is flagged at
        some look is at most `alpha`, under the same condition as for `compare`. Profiles by the
        hour may be passed at any hour: the answer changes once a day. The look after the
        seventh day may stand in `previous` for the week.

        Args:
            week_so_far: counts from the start of the week until now.
            previous: as in `compare`.
            until: time until which all counts have come in; by default the end of the last
                period. A day that ends later waits.

        Returns:
            The report of the last look; its p-values are adjusted for the looks.

        Raises:
            ContextMismatch: as in `compare`.
            InputError: as in `compare`; or more than seven days, or a method without days.
        """
        earlier = self._checked(week_so_far, previous)
        if self.method != "block":
            msg = f"peek needs method='block', which knows days; this detector has {self.method!r}"
            raise InputError(msg)
        ends = complete_days(week_so_far, as_optional_utc(until, name="until"))
        if len(ends) > len(SPENDING):
            msg = f"{len(ends)} days are more than a week; compare weeks with compare()"
            raise InputError(msg)
        reports: list[DriftReport] = []
        for day, (end, spent) in enumerate(zip(ends, SPENDING, strict=False), start=1):
            if spent > 0:
                so_far = self._compared_with(
                    week_so_far.slice(end=end), earlier, alpha=spent * self.alpha
                )
                reports.append(evolve(so_far, look=day))
        if reports:
            return _looked(reports, self.alpha)
        too_early = self._compared_with(week_so_far, earlier, alpha=self.alpha * SPENDING[2])
        return evolve(_looked([too_early], self.alpha), look=len(ends))

    def volume(self, week: Profile, drift: DriftReport | None = None) -> VolumeReport:
        """Whether less was found in the frames of a week than in as many of the reference.

        Each camera has a rate (boxes a frame) for each hour of the week that the periods tell
        apart; a day is the log of its boxes over those its frames should have held, and the days
        of the week are compared with those of the reference by a one-sided t-test with the
        variance of days after weekday means and, from three weeks on, between weeks. A cell fell
        when that is significant at `alpha` for all cells together (Holm) and at least 15 % are
        missing. Frames that were not sent are traffic, which is not judged here.

        Args:
            week: counts of the week.
            drift: the drift report of the same week, which says whether confidence moved: fewer
                boxes at stable confidence are to be investigated, not trained away.

        Raises:
            ContextMismatch: the week was made under other settings than the reference.
            InputError: the week is part of the reference, or its periods are longer than days.
        """
        self._refuse_uncomparable(week)
        moved = None
        if drift is not None and drift.tested:
            moved = any("confidence" in cell.feature for cell in drift.flags)
        return volume_of(self.reference, week, alpha=self.alpha, confidence_moved=moved)

    def _checked(self, week: Profile, previous: Sequence[DriftReport]) -> list[DriftReport]:
        self._refuse_uncomparable(week)
        return self._earlier(week, previous)

    def _refuse_uncomparable(self, week: Profile) -> None:
        part(week, Profile, name="week", what="a Profile, as builder.profile() gives it")
        require_comparable(self.reference, week, ignore=self.ignore)
        self._refuse_overlap(week)

    def _compared_with(
        self, week: Profile, earlier: Sequence[DriftReport], *, alpha: float
    ) -> DriftReport:
        days = Days.of(week, part=self._part)
        sides = Sides(reference=self._laid_out, week=days)
        described = Described(sides=sides, class_names=self._class_names(week))
        memory = Memory()
        reason = "" if week.frames else "nothing was observed this week"
        if self.method == "block":
            memory = self._baseline.summarise(days)
            cells, reason = self._by_blocks(sides, described, earlier, reason, alpha)
        else:
            cells = self._plainly(sides, described)
        report = self._report(week, cells, earlier, memory=memory, reason=reason, alpha=alpha)
        return evolve(report, days=days.texts, empty_days=days.empty)

    def _by_blocks(
        self,
        sides: Sides,
        described: Described,
        earlier: Sequence[DriftReport],
        reason: str,
        alpha: float,
    ) -> tuple[list[Cell], str]:
        candidates = sides.candidates()
        options = Options(
            alpha=alpha,
            permutations=max(self.permutations, math.ceil(2 / (alpha * SHARES.max()))),
            seed=self.seed,
            min_effect=self.min_effect,
        )
        reason = reason or enough_splits(sides, alpha)
        testable = [] if reason else [c for c in candidates if not c.reason]
        guard = Inflation.of(self._baseline.own, earlier)
        findings = judge(testable, sides, guard.phi, options) if testable else []
        found = {id(c): f for c, f in zip(testable, findings, strict=True)}
        cells: list[tuple[float, Cell]] = []
        for candidate in candidates:
            finding = found.get(id(candidate))
            cell = described.cell(candidate)
            if finding is None:
                cells.append((0.0, evolve(cell, reason=candidate.reason or reason)))
            else:
                cells.append((finding.evidence, _judged(cell, candidate, finding, described)))
        return _ordered(cells), reason

    def _plainly(self, sides: Sides, described: Described) -> list[Cell]:
        scored: list[tuple[float, Cell]] = []
        for candidate in sides.cells():
            cell, plain = described.cell(candidate), described.plain(candidate)
            if plain is None:
                scored.append((0.0, evolve(cell, reason="one side is empty")))
                continue
            cell = self._plain_cell(cell, candidate, plain, described)
            scored.append((0.0 if math.isnan(cell.statistic) else cell.statistic, cell))
        if self.method == "deff":
            scored = self._held(scored)
        return _ordered(scored)

    def _plain_cell(
        self, cell: Cell, candidate: Candidate, plain: Plain, described: Described
    ) -> Cell:
        before, now = described.histograms(candidate)
        feature = described.feature(candidate.feature)
        statistic, p_value, hidden = distance(self.method, feature, before, now, plain)
        n_before, n_now = described.effective(candidate)
        if self.method == "deff":
            p_value = effective_ks(plain.ks_statistic, n_before, n_now)
        cell = evolve(
            cell,
            statistic=statistic,
            statistic_error=hidden,
            p_value=p_value,
            p_unadjusted=p_value,
            effect=plain.ks_statistic,
            direction=_plain_direction(plain, ordered=feature.kind == "ordered"),
            at=described.edge_value(candidate.feature, plain.edge),
            n_effective=n_now,
            n_reference_effective=n_before,
        )
        if math.isnan(statistic):
            return evolve(cell, reason=f"{self.method} needs bins with an order")
        pooled = candidate.camera < 0 and candidate.class_index < 0
        curve = described.curve(candidate) if pooled else None
        return evolve(cell, flagged=pooled and self._alarms(statistic, p_value), curve=curve)

    def _alarms(self, statistic: float, p_value: float) -> bool:
        if self.method in THRESHOLDS:
            limit = THRESHOLDS[self.method] if self.threshold is None else self.threshold
            return statistic >= limit
        return p_value < self.alpha

    def _held(self, scored: list[tuple[float, Cell]]) -> list[tuple[float, Cell]]:
        """Holm over all cells that have a p-value, and the gate on the effect."""
        tested = [i for i, (_, cell) in enumerate(scored) if math.isfinite(cell.p_value)]
        adjusted = holm([scored[i][1].p_value for i in tested])
        result: list[tuple[float, Cell]] = [
            (score, evolve(cell, flagged=False, reason=cell.reason or "one day only"))
            for score, cell in scored
        ]
        for i, p in zip(tested, adjusted.tolist(), strict=True):
            score, cell = scored[i]
            flagged = p <= self.alpha and cell.effect >= self.min_effect
            result[i] = (score, evolve(cell, p_value=p, flagged=flagged))
        return result

    # What surrounds it ---------------------------------------------------------------------------

    def _refuse_overlap(self, week: Profile) -> None:
        both = np.intersect1d(week.periods, self.reference.periods)
        if len(both):
            msg = (
                f"{len(both)} periods, from {both[0]} UTC on, are in the week and in the "
                "reference; compare weeks after the reference"
            )
            raise InputError(msg)

    def _earlier(self, week: Profile, previous: Sequence[DriftReport]) -> list[DriftReport]:
        """Earlier reports that count, newest first, one a week."""
        result: dict[datetime, DriftReport] = {}
        for report in parts(previous, DriftReport, name="previous", what="a DriftReport"):
            differs = [
                name
                for name, mine in (
                    ("reference_digest", self.reference_digest),
                    ("method", self.method),
                )
                if getattr(report, name) != mine
            ]
            if differs:
                msg = (
                    f"{report!r} differs in {' and '.join(differs)} from this detector; "
                    "pass only reports that were made against this reference"
                )
                raise ContextMismatch(msg, fields=differs)
            if report.start is None or not len(week.periods):
                continue
            if report.start < as_datetime(week.periods[0]):
                result[report.start] = report
        return [result[start] for start in sorted(result, reverse=True)]

    def _class_names(self, week: Profile) -> dict[int, str]:
        return {**week.class_names, **self.reference.class_names}

    def _report(
        self,
        week: Profile,
        cells: list[Cell],
        earlier: Sequence[DriftReport],
        *,
        memory: Memory,
        reason: str,
        alpha: float,
    ) -> DriftReport:
        start = week.start
        counting = [
            r
            for r in earlier
            if r.tested
            and start is not None
            and r.start is not None
            and start - r.start <= LOOK_BACK
        ]
        missing = self._missing(cells)
        frames = dict(
            zip(self.reference.cameras, self.reference.frames_by_block().sum(axis=0), strict=True)
        )
        lost = sum(int(frames[c]) for c in missing)
        return DriftReport(
            start=start,
            end=week.end,
            method=self.method,
            alpha=alpha,
            cells=tuple(cells),
            n_frames=week.frames,
            n_boxes=week.boxes,
            n_reference_frames=self.reference.frames,
            n_reference_boxes=self.reference.boxes,
            missing=missing,
            silent=[camera for camera in missing if camera not in week.cameras],
            new_cameras=sorted(set(week.cameras) - set(self.reference.cameras)),
            new_classes=self._new_classes(week),
            gone_classes=self._gone_classes(week),
            blind=lost / self.reference.frames,
            before=[r.flagged for r in counting][: CONFIRMED_OF - 1],
            reference_digest=self.reference_digest,
            memory=memory,
            reason=reason,
        )

    def _new_classes(self, week: Profile) -> list[str]:
        names = self._class_names(week)
        return [names[k] for k in np.setdiff1d(week.class_ids, self.reference.class_ids).tolist()]

    def _gone_classes(self, week: Profile) -> list[str]:
        """Where the week has boxes at all: an outage is no matter of classes."""
        boxes = self._laid_out.days.boxes.sum(axis=(0, 1))
        usual, names = self.reference.class_ids[boxes >= MIN_COUNT], self._class_names(week)
        return [names[k] for k in np.setdiff1d(usual, week.class_ids).tolist() if week.boxes]

    def _missing(self, cells: Sequence[Cell]) -> list[str]:
        seen = {cell.camera for cell in cells if cell.tested}
        return [camera for camera in self.reference.cameras if camera not in seen]


def _judged(cell: Cell, candidate: Candidate, finding: Finding, described: Described) -> Cell:
    n_before, n_now = described.effective(candidate)
    pooled = candidate.camera < 0 and candidate.class_index < 0
    return evolve(
        cell,
        statistic=finding.effect,
        p_value=finding.p_value,
        p_unadjusted=finding.p_unadjusted,
        effect=finding.effect,
        effect_low=finding.effect_low,
        effect_high=finding.effect_high,
        direction=finding.direction,
        at=described.edge_value(candidate.feature, int(candidate.at[finding.column])),
        n_effective=n_now,
        n_reference_effective=n_before,
        phi=finding.phi,
        flagged=finding.flagged,
        curve=described.curve(candidate) if pooled or finding.flagged else None,
    )


def _plain_direction(plain: Plain, *, ordered: bool) -> Direction:
    if plain.signed == 0:
        return ""
    if not ordered:
        return "more" if plain.signed > 0 else "fewer"
    return "lower" if plain.signed > 0 else "higher"


def _ordered(scored: list[tuple[float, Cell]]) -> list[Cell]:
    """Flagged cells first, then tested ones, each by p-value and evidence."""

    def importance(item: tuple[float, Cell]) -> tuple[bool, bool, float, float]:
        score, cell = item
        p = cell.p_value if math.isfinite(cell.p_value) else 1.0
        return (not cell.flagged, not cell.tested, p, -score)

    return [cell for _, cell in sorted(scored, key=importance)]


def _looked(reports: Sequence[DriftReport], alpha: float) -> DriftReport:
    """The last look, with what earlier looks had flagged, and p-values adjusted for looks."""
    scaled = [
        {c.key: min(1.0, c.p_value * alpha / r.alpha) for c in r.cells if c.tested} for r in reports
    ]
    hits = {c.key for r in reports for c in r.flags}
    cells = [
        evolve(
            cell,
            p_value=min(s[cell.key] for s in scaled if cell.key in s),
            flagged=cell.flagged or cell.key in hits,
        )
        if cell.tested
        else cell
        for cell in reports[-1].cells
    ]
    return evolve(reports[-1], alpha=alpha, cells=tuple(_ordered([(c.effect, c) for c in cells])))
