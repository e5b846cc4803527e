"""Profiles add up: any order, any grouping, any split of the frames."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from profile_kit import MONDAY, contexts, frames, one_box, profile_of, profiles, stream

from driftline.errors import ContextMismatch, InputError
from driftline.profiles import (
    AREA,
    CONFIDENCE,
    Feature,
    Profile,
    ProfileBuilder,
    require_comparable,
)
from driftline.records import Context

LAWS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@LAWS
@given(profiles, profiles)
def test_merge_commutes(a, b):
    """a + b is b + a."""
    assert a + b == b + a


@LAWS
@given(profiles, profiles, profiles)
def test_merge_is_associative(a, b, c):
    """(a + b) + c is a + (b + c) is the merge of all three."""
    assert (a + b) + c == a + (b + c) == Profile.merge(a, b, c)


@LAWS
@given(profiles)
def test_the_empty_profile_changes_nothing(a):
    """Merging with nothing gives the same."""
    assert a == a + ProfileBuilder().profile() == ProfileBuilder().profile() + a


@LAWS
@given(st.lists(frames, max_size=8), st.integers(0, 8))
def test_merge_of_parts_is_the_whole(seen, cut):
    """However the frames are split over builders, the sum is what one builder counts."""
    assert profile_of(seen) == profile_of(seen[:cut]) + profile_of(seen[cut:])


@LAWS
@given(st.lists(frames, max_size=8), st.randoms(use_true_random=False))
def test_order_of_frames_does_not_matter(seen, random):
    """Counts know no order."""
    mixed = list(seen)
    random.shuffle(mixed)

    assert profile_of(seen) == profile_of(mixed)


@LAWS
@given(st.lists(frames, max_size=8))
def test_digests_are_equal_where_profiles_are(seen):
    """A digest says which counts they were, in whatever order they were counted."""
    one, other = profile_of(seen), profile_of(seen[::-1])

    assert one.digest == other.digest
    assert one.digest.startswith("sha256:")
    if one.frames:
        assert one.digest != (one + one).digest


@LAWS
@given(profiles)
def test_slices_by_camera_add_up(a):
    """The cameras' parts are the whole."""
    parts = [a.slice(camera=c) for c in a.cameras] or [a]

    assert a == Profile.merge(*parts)


@LAWS
@given(profiles, st.integers(0, 19))
def test_slices_by_time_add_up(a, day):
    """Before and after are the whole."""
    cut = MONDAY + timedelta(days=day)

    assert a == a.slice(end=cut) + a.slice(start=cut)


@LAWS
@given(profiles)
def test_slices_by_class_add_up(a):
    """The boxes of each class are the boxes; the frames stay with each slice."""
    parts = [a.slice(class_id=int(k)) for k in a.class_ids]

    assert a.boxes == sum(p.boxes for p in parts)
    for part in parts:
        assert a.frames == part.frames
        assert "boxes_per_frame" not in part.features
    if parts:
        assert np.array_equal(
            a.counts("area").sum(axis=(0, 1)),
            sum(p.counts("area").sum(axis=(0, 1)) for p in parts),
        )


@LAWS
@given(profiles, profiles, st.sampled_from([1, 2, 7, 14]))
def test_coarsen_commutes_with_merge(a, b, days):
    """Days become weeks before or after merging."""
    period = timedelta(days=days)

    assert (a + b).coarsen(period) == a.coarsen(period) + b.coarsen(period)


@LAWS
@given(st.lists(frames, max_size=8), st.sampled_from([1, 3, 24, 168]))
def test_coarse_hours_are_what_coarse_counting_gives(seen, hours):
    """Counting by the hour and coarsening is counting by the longer period."""
    hourly = profile_of(seen, period=timedelta(hours=1))
    period = timedelta(hours=hours)

    assert profile_of(seen, period=period) == hourly.coarsen(period)


def test_weeks_begin_on_monday():
    """Seven days are a week of the calendar."""
    week = profile_of([(one_box(), "c", MONDAY + timedelta(days=6, hours=23))])

    assert np.datetime64("2026-11-02") == week.coarsen(timedelta(days=7)).periods[0]


def test_local_days():
    """With an offset of +1 h, 23:30 UTC belongs to the next day."""
    late = MONDAY + timedelta(hours=23, minutes=30)
    local = profile_of([(one_box(), "c", late)], utc_offset=timedelta(hours=1))

    assert np.datetime64("2026-11-02T23:00") == local.periods[0]


@pytest.mark.parametrize("hours", [1, 12, 36])
def test_days_do_not_become_what_they_do_not_divide(hours):
    """A period that is not a multiple is refused."""
    week = profile_of(stream(1, 5))

    with pytest.raises(InputError, match=r"multiple|divide"):
        week.coarsen(timedelta(hours=hours))


