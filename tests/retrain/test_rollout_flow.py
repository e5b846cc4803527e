"""A rollout from its beginning to both of its ends, on a LocalPlatform."""

from datetime import timedelta

import pytest
from attrs import evolve
from rollout_kit import CANARY, GUARD, HOUR, MAIN, NEW, OLD, STAGES, World, replaces, rolling

from driftline import Rollout, errors
from driftline.retrain import Guard, Phase, Stage
from driftline.retrain._stages import State, checked_stages
from driftline.stores import MemoryStore
from terminal import at_a_terminal


def go(local, rollout, world, *, until, hours=60, frames=4000):
    """Traffic, an hour, a call of the scheduler; until a phase."""
    for _ in range(hours):
        world.serve(rollout, frames)
        local.clock.advance(HOUR)
        status = rollout.advance()
        if status.phase is until:
            return status
    raise AssertionError(str(status))


def test_good_candidate():
    """A candidate that is as good goes through all stages, waits for a yes, and replaces."""
    with rolling() as (local, rollout):
        assert "5 % of the keys" in rollout.advance().reason
        status = go(local, rollout, World(), until=Phase.AWAITING_APPROVAL)

        assert [0, 0, 1, 2, 3, 3] == [step.stage for step in status.steps]
        assert CANARY == rollout.route("anything").deployment
        assert [] == replaces(local)
        assert "approve" in rollout.advance().note
        assert status.steps == rollout.status().steps

        rollout.approve("ann")
        status = rollout.advance()

        assert Phase.PROMOTED is status.phase
        assert [("line-3", 202)] == replaces(local)
        assert NEW == local.deployment("line-3").model
        assert MAIN == rollout.route("anything").deployment
        assert "ann" in str(status.steps[-2])


def test_auto_promote():
    """What the user has said in code needs no further yes."""
    with rolling(auto_promote=True) as (local, rollout):
        rollout.advance()
        status = go(local, rollout, World(), until=Phase.PROMOTED)

        assert "auto_promote" == status.approved
        assert [("line-3", 202)] == replaces(local)


def test_approve_function_is_asked():
    """A function decides, and is shown what it decides on."""
    seen = []

    def approve(proposal):
        seen.append(proposal)
        return len(seen) > 1

    with rolling(approve=approve) as (local, rollout):
        rollout.advance()
        go(local, rollout, World(), until=Phase.AWAITING_APPROVAL)
        status = rollout.advance()

        assert Phase.PROMOTED is status.phase
        assert ("promote", MAIN, NEW, OLD) == (
            seen[-1].action,
            seen[-1].deployment,
            seen[-1].model,
            seen[-1].instead_of,
        )
        assert "errors" in str(seen[-1])


@pytest.mark.parametrize(
    ("what", "values"),
    [
        ("error_rate", {"candidate": 0.2}),
        ("slow_rate", {"candidate": 0.4}),
        ("boxes", {"candidate": 6.0}),
        ("confidence", {"candidate": 0.4}),
    ],
)
def test_bad_candidate(what, values):
    """A candidate that is worse in any way is rolled back, without touching the main deployment."""
    world = World()
    getattr(world, what).update(values)
    with rolling() as (local, rollout):
        rollout.advance()
        status = go(local, rollout, world, until=Phase.ROLLED_BACK)

        assert 0 == status.stage
        assert "credibly worse" in status.reason
        assert [] == replaces(local)
        assert MAIN == rollout.route("anything").deployment
        assert OLD == local.deployment("line-3").model


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_degrades_in_mid_rollout(stage):
    """A candidate that goes bad in a later stage is rolled back from there."""
    world = World()
    with rolling() as (local, rollout):
        rollout.advance()
        while rollout.status().stage < stage:
            world.serve(rollout, 4000)
            local.clock.advance(HOUR)
            rollout.advance()
        world.error_rate["candidate"] = 0.15
        status = go(local, rollout, world, until=Phase.ROLLED_BACK, hours=3)

        assert stage == status.stage
        assert "errors" in status.reason


def test_degrades_while_waiting_for_approval():
    """A candidate that goes bad while somebody thinks about it is rolled back."""
    world = World()
    with rolling() as (local, rollout):
        rollout.advance()
        go(local, rollout, world, until=Phase.AWAITING_APPROVAL)
        world.error_rate["candidate"] = 0.3
        go(local, rollout, world, until=Phase.ROLLED_BACK, hours=3)

        assert [] == replaces(local)


