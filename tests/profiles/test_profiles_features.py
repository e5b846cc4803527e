"""Each number has one bin, the same for every engine and precision."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profile_kit import HEIGHT, MONDAY, WIDTH, nothing, one_box, profile_of

from driftline.errors import InputError
from driftline.profiles import (
    AREA,
    ASPECT,
    BOXES_PER_FRAME,
    CENTER_X,
    CENTER_Y,
    CONFIDENCE,
    DEFAULT_FEATURES,
    FRAME_CONFIDENCE,
    Feature,
    ProfileBuilder,
)
from driftline.profiles import (
    HEIGHT as HEIGHT_FEATURE,
)
from driftline.profiles import (
    WIDTH as WIDTH_FEATURE,
)

EVERY = pytest.mark.parametrize("feature", DEFAULT_FEATURES, ids=lambda f: f.name)


@EVERY
@given(value=st.floats(allow_nan=False))
def test_bin_is_the_search_in_edges(feature, value):
    """The quick multiplication and a search in the edges agree on every float."""
    expected = int(np.searchsorted(feature.edges, value, side="right"))

    assert expected == int(feature.bin([value])[0])


@EVERY
def test_bin_at_each_edge(feature):
    """An edge opens its bin; the float before it is in the bin below."""
    below = np.nextafter(feature.edges, -np.inf)

    assert np.array_equal(np.arange(1, feature.n_bins), feature.bin(feature.edges))
    assert np.array_equal(np.arange(feature.n_bins - 1), feature.bin(below))


def test_five_decimals_are_binned_exactly():
    """All 100,001 rounded confidences land in their thousandth, in float64 and in float32."""
    grid = np.arange(100_001)
    expected = np.minimum(grid // 100, 999)

    assert np.array_equal(expected, CONFIDENCE.bin(grid / 1e5))
    assert np.array_equal(expected, CONFIDENCE.bin((grid / 1e5).astype(np.float32)))
    assert np.array_equal(expected, CONFIDENCE.bin(np.round(grid * 1e-5, 5)))
    assert np.array_equal(expected, np.minimum(np.floor((grid / 1e5 + 0.000005) * 1000), 999))


@given(st.floats(0, 1))
def test_raw_and_rounded_confidence_agree(value):
    """A score and its log at five decimals have one bin, unless it lies on the halfway point."""
    hundred_thousandths = value * 1e5
    if abs(hundred_thousandths % 1 - 0.5) < 1e-6:
        return

    assert CONFIDENCE.bin([value]) == CONFIDENCE.bin([round(value, 5)])


def test_normalised_centres_of_five_decimals_are_binned_exactly():
    """Half of the sum of two five-decimal shares is never on an edge."""
    halves = np.arange(200_001) / 2e5
    expected = np.minimum(np.arange(200_001) // 2000, 99)

    assert np.array_equal(expected, CENTER_X.bin(halves))
    assert np.array_equal(expected, CENTER_Y.bin(halves + 1e-9))


@given(
    st.integers(1, 4000), st.integers(1, 4000), st.sampled_from([(480, 640), (1080, 1920), (3, 7)])
)
def test_no_pixel_ratio_lies_on_an_edge_of_area(w, h, size):
    """The log of a ratio of whole pixels is far from every edge, compared with rounding errors."""
    value = np.log2(w * h / (size[0] * size[1]))

    assert np.abs(AREA.edges - value).min() > 1e-11


def test_features_of_one_box():
    """A box of 160 x 60 px in 640 x 480 px, right of the middle."""
    found = one_box(xyxy=(400, 90, 560, 150), confidence=0.75)
    week = profile_of([(found, "cam-1", MONDAY)])
    expected = {
        "confidence": 0.75,
        "area": np.log2(160 * 60 / (640 * 480)),
        "width": np.log2(160 / 640),
        "height": np.log2(60 / 480),
        "aspect": np.log2(160 / 60),
        "center_x": 480 / 640,
        "center_y": 120 / 480,
        "boxes_per_frame": 1,
        "frame_confidence": 0.75,
    }

    for name, value in expected.items():
        (bin_,) = np.flatnonzero(week.counts(name)[0, 0])
        assert int(week.features[name].bin([value])[0]) == bin_, name


@given(st.integers(1, 8))
def test_scaling_the_image_changes_nothing(factor):
    """Sizes are shares of the frame: a detector at twice the resolution gives the same profile."""
    box = np.array([13.0, 7.5, 200.25, 99.0])
    small = profile_of([(one_box(xyxy=box), "c", MONDAY)])
    large = profile_of(
        [(one_box(xyxy=box * factor, image_size=(HEIGHT * factor, WIDTH * factor)), "c", MONDAY)]
    )

    assert small == large


def test_open_ends():
    """What lies beyond the edges is in the first or last bin, not lost."""
    assert [0, 0, AREA.n_bins - 1] == AREA.bin([-np.inf, -99.0, np.inf]).tolist()
    assert [0, 39, BOXES_PER_FRAME.n_bins - 1] == BOXES_PER_FRAME.bin([0, 39, 10**9]).tolist()


def test_boxes_without_area_are_counted():
    """A box clipped to nothing at the border is in the first bins; two zero sides are a square."""
    week = profile_of([(one_box(xyxy=(640, 10, 640, 10)), "c", MONDAY)])

    assert 1 == week.boxes
    assert 1 == week.counts("area")[0, 0, 0]
    assert 1 == week.counts("width")[0, 0, 0]
    assert 1 == week.counts("aspect")[0, 0, ASPECT.bin([0.0])[0]]


def test_frames_without_boxes_have_no_mean_confidence():
    """They count as frames with 0 boxes, and are not in the frame-mean confidence."""
    week = profile_of([(nothing(), "c", MONDAY), (one_box(), "c", MONDAY)])

    assert 2 == week.frames
    assert [1, 1] == week.counts("boxes_per_frame")[0, 0, :2].tolist()
    assert 1 == week.counts("frame_confidence").sum()


def test_centers_are_means_of_edges():
    """Open bins are as wide as their neighbours; a feature of one edge has that as both centres."""
    assert np.allclose(np.arange(1000) / 1000 + 0.000495, CONFIDENCE.centers)
    assert [2.0, 2.0] == Feature(name="x", level="box", edges=[2.0]).centers.tolist()


@pytest.mark.parametrize(
    "edges", [[1.0, 1.0], [2.0, 1.0], [np.nan], [0.0, np.inf], [[0.0, 1.0]], ["a"]]
)
def test_wrong_edges_are_refused(edges):
    """Edges that leave a number without a bin, or in two, are named in the error."""
    with pytest.raises(InputError, match="edges"):
        Feature(name="x", level="box", edges=edges)


@pytest.mark.parametrize(
    "settings",
    [{"n_bins": 1}, {"bins_per_unit": 0}, {"bins_per_unit": np.nan}, {"first_edge": np.inf}],
)
def test_wrong_uniform_features_are_refused(settings):
    """No bins, or bins without width, are refused."""
    with pytest.raises(InputError, match=next(iter(settings))):
        Feature.uniform(
            "x", level="box", **{"bins_per_unit": 1, "first_edge": 0, "n_bins": 9, **settings}
        )


def test_unknown_words_are_refused():
    """A level other than box and frame is refused, with the words that would do."""
    with pytest.raises(InputError, match="'box', 'frame'"):
        Feature(name="x", level="image", edges=[0.0])


@pytest.mark.parametrize("name", ["confidence", "class", "frames", "rejected.box"])
def test_taken_names_are_refused(name):
    """Two features of one name, or one that the profile keeps for itself."""
    own = Feature(name=name, level="box", edges=[0.0])

    with pytest.raises(InputError, match=name):
        ProfileBuilder(features=[*DEFAULT_FEATURES, own])


def test_equality_is_of_what_adds_up():
    """Features are equal by name, level, unit and edges; formulas do not matter."""
    one = Feature(name="x", level="box", edges=[0.0, 1.0], compute=lambda batch: batch.confidence)
    same = Feature(name="x", level="box", edges=[0.0, 1.0])
    other = Feature(name="x", level="box", edges=[0.0, 2.0])

    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "x"


def test_every_default_feature_says_its_unit():
    """A number never travels alone."""
    assert all(f.unit for f in DEFAULT_FEATURES)
    assert {WIDTH_FEATURE.scale, HEIGHT_FEATURE.scale, AREA.scale} == {"log2"}
    assert FRAME_CONFIDENCE.level == "frame"
