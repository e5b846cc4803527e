"""The guard of a rollout: what it may be, what it asks, what it remembers and what it says."""

import math
from datetime import timedelta

import pytest
from attrs import evolve

from driftline.errors import InputError
from driftline.retrain import Guard, Measure, Verdict
from driftline.retrain._arms import PAIRED, Counts, Tally
from driftline.retrain._boundary import exceeds
from driftline.retrain._guard import Ledger, Question, judge

NONE = dict.fromkeys(("errors", "slow", "boxes", "confidence"))


def only(**tolerances):
    return Guard(**{**NONE, **tolerances}, block=timedelta(0))


def ask(*, paired=False, **tolerances):
    return Question(guard=only(**tolerances), paired=paired)


def arms(measure, incumbent, candidate):
    return Counts(
        tallies={f"incumbent/{measure}": incumbent, f"candidate/{measure}": candidate},
        frames={"incumbent": incumbent.n, "candidate": candidate.n},
    )


def pairs(measure, tally):
    return Counts(tallies={f"{PAIRED}/{measure}": tally}, frames={PAIRED: tally.n})


class TestBirth:
    def test_guards_something(self):
        """At least one measure is compared."""
        with pytest.raises(InputError, match="at least one of errors, slow, boxes and confidence"):
            Guard(**NONE)

    @pytest.mark.parametrize(
        ("given", "most"),
        [({"errors": 1.0}, "1"), ({"slow": 1.5}, "1"), ({"boxes": 20.0}, "20"),
         ({"boxes": 5.0, "most_boxes": 5}, "5"), ({"confidence": 1}, "1")],
    )  # fmt: skip
    def test_tolerates_less_than_all(self, given, most):
        """A tolerance that nothing could ever pass is refused, with what it must lie below."""
        (name, value), *_ = given.items()
        with pytest.raises(
            InputError, match=f"{name}={value!r} tolerates all there is; below {most}$"
        ):
            Guard(**given)

    def test_tolerances_are_shares(self):
        """Boxes are measured as a share of the most; what is None is not compared."""
        guard = Guard(errors=0.01, slow=None, boxes=3.0, confidence=0.1, most_boxes=12)

        assert {"errors": 0.01, "boxes": 0.25, "confidence": 0.1} == guard.tolerances
        assert (12, 250.0) == (guard.scale.boxes, guard.scale.latency_ms)

    def test_kept(self):
        """A guard survives the store; what a newer version wrote beside it is passed over."""
        guard = Guard(errors=0.02, slow=None, epoch=timedelta(minutes=7), block=timedelta(0))
        stored = guard.to_json()

        assert (420.0, 0.0, None) == (stored["epoch"], stored["block"], stored["slow"])
        assert guard == Guard.from_json({**stored, "from a newer version": 1})


class TestClaims:
    def test_ways(self):
        """Errors and slowness are faults upwards, boxes and confidence both ways."""
        question = Question(guard=Guard(), paired=False)

        assert ["errors up", "slow up", "boxes up", "boxes down", "confidence up",
                "confidence down"] == [claim.name for claim in question.claims]  # fmt: skip

    def test_down_is_up_with_the_arms_exchanged(self):
        """Fewer boxes in the candidate are more in the incumbent, for either question."""
        question = ask(boxes=1.0)
        up, down = question.claims
        low, high = Tally(n=300, total=60, spread=3), Tally(n=200, total=90, spread=2)
        rising, falling = arms("boxes", low, high), arms("boxes", high, low)

        assert question.log_worse(up, rising) == question.log_worse(down, falling) > 5
        assert question.log_worse(down, rising) == question.log_worse(up, falling) < 0
        assert question.log_fine(up, falling) == question.log_fine(down, rising) > 5
        assert question.log_fine(down, falling) == question.log_fine(up, rising) < 0
        assert question.log_worse(up, rising) == exceeds(high, low, 0.05, events=False)
        assert question.log_fine(up, falling) == exceeds(high, low, -0.05, events=False)

    def test_pairs_mirror(self):
        """Of differences on the same frames, those mirrored at no difference are the other way."""
        question = ask(paired=True, boxes=2.0)
        up, down = question.claims
        more, fewer = (pairs("boxes", Tally(n=200, total=m, spread=1)) for m in (130, 70))
        none = pairs("boxes", Tally(n=2000, total=1000, spread=1))

        assert question.log_worse(up, more) == pytest.approx(question.log_worse(down, fewer))
        assert question.log_fine(up, fewer) == pytest.approx(question.log_fine(down, more))
        assert question.log_worse(up, more) > 3
        assert question.log_worse(down, more) < 0
        assert question.log_fine(down, more) > 3
        assert question.log_fine(up, more) < 0
        assert question.fine(Measure.BOXES, none) > 3
        assert question.fine(Measure.BOXES, more) == question.log_fine(up, more)

    def test_tolerance_is_what_is_asked(self):
        """A difference beyond a small tolerance may be within a large one."""
        counts = arms("boxes", Tally(n=900, total=360, spread=9), Tally(n=900, total=450, spread=9))
        for boxes, worse in ((1.0, True), (4.0, False)):
            question = ask(boxes=boxes)  # the difference is 2 boxes of 20
            assert worse is (question.log_worse(question.claims[0], counts) > 5)
            assert worse is (question.log_fine(question.claims[0], counts) < 0)


