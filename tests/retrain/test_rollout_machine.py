"""Whatever happens to a rollout: legal shares, one promotion at most, and a way back that holds."""

from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import groupby, pairwise

import pytest
from attrs import evolve, frozen
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from rollout_kit import MAIN, NEW, OLD, rolling

from driftline import Rollout
from driftline.errors import TransitionFailed, Unreachable
from driftline.platform._transition import UNMOVED
from driftline.records import Put
from driftline.retrain import Guard, Outcome, Phase, Stage
from driftline.retrain._rollout import MOST_SENT
from driftline.stores import MemoryStore

PROFILE = {"deadline": None, "derandomize": True, "database": None, "stateful_step_count": 30}
SECOND = timedelta(seconds=1)
LAG = 20 * SECOND
STAGES = (
    Stage(share=0, copies=0.5, dwell=0 * SECOND, frames=30),
    Stage(share=0.5, dwell=30 * SECOND, frames=30),
    Stage(share=1.0, dwell=0 * SECOND, frames=30),
)
GUARD = Guard(errors=0.2, slow=None, boxes=None, confidence=None, block=0 * SECOND)
FOLLOWS = {
    Phase.PREPARING: {Phase.RUNNING, Phase.ROLLING_BACK},
    Phase.RUNNING: {Phase.RUNNING, Phase.AWAITING_APPROVAL, Phase.ROLLING_BACK, Phase.PROMOTED},
    Phase.AWAITING_APPROVAL: {Phase.PROMOTING, Phase.ROLLING_BACK, Phase.PROMOTED},
    Phase.PROMOTING: {Phase.PROMOTED, Phase.AWAITING_APPROVAL, Phase.ROLLING_BACK},
    Phase.PROMOTED: {Phase.ROLLING_BACK},
    Phase.ROLLING_BACK: {Phase.ROLLED_BACK},
    Phase.ROLLED_BACK: set(),
}


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


class Fuse:
    """Burns at the n-th call from now, or at the next replace, before it was done or after."""

    def __init__(self):
        self.left, self.after, self.at_replace = None, False, False

    def light(self, left, *, after):
        self.left, self.after = left, after

    def light_at_replace(self, *, after):
        self.light(0, after=after)
        self.at_replace = True

    def put_out(self):
        self.left, self.at_replace = None, False

    def around(self, act, *, is_replace=False):
        if self.at_replace and not is_replace:
            return act()
        burns = self.left == 0
        if self.left is not None:
            self.left -= 1
        if burns and not self.after:
            raise Killed
        answer = act()
        if burns:
            raise Killed
        return answer


class Mortal(MemoryStore):
    """A store at whose calls the process may die; it tells when a replace is noted as taken."""

    fuse: Fuse
    noted = staticmethod(lambda: None)

    def get(self, space, key):
        return self.fuse.around(lambda: super(Mortal, self).get(space, key))

    def write(self, changes, *, lease=None):
        def act():
            super(Mortal, self).write(changes, lease=lease)
            orders = [one.value["order"] for one in changes if isinstance(one, Put)]
            if any(order is not None and order[3] for order in orders):
                self.noted()

        self.fuse.around(act)


@frozen
class Left:
    """A replace that was on its way to the Platform, whatever became of it.

    `order`: what the store knew of it then; `yes`: how many yeses were on the record.
    """

    ref: str
    model: str
    at: datetime
    yes: int
    order: list | None


@frozen
class Sent:
    """A replace that the Platform took.

    `phase` and `yes`: what the record said then, and how many yeses were on it; `fails`: its
    revision will not come up; `noted`: somebody lived to write down that it was taken.
    """

    ref: str
    model: str
    phase: Phase
    yes: int
    fails: bool
    noted: bool = False


