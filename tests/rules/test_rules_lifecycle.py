"""Verdicts become an alert's life: hold, N of M, recovery, keep-firing, missing data, flapping."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline import rules
from driftline.errors import InputError
from driftline.rules import Change, Judgement, NoDataPolicy, Phase
from driftline.rules._lifecycle import HISTORY, advance, close, restlessness
from driftline.rules._state import State
from driftline.rules._time import as_times, micros

START = micros(datetime(2026, 11, 23, 12, tzinfo=UTC))
MINUTE = 60_000_000


def rule(**how) -> rules.Threshold:
    """A rule whose verdicts are made up by the tests."""
    return rules.Threshold(
        series="x", above=1.0, runbook="Look", **{"flap_detection": False, **how}
    )


def verdicts(word: str, *, first: int = 0, width: int = MINUTE, step: int = MINUTE) -> Judgement:
    """``b`` breaches, ``g`` is good, ``-`` is between, a space is a minute without a sample."""
    kept = [(first + i, letter) for i, letter in enumerate(word) if letter != " "]
    starts = np.array([START + i * step for i, _ in kept], dtype=np.int64)
    breach = np.array([letter == "b" for _, letter in kept], dtype=bool)
    return Judgement(
        starts=as_times(starts),
        ends=as_times(starts + width),
        values=np.where(breach, 2.0, 0.5),
        breach=breach,
        good=np.array([letter == "g" for _, letter in kept], dtype=bool),
        thresholds=np.ones(len(kept)),
    )


def told(found, steps) -> list[tuple[str, int]]:
    """(what, after how many minutes) of some steps."""
    del found
    return [(step.change.value, (step.at - START) // MINUTE) for step in steps]


def live(one: rules.Rule, word: str, *, horizon: int | None = None, **how):
    """State and steps after some verdicts."""
    judgement = verdicts(word, **how)
    end = int(judgement.ends[-1].astype(np.int64)) if len(judgement) else START
    return advance(one, State(), judgement, horizon=end if horizon is None else horizon)


class TestConsecutive:
    def test_fires_at_the_last_of_n(self):
        """Three in a row fire when the third is over, with the breach since the first."""
        state, steps = live(rule(samples=3), "gbbb")

        assert [("pending", 2), ("firing", 4)] == told(state, steps)
        assert (START + MINUTE, Phase.FIRING) == (steps[1].since, state.phase)
        assert (START + MINUTE, START + 4 * MINUTE) == (steps[1].window_start, steps[1].window_end)

    def test_one_good_sample_begins_anew(self):
        """A sample that does not breach sets the count back, good or not."""
        for word in ("bbgbb", "bb-bb"):
            state, steps = live(rule(samples=3), word)
            assert ["pending", "cleared", "pending"] == [what for what, _ in told(state, steps)]

    def test_time_without_samples_is_neither(self):
        """A window without requests is no sample: it neither breaks the row nor adds to it."""
        state, steps = live(rule(samples=3), "b  b          b")
        assert ("firing", 15) == told(state, steps)[-1]

    def test_one_of_one_fires_at_once(self):
        """A rule that needs one sample is never pending."""
        assert [("firing", 1)] == told(*live(rule(), "b"))

    def test_fires_once(self):
        """While it fires, nothing more happens."""
        assert [("pending", 1), ("firing", 3)] == told(*live(rule(samples=3), "bbbbbbbbbbb"))


class TestSomeOfMany:
    def test_two_of_four(self):
        """M of N: breaches need not be neighbours."""
        assert ("firing", 4) == told(*live(rule(samples=2, of=4), "bggb"))[-1]

    def test_too_far_apart(self):
        """Breaches that are not within the last N do not meet."""
        state, steps = live(rule(samples=2, of=4), "bgggb")
        assert [("pending", 1)] == told(state, steps)
        assert (Phase.PENDING, START + 4 * MINUTE) == (state.phase, state.since)

        state, steps = live(rule(samples=2, of=4), "bggggb")
        assert [("pending", 1), ("cleared", 5), ("pending", 6)] == told(state, steps)

    def test_begins_anew_after_its_end(self):
        """Breaches from before the recovery do not count for the next alert."""
        _, steps = live(rule(samples=3, of=5), "bbbgb")
        assert ["pending", "firing", "resolved", "pending"] == [step.change.value for step in steps]

    def test_fewer_than_many(self):
        """N must be at least M."""
        with pytest.raises(InputError, match="of=2 must be None or at least samples=3"):
            rule(samples=3, of=2)


class TestHold:
    def test_widths_add_up(self):
        """Five minutes above are five buckets of a minute."""
        held = rule(hold=timedelta(minutes=5))
        assert [("pending", 1), ("firing", 5)] == told(*live(held, "bbbbb"))

    def test_minutes_without_samples_do_not_count(self):
        """A minute without requests is no minute above the limit."""
        held = rule(hold=timedelta(minutes=5))
        assert ("firing", 7) == told(*live(held, "b b bbb"))[-1]

    def test_good_minute_begins_anew(self):
        """One good minute, and the five begin again."""
        held = rule(hold=timedelta(minutes=5))
        assert ("firing", 10) == told(*live(held, "bbbbgbbbbb"))[-1]

    def test_moments_count_the_time_between(self):
        """Measurements without width hold from the first to the last, as Prometheus does it."""
        held = rule(hold=timedelta(minutes=5))
        assert [("pending", 0), ("firing", 5)] == told(*live(held, "bbbbbb", width=0))


class TestRecovery:
    def test_needs_k_good_ones(self):
        """K good samples in a row end an alert; one that is between begins the count anew."""
        recovering = rule(recover_samples=3)
        assert ("resolved", 4) == told(*live(recovering, "bggg"))[-1]
        assert ("resolved", 7) == told(*live(recovering, "bgg-ggg"))[-1]
        assert ("resolved", 7) == told(*live(recovering, "bggbggg"))[-1]

    def test_between_the_thresholds_it_stays_open(self):
        """A sample below the threshold but above the recovery threshold does not recover."""
        state, steps = live(rule(), "b------")
        assert [("firing", 1)] == told(state, steps)

    def test_keep_firing(self):
        """The condition must have been gone for that long, counted from the first good sample."""
        keeping = rule(keep_firing=timedelta(minutes=4))
        assert ("resolved", 6) == told(*live(keeping, "bggggg"))[-1]
        assert ("resolved", 9) == told(*live(keeping, "bggbggggg"))[-1]

    def test_the_end_says_why(self):
        """A recovery is called so, with the value that decided."""
        _, steps = live(rule(), "bg")
        assert ("recovered", 0.5) == (steps[-1].reason, steps[-1].value)


class TestWarmUp:
    def test_new_series_are_watched_first(self):
        """In its first minutes a series is not judged."""
        warm = rule(warm_up=timedelta(minutes=3))
        assert [("firing", 4)] == told(*live(warm, "bbbb"))
        assert [] == told(*live(warm, "bbb"))


class TestNoData:
    PATIENCE = timedelta(minutes=10)

    def test_keep(self):
        """By default silence changes nothing."""
        assert [("firing", 1)] == told(*live(rule(), "b", horizon=START + 600 * MINUTE))

    def test_ok(self):
        """Silence can count as recovery, and says so."""
        minded = rule(no_data=NoDataPolicy.OK, no_data_after=self.PATIENCE)
        _, steps = live(minded, "b", horizon=START + 11 * MINUTE)

        assert [("firing", 1), ("resolved", 11)] == told(_, steps)
        assert "no data" in steps[-1].reason

    @pytest.mark.parametrize("policy", [NoDataPolicy.ALERT, NoDataPolicy.BREACH])
    def test_alert(self, policy):
        """Silence can be an alert, at the minute it has lasted long enough, until data come."""
        minded = rule(no_data=policy, no_data_after=self.PATIENCE)
        state, steps = live(minded, "g", horizon=START + 60 * MINUTE)
        assert [("no data", 11), ("firing", 11)] == told(state, steps)

        state, steps = advance(minded, state, verdicts("g", first=60), horizon=START + 61 * MINUTE)
        assert [("resolved", 61)] == told(state, steps)

    def test_not_yet(self):
        """A moment before its time silence is nothing."""
        minded = rule(no_data=NoDataPolicy.ALERT, no_data_after=self.PATIENCE)
        assert [] == told(*live(minded, "g", horizon=START + 11 * MINUTE - 1))

    def test_found_late(self):
        """A run that comes after the silence judges it all the same, at the same times."""
        minded = rule(no_data=NoDataPolicy.ALERT, no_data_after=self.PATIENCE)
        late = told(*live(minded, "g" + " " * 20 + "gg"))
        assert [("no data", 11), ("firing", 11), ("resolved", 22)] == late

    def test_nobody_knows(self):
        """When the source did not answer, silence means nothing."""
        minded = rule(no_data=NoDataPolicy.ALERT, no_data_after=self.PATIENCE)
        assert [] == told(*advance(minded, State(last_end=START), verdicts(""), horizon=None))


class TestFlapping:
    def test_restlessness_is_nagios(self):
        """Share of state changes among 21 samples, the newest weighing 1.25, the oldest 0.75."""
        always = int("01" * 11, 2) & ((1 << HISTORY) - 1)
        assert 0 == restlessness(0)
        assert pytest.approx(1.0) == restlessness(always)
        assert pytest.approx(1.25 / 20) == restlessness(1)  # changed at the newest sample
        assert pytest.approx(0.75 / 20) == restlessness(1 << HISTORY - 1)  # at the oldest

    def test_says_so_once_and_calms_down(self):
        """An alert that comes and goes begins to flap before its next step, and ends it later."""
        flapping = rule(flap_detection=True)
        state, steps = live(flapping, "bgbgbgbgbg" + "g" * HISTORY)
        words = [step.change for step in steps]

        assert 1 == words.count(Change.FLAPPING) == words.count(Change.STEADY)
        begun = words.index(Change.FLAPPING)
        assert words[begun + 1] in (Change.FIRING, Change.RESOLVED)
        assert steps[begun].at == steps[begun + 1].at
        assert not state.flapping

    def test_a_plain_alert_does_not_flap(self):
        """One alert and its end are no flapping."""
        _, steps = live(rule(flap_detection=True), "g" * 20 + "b" * 10 + "g" * 20)
        assert [Change.FIRING, Change.RESOLVED] == [step.change for step in steps]


def test_close():
    """What is closed for another reason resolves with it and keeps its place in time."""
    state, _ = live(rule(), "b")
    ended, step = close(state, at=START + 99 * MINUTE, reason="the deployment is gone")

    assert (Change.RESOLVED, "the deployment is gone") == (step.change, step.reason)
    assert (Phase.OK, START + 99 * MINUTE, START) == (step.phase, step.at, step.since)
    assert (2.0, 1.0) == (step.value, step.threshold)
    assert (START, START + MINUTE) == (step.window_start, step.window_end)
    kept = {name: getattr(state, name) for name in
            ("until", "first_start", "last_start", "last_end", "alert")}  # fmt: skip
    assert State(**kept) == ended


def test_close_of_something_that_fired_on_silence():
    """Where nothing breached, it was so since the window it was told of."""
    _, step = close(State(window_start=START, window_end=START + MINUTE), at=START, reason="gone")

    assert START == step.since


class TestSteps:
    def fields(self, step):
        return (step.phase, (step.since - START) // MINUTE, step.value, step.threshold,
                (step.window_start - START) // MINUTE, (step.window_end - START) // MINUTE,
                step.reason)  # fmt: skip

    def test_what_they_say(self):
        """Since when, the last value, and the window that decided: one sample, or all that breached."""
        _, steps = live(rule(samples=2), "gbgbbbg")

        assert [
            (Phase.PENDING, 1, 2.0, 1.0, 1, 2, ""),
            (Phase.OK, 2, 0.5, 1.0, 2, 3, ""),
            (Phase.PENDING, 3, 2.0, 1.0, 3, 4, ""),
            (Phase.FIRING, 3, 2.0, 1.0, 3, 5, ""),
            (Phase.OK, 3, 0.5, 1.0, 3, 7, "recovered"),
        ] == [self.fields(step) for step in steps]

    @pytest.mark.parametrize(
        ("policy", "reason"), [(NoDataPolicy.ALERT, "no data"), (NoDataPolicy.BREACH, "")]
    )
    def test_silence(self, policy, reason):
        """Silence lasts from the last sample's end; a breach that follows is the reason then."""
        minded = rule(no_data=policy, no_data_after=timedelta(minutes=10), recover_samples=2)
        state, steps = live(minded, "g", horizon=START + 20 * MINUTE)

        assert [
            (Phase.OK, 1, 0.5, 1.0, 1, 11, reason),
            (Phase.FIRING, 1, 0.5, 1.0, 1, 11, reason),
        ] == [self.fields(step) for step in steps]
        state, steps = advance(minded, state, verdicts("b", first=30), horizon=START + 31 * MINUTE)
        assert ((), "", START + 31 * MINUTE) == (steps, state.reason, state.window_end)

    def test_silence_that_counts_as_recovery(self):
        """It ends the alert when it has lasted long enough, and what breached is forgotten."""
        minded = rule(samples=2, no_data=NoDataPolicy.OK, no_data_after=timedelta(minutes=10))
        state, steps = live(minded, "bb", horizon=START + 60 * MINUTE)

        assert (Phase.OK, 0, 2.0, 1.0, 0, 12) == self.fields(steps[-1])[:-1]
        assert ("", 0, 0, 0) == (state.recent, state.since, state.held_us, state.good)
        _, steps = advance(minded, state, verdicts("b", first=60), horizon=START + 61 * MINUTE)
        assert [("pending", 61)] == told(state, steps)