def test_roll_back_after_promotion():
    """Rolling back after the replace is a replace with the model that was recorded before."""
    with rolling(auto_promote=True) as (local, rollout):
        rollout.advance()
        go(local, rollout, World(), until=Phase.PROMOTED)
        status = rollout.roll_back("customers complain")

        assert Phase.ROLLED_BACK is status.phase
        assert OLD == local.deployment("line-3").model
        assert 2 == len(replaces(local))
        assert "customers complain" in str(status)
        assert Phase.ROLLED_BACK is rollout.roll_back("again").phase
        assert 2 == len(replaces(local))


def test_roll_back_by_hand():
    """People may end it at any time; traffic goes back at once."""
    with rolling() as (local, rollout):
        rollout.advance()
        World().serve(rollout, 500)
        status = rollout.roll_back("the festival begins")

        assert Phase.ROLLED_BACK is status.phase
        assert 0 == status.share
        assert [] == replaces(local)


def test_shadow_first():
    """In shadow nobody is served by the candidate; pairs decide, and the next stage serves."""
    stages = (Stage(share=0, copies=0.3, dwell=HOUR), Stage(share=0.5, dwell=HOUR))
    with rolling(stages=stages) as (local, rollout):
        rollout.advance()
        world = World()
        assert {MAIN} == {rollout.route(f"k{i}").deployment for i in range(100)}

        while (status := rollout.status()).stage == 0:
            world.serve(rollout, 2000)
            local.clock.advance(HOUR)
            rollout.advance()

        assert "50 % of the keys" in status.reason
        assert {MAIN, CANARY} == {rollout.route(f"k{i}").deployment for i in range(100)}


def test_shadow_finds_a_bad_candidate():
    """Copies that find other boxes end the rollout before anybody was served."""
    world = World()
    world.boxes["candidate"] = 6.0
    stages = (Stage(share=0, copies=0.3, dwell=HOUR), Stage(share=0.5, dwell=HOUR))
    with rolling(stages=stages) as (local, rollout):
        rollout.advance()
        status = go(local, rollout, world, until=Phase.ROLLED_BACK)

        assert "boxes credibly worse: +" in status.reason


def test_dwell():
    """However clear it is, a stage lasts as long and sees as many frames as it is told to."""
    with rolling() as (local, rollout):
        rollout.advance()
        World().serve(rollout, 60_000)
        status = rollout.advance()

        assert 0 == status.stage
        assert "1:00:00 to go" in status.judgement.reasons[0]

        local.clock.advance(HOUR)

        assert 1 == rollout.advance().stage


def test_hold_says_what_is_missing():
    """A hold names what is uncertain and how many frames it will take."""
    with rolling() as (local, rollout):
        rollout.advance()
        World().serve(rollout, 5000)
        local.clock.advance(HOUR)
        status = rollout.advance()

        assert status.judgement.frames_needed > 0
        assert "more candidate frames" in str(status)


def test_replace_fails():
    """A replace that fails leaves the old model, the traffic where it was, and asks a person."""
    with rolling(auto_promote=True) as (local, rollout):
        rollout.advance()
        local.deployment("line-3").break_next_transition("Weights do not load")
        status = go(local, rollout, World(), until=Phase.AWAITING_APPROVAL)

        assert OLD == local.deployment("line-3").model
        assert CANARY == rollout.route("anything").deployment
        assert 1 == len(replaces(local))
        assert "failed" in status.reason
        assert Phase.AWAITING_APPROVAL is rollout.advance().phase  # auto_promote does not loop
        assert 1 == len(replaces(local))

        rollout.approve("ann")

        assert Phase.PROMOTED is rollout.advance().phase


def test_replace_without_waiting():
    """A scheduler that does not wait gets an answer at once, and the end at a later call."""
    with rolling(auto_promote=True) as (local, rollout):
        rollout.advance()
        world = World()
        while (status := rollout.advance(wait=False)).phase is not Phase.PROMOTING:
            world.serve(rollout, 4000)
            local.clock.advance(HOUR)

        assert CANARY == rollout.route("anything").deployment
        assert f"{MAIN} is to serve {NEW}" == status.note

        local.clock.advance(timedelta(minutes=2))

        assert Phase.PROMOTED is rollout.advance(wait=False).phase
        assert 1 == len(replaces(local))


