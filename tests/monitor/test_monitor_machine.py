"""Whatever comes between the runs, each sink hears of each problem once, and of its end."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from monitor_support import MINUTE, START

from driftline import Monitor, rules
from driftline.errors import DeliveryFailed, DeliveryRefused, InputError, StoreBusy
from driftline.records import AlertStatus, Put, Sample
from driftline.rules import Phase
from driftline.stores import MemoryStore
from driftline.testing import FrozenClock, RecordingSink

PROFILE = {"deadline": None, "derandomize": True, "database": None, "stateful_step_count": 40}
DAY = 24 * 60
DELAY, ENOUGH, WELL = 5, 2, 2
RULE = rules.Threshold(
    series="x", above=1, samples=ENOUGH, recover_samples=WELL, delay=DELAY * MINUTE, name="x",
    flap_detection=False, runbook="Look",
)  # fmt: skip
CAMERAS = ("cam-1", "cam-2")
cameras = st.sampled_from(CAMERAS)
words = st.sampled_from(["g", "b", "gg", "bb", "bgb", "bbgg"])


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


class Mortal(MemoryStore):
    """A store at whose n-th write the run dies, before it or after; it says what was judged."""

    def __init__(self):
        super().__init__()
        self.dies_in, self.after, self.judged = None, False, lambda: None

    def write(self, changes, *, lease=None):
        dies = self.dies_in == 0
        if self.dies_in is not None:
            self.dies_in -= 1
        if dies and not self.after:
            raise Killed
        super().write(changes, lease=lease)
        if any(isinstance(one, Put) and one.space.endswith("/samples") for one in changes):
            self.judged()
        if dies:
            raise Killed


class Camera:
    """What the rule makes of one camera, counted by hand: the words of its story."""

    def __init__(self):
        self.pool, self.judged, self.bad, self.good = {}, -1, 0, 0
        self.began, self.firing, self.story = 0, False, []

    def judge(self, until):
        """What is not older than what was judged, up to a minute."""
        for minute in sorted(self.pool):
            if self.judged < minute < until:
                self.take(minute, breach=self.pool[minute] > 1)
                self.judged = minute

    def take(self, minute, *, breach):
        if breach and not self.firing and not self.bad:
            self.began = minute
        self.bad, self.good = (self.bad + 1, 0) if breach else (0, self.good + 1)
        if not self.firing and self.bad == ENOUGH:
            self.firing = True
            self.story.append(("firing", self.began))
        elif self.firing and self.good == WELL:
            self.firing = False
            self.story.append(("resolved", self.began))


class Machine(RuleBasedStateMachine):
    """A service that counts, a cron that runs, a clock that leaps, sinks that fail."""

    def __init__(self):
        super().__init__()
        self.clock, self.store = FrozenClock(START), Mortal()
        self.minute, self.leap, self.deaths = 0, 0, 0
        self.sinks = [RecordingSink(name="a"), RecordingSink(name="b")]
        self.cameras = {name: Camera() for name in CAMERAS}
        self.owed, self.passed = [], []
        self.dropped = {sink.name: set() for sink in self.sinks}
        self.retold = 0

    @property
    def monitor(self):
        """Each use is a process of its own: all it knows was read from the store."""
        return Monitor(
            None, rules=[RULE], sinks=self.sinks, store=self.store, clock=self.clock, seed=1,
            forward=False,
        )  # fmt: skip

    # --- the world ----------------------------------------------------------------------------

    @initialize(
        camera=cameras,
        before=st.sampled_from(["", "g", "bb", "bbb", "bbgg", "bbggbb"]),
        down=st.none() | st.integers(0, 1),
    )
    def has_a_past(self, camera, before, down):
        """By chance alone a problem is rare, and one that a sink does not take is rarer still."""
        if down is not None:
            self.sinks[down].fail(DeliveryFailed("503"))
        for letter in before + "g" * DELAY:
            self.punctual_run(camera, letter)

    @rule(camera=cameras, word=words)
    def minutes_pass(self, camera, word):
        """Minutes pass; one camera counts, each minute good or bad."""
        for letter in word:
            self.owed.append((camera, self.minute, 2.0 if letter == "b" else 0.0))
            self.minute += 1
        self.set_clock()

    @rule(minutes=st.sampled_from([-DAY, -60, 0, 0, 0, 60, DAY]))
    def clock_leaps(self, minutes):
        """The clock is wrong by so much from now on; 0 sets it right."""
        self.leap = minutes
        self.set_clock()

    def set_clock(self):
        self.clock.set(START + (self.minute + self.leap) * MINUTE)

    @rule(sink=st.integers(0, 1), times=st.sampled_from([1, 2, 3, None]))
    def sink_is_down(self, sink, times):
        """A sink does not take what it is told, for a while."""
        self.sinks[sink].fail(DeliveryFailed("503"), times=times)

    @rule(sink=st.integers(0, 1))
    def sink_refuses(self, sink):
        """A sink refuses one alert for good: a dead letter."""
        self.sinks[sink].fail(DeliveryRefused("400"), times=1)

    @rule(sink=st.integers(0, 1))
    def sink_is_up(self, sink):
        """It takes everything again."""
        self.sinks[sink].recover()

    # --- the runs -----------------------------------------------------------------------------

    @rule(data=st.data(), camera=cameras, word=words)
    def run(self, data, camera, word):
        """A run with some of what is owed, in any order, and some that was passed before."""
        self.minutes_pass(camera, word)
        given = data.draw(st.lists(st.sampled_from(self.owed), unique=True))
        if self.passed:
            given += data.draw(st.lists(st.sampled_from(self.passed[-9:]), max_size=3))
        self.run_with(given)

    @rule(camera=cameras, word=words)
    def punctual_run(self, camera, word):
        """A run with everything that is owed."""
        self.minutes_pass(camera, word)
        self.run_with(list(self.owed))

    @rule(camera=cameras, word=words, dies_in=st.integers(0, 4), after=st.booleans())
    def run_is_killed(self, camera, word, dies_in, after):
        """A run dies at a write; whoever called it passes its samples again."""
        self.minutes_pass(camera, word)
        self.store.dies_in, self.store.after = dies_in, after
        try:
            self.run_with(list(self.owed))
        except Killed:
            self.deaths += 1
        finally:
            self.store.dies_in = None

    def run_with(self, given):
        until = self.minute + self.leap - DELAY

        def judged():
            for camera, minute, value in given:
                self.cameras[camera].pool[minute] = value
            for camera in self.cameras.values():
                camera.judge(until)

        self.store.judged = judged
        run = self.monitor.run_once(
            Sample(
                metric="x",
                value=value,
                at=START + minute * MINUTE,
                width=MINUTE,
                labels={"camera": camera},
            )
            for camera, minute, value in given
        )
        if not run.busy:
            judged()
            self.owed = [one for one in self.owed if one not in given]
            self.passed += given

    @rule(pick=st.integers(0, 9))
    def dead_letter(self, pick):
        """Somebody has a dead letter sent again; one that came too late for that is dropped.

        What is drawn does not hang on the letters: of two sinks that fail together, chance says
        which one waits longer.
        """
        letters = self.monitor.dead_letters()
        if not letters:
            return
        letter = letters[pick % len(letters)]
        try:
            self.monitor.revive(letter.id)
        except StoreBusy:  # a run died, and its lease has not run out
            return
        except InputError as exc:
            assert "firing since" in str(exc)
            self.monitor.drop(letter.id)
            self.dropped[letter.sink].add(word(letter.alert))
        else:
            self.retold += letter.alert.status is AlertStatus.FIRING  # its end may come again

    # --- the promises -------------------------------------------------------------------------

    @invariant()
    def fires_as_counted(self):
        """What fires by the book fires by hand count, whatever the runs were like."""
        firing = {
            one.labels["camera"] for one in self.monitor.status() if one.phase is Phase.FIRING
        }
        assert {name for name in CAMERAS if self.cameras[name].firing} == firing

    @invariant()
    def nothing_else_is_told(self):
        """A sink takes only what happened, and nothing twice unless a run died over it."""
        story = {(name, *one) for name in CAMERAS for one in self.cameras[name].story}
        for sink in self.sinks:
            taken = Counter(map(word, sink.alerts))
            assert set(taken) <= story
            assert taken.total() - len(taken) <= self.deaths + self.retold

    @rule()
    def quiet_day(self):
        """Sinks are up, the clock is right, a day passes: each sink knows how everything ended."""
        for sink in self.sinks:
            sink.recover()
        self.leap, self.minute = 0, self.minute + 2 * DAY
        self.set_clock()
        for _ in range(2):
            self.run_with(list(self.owed))
        assert {} == self.store.queues()
        for sink in self.sinks:
            letters = [one for one in self.monitor.dead_letters() if one.sink == sink.name]
            untold = {word(one.alert) for one in letters} | self.dropped[sink.name]
            taken = [word(alert) for alert in sink.alerts]
            for name, camera in self.cameras.items():
                own = [one[1:] for one in taken if one[0] == name]
                missing = {one for one in camera.story if (name, *one) not in untold} - set(own)
                assert not missing, f"{sink.name} never heard of {missing} of {name}"
                if camera.story and (name, *camera.story[-1]) not in untold:
                    assert camera.story[-1][0] == own[-1][0], f"last word to {sink.name} of {name}"

    def teardown(self):
        self.quiet_day()


def word(alert):
    """Camera, status, and the minute in which it began."""
    return alert.labels["camera"], alert.status.value, int((alert.since - START) / MINUTE)


def test_each_problem_is_told_once():
    """Late, doubled and mixed samples, leaps of the clock, deaths, sinks that fail or refuse."""
    run_state_machine_as_test(Machine, settings=settings(max_examples=40, **PROFILE))


@pytest.mark.slow
def test_each_problem_is_told_once_at_length():
    """The same, twenty times as often."""
    run_state_machine_as_test(Machine, settings=settings(max_examples=800, **PROFILE))
