"""Calm worlds and shifted ones: cameras that see frames, frames that hold boxes, nothing independent.

Dependence is built in on every scale that a real site has it on: boxes share a frame, static
objects stay for many frames, a camera has good days and bad ones, weather is shared by all
cameras and lasts, weeks differ, nights differ from days, and traffic moves between cameras.
Effects are Gaussian on a latent scale of unit variance; an intraclass correlation (ICC) is the
share of that variance which the members of a group have in common.

Nothing here imports Driftline: the worlds are an oracle, not a user.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import log2

import numpy as np
from scipy.special import ndtri
from scipy.stats import beta

DAYS = 7
HOURS = 24
CONF_MIN = 0.25
LOADS = np.array([1.0, 1.0, 0.7, 0.7])  # of the effects: confidence, size, boxes a frame, mix
CLASS_SHARES = (0.34, 0.24, 0.18, 0.12, 0.12)
_NIGHT = np.array([np.cos(2 * np.pi * (h - 1.5) / HOURS) for h in range(HOURS)])  # 1 at 01:30


@dataclass(frozen=True)
class World:
    """A site without drift.

    day, camera_day, frame, week: intraclass correlations of the shared effects.
    ar: autocorrelation of the day effect from one day to the next (weather fronts).
    static, track: objects per frame that stay, and for how many frames on average; none
        stays overnight, or days would not be exchangeable.
    volume_sd: standard deviation of the log number of frames of a camera-day.
    traffic: what happens to the cameras' traffic in the monitored weeks.
    """

    cameras: int = 5
    frames: int = 300
    boxes: float = 6.0
    day: float = 0.01
    camera_day: float = 0.03
    frame: float = 0.10
    week: float = 0.0
    ar: float = 0.0
    static: int = 2
    track: float = 50.0
    volume_sd: float = 0.3
    night: float = 0.35
    weekend: float = 0.0
    traffic: str = "steady"


@dataclass(frozen=True)
class Shift:
    """What changes, in all cameras or in one, from the first shifted week on.

    confidence: change of the mean confidence. scale: factor on the side of a box.
    blurred: share of frames that are blurred. gone: a class that is no longer there.
    moved: shift of log2 area of camera 0, together with a lower confidence.
    """

    confidence: float = 0.0
    scale: float = 1.0
    blurred: float = 0.0
    gone: int | None = None
    moved: float = 0.0


CALM = Shift()
NULL_WORLDS = {
    "exchangeable days": World(),
    "weather, AR(.6) days ICC .01": World(ar=0.6),
    "weather, AR(.6) days ICC .03": World(day=0.03, ar=0.6),
    "week effect ICC .005": World(week=0.005),
    "week effect ICC .02": World(week=0.02),
    "camera 0 gets 3x traffic": World(traffic="tripled"),
    "traffic wanders": World(traffic="wanders"),
    "traffic moves into the night": World(traffic="night"),
    "weekends differ": World(weekend=0.5),
}
SHIFTS = {
    "confidence -.03": Shift(confidence=-0.03),
    "confidence -.05": Shift(confidence=-0.05),
    "one camera moved": Shift(moved=-1.1),
    "size +25 %": Shift(scale=1.25),
    "5 % of frames blurred": Shift(blurred=0.05),
    "20 % of frames blurred": Shift(blurred=0.20),
    "a class gone": Shift(gone=3),
}


@dataclass(frozen=True)
class Boxes:
    """One week of raw detections; a row a box, and a row a frame."""

    day: np.ndarray
    hour: np.ndarray
    camera: np.ndarray
    frame: np.ndarray
    class_id: np.ndarray
    confidence: np.ndarray
    log2_area: np.ndarray
    frame_day: np.ndarray
    frame_hour: np.ndarray
    frame_camera: np.ndarray


@cache
def _quantile_table() -> tuple[np.ndarray, np.ndarray]:
    """Confidence as a function of the latent value: a hill of finds and a tail of doubts."""
    x = np.linspace(0.0, 1.0, 4001)[1:-1]
    cdf = np.cumsum(0.8 * beta.pdf(x, 5.5, 2.2) + 0.2 * beta.pdf(x, 1.3, 3.0))
    cdf /= cdf[-1]

    keep = (cdf > 1e-9) & (cdf < 1 - 1e-9)
    return ndtri(cdf[keep]), CONF_MIN + (1 - CONF_MIN) * x[keep]


def confidence_of(latent: np.ndarray) -> np.ndarray:
    z, value = _quantile_table()
    return np.interp(latent, z, value)


@cache
def latent_shift(change: float) -> float:
    """The latent shift that changes the mean confidence by `change`."""
    z = ndtri((np.arange(4000) + 0.5) / 4000)
    steps = np.linspace(-1.5, 1.5, 121)
    means = [confidence_of(z + s).mean() - confidence_of(z).mean() for s in steps]
    return float(np.interp(change, means, steps))


class Site:
    """One draw of a world: call `week` for one week after the other."""

    def __init__(self, world: World, rng: np.random.Generator, reference_weeks: int = 4) -> None:
        self.world, self.rng, self.reference_weeks = world, rng, reference_weeks
        c = world.cameras
        self.camera_confidence = np.linspace(-0.5, 0.3, c)
        self.camera_size = rng.normal(0, 0.5, c)
        self.class_confidence = np.linspace(0.2, -0.2, len(CLASS_SHARES))
        self.class_size = np.linspace(-0.6, 0.6, len(CLASS_SHARES))
        self.log_traffic = np.zeros(c)
        self.front = self._draw()
        self.weeks = 0

    def _draw(self, *shape: int) -> np.ndarray:
        """``(..., 4)`` effects on confidence, size, boxes a frame, class mix: half in common."""
        own, common = self.rng.normal(size=(*shape, 4)), self.rng.normal(size=(*shape, 1))
        return LOADS * (np.sqrt(0.5) * common + np.sqrt(0.5) * own)

    def _fronts(self) -> np.ndarray:
        """(days, 4) shared day effects: confidence, size, boxes a frame, class mix."""
        w, out = self.world, np.empty((DAYS, 4))
        for d in range(DAYS):
            self.front = w.ar * self.front + np.sqrt(1 - w.ar**2) * self._draw()
            out[d] = self.front
        return out

    def _frames(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Camera, day and hour of every frame of the week, in order of time in each camera."""
        w, rng = self.world, self.rng
        monitored = self.weeks >= self.reference_weeks
        night = 0.5 if not (monitored and w.traffic == "night") else -0.6
        if w.traffic == "wanders":
            self.log_traffic = 0.8 * self.log_traffic + rng.normal(0, 0.35, w.cameras)
        if monitored and w.traffic == "tripled":
            self.log_traffic = np.where(np.arange(w.cameras) == 0, np.log(3.0), 0.0)
        log_volume = rng.normal(0, w.volume_sd, (w.cameras, DAYS)) - w.volume_sd**2 / 2
        mean = w.frames * np.exp(self.log_traffic[:, None] + log_volume)
        share = 1 - night * _NIGHT
        n = rng.poisson(mean[..., None] * share / share.sum())
        camera, day, hour = (a.ravel() for a in np.indices(n.shape))
        return tuple(np.repeat(a, n.ravel()) for a in (camera, day, hour))

    def week(self, shift: Shift = CALM) -> Boxes:
        w, rng = self.world, self.rng
        camera, day, hour = self._frames()
        self.weeks += 1
        shared = np.sqrt(w.day) * self._fronts() + np.sqrt(w.week) * self._draw()
        own = np.sqrt(w.camera_day) * self._draw(w.cameras, DAYS)
        effect = shared[None] + own
        effect[:, 5:, :3] += w.weekend
        at_frame = effect[camera, day]
        conf_frame = at_frame[:, 0] + np.sqrt(w.frame) * rng.normal(size=len(camera))
        conf_frame += self.camera_confidence[camera] - w.night * _NIGHT[hour]
        blurred = rng.random(len(camera)) < shift.blurred
        conf_frame -= 1.2 * blurred

        moving = rng.poisson((w.boxes - w.static) * np.exp(at_frame[:, 2] - 0.3 * _NIGHT[hour]))
        frame_m = np.repeat(np.arange(len(camera)), moving)
        frame_s = np.tile(np.arange(len(camera)), w.static)
        frame = np.concatenate([frame_m, frame_s])
        n_moving, n = len(frame_m), len(frame_m) + len(frame_s)
        rest = 1 - w.day - w.camera_day - w.frame - w.week
        conf_own, size_own = rng.normal(size=(2, n))
        pick = rng.random(n)
        if w.static:
            new_day = np.diff(camera * DAYS + day, prepend=-1) != 0
            born = (rng.random(len(frame_s)) < 1 / w.track) | np.tile(new_day, w.static)
            track = np.cumsum(born) - 1
            conf_own[n_moving:] *= np.sqrt(0.3)
            conf_own[n_moving:] += np.sqrt(0.7) * rng.normal(size=track[-1] + 1)[track]
            size_own[n_moving:] = rng.normal(size=track[-1] + 1)[track]
            pick[n_moving:] = rng.random(track[-1] + 1)[track]
        logits = np.log(CLASS_SHARES) + effect[..., 3:4] * np.linspace(-1, 1, len(CLASS_SHARES))
        cum = np.cumsum(np.exp(logits), axis=-1)
        cum /= cum[..., -1:]
        class_id = (pick[:, None] > cum[camera, day][frame][:, :-1]).sum(axis=1)

        latent = conf_frame[frame] + np.sqrt(rest) * conf_own + self.class_confidence[class_id]
        size = at_frame[frame, 1] + np.sqrt(1 - w.day - w.camera_day - w.week) * size_own
        size += self.camera_size[camera[frame]] + self.class_size[class_id]
        log2_area = -6.5 + 1.8 * size + 2 * log2(shift.scale)
        latent += latent_shift(shift.confidence) if shift.confidence else 0.0
        if shift.moved:
            first = camera[frame] == 0
            log2_area = log2_area + shift.moved * first
            latent -= 0.25 * first
        keep = ~(blurred[frame] & (rng.random(n) < 0.35))
        if shift.gone is not None:
            keep &= class_id != shift.gone
        frame = frame[keep]
        return Boxes(
            day=day[frame],
            hour=hour[frame],
            camera=camera[frame],
            frame=frame,
            class_id=class_id[keep],
            confidence=confidence_of(latent[keep]),
            log2_area=np.minimum(log2_area[keep], 0.0),
            frame_day=day,
            frame_hour=hour,
            frame_camera=camera,
        )