def test_different_contexts_are_refused():
    """The message names the settings that differ, with both values; `.fields` holds the names."""
    a = profile_of(stream(1, 5), context=Context(conf=0.25, imgsz=640, model="a.pt"))
    b = profile_of(stream(2, 5), context=Context(conf=0.5, imgsz=640, model="b.pt"))

    with pytest.raises(ContextMismatch, match=r"conf: 0\.25 and 0\.5") as caught:
        a + b
    with pytest.raises(ContextMismatch, match=r"model: 'a\.pt' and 'b\.pt'"):
        require_comparable(a, b)

    assert ("model", "conf") == caught.value.fields


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": None}, "a=None must be a Profile"),
        ({"b": "week.driftline"}, "b='week.driftline' must be a Profile"),
        ({"b": Profile}, r"b=<class .*> is a class"),
        ({"ignore": 5}, "ignore=5 must be a list"),
        ({"ignore": [5]}, r"ignore\[0\]=5 must be the name of a setting"),
    ],
)
def test_what_cannot_be_compared(given, message):
    """Only profiles are compared, and only settings by name are left out of it."""
    whole = {"a": profile_of(stream(1, 3)), "b": profile_of(stream(2, 3)), **given}
    with pytest.raises(InputError, match=message):
        require_comparable(**whole)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("model", "a", "b"),
        ("weights_digest", "sha256:1", "sha256:2"),
        ("conf", 0.1, 0.2),
        ("iou", 0.5, 0.7),
        ("imgsz", 640, 1280),
        ("ultralytics", "8.4.1", "8.4.2"),
        ("class_names", {0: "cat"}, {0: "dog"}),
    ],
)
def test_every_setting_is_compared(name, one, other):
    """Each field of the context alone is enough."""
    a = profile_of(stream(1, 3), context=Context(**{name: one}))
    b = profile_of(stream(1, 3), context=Context(**{name: other}))

    with pytest.raises(ContextMismatch) as caught:
        require_comparable(a, b)

    assert (name,) == caught.value.fields
    require_comparable(a, b, ignore=[name])
    merged = Profile.merge(a, b, ignore=[name])
    assert not getattr(merged.context, name)


def test_what_was_not_recorded_fits():
    """A setting that one side does not know is taken from the other."""
    a = profile_of(stream(1, 3), context=Context(conf=0.25, class_names={0: "cat"}))
    b = profile_of(stream(2, 3), context=Context(imgsz=640, class_names={1: "dog"}))

    assert Context(conf=0.25, imgsz=640, class_names={0: "cat", 1: "dog"}) == (a + b).context


@LAWS
@given(contexts, contexts, contexts)
def test_refusing_is_associative(one, two, three):
    """Whether three profiles can be merged does not depend on the grouping, nor does the context."""
    a, b, c = (profile_of(stream(1, 1), context=x) for x in (one, two, three))

    def outcome(merge):
        try:
            return merge().context
        except ContextMismatch:
            return "refused"

    assert (
        outcome(lambda: (a + b) + c)
        == outcome(lambda: a + (b + c))
        == outcome(lambda: Profile.merge(c, a, b))
    )


def test_other_features_are_refused():
    """Histograms of other edges do not add up; the names and bins are said."""
    coarse = Feature.uniform(
        "confidence",
        level="box",
        bins_per_unit=10,
        first_edge=0.1,
        n_bins=10,
        compute=lambda batch: batch.confidence,
    )
    a = profile_of(stream(1, 3), features=[CONFIDENCE, AREA])
    b = profile_of(stream(1, 3), features=[coarse, AREA])

    with pytest.raises(ContextMismatch, match="confidence in 10 bins") as caught:
        a + b

    assert ("features",) == caught.value.fields
    assert a.select(["area"]) == b.select(["area"])


def test_other_periods_are_refused():
    """Hours and days do not add up until one is coarsened."""
    hours = profile_of(stream(1, 30), period=timedelta(hours=1))
    days = profile_of(stream(2, 30))

    with pytest.raises(ContextMismatch, match="coarsen") as caught:
        hours + days

    assert ("period",) == caught.value.fields
    assert 60 == (hours.coarsen(timedelta(days=1)) + days).frames


def test_other_offsets_are_refused():
    """Days that begin at other times do not add up."""
    a = profile_of(stream(1, 3), utc_offset=timedelta(hours=1))

    with pytest.raises(ContextMismatch, match="utc_offset"):
        a + profile_of(stream(1, 3))


def test_nothing_to_merge():
    """An empty call is refused; a sum with something else is a TypeError."""
    with pytest.raises(InputError, match="nothing to merge"):
        Profile.merge()
    with pytest.raises(TypeError):
        profile_of(stream(1, 3)) + 1
    assert profile_of(stream(1, 3)) != 1
