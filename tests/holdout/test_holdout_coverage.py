"""The 95 % intervals hold the truth in about 95 % of samples."""

import numpy as np
import pytest
from holdout_worlds import World

from driftline._stats.average_precision import average_precision, replicate_average_precision
from driftline._stats.bootstrap import half_samples
from driftline._stats.intervals import bias_corrected
from driftline.holdout._scores import AP_BIAS_ORDER


def estimates(world, *, images, samples, replicates, seed):
    """Interval of mAP in each of many samples of a world."""
    rng = np.random.default_rng(seed)
    answer = []
    for _ in range(samples):
        rankings = world.draw(images, rng).rankings()
        plain = np.nanmean([average_precision(one, np.ones(images)).mean() for one in rankings])
        weights = half_samples(np.arange(images), replicates=replicates, rng=rng)
        drawn = [replicate_average_precision(one, weights).mean(axis=1) for one in rankings]
        answer.append(
            bias_corrected(
                float(plain),
                np.nanmean(drawn, axis=0),
                units=images,
                bias_order=AP_BIAS_ORDER,
                bounds=(0.0, 1.0),
            )
        )
    return answer


def coverage(found, truth):
    """Share of intervals that hold the truth, and its 95 % Monte-Carlo error."""
    held = np.mean([not one.interval.excludes(truth) for one in found])
    return held, 1.96 * np.sqrt(held * (1 - held) / len(found))


def test_intervals_cover():
    """Two classes, 100 images: near 95 %, and the error is that of the samples."""
    world = World(2)
    truth = world.true_ap(images=150_000).mean()

    found = estimates(world, images=100, samples=250, replicates=60, seed=1)
    held, error = coverage(found, truth)

    assert held == pytest.approx(0.95, abs=error + 0.02)  # 2 % is what is promised: 93 to 97 %
    spread = np.std([one.value for one in found])
    stated = np.mean([one.standard_error for one in found])
    assert stated == pytest.approx(spread, rel=0.12)  # Monte-Carlo error of a spread: 9 %


def test_bias_of_many_rare_classes_is_taken_out():
    """Twenty classes on 100 images: the plain mAP is a point or two too high."""
    world = World(20)
    truth = world.true_ap(images=60_000).mean()

    found = estimates(world, images=100, samples=60, replicates=40, seed=2)
    plain = np.mean([one.value for one in found]) - truth
    corrected = np.mean([one.corrected for one in found]) - truth

    assert plain > 0.008
    assert abs(corrected) < plain / 2


def replicates_of(draw, weights):
    return np.nanmean(
        [replicate_average_precision(one, weights).mean(axis=1) for one in draw.rankings()], axis=0
    )


def plain_of(draw):
    ones = np.ones(draw.n)
    return float(np.nanmean([average_precision(one, ones).mean() for one in draw.rankings()]))


def in_clusters(samples, *, cluster, seed):
    """Standard errors by image and by cluster, and the scores themselves."""
    world = World(1, cluster=10, cluster_difficulty=0.6)
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(samples):
        draw = world.draw(300, rng)
        naive = half_samples(np.arange(300), replicates=60, rng=rng)
        whole = half_samples(np.arange(300) // cluster, replicates=60, rng=rng)
        rows.append(
            [plain_of(draw), replicates_of(draw, naive).std(), replicates_of(draw, whole).std()]
        )
    return np.array(rows)


def test_clusters_must_be_drawn_whole():
    """Ten images of a camera and day share the light: by image the error is half of the true."""
    found = in_clusters(120, cluster=10, seed=4)
    spread = found[:, 0].std()

    assert found[:, 1].mean() < 0.75 * spread
    # 30 clusters know their spread to 13 %, 120 samples to 6 %.
    assert found[:, 2].mean() == pytest.approx(spread, rel=0.15)


def pairs(samples, *, images, seed):
    """Estimated difference between two detectors on the same images, and its true value."""
    old, new = World(3), World(3, skill=0.15)
    objects = old.objects(100_000, np.random.default_rng(8))
    truth = plain_of(new.detect(objects, np.random.default_rng(8)))
    truth -= plain_of(old.detect(objects, np.random.default_rng(9)))
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(samples):
        objects = old.objects(images, rng)
        sides = new.detect(objects, rng), old.detect(objects, rng)
        weights = half_samples(np.arange(images), replicates=60, rng=rng)
        first, second = (replicates_of(side, weights) for side in sides)
        found.append(
            bias_corrected(
                plain_of(sides[0]) - plain_of(sides[1]),
                first - second,
                units=images,
                bias_order=AP_BIAS_ORDER,
            )
        )
    return found, truth


def test_paired_differences_cover():
    """Two detectors on the same 100 images: the interval holds the true difference."""
    found, truth = pairs(150, images=100, seed=5)
    held, error = coverage(found, truth)

    assert held == pytest.approx(0.95, abs=error + 0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "zipf", "images"),
    [
        (1, 0.0, 200),
        (5, 0.0, 100),
        (5, 0.0, 500),
        (20, 0.0, 200),
        (20, 0.0, 500),
        (20, 1.0, 200),
        (20, 1.0, 500),
    ],
)
def test_intervals_cover_closely(classes, zipf, images):
    """Between 93 and 97 %, the Monte-Carlo error of 1 000 samples allowed for."""
    world = World(classes, zipf=zipf)
    truth = np.mean([world.true_ap(images=150_000, seed=seed).mean() for seed in range(6)])

    found = estimates(world, images=images, samples=1000, replicates=200, seed=3)
    held, error = coverage(found, truth)
    print(f"{classes} classes, zipf {zipf}, {images} images: {held:.3f} +- {error:.3f}")

    assert 0.93 - error < held < 0.97 + error