class TestMemory:
    def test_survives_the_store(self):
        """A ledger comes back equal, with and without a reference."""
        counts = arms("errors", Tally(n=30, total=3), Tally(n=10, total=1))
        for reference in (None, counts.only("incumbent")):
            ledger = Ledger(closed=counts, open=counts, epoch=3, rung=2, reference=reference,
                            carried={"epoch/errors up": -1.5})  # fmt: skip
            assert ledger == Ledger.from_json(ledger.to_json())

    def test_stage_is_all_of_it(self):
        """The stage is what is closed and what is open; a reference stands beside the open part."""
        one = arms("errors", Tally(n=30, total=3), Tally(n=10, total=1))
        past = arms("errors", Tally(n=500, total=5), Tally()).only("incumbent")
        ledger = Ledger(closed=one, open=one)

        assert (one, one + one) == (ledger.present, ledger.stage)
        assert one + past == evolve(ledger, reference=past).present
        assert one + one + past == evolve(ledger, reference=past).stage

    def test_epochs_and_stages(self):
        """A closed epoch stays in its stage; the next stage begins empty, at the next epoch."""
        question = ask(errors=0.02)
        counts = arms("errors", Tally(n=900, total=9), Tally(n=100, total=1))
        closed = question.close(Ledger(open=counts))
        later = question.next_stage(evolve(closed, open=counts), soak=False)
        soaked = question.next_stage(evolve(closed, open=counts), soak=True)

        assert (counts, Counts(), 2, 1) == (closed.closed, closed.open, closed.epoch, closed.rung)
        assert (Counts(), Counts(), 3, 2) == (later.closed, later.open, later.epoch, later.rung)
        assert None is later.reference
        assert (counts + counts).only("incumbent") == soaked.reference
        assert {"epoch/errors up"} == set(closed.carried)
        assert {"epoch/errors up", "stage/errors up"} == set(later.carried)

    def test_evidence_is_a_mixture_over_beginnings(self):
        """With weights 1 / (j (j + 1)): the sum of products from every period on, by definition."""
        question = ask(errors=0.02)
        (claim,) = question.claims
        epochs = [arms("errors", Tally(n=90, total=2), Tally(n=40, total=k)) for k in (1, 4, 6, 2)]
        ledger = Ledger()
        for counts in epochs:
            ledger = evolve(ledger, open=counts)
            last, ledger = ledger, question.close(ledger)
        each = [question.log_worse(claim, counts) for counts in epochs]
        by_epoch = sum(math.exp(sum(each[j:])) / ((j + 1) * (j + 2)) for j in range(4))
        by_stage = math.exp(question.log_worse(claim, sum(epochs[1:], epochs[0]))) / 2

        assert math.exp(ledger.carried["epoch/errors up"]) == pytest.approx(by_epoch)
        assert math.exp(question.worse(claim, last)) == pytest.approx((by_epoch + by_stage) / 2)

    def test_stages_are_mixed_as_epochs_are(self):
        """What an ended stage showed goes on counting: the same sum over stages, by definition."""
        question = ask(errors=0.02)
        (claim,) = question.claims
        stages = [arms("errors", Tally(n=90, total=2), Tally(n=40, total=k)) for k in (5, 3, 6)]
        ledger = Ledger()
        for counts in stages:
            ledger = evolve(ledger, open=counts)
            last, ledger = ledger, question.next_stage(ledger, soak=False)
        each = [question.log_worse(claim, counts) for counts in stages]
        mixed = sum(math.exp(sum(each[j:])) / ((j + 1) * (j + 2)) for j in range(3))

        assert math.exp(ledger.carried["stage/errors up"]) == pytest.approx(mixed)
        # An epoch was a stage here, so that either half of the evidence is the same.
        assert math.exp(question.worse(claim, last)) == pytest.approx(mixed)

    def test_periods_beside_one_past_stand_for_themselves(self):
        """Once the incumbent has no traffic: the same weights, each period without those after."""
        question = ask(errors=0.02)
        (claim,) = question.claims
        past = arms("errors", Tally(n=300, total=3), Tally(n=300, total=3))
        soak = question.next_stage(Ledger(open=past), soak=True)
        hours = [arms("errors", Tally(), Tally(n=100, total=k)) for k in (9, 2, 12)]
        for counts in hours:
            soak = question.close(evolve(soak, open=counts))
        each = [question.log_worse(claim, counts + soak.reference) for counts in hours]
        expected = math.exp(question.log_worse(claim, past)) / 2 + sum(
            math.exp(one) / (j * (j + 1)) for j, one in enumerate(each, start=2)
        )

        assert math.exp(soak.carried["epoch/errors up"]) == pytest.approx(expected)