def test_told_at_a_terminal(monkeypatch):
    """Who waits for a replace at a terminal sees what it waits for; a call that waits for none tells nothing."""
    with rolling(auto_promote=True) as (local, rollout):
        rollout.advance()
        world = World()
        while rollout.advance(wait=False).phase is not Phase.PROMOTING:
            world.serve(rollout, 4000)
            local.clock.advance(HOUR)
        screen = at_a_terminal(monkeypatch)
        rollout.advance(wait=False)

        assert "" == screen.getvalue()

        assert Phase.PROMOTED is rollout.advance().phase
        assert f"\rrollout of {MAIN}: waiting for {MAIN}: deploying" in screen.getvalue()
        assert screen.getvalue().endswith("\n")


def test_main_is_replaced_by_somebody_else():
    """When the main deployment serves a third model the comparison is over."""
    with rolling() as (local, rollout):
        rollout.advance()
        local.add_model("vision/model-v3")
        rollout._platform.replace(MAIN, "vision/model-v3")
        status = rollout.advance()

        assert Phase.ROLLED_BACK is status.phase
        assert "left alone" in status.reason
        assert "vision/model-v3" == local.deployment("line-3").model


def test_canary_stops():
    """When the canary stops serving, its traffic goes back."""
    with rolling() as (_, rollout):
        rollout.advance()
        rollout._platform.stop(CANARY)
        status = rollout.advance()

        assert Phase.ROLLED_BACK is status.phase
        assert "stopped" in status.reason


def test_canary_is_not_ready():
    """A canary with another model holds the rollout, and the note says what to do."""
    with rolling(approve=lambda p: p.action == "prepare") as (local, rollout):
        local.add_deployment("line-3-other", model="vision/model-v0")
        other = Rollout(
            rollout._platform,
            MemoryStore(),
            MAIN,
            canary="acme/line-3-other",
            candidate=NEW,
            clock=local.clock,
        )
        status = other.advance()

        assert Phase.PREPARING is status.phase
        assert "vision/model-v0" in status.note
        assert [] == replaces(local)

        other._approve = rollout._approve
        status = other.advance()

        assert Phase.RUNNING is status.phase
        assert [("line-3-other", 202)] == replaces(local)


def test_platform_is_away():
    """When the Platform cannot be asked nothing changes."""
    with rolling() as (local, rollout):
        rollout.advance()
        before = rollout.status()
        local.fault(503, times=None)
        with pytest.raises(errors.PlatformBroken):
            rollout.advance()
        local.clear_faults()

        assert before.steps == rollout.advance().steps


def test_begun_twice_is_begun_once():
    """The same rollout again goes on; when it is over it stays over until it is forgotten."""
    store = MemoryStore()
    with rolling(store) as (local, rollout):
        rollout.advance()
        rollout.roll_back("no")
        again = Rollout(
            rollout._platform, store, MAIN, canary=CANARY, candidate=NEW, clock=local.clock
        )

        assert Phase.ROLLED_BACK is again.advance().phase

        again.forget()

        assert Phase.RUNNING is again.advance().phase


def test_another_rollout_is_under_way():
    """One deployment has one rollout at a time, and its plan does not change under way."""
    store = MemoryStore()
    with rolling(store) as (local, rollout):
        rollout.advance()

        def rival(**options):
            given = {"canary": CANARY, "candidate": NEW, "stages": STAGES, "guard": GUARD}
            return Rollout(
                rollout._platform, store, MAIN, clock=local.clock, **{**given, **options}
            )

        with pytest.raises(errors.ConfigError, match="of vision/model-v2 is under way"):
            rival(candidate="vision/model-v9").advance()
        with pytest.raises(errors.ConfigError, match="another plan"):
            rival(stages=(0.5,)).advance()
        with pytest.raises(errors.ConfigError, match=r"roll_back\(\) ends it"):
            rollout.forget()


def test_nothing_to_go_back_to():
    """A rollout does not begin where it could not be undone, or has nothing to do."""
    with rolling() as (local, rollout):
        local.deployment("line-3").break_next_transition("x")
        with pytest.raises(errors.ConfigError, match="serves vision/model-v1 already"):
            Rollout(rollout._platform, MemoryStore(), MAIN, canary=CANARY, candidate=OLD).advance()
        rollout._platform.stop(MAIN)
        with pytest.raises(errors.ConfigError, match="is stopped"):
            rollout.advance()


def test_status_before_the_beginning():
    """There is no status of what has not begun."""
    with rolling() as (_, rollout):
        with pytest.raises(errors.ConfigError, match="no rollout has begun"):
            rollout.status()
        with pytest.raises(errors.ConfigError, match="no rollout has begun"):
            rollout.roll_back("why not")


