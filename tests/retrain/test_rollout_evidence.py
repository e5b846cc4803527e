"""The guard's odds: they hold at every look, in any order, and they find what is wrong."""

import math
from datetime import timedelta

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from driftline.retrain import Guard, Measure, Verdict
from driftline.retrain._arms import Counts, Recorder, Running, Tally
from driftline.retrain._boundary import above, at, below, exceeds
from driftline.retrain._guard import Ledger, Question, judge

RUNS = 200
# A rate of 5 % shows as more than 18 of 200 runs with probability 1 %.
MOST_OF_200 = int(binom.isf(0.01, RUNS, 0.05))

numbers = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def tally(values, known=None):
    running = Running(Tally() if known is None else known)
    for value in values:
        running.add(float(value))
    return running.tally


def only(**tolerances):
    """A guard of one measure."""
    none = dict.fromkeys(("errors", "slow", "boxes", "confidence"))
    return Guard(**{**none, **tolerances}, block=timedelta(0))


def arms(measure, incumbent, candidate):
    return Counts(
        tallies={f"incumbent/{measure}": incumbent, f"candidate/{measure}": candidate},
        frames={"incumbent": incumbent.n, "candidate": candidate.n},
    )


def events(rng, n, rate):
    return Tally(n=n, total=float(rng.binomial(n, rate)))


def shares(rng, n, mean, known):
    """Numbers in [0, 1] of that mean and standard deviation 0.1."""
    k = mean * (1 - mean) / 0.01 - 1
    return tally(rng.beta(mean * k, (1 - mean) * k, n), known)


@given(numbers, numbers, st.floats(0, 1))
def test_tallies_add(one, other, mean):
    """Numbers of two workers that knew of each other are worth what one worker's are."""
    first = tally(one)
    parts = first + tally(other, known=first)
    whole = tally([*one, *other])

    assert whole.n == parts.n
    # Sums in another order differ by rounding only.
    assert math.isclose(whole.total, parts.total, abs_tol=1e-9)
    assert math.isclose(whole.spread, parts.spread, abs_tol=1e-9)


@given(
    st.tuples(st.integers(0, 500), st.integers(1, 500)),
    st.tuples(st.integers(0, 500), st.integers(1, 500)),
    st.floats(-0.5, 0.5),
    st.floats(0, 1),
)
def test_least_is_least(one, other, by, place):
    """No place of the means gives less evidence than what is reported."""
    first, second = (Tally(n=n, total=min(k, n)) for k, n in (one, other))
    low = max(0.0, -by)
    mean = low + place * (1 - low)
    there = at(above(first, events=True), min(1.0, mean + by)) + at(
        below(second, events=True), mean
    )

    # The sweeps stop 6e-8 from the least value, where the curve is flat.
    assert exceeds(first, second, by, events=True) <= there + 1e-6 * (1 + abs(there))


@pytest.mark.parametrize("is_events", [True, False])
@pytest.mark.parametrize("rate", [0.01, 0.3, 0.9])
def test_expectation_is_at_most_one(rate, is_events):
    """One number adds a factor of mean at most 1, whatever came before: the defining law."""
    before = Tally(n=50, total=50 * rate, spread=50 * rate * (1 - rate))
    for side in (above, below):
        start = at(side(before, events=is_events), rate)
        after = [
            at(side(before + tally([value], known=before), events=is_events), rate)
            for value in (0, 1)
        ]
        mean = (1 - rate) * math.exp(after[0] - start) + rate * math.exp(after[1] - start)

        assert mean <= 1 + 1e-9


def peeked(rng, *, rates, question, looks=15, frames=(50, 150), epoch=5, look):
    """Whether `look` is ever true over a stage that is looked at after every batch."""
    ledger = Ledger()
    for number in range(1, looks + 1):
        batch = arms(
            "errors", *(events(rng, n, p) for n, p in zip(frames[::-1], rates, strict=True))
        )
        ledger = evolve(ledger, open=ledger.open + batch)
        if look(ledger):
            return True
        if number % epoch == 0:
            ledger = question.close(ledger)
    return False


def test_rollback_errs_rarely_under_peeking():
    """A candidate just as bad as tolerated is rolled back in at most alpha of the runs."""
    rng = np.random.default_rng(20261123)
    question = Question(guard=only(errors=0.02), paired=False)
    (claim,) = question.claims
    wrong = sum(
        peeked(
            rng,
            rates=(0.02, 0.04),
            question=question,
            look=lambda ledger: question.worse(claim, ledger) >= math.log(20),
        )
        for _ in range(RUNS)
    )

    assert wrong <= MOST_OF_200