def test_state_survives_the_store():
    """A state comes back equal from JSON, and a calm one is nearly empty."""
    state, _ = live(rule(samples=3, of=5), "bgbbg")
    assert state == State.from_json(state.to_json())
    assert {} == State().to_json()
    assert State() == State.from_json({"from a newer version": 1})


@st.composite
def _lives(draw):
    one = rule(
        samples=(n := draw(st.integers(1, 4))),
        of=draw(st.none() | st.integers(n, 6)),
        hold=timedelta(minutes=draw(st.sampled_from([0, 0, 3]))),
        recover_samples=draw(st.integers(1, 3)),
        keep_firing=timedelta(minutes=draw(st.sampled_from([0, 4]))),
        warm_up=timedelta(minutes=draw(st.sampled_from([0, 0, 5]))),
        no_data=draw(st.sampled_from(list(NoDataPolicy))),
        no_data_after=timedelta(minutes=draw(st.sampled_from([4, 9]))),
        flap_detection=draw(st.booleans()),
    )
    word = draw(st.text(st.sampled_from("bbggg- "), min_size=1, max_size=60))
    cuts = draw(st.lists(st.integers(0, len(word)), max_size=6))
    return one, word, sorted({0, len(word), *cuts})


@given(_lives())
@settings(max_examples=300, deadline=None)
def test_in_pieces_or_at_once(case):
    """The law: however verdicts are cut into runs, the same steps happen at the same times."""
    one, word, cuts = case
    whole, expected = advance(one, State(), verdicts(word), horizon=START + len(word) * MINUTE)
    state, steps = State(), []
    for begin, end in pairwise(cuts):
        part = verdicts(word[begin:end], first=begin)
        state = State.from_json(state.to_json())  # a restart between any two runs
        state, found = advance(one, state, part, horizon=START + end * MINUTE)
        steps += found

    assert list(expected) == steps
    assert whole == state


@given(_lives())
@settings(max_examples=200, deadline=None)
def test_a_life_is_well_formed(case):
    """Between two ends there is exactly one beginning, and times never go back."""
    one, word, _ = case
    _, steps = advance(one, State(), verdicts(word), horizon=START + len(word) * MINUTE)
    turns = [s.change for s in steps if s.change in (Change.FIRING, Change.RESOLVED)]

    assert (
        turns == [Change.FIRING, Change.RESOLVED] * (len(turns) // 2) + turns[len(turns) // 2 * 2 :]
    )
    assert [Change.FIRING] * (len(turns) % 2) == turns[len(turns) // 2 * 2 :]
    assert sorted(step.at for step in steps) == [step.at for step in steps]