def test_nothing_awaits_approval():
    """A yes in advance is no yes to what was seen."""
    with rolling() as (_, rollout):
        rollout.advance()
        with pytest.raises(errors.ConfigError, match="nothing awaits approval"):
            rollout.approve("ann")
        with pytest.raises(errors.InputError, match="must name who"):
            rollout.approve(" ")


def test_history_is_kept():
    """Every change is a line of the store's history, with its reason."""
    store = MemoryStore()
    with rolling(store) as (_, rollout):
        rollout.advance()
        status = rollout.roll_back("enough")
        lines = store.history("retrain/rollout", MAIN)

        assert [step.reason for step in status.steps] == [line.record["reason"] for line in lines]


def test_samples():
    """The share and the differences go to metric sinks."""
    with rolling() as (local, rollout):
        rollout.advance()
        World().serve(rollout, 3000)
        local.clock.advance(HOUR)
        samples = rollout.advance().to_samples()

        assert {"rollout.share", "rollout.difference"} == {s.metric for s in samples}
        assert 0.05 == samples[0].value


def test_state_survives_json():
    """What is written is what is read, order and reference included."""
    with rolling(auto_promote=True) as (local, rollout):
        rollout.advance()
        world = World()
        while rollout.advance(wait=False).phase is not Phase.PROMOTING:
            world.serve(rollout, 4000)
            local.clock.advance(HOUR)
        state = rollout._known()

        assert state.order is not None
        assert state.ledger.reference is not None
        assert state == State.from_json(state.to_json())


def test_another_format_is_refused():
    """A document of a later version is not guessed at."""
    with rolling() as (_, rollout):
        rollout.advance()
        value = {**rollout._known().to_json(), "format": 99}
        with pytest.raises(errors.StoreError, match="format 99"):
            State.from_json(value)


@pytest.mark.parametrize(
    ("stages", "word"),
    [
        ((), "empty"),
        ((0.5, 0.25), "must grow"),
        ((0.05, 0.05), "must grow"),
        ((1.0,), "nothing is left to compare"),
        ((Stage(share=0, copies=0.1), 1.0), "a stage below 1"),
        ((5, 25), "must be a share"),
        ((0.0, 0.5), "either serves"),
        (("5%",), "got '5%'"),
        ((float("nan"),), "got nan"),
        ((True,), "got True"),
    ],
)
def test_bad_stages(stages, word):
    """A plan that cannot work is refused by name."""
    with pytest.raises(errors.InputError, match=word):
        checked_stages(stages)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"errors": 0.0}, "errors=0.0"),
        ({"errors": 1.0}, "tolerates all"),
        ({"boxes": 20.0}, "tolerates all"),
        ({"alpha": 1.0}, "alpha=1.0"),
        ({"latency_ms": 0.0}, "latency_ms=0.0"),
        ({"most_boxes": 0}, "boxes=0"),
        ({"block": timedelta(-1)}, "block="),
        ({"epoch": timedelta(0)}, "epoch="),
        (dict.fromkeys(("errors", "slow", "boxes", "confidence")), "at least one"),
    ],
)
def test_bad_guard(values, word):
    """A guard that cannot guard is refused by name."""
    with pytest.raises(errors.InputError, match=word):
        Guard(**values)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"canary": MAIN}, "needs a second one"),
        ({"canary": "line-3-next"}, "must be 'owner/deployment'"),
        ({"candidate": "v2"}, "'v2' is no model"),
        ({"approve": True}, "must be a function"),
        ({"sync_every": timedelta(0)}, "sync_every="),
        ({"store": "sqlite:///x.db"}, "must be a Store"),
        ({"deployment": "Line 3"}, "no deployment"),
    ],
)
def test_bad_arguments(values, word):
    """An argument that cannot be used is refused by name, before anything happens."""
    given = {"store": MemoryStore(), "deployment": MAIN, "canary": CANARY, "candidate": NEW}
    with pytest.raises(errors.InputError, match=word):
        Rollout(None, **{**given, **values})


def test_guard_survives_json():
    """A guard is stored whole."""
    guard = evolve(GUARD, errors=None, epoch=timedelta(minutes=7))

    assert guard == Guard.from_json(guard.to_json())


def test_worker_without_platform():
    """A rollout without a platform says so when it is asked to act."""
    rollout = Rollout(None, MemoryStore(), MAIN, canary=CANARY, candidate=NEW)

    assert MAIN == rollout.route("cam-1").deployment
    with pytest.raises(errors.ConfigError, match="without a platform"):
        rollout.advance()