def test_promotion_errs_rarely_under_peeking():
    """A candidate worse by the tolerance passes a stage in at most alpha of the runs."""
    rng = np.random.default_rng(20261124)
    question = Question(guard=only(errors=0.02), paired=False)
    wrong = sum(
        peeked(
            rng,
            rates=(0.02, 0.04),
            question=question,
            look=lambda ledger: question.fine(Measure.ERRORS, ledger.stage) >= math.log(20),
        )
        for _ in range(RUNS)
    )

    assert wrong <= MOST_OF_200


def test_a_plain_test_would_err_often():
    """The same looks with a z test at 5 % err in far more runs: what the boundary is for."""
    rng = np.random.default_rng(20261124)
    question = Question(guard=only(errors=0.02), paired=False)

    def z_test(ledger):
        one, two = (ledger.stage.of(arm, "errors") for arm in ("incumbent", "candidate"))
        variance = sum(t.mean * (1 - t.mean) / t.n for t in (one, two))
        return variance > 0 and (two.mean - one.mean - 0.02) / math.sqrt(variance) < -1.645

    wrong = sum(
        peeked(rng, rates=(0.02, 0.04), question=question, look=z_test) for _ in range(RUNS)
    )

    assert wrong > 2 * MOST_OF_200


def test_numbers_err_rarely_under_peeking():
    """Mean confidences that differ by just the tolerance: neither way is concluded wrongly."""
    rng = np.random.default_rng(20261125)
    question = Question(guard=only(confidence=0.05), paired=False)
    up = question.claims[0]
    rolled, passed = 0, 0
    for _ in range(RUNS):
        counts, back, fine = Counts(), False, False
        for _ in range(12):
            one = shares(rng, 60, 0.6, counts.of("incumbent", "confidence"))
            two = shares(rng, 20, 0.65, counts.of("candidate", "confidence"))
            counts += arms("confidence", one, two)
            back |= question.log_worse(up, counts) >= math.log(20)
            fine |= question.log_fine(up, counts) >= math.log(20)
        rolled, passed = rolled + back, passed + fine

    assert rolled <= MOST_OF_200
    assert passed <= MOST_OF_200


def test_pairs_err_rarely_under_peeking():
    """Differences on the same frames, of just the tolerance, are concluded wrongly as rarely."""
    rng = np.random.default_rng(20261126)
    question = Question(guard=only(errors=0.02), paired=True)
    (claim,) = question.claims
    rolled, passed = 0, 0
    for _ in range(RUNS):
        known, back, fine = Tally(), False, False
        for _ in range(15):
            one, two = rng.random(150) < 0.02, rng.random(150) < 0.04
            known += tally((two.astype(float) - one + 1) / 2, known)
            counts = Counts(tallies={"paired/errors": known})
            back |= question.log_worse(claim, counts) >= math.log(20)
            fine |= question.log_fine(claim, counts) >= math.log(20)
        rolled, passed = rolled + back, passed + fine

    assert rolled <= MOST_OF_200
    assert passed <= MOST_OF_200


def test_soak_errs_rarely():
    """With all traffic on the candidate, the incumbent's past is not counted once an epoch."""
    rng = np.random.default_rng(20261127)
    question = Question(guard=only(errors=0.02), paired=False)
    (claim,) = question.claims
    wrong = 0
    for _ in range(RUNS):
        split = Ledger(open=arms("errors", events(rng, 300, 0.02), events(rng, 300, 0.04)))
        ledger = question.next_stage(split, soak=True)
        for number in range(1, 16):
            batch = arms("errors", Tally(), events(rng, 100, 0.04))
            ledger = evolve(ledger, open=ledger.open + batch)
            if question.worse(claim, ledger) >= math.log(20):
                wrong += 1
                break
            if number % 5 == 0:
                ledger = question.close(ledger)

    assert wrong <= MOST_OF_200


def test_soak_does_not_count_the_past_twice():
    """Two half hours compared to one past are worth no more than the better of them."""
    question = Question(guard=only(errors=0.02), paired=False)
    (claim,) = question.claims
    split = Ledger(open=arms("errors", Tally(n=300), Tally(n=300)))
    first = question.next_stage(split, soak=True)
    hour = arms("errors", Tally(), Tally(n=100, total=20))
    alone = question.log_worse(claim, hour + first.reference)
    later = evolve(question.close(evolve(first, open=hour)), open=hour)

    assert alone > 5
    assert question._from_any(claim, later, "epoch", later.epoch, later.present) <= alone