class Wire:
    """The Platform at a distance: calls may die, replies get lost, what is read may be old."""

    def __init__(self, platform, local, fuse, store):
        self.platform, self.local, self.fuse, self.store = platform, local, fuse, store
        self.clock = local.clock
        self.loses, self.fails, self.lags = 0, 0, False
        self.left, self.sent, self.old = [], [], {}

    def deployment(self, ref):
        when, seen = self.old.get(str(ref), (None, None))
        if when is not None and self.clock.now() < when + LAG:
            return self.fuse.around(lambda: seen)
        return self.fuse.around(lambda: self.platform.deployment(ref))

    def replace(self, ref, model, *, wait=True):
        def act():
            self.left.append(self.leaving(str(ref), model))
            before = self.platform.deployment(ref)
            if self.fails and not before.status.transitional:
                self.local.deployment(before.slug).break_next_transition()
            self.platform.replace(ref, model, wait=False)
            self.sent.append(self.taken(str(ref), model))
            if self.lags:
                self.old[str(ref)] = (self.clock.now(), before)

        self.fuse.around(act, is_replace=True)
        if self.loses:
            self.loses -= 1
            raise Unreachable("the reply was lost")

    def phases(self):
        lines = self.store.history("retrain/rollout", MAIN)
        return [Phase(line.record["phase"]) for line in lines]

    def leaving(self, ref, model):
        known = MemoryStore.get(self.store, "retrain/rollout", MAIN)  # the fuse is not asked
        yes = self.phases().count(Phase.PROMOTING)
        return Left(ref, model, self.clock.now(), yes=yes, order=known.value["order"])

    def taken(self, ref, model):
        phases = self.phases()
        fails, self.fails = self.fails > 0, max(0, self.fails - 1)
        return Sent(ref, model, phases[-1], yes=phases.count(Phase.PROMOTING), fails=fails)

    def note(self):
        self.sent[-1] = evolve(self.sent[-1], noted=True)


