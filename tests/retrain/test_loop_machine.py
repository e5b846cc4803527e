"""Whatever happens to a retraining: nothing without a yes, nothing twice, and a status to read.

A loop that kept a yes to money after a failed training would do no harm, and is not found here: a
yes is to the question as it stood, and the question names the attempt. One that kept it and took
it for a yes to any question is found.
"""

import tempfile
from contextlib import ExitStack
from datetime import timedelta

import httpx
import pytest
from attrs import evolve
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from loop_kit import DECISION, MAIN, OLD
from loop_signs import Callers, Signs, add_old_frames, client, drive
from test_loop_crash import Fragile, Fuse, Killed, Wire

from driftline.errors import ConfigError, DriftlineError
from driftline.retrain import Move
from driftline.retrain._loop_book import SPACE

PROFILE = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "stateful_step_count": 15,
    "phases": (Phase.generate,),  # to shrink one failure takes minutes, to read it does not
}
SIGNS = Signs()
START = "/api/training/start"
LATER = evolve(DECISION, at=DECISION.at + timedelta(days=7))
STEP = timedelta(seconds=40)


class Counting(Wire):
    """A wire that notes, for every training that the Platform began, the yeses there were by then."""

    def __init__(self, yeses):
        super().__init__()
        self.yeses, self.paid_by = yeses, []

    def send(self, request, **options):
        if request.url.path != START:
            return super().send(request, **options)
        return self.fuse.around(lambda: self.started(request, **options))

    def started(self, request, **options):
        answer = httpx.Client.send(self, request, **options)
        if answer.status_code == httpx.codes.OK:
            self.paid_by.append(self.yeses("money"))
        return answer