EDGES = {
    "confidence": np.linspace(CONF_MIN, 1.0, 65),
    "area": np.linspace(-16.0, 0.0, 65),
    "boxes_per_frame": np.arange(-0.5, 40.0),
    "frame_confidence": np.linspace(CONF_MIN, 1.0, 65),
    "class": np.arange(-0.5, len(CLASS_SHARES)),
}


def histograms(boxes: Boxes, world: World, parts: int = 4) -> dict[str, np.ndarray]:
    """Counts ``(days, parts of the day, cameras, bins)`` of each feature."""
    n_frames = len(boxes.frame_day)
    per_frame = np.bincount(boxes.frame, minlength=n_frames)
    total = np.bincount(boxes.frame, weights=boxes.confidence, minlength=n_frames)
    some = per_frame > 0
    box_cell = _cell(boxes.day, boxes.hour, boxes.camera, world.cameras, parts)
    frame_cell = _cell(boxes.frame_day, boxes.frame_hour, boxes.frame_camera, world.cameras, parts)
    frame_mean = total[some] / per_frame[some]
    values = {
        "confidence": (box_cell, boxes.confidence),
        "area": (box_cell, boxes.log2_area),
        "boxes_per_frame": (frame_cell, per_frame),
        "frame_confidence": (frame_cell[some], frame_mean),
        "class": (box_cell, boxes.class_id),
    }
    shape = (DAYS, parts, world.cameras)
    return {f: _count(cell, v, EDGES[f], shape) for f, (cell, v) in values.items()}


def _cell(day, hour, camera, n_cameras, parts):
    return (day * parts + hour * parts // HOURS) * n_cameras + camera


def _count(cell, value, edges, shape):
    n_bins = len(edges) - 1
    step = edges[1] - edges[0]
    index = np.clip(((value - edges[0]) / step).astype(np.int64), 0, n_bins - 1)
    flat = np.bincount(cell * n_bins + index, minlength=int(np.prod(shape)) * n_bins)
    return flat.reshape(*shape, n_bins)


def simulate(
    world: World,
    seed: int,
    *,
    reference_weeks: int = 4,
    calm_weeks: int = 0,
    shifted_weeks: int = 0,
    shift: Shift = CALM,
    parts: int = 4,
) -> dict[str, np.ndarray]:
    """Counts of all weeks one after the other: ``(days, parts, cameras, bins)`` a feature."""
    site = Site(world, np.random.default_rng(seed), reference_weeks)
    plan = [CALM] * (reference_weeks + calm_weeks) + [shift] * shifted_weeks
    weeks = [histograms(site.week(s), world, parts) for s in plan]
    return {f: np.concatenate([h[f] for h in weeks]) for f in EDGES}