def frames_until(question, claim, ledger, *, rates, rng, split=(95, 5), most=400):
    """Candidate frames until rollback, looked at every hundred frames; an epoch has 1,000."""
    needed = math.log(len(question.claims) / question.guard.alpha)
    for number in range(1, most):
        batch = arms("errors", *(events(rng, n, p) for n, p in zip(split, rates, strict=True)))
        ledger = evolve(ledger, open=ledger.open + batch)
        if question.worse(claim, ledger) >= needed:
            return number * split[1]
        if number % 10 == 0:
            ledger = question.close(ledger)
    return None


def test_bad_candidate_is_found():
    """One call in ten failing instead of one in a hundred is found soon: 85 frames at the median."""
    rng = np.random.default_rng(1)
    question = Question(guard=Guard(), paired=False)
    seen = [
        frames_until(question, question.claims[0], Ledger(), rates=(0.01, 0.1), rng=rng)
        for _ in range(20)
    ]

    # In 40 runs of another seed the largest was 215.
    assert max(seen) <= 400
    assert np.median(seen) <= 120


def test_late_fault_is_found():
    """A candidate that was well for 40 epochs and then fails is found as if it had just begun."""
    rng = np.random.default_rng(2)
    question = Question(guard=Guard(), paired=False)
    ledger = Ledger()
    for _ in range(40):
        batch = arms("errors", events(rng, 950, 0.01), events(rng, 50, 0.01))
        ledger = question.close(evolve(ledger, open=batch))
    late = frames_until(question, question.claims[0], ledger, rates=(0.01, 0.2), rng=rng)

    # 2,000 healthy frames would hide it from a running mean: 100 frames at 20 % are 2 % of them.
    assert late <= 100


def test_total_failure_is_found_at_once():
    """A candidate that answers nothing is rolled back within five frames."""
    question = Question(guard=Guard(), paired=False)
    ledger = Ledger(open=arms("errors", Tally(n=100), Tally(n=5, total=5.0)))

    assert Verdict.ROLL_BACK is judge(question, ledger).verdict


@settings(max_examples=15, deadline=None)
@given(st.integers(200, 3000), st.floats(0.0, 0.03), st.floats(0.0, 0.03))
def test_never_both(n, one, two):
    """What is credibly worse is never credibly fine at the same time."""
    question = Question(guard=only(errors=0.005), paired=False)
    ledger = Ledger(
        open=arms("errors", Tally(n=9 * n, total=9 * n * one), Tally(n=n, total=n * two))
    )
    found = question.difference(Measure.ERRORS, ledger)

    assert not (found.is_worse and found.is_fine)


def test_few_days_say_how_many_more():
    """While it is uncertain, a hold tells how many frames it expects; with them it is certain."""
    question = Question(guard=only(errors=0.02), paired=False)
    counts = arms("errors", Tally(n=2000, total=20), Tally(n=200, total=2))
    held = judge(question, Ledger(open=counts))
    more = 1 + held.frames_needed / 200

    assert Verdict.HOLD is held.verdict
    assert held.frames_needed > 0
    assert Verdict.PROMOTE is judge(question, Ledger(open=counts.times(more * 1.02))).verdict


def test_hopeless_is_said():
    """Where the difference is larger than the tolerance, more frames are not advised."""
    question = Question(guard=only(errors=0.02), paired=False)
    counts = arms("errors", Tally(n=400, total=4), Tally(n=40, total=2))
    held = judge(question, Ledger(open=counts))

    assert held.frames_needed is None
    assert "would not settle it" in held.reasons[0]


def test_nothing_observed_is_a_hold():
    """Without observations nothing is concluded."""
    held = judge(Question(guard=Guard(), paired=False), Ledger())

    assert Verdict.HOLD is held.verdict
    assert "not observed" in str(held)


def test_frames_of_one_camera_and_minute_count_once():
    """Sixty frames of a camera in a minute are one observation with their mean."""
    recorder = Recorder(known=Counts(), block_seconds=60)
    for second in range(120):
        recorder.add("candidate", "cam-1", {"errors": float(second < 30)}, at=600.0 + second)
    recorder.close_blocks(before=720.0)
    counts = recorder.take()

    # Means 0.5 and 0, each against a guess of 0.5 made before it.
    assert Tally(n=2, total=0.5, spread=0.25) == counts.of("candidate", "errors")
    assert 120 == counts.frames["candidate"]