class Machine(RuleBasedStateMachine):
    """A scheduler that dies, people who take their time or call it off, a training that fails."""

    def __init__(self):
        super().__init__()
        self.open = ExitStack()
        self.folder = self.open.enter_context(tempfile.TemporaryDirectory())
        platform = SIGNS.platform(lambda *_: SIGNS.seeing, deploy_seconds=5, epoch_seconds=10)
        self.local = self.open.enter_context(platform)
        add_old_frames(self.local)
        self.store, self.wire = Fragile(), self.open.enter_context(Counting(self.said_yes))
        self.store.fuse = self.wire.fuse = self.fuse = Fuse()
        local = self.local
        self.platform = self.open.enter_context(
            client(local.url, local.api_key, clock=local.clock, http_client=self.wire)
        )
        self.aborts, self.decisions = 0, [DECISION]

    @property
    def loop(self):
        """Each use is a process of its own: all it knows was read from the store."""
        return SIGNS.loop(self.platform, self.folder, self.store)

    @property
    def status(self):
        return self.loop.status()

    def opened(self):
        return self.store.get(SPACE, MAIN) is not None

    def asks(self):
        return self.opened() and self.status.asks is not None

    # --- the scheduler ------------------------------------------------------------------------

    @initialize(
        calls=st.sampled_from([0, 2, 4, 6, 9, 12, 16, 20, 30]),
        fails=st.sampled_from([False, False, True]),
    )
    def comes_so_far(self, calls, fails):
        """A number of undisturbed calls, everything that is asked for being given.

        The first training may fail.
        """
        if fails:
            self.training_will_fail()
        self.loop.open(DECISION)
        for _ in range(calls):
            if self.status.over:
                break
            self.people()
            self.advance()

    def people(self):
        """Label what is before people, say yes to what is asked, and send frames."""
        asks = self.status.asks
        if asks is not None and asks.gate == "review":
            SIGNS.review(self.loop)
        elif asks is not None:
            self.approve()
        self.traffic()

    @rule()
    def advance(self):
        """What a scheduler calls; what it waits for may come meanwhile."""
        self.loop.advance()
        self.local.clock.advance(STEP)

    @rule(calls=st.integers(0, 12), after=st.booleans())
    def killed(self, calls, after):
        """It dies at a call or write, before that was done or after."""
        self.dying(calls, after, self.advance)

    def dying(self, calls, after, act):
        self.fuse.at, self.fuse.after = self.fuse.count + calls, after
        try:
            act()
        except Killed:
            pass
        finally:
            self.fuse.at = None

    @rule(decision=st.sampled_from([DECISION, DECISION, LATER]))
    def decided_again(self, decision):
        """The same decision comes every day; another one waits for the end of the first."""
        before, version = self.status, self.store.get(SPACE, MAIN).version
        after = self.loop.open(decision)
        if decision in self.decisions:
            assert decision == after.decision
        elif before.over or before.move in {Move.BASELINE, Move.ANNOUNCE}:
            assert decision == after.decision
            self.decisions.append(decision)
            return
        else:
            assert before.id == after.id
        assert version == self.store.get(SPACE, MAIN).version

    # --- people -------------------------------------------------------------------------------

    @precondition(asks)
    @rule(calls=st.none() | st.integers(0, 4), after=st.booleans())
    def somebody_says_yes(self, calls, after):
        """The yes may be the last thing a process does."""
        if calls is None:
            self.approve()
        else:
            self.dying(calls, after, self.approve)

    def approve(self):
        self.loop.approve(self.status.asks.gate, by="Ana")

    @rule(gate=st.sampled_from(["review", "money", "rollout"]))
    def yes_to_what_nobody_asked(self, gate):
        """A yes that is not asked for counts for nothing."""
        asks = self.status.asks
        if asks is None or asks.gate != gate:
            version = self.store.get(SPACE, MAIN).version
            try:
                self.loop.approve(gate, by="Eve")
            except ConfigError:
                pass
            assert version == self.store.get(SPACE, MAIN).version

    @rule(whole=st.booleans())
    def labels_arrive(self, whole):
        """Labels come when they come, some or all of them; late ones change nothing."""
        try:
            batch = self.loop.review()
        except DriftlineError:
            assert self.status.move in {Move.SAMPLE, Move.ANNOTATE} or self.aborts
            return
        if whole:
            SIGNS.review(self.loop)
        else:
            one = batch.frames[0]
            batch.label(one.id, one.proposal)

    @rule(meant=st.sampled_from([False, False, False, True]), calls=st.none() | st.integers(0, 6))
    def called_off(self, meant, calls):
        """Somebody stops it, at any step, or thinks better of it."""
        if not meant or self.status.move in {Move.REFUSED, Move.ABORTED, Move.ROLLED_BACK}:
            return
        self.aborts += 1
        if calls is None:
            self.loop.abort("no")
        else:
            self.dying(calls, True, lambda: self.loop.abort("no"))

    # --- the Platform -------------------------------------------------------------------------

    @rule()
    def training_will_fail(self):
        """The next training runs out of memory."""
        self.local.break_next_training()

    @rule()
    def traffic(self):
        """Frames are dealt by the rollout, if there is one, and seen."""
        status = self.status
        if status.move is Move.ROLL_OUT and "handover" in status.facts:
            Callers(self.loop).send(status.candidate)

    # --- the promises -------------------------------------------------------------------------

    def said_yes(self, gate):
        """How often, by the record."""
        lines = [one.record["said"] for one in self.store.history(SPACE, MAIN)]
        return sum(line.startswith(f"{gate}: yes") for line in lines)

    @invariant()
    def promises(self):
        """All of them, by one look at the status."""
        self.nothing_is_paid_without_a_yes()
        if self.opened():
            status = self.status
            self.status_can_be_read(status)
            self.nothing_is_made_twice(status)
            self.traffic_follows_a_yes(status)

    def status_can_be_read(self, status):
        """Where it stands is there for people at any moment, with its picture and its record."""
        assert status.move in str(status)
        assert status._repr_html_()
        lines = [one.record for one in self.store.history(SPACE, MAIN)]
        own = [line["said"] for line in lines if line["loop"] == status.id]
        assert own == [note.said for note in status.notes]

    def nothing_is_paid_without_a_yes(self):
        """A yes pays for one training, whoever died over it: each has one more yes before it."""
        paid_by = [0, *self.wire.paid_by]
        assert sorted(set(paid_by)) == paid_by, "a training began on an old yes"

    def nothing_is_made_twice(self, status):
        """A picture is once in the dataset, and a loop freezes one version, whatever fails."""
        dataset = self.local.dataset("frames")
        names = [image.name for image in dataset.images]
        assert sorted(set(names)) == sorted(names)
        assert len(dataset.versions) <= (2 if status.decision == LATER else 1)

    def traffic_follows_a_yes(self, status):
        """Without a yes the incumbent serves; at the end, the model the status names."""
        main = self.local.deployment("line-3").model
        if not self.said_yes("rollout"):
            assert OLD == main
        if status.decision == LATER:
            return
        if status.move in {Move.DONE, Move.ANNOUNCE, Move.BASELINE}:
            assert status.candidate == main
        elif status.over:
            assert OLD == main, str(status)

    def whatever_waits_for_people(self):
        """An early yes to the review waits for labels; what learned from all frames finds none."""
        self.advance()
        if self.status.move is Move.REVIEW:
            SIGNS.review(self.loop)
        if self.status.move is Move.SAMPLE:
            self.loop.abort("there are no new frames")

    def teardown(self):
        """When nothing more goes wrong, it comes to an end."""
        try:
            if self.opened() and not self.status.over:
                self.fuse.at = None
                self.whatever_waits_for_people()
                drive(self.loop, self.local, SIGNS, Callers(self.loop), calls=100)
                self.promises()
        finally:
            self.open.close()


def test_whatever_happens():
    """Deaths, labels that come late, failed trainings, a yes to something else, an abort anywhere."""
    run_state_machine_as_test(Machine, settings=settings(max_examples=10, **PROFILE))


@pytest.mark.slow
def test_whatever_happens_at_length():
    """The same, thirty times as often."""
    run_state_machine_as_test(Machine, settings=settings(max_examples=300, **PROFILE))