class TestWords:
    def difference(self, question, counts, measure):
        return question.difference(measure, Ledger(open=counts))

    def test_in_peoples_units(self):
        """Boxes are told as boxes a frame; both means, their difference, tolerance and evidence."""
        question = ask(boxes=1.0)
        counts = arms("boxes", Tally(n=300, total=60, spread=3), Tally(n=200, total=50, spread=2))
        found = self.difference(question, counts, Measure.BOXES)

        assert (4.0, 5.0, 1.0, 1.0) == pytest.approx(
            (found.incumbent, found.candidate, found.difference, found.tolerance)
        )
        assert (200, (2 / 0.05, 1 / 0.05)) == (found.observations, found.needed)
        said = "boxes from 4 to 5, tolerance +/-1, 200 observations: evidence of worse "
        assert str(found).startswith(said)
        assert "(40 needed), of not worse " in str(found)

    def test_pairs_have_no_means(self):
        """On the same frames only the difference is known; it lies on a scale of twice the width."""
        question = ask(paired=True, confidence=0.1)
        counts = pairs("confidence", Tally(n=50, total=26, spread=1))
        found = self.difference(question, counts, Measure.CONFIDENCE)

        assert found.difference == pytest.approx(0.04)
        assert (50, True, True) == (
            found.observations,
            math.isnan(found.incumbent),
            math.isnan(found.candidate),
        )
        assert str(found).startswith("confidence +0.04, tolerance +/-0.1, 50 observations")

    def test_not_observed(self):
        """Without observations of one arm there is no difference, and no number is told."""
        counts = arms("errors", Tally(n=300, total=3), Tally())
        found = self.difference(ask(errors=0.01), counts, Measure.ERRORS)

        assert "errors: not observed in both arms" == str(found)
        assert not (found.is_worse or found.is_fine)

    def test_roll_back_names_what_is_worse(self):
        """Only the measures that are worse are reasons; all are shown."""
        bad = arms("errors", Tally(n=900, total=9), Tally(n=100, total=40))
        fine = arms("slow", Tally(n=900, total=9), Tally(n=100, total=1))
        found = judge(ask(errors=0.01, slow=0.02), Ledger(open=bad + fine))

        assert (Verdict.ROLL_BACK, 1, 2) == (
            found.verdict,
            len(found.reasons),
            len(found.differences),
        )
        assert found.reasons[0].startswith(
            "errors credibly worse: from 0.01 to 0.4, tolerance 0.01"
        )
        assert str(found).startswith("ROLL BACK: errors credibly worse")
        assert 2 == str(found).count("\n  ")

    def test_promote(self):
        """What is all within tolerance is promoted, unless the stage must last longer."""
        calm = arms("errors", Tally(n=9000, total=90), Tally(n=5000, total=50))
        question, ledger = ask(errors=0.05), Ledger(open=calm)
        found, early = judge(question, ledger), judge(question, ledger, too_early="an hour yet")

        assert (Verdict.PROMOTE, ("all within tolerance: errors",)) == (
            found.verdict,
            found.reasons,
        )
        assert (Verdict.HOLD, ("an hour yet",), 0) == (
            early.verdict,
            early.reasons,
            early.frames_needed,
        )
        assert None is found.frames_needed

    def test_doubts(self):
        """What was not seen and what is not certain are told apart, and how many frames it takes."""
        few = arms("errors", Tally(n=2000, total=20), Tally(n=200, total=2))
        held = judge(ask(errors=0.02), Ledger(open=few), too_early="an hour yet")
        blind = judge(ask(errors=0.02, slow=0.02), Ledger(open=few))

        more = f"about {held.frames_needed} more candidate frames like these would settle it"
        assert ("an hour yet", f"not certain yet: errors; {more}") == held.reasons
        assert blind.reasons == (
            "not observed in both arms: slow (None in the guard leaves one out)",
            "not certain yet: errors; how many more it takes cannot be said yet",
        )
        assert None is blind.frames_needed

    def test_frames_needed_are_the_least(self):
        """Two per cent fewer than advised would not do."""
        question = ask(errors=0.02)
        counts = arms("errors", Tally(n=2000, total=20), Tally(n=200, total=2))
        frames = counts.frames["candidate"]
        whole = frames + question.more_frames(Ledger(open=counts))
        enough = math.log(1 / question.guard.alpha)

        assert question.fine(Measure.ERRORS, counts.times(whole / frames)) >= enough - 0.01
        assert question.fine(Measure.ERRORS, counts.times(whole / frames / 1.03)) < enough

    def test_odds_are_bounded(self):
        """Evidence beyond 1e12 is told as such, however overwhelming."""
        counts = arms("errors", Tally(n=10**6), Tally(n=10**6, total=10.0**6))
        found = self.difference(ask(errors=0.01), counts, Measure.ERRORS)

        assert found.worse == pytest.approx(1e12, rel=0.05)
