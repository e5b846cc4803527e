"""What counting costs in the request path, and in bulk.

Run it as a script, on one core: ``OMP_NUM_THREADS=1 python benchmarks/observe.py``. Times depend on
the machine, so each is printed beside something a service does anyway or a user would write instead.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from kit import cpu

from driftline.profiles import (
    CONFIDENCE,
    DEFAULT_FEATURES,
    FrameReservoir,
    Profile,
    ProfileBuilder,
)
from driftline.records import Detections

FloatArray: TypeAlias = npt.NDArray[np.float64]
WHEN = datetime(2026, 11, 2, 12, tzinfo=UTC)
LIMIT_US = 50.0


def replies(rng: np.random.Generator, n: int, boxes: int) -> list[str]:
    """Bodies of Platform predict replies, as they come over the wire."""
    return [reply(rng, boxes) for _ in range(n)]


def reply(rng: np.random.Generator, boxes: int) -> str:
    results = []
    for _ in range(boxes):
        x, y = (rng.random(2) * 400).round(5).tolist()
        w, h = (1 + rng.random(2) * 199).round(5).tolist()
        k = int(rng.integers(0, 5))
        results.append(
            {
                "name": f"class-{k}",
                "class": k,
                "confidence": round(float(rng.beta(4, 2)), 5),
                "box": {"x1": x, "y1": y, "x2": round(x + w, 5), "y2": round(y + h, 5)},
            }
        )
    speed = {"preprocess": 1.2, "inference": 30.1, "postprocess": 0.9}
    version = {"ultralytics": "8.4.190", "torch": "2.9.1", "python": "3.12.1"}
    metadata = {
        "imageCount": 1,
        "functionTimeAlive": 9.1,
        "functionTimeCall": 0.05,
        "version": version,
    }
    image = {"shape": [640, 640], "speed": speed, "results": results}
    return json.dumps({"images": [image], "metadata": metadata})


def micros(work: Callable[[int], object], n: int) -> list[float]:
    """Microseconds of each of n calls."""
    times = []
    for i in range(n):
        start = time.perf_counter()
        work(i)
        times.append((time.perf_counter() - start) * 1e6)
    return times


def line(name: str, times: list[float], base: float) -> float:
    median = statistics.median(times)
    p99 = float(np.percentile(times, 99))
    mean = statistics.fmean(times)
    print(
        f"  {name:<46} {median:8.1f} µs median {mean:8.1f} mean {p99:8.1f} p99 "
        f"{max(times):9.1f} max  {median / base:5.2f} x"
    )
    return median


def request_path(boxes: int, n: int) -> float:
    """One reply of a detector: what decoding it costs, and what counting it adds."""
    bodies = replies(np.random.default_rng(0), n, boxes)
    parsed = [json.loads(body) for body in bodies]
    found = [Detections.from_platform(body) for body in parsed]
    at = [WHEN + timedelta(seconds=2 * i) for i in range(n)]
    plain, sampled = ProfileBuilder(), ProfileBuilder(frames=FrameReservoir())
    whole = ProfileBuilder()

    def adapt_and_observe(i: int) -> None:
        whole.observe(Detections.from_platform(parsed[i]), camera="c", at=at[i])

    print(f"A reply of {boxes} boxes ({n:,} replies; x: ratio to the JSON decode)")
    decode = statistics.median(times := micros(lambda i: json.loads(bodies[i]), n))
    line("json.loads of the reply", times, decode)
    line(
        "Detections.from_platform", micros(lambda i: Detections.from_platform(parsed[i]), n), decode
    )
    line("observe", micros(lambda i: plain.observe(found[i], camera="c", at=at[i]), n), decode)
    added = line("from_platform and observe", micros(adapt_and_observe, n), decode)
    line(
        "observe with a FrameReservoir",
        micros(lambda i: sampled.observe(found[i], camera="c", at=at[i], frame=f"{i}"), n),
        decode,
    )
    line(
        "instead: np.histogram of the same numbers",
        micros(lambda i: histograms(found[i]), n),
        decode,
    )
    line("instead: json.dumps of a log line", micros(lambda i: json.dumps(parsed[i]), n), decode)
    return added


def histograms(found: Detections) -> None:
    """What one would write by hand, without blocks, judgement or lock."""
    height, width = found.image_size
    left, top, right, bottom = found.xyxy.T
    w, h = (right - left) / width, (bottom - top) / height
    columns = (found.confidence, w * h, w, h, w / h, left + right, top + bottom)
    for feature, values in zip(DEFAULT_FEATURES, columns, strict=False):
        np.histogram(values, feature.edges)


def bulk(n: int) -> None:
    """Millions of boxes in one call."""
    rng = np.random.default_rng(0)
    corner = rng.random((n, 2)) * 400
    xyxy = np.hstack([corner, corner + 1 + rng.random((n, 2)) * 199])
    confidence, class_id = rng.beta(4, 2, n), rng.integers(0, 5, n)
    m = n // 10
    frame = np.repeat(np.arange(m), 10)
    camera = np.array([f"cam-{i}" for i in range(5)])[np.arange(m) % 5]
    at = np.datetime64("2026-11-02", "us") + np.arange(m) * np.timedelta64(
        7 * 86_400_000_000 // m, "us"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours, week = cpu(
        lambda: Profile.from_arrays(
            xyxy=xyxy,
            confidence=confidence,
            class_id=class_id,
            frame=frame,
            image_size=(640, 640),
            camera=camera,
            at=at,
        )
    )
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    edges = np.concatenate([[-np.inf], CONFIDENCE.edges, [np.inf]])
    one, _ = cpu(lambda: np.histogram(confidence, edges))
    uniform, _ = cpu(lambda: np.histogram(confidence, 1000, (0.0, 1.0)))
    order = rng.permutation(n)
    shuffled, _ = cpu(
        lambda: Profile.from_arrays(
            xyxy=xyxy[order],
            confidence=confidence[order],
            class_id=class_id[order],
            frame=frame[order],
            image_size=(640, 640),
            camera=camera,
            at=at,
        )
    )
    print(f"{n:,} boxes of {m:,} frames, 5 cameras, 7 days, 5 classes")
    print(
        f"  Profile.from_arrays, all features and blocks   {ours:8.2f} CPU-s, +{(after - before) / 1024:.0f} MB"
    )
    print(
        f"  the same boxes in random order                 {shuffled:8.2f} CPU-s  {shuffled / ours:5.2f} x"
    )
    print(f"  np.histogram of the confidence alone, by edges {one:8.2f} CPU-s  {one / ours:5.2f} x")
    print(
        f"  np.histogram of the confidence alone, 1000     {uniform:8.2f} CPU-s  {uniform / ours:5.2f} x"
    )
    assert isinstance(week, Profile)
    on_disk(week)
    group_by(
        xyxy=xyxy,
        confidence=confidence,
        class_id=class_id,
        camera=camera[frame],
        at=at[frame],
        ours=ours,
    )


def on_disk(week: Profile) -> None:
    content = week.to_bytes()
    written, _ = cpu(week.to_bytes)
    read, _ = cpu(lambda: Profile.from_bytes(content))
    print(
        f"  its file: {len(content):,} bytes, written in {written * 1e3:.0f} ms, read in {read * 1e3:.0f} ms"
    )


def group_by(
    *,
    xyxy: FloatArray,
    confidence: FloatArray,
    class_id: npt.NDArray[np.int64],
    camera: npt.NDArray[np.str_],
    at: npt.NDArray[np.datetime64],
    ours: float,
) -> None:
    """The same counts of two features by an engine made for it."""
    try:
        import duckdb
        import pyarrow as pa
    except ImportError:
        print("  (duckdb and pyarrow are not installed: no group-by to compare with)")
        return
    table = pa.table(
        {
            "camera": camera,
            "day": at.astype("datetime64[D]"),
            "class_id": class_id,
            "confidence": confidence,
            "share": (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1]) / 640**2,
        }
    )
    query = """
        select camera, day, class_id, least(floor((confidence + 0.000005) * 1000), 999) as bin, count(*)
        from data group by all
        union all
        select camera, day, class_id, floor(log2(share) * 32 + 768.5), count(*) from data group by all
    """
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("data", table)
        took, _ = cpu(lambda: connection.sql(query).fetchnumpy())
    print(
        f"  DuckDB, confidence and area only               {took:8.2f} CPU-s  {took / ours:5.2f} x"
    )


def shards(n: int) -> None:
    """Hours of a week counted apart, as edge devices do."""
    rng = np.random.default_rng(1)
    parts = []
    for hour in range(n):
        boxes = 3000
        corner = rng.random((boxes, 2)) * 400
        parts.append(
            Profile.from_arrays(
                xyxy=np.hstack([corner, corner + 1 + rng.random((boxes, 2)) * 199]),
                confidence=rng.beta(4, 2, boxes),
                class_id=rng.integers(0, 5, boxes),
                frame=np.repeat(np.arange(300), 10),
                image_size=(640, 640),
                camera="c",
                at=WHEN + timedelta(hours=hour),
                frames=300,
            )
        )
    took, _ = cpu(lambda: Profile.merge(*parts))
    print(f"Merging {n} hourly profiles: {took * 1e3:.0f} CPU-ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replies", type=int, default=5000)
    parser.add_argument("--boxes", type=int, default=10_000_000, help="of the bulk call")
    arguments = parser.parse_args()
    added = request_path(10, arguments.replies)
    verdict = "within" if added < LIMIT_US else "ABOVE"
    print(
        f"  counting a reply of ten boxes adds {added:.1f} µs: {verdict} the limit of {LIMIT_US:g} µs"
    )
    request_path(100, arguments.replies // 5)
    bulk(arguments.boxes)
    shards(168)


if __name__ == "__main__":
    main()