class Machine(RuleBasedStateMachine):
    """A scheduler, workers, people, and a Platform that is far away."""

    def __init__(self):
        super().__init__()
        self.open = ExitStack()
        self.local, plain = self.open.enter_context(rolling(deploy_seconds=5))
        self.fuse = Fuse()
        self.store = Mortal()
        self.store.fuse = self.fuse
        self.wire = Wire(plain._platform, self.local, self.fuse, self.store)
        self.store.noted = self.wire.note
        self.workers = [self.made(None) for _ in range(2)]
        self.frames, self.approvals = 0, 0
        self.candidates, self.stage = set(), -1

    def made(self, platform):
        return Rollout(
            platform, self.store, MAIN, canary="acme/line-3-next", candidate=NEW, stages=STAGES,
            guard=GUARD, clock=self.local.clock, sync_every=None,
        )  # fmt: skip

    @property
    def rollout(self):
        """Each use is a process of its own: all it knows was read from the store."""
        return self.made(self.wire)

    @property
    def begun(self):
        return self.store.get("retrain/rollout", MAIN) is not None

    @property
    def status(self):
        return self.rollout.status()

    # --- the scheduler ------------------------------------------------------------------------

    @initialize(
        rounds=st.sampled_from([0, 1, 2, 3, 4, 5, 6, 8]),
        loses=st.sampled_from([0, 0, 4]),
        fails=st.sampled_from([0, 0, 4]),
        dies=st.sampled_from([None, None, False, True]),
    )
    def comes_so_far(self, rounds, loses, fails, dies=None):
        """A number of rounds, up to and past the promotion; so many replaces will go wrong.

        The scheduler may die before or after the first of them.
        """
        self.wire.loses, self.wire.fails = loses, fails
        if dies is not None:
            self.fuse.light_at_replace(after=dies)
        for _ in range(rounds):
            self.advance(wait=True)
            if self.status.phase is Phase.AWAITING_APPROVAL:
                self.approve()
            self.traffic(0, 150, broken=False)
            self.local.clock.advance(40 * SECOND)
        self.fuse.put_out()

    @rule(wait=st.booleans())
    def advance(self, wait):
        """What a scheduler calls; a reply may be lost, and a rollback may have to be repeated."""
        try:
            self.rollout.advance(wait=wait)
        except (Unreachable, TransitionFailed, Killed):
            pass

    @rule(left=st.integers(0, 12), after=st.booleans(), wait=st.booleans())
    def killed(self, left, after, wait):
        """It dies at one of its calls; the next one goes on."""
        self.fuse.light(left, after=after)
        self.advance(wait)
        self.fuse.put_out()

    @rule(after=st.booleans(), wait=st.booleans())
    def killed_at_a_replace(self, after, wait):
        """It dies where an order could be forgotten or doubled; the next one comes soon."""
        self.fuse.light_at_replace(after=after)
        self.advance(wait)
        self.fuse.put_out()
        self.advance(wait)

    @rule(seconds=st.sampled_from([1, 10, 40]))
    def time_passes(self, seconds):
        self.local.clock.advance(seconds * SECOND)

    # --- the Platform -------------------------------------------------------------------------

    @rule(loses=st.integers(0, 4))
    def replies_will_be_lost(self, loses):
        """So many replaces are taken, and their replies never come."""
        self.wire.loses = loses

    @rule(lags=st.booleans())
    def platform_lags(self, lags):
        """What is read in the first seconds after a replace is what was before."""
        self.wire.lags = lags

    @rule(fails=st.integers(0, 4))
    def replaces_will_fail(self, fails):
        """So many revisions do not come up, and the old one goes on serving."""
        self.wire.fails = fails

    # --- workers ------------------------------------------------------------------------------

    @rule(
        who=st.integers(0, 1),
        frames=st.sampled_from([20, 150]),
        broken=st.booleans(),
        fresh=st.booleans(),
    )
    def traffic(self, who, frames, broken, fresh=True):
        """A worker serves frames, by the plan as it is or was, and hands in what it saw."""
        worker = self.workers[who]
        if fresh:
            worker.sync()
        for _ in range(frames):
            self.frames += 1
            key = f"{self.frames}"
            route, fine = worker.route(key), Outcome(latency_ms=9.0)
            mine = Outcome(ok=False) if broken and self.frames % 2 else fine
            if route.copy_to is None:
                worker.observe(route, mine if route.arm == "candidate" else fine, key=key)
            else:
                worker.compare(route, fine, mine, key=key)
        worker.sync()

    @rule(who=st.integers(0, 1))
    def worker_is_restarted(self, who):
        """What it did not hand in is lost, and nothing else."""
        self.workers[who] = self.made(None)
        self.workers[who].sync()

    # --- people -------------------------------------------------------------------------------

    @precondition(lambda self: self.begun and self.status.phase is Phase.AWAITING_APPROVAL)
    @rule()
    def approve(self):
        """Somebody says yes to the replace."""
        self.rollout.approve("Ana")
        self.approvals += 1

    @precondition(lambda self: self.begun)
    @rule(wait=st.booleans(), meant=st.sampled_from([False, False, True]))
    def roll_back(self, wait, meant):
        """Somebody calls it off, at whatever moment, or thinks better of it."""
        if not meant:
            return
        try:
            self.rollout.roll_back("no", wait=wait)
        except (Unreachable, TransitionFailed):
            pass

    # --- the promises -------------------------------------------------------------------------

    @invariant()
    def traffic_goes_where_the_stage_says(self):
        """Each worker deals by a stage of the plan, and the same key never goes back and forth."""
        if not self.begun:
            return
        state = self.status
        reader = self.made(None)
        reader.sync()
        keys = [f"key-{n}" for n in range(40)]
        served = {key for key in keys if reader.route(key).arm == "candidate"}
        if not state.phase.dealing:
            assert not served
            assert {MAIN} == {str(reader.route(key)) for key in keys}
        elif self.stage <= state.stage:
            assert self.candidates <= served, "a key of the candidate stays with it"
            assert {0: 0, 1: 40 > len(served) > 0, 2: len(served) == 40}[state.stage] in (0, True)
            self.candidates, self.stage = served, state.stage
        assert state.share in {0.0, *(stage.share for stage in STAGES)}
        for worker in self.workers:
            assert worker._table.share in {0.0, *(stage.share for stage in STAGES)}

    @invariant()
    def one_step_follows_another(self):
        """The record is a way through the phases, and stages are passed in order."""
        lines = [one.record for one in self.store.history("retrain/rollout", MAIN)]
        phases = [Phase(line["phase"]) for line in lines]
        for one, other in pairwise(phases):
            assert other in FOLLOWS[one], phases
        stages = [line["stage"] for line in lines]
        assert sorted(stages) == stages

    @invariant()
    def written_down_before_it_is_sent(self):
        """What leaves is on record as an order that nobody knows to be taken, and leaves once.

        Where nobody lived to tell what came of it, it is sent again only when its deployment has
        shown no sign of it for as long as it takes to show one.
        """
        for one in self.wire.left:
            assert one.order is not None, one
            ref, model, at, taken, _ = one.order
            assert (one.ref, one.model, False) == (ref, model, taken), one
            assert one.at == datetime.fromisoformat(at), one
        forth = [one for one in self.wire.left if one.model == NEW]
        for one, other in pairwise(forth):
            assert one.yes < other.yes or other.at >= one.at + UNMOVED, forth

    @invariant()
    def nothing_without_a_yes(self):
        """The main deployment is replaced once, after a yes, and brought back once.

        A replace is asked for again only when its revision failed. Where it is on record that it
        was taken, that needs another yes; where nobody knows, the first yes still stands.
        """
        forth = [one for one in self.wire.sent if one.model == NEW]
        back = [one for one in self.wire.sent if one.model == OLD]
        assert {MAIN} >= {one.ref for one in self.wire.sent}  # the canary served it already
        assert {Phase.PROMOTING} >= {one.phase for one in forth}
        assert {Phase.ROLLING_BACK} >= {one.phase for one in back}
        assert bool(back) <= bool(forth)
        assert all(one.fails for one in [*forth[:-1], *back[:-1]]), self.wire.sent
        assert max([0, *(one.yes for one in forth)]) <= self.approvals
        for _, of_one_yes in groupby(forth, key=lambda one: one.yes):
            *again, _ = sent = list(of_one_yes)
            assert not any(one.noted for one in again), self.wire.sent
            assert len(sent) <= MOST_SENT

    @invariant()
    def the_end_holds(self):
        """What is promoted serves the candidate, what went back serves what served before."""
        if not self.begun:
            return
        phase, main = self.status.phase, self.local.deployment("line-3")
        if phase is Phase.PROMOTED:
            assert (NEW, "ready") == (main.model, main.status)
        if phase is Phase.ROLLED_BACK:
            assert OLD == main.model, f"it went back, and then {self.wire.sent}"

    def teardown(self):
        """When nothing more goes wrong it ends, whatever was on its way."""
        self.wire.loses = self.wire.fails = self.wire.lags = 0
        try:
            if self.begun:
                self.to_the_end()
        finally:
            self.open.close()

    def to_the_end(self):
        for _ in range(12):
            self.local.clock.advance(60 * SECOND)
            self.advance(wait=True)
            if self.status.phase.over:
                break
            if self.status.phase is Phase.AWAITING_APPROVAL:
                self.approve()
            self.traffic(0, 150, broken=False)
        assert self.status.phase.over, str(self.status)
        self.local.clock.advance(60 * SECOND)
        self.the_end_holds()
        self.nothing_without_a_yes()


def test_whatever_happens():
    """Deaths, lost and late replies, failed revisions, restarted workers, people at any moment."""
    run_state_machine_as_test(Machine, settings=settings(max_examples=24, **PROFILE))


def test_sent_thrice_on_one_yes():
    """A replace that nobody answers and whose revision fails is sent three times, then asked for."""
    machine = Machine()
    with machine.open:
        machine.comes_so_far(rounds=12, loses=9, fails=9)
        of_one_yes = [one for one in machine.wire.sent if one.yes == 1]

        assert MOST_SENT == len(of_one_yes)
        assert machine.approvals > 1


@pytest.mark.slow
def test_whatever_happens_at_length():
    """The same, twenty times as often."""
    run_state_machine_as_test(Machine, settings=settings(max_examples=500, **PROFILE))