def at_promotion(local, rollout, world):
    """A rollout whose replace is under way."""
    rollout.advance()
    while rollout.advance(wait=False).phase is not Phase.PROMOTING:
        world.serve(rollout, 4000)
        local.clock.advance(HOUR)


def test_degrades_while_promoting():
    """A candidate that goes bad during the replace is brought back once that has ended."""
    with rolling(auto_promote=True) as (local, rollout):
        world = World()
        at_promotion(local, rollout, world)
        world.error_rate["candidate"] = 0.4
        world.serve(rollout, 1000)
        status = rollout.advance()

        assert Phase.ROLLED_BACK is status.phase
        assert "credibly worse" in status.reason
        assert [("line-3", 202)] * 2 == replaces(local)
        assert OLD == local.deployment("line-3").model


def test_replace_is_refused():
    """A replace that the Platform refuses is raised, and may be tried again by the next call."""
    with rolling(auto_promote=True) as (local, rollout):
        rollout.advance()
        world = World()
        local.fault(403, on="update")
        with pytest.raises(errors.Forbidden):
            go(local, rollout, world, until=Phase.PROMOTED)

        assert CANARY == rollout.route("anything").deployment
        assert Phase.PROMOTING is rollout.status().phase
        assert Phase.PROMOTED is rollout.advance().phase
        assert [("line-3", 403), ("line-3", 202)] == replaces(local)


def test_replaced_by_hand():
    """Somebody who replaces the main deployment in the web page has promoted it."""
    with rolling() as (local, rollout):
        rollout.advance()
        go(local, rollout, World(), until=Phase.AWAITING_APPROVAL)
        rollout._platform.replace(MAIN, NEW)
        status = rollout.advance()

        assert Phase.PROMOTED is status.phase
        assert "by hand" in status.reason


def test_somebody_else_replaces_while_promoting():
    """A third model on the main deployment ends the rollout and is left alone."""
    with rolling(auto_promote=True) as (local, rollout):
        at_promotion(local, rollout, World())
        local.clock.advance(HOUR)
        local.add_model("vision/model-v3")
        rollout._platform.replace(MAIN, "vision/model-v3")
        status = rollout.advance()

        assert Phase.ROLLED_BACK is status.phase
        assert "vision/model-v3" == local.deployment("line-3").model


def test_main_is_stopped_while_promoting():
    """A main deployment that cannot be replaced is named, with what to do."""
    with rolling(auto_promote=True) as (local, rollout):
        rollout.advance()
        world = World()
        local.fault(403, on="update")
        with pytest.raises(errors.Forbidden):
            go(local, rollout, world, until=Phase.PROMOTED)
        rollout._platform.stop(MAIN)
        status = rollout.advance()

        assert Phase.PROMOTING is status.phase
        assert "platform.start('acme/line-3')" in status.note


def test_rollback_fails():
    """A rollback that the Platform cannot do is loud, and the next call tries again."""
    with rolling(auto_promote=True) as (local, rollout):
        rollout.advance()
        go(local, rollout, World(), until=Phase.PROMOTED)
        local.deployment("line-3").break_next_transition("no capacity")
        with pytest.raises(errors.TransitionFailed, match="call advance"):
            rollout.roll_back("no")

        assert Phase.ROLLED_BACK is rollout.advance().phase
        assert OLD == local.deployment("line-3").model


def test_another_candidate_follows():
    """When a rollout is over the next candidate begins its own, in the same store."""
    store = MemoryStore()
    with rolling(store) as (local, rollout):
        rollout.advance()
        rollout.roll_back("no")
        local.add_deployment("line-3-third", model="vision/model-v3")
        third = Rollout(
            rollout._platform,
            store,
            MAIN,
            canary="acme/line-3-third",
            candidate="vision/model-v3",
            clock=local.clock,
        )
        status = third.advance()

        assert Phase.RUNNING is status.phase
        assert ("vision/model-v3", OLD) == (status.candidate, status.previous)


def test_canary_that_stopped_before_the_beginning():
    """A canary that does not run is not started by itself: it costs."""
    with rolling() as (_, rollout):
        rollout._platform.stop(CANARY)
        status = rollout.advance()

        assert Phase.PREPARING is status.phase
        assert "platform.start('acme/line-3-next')" in status.note


def test_preparing_fails():
    """A canary that does not take the candidate holds the rollout and says so."""
    with rolling(approve=lambda _: True) as (local, rollout):
        rollout._platform.replace(CANARY, OLD)
        local.deployment("line-3-next").break_next_transition("Weights do not load")
        status = rollout.advance()

        assert Phase.PREPARING is status.phase
        assert "did not take" in status.note
