"""Fleets that are found by listing: who comes, who goes, and what a listing does not show."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from monitor_support import MINUTE, RUNBOOK, Table, changes, latency, told

from driftline import rules
from driftline.errors import ConfigError, InputError, Unreachable
from driftline.monitor import Fleet
from driftline.records import Metric, Sample
from driftline.stores import MemoryStore

LISTING = 10 * MINUTE


class Listing(list):
    """What a directory answers: some deployments, and how many it did not show."""

    unlisted = 0


class Directory(Table):
    """The table, which can also list: everything it knows, less what is hidden."""

    def __init__(self, clock, deployments):
        super().__init__(clock, deployments)
        self.hidden = set()
        self.statuses = {}

    def deployments(self, *, owner, status):
        self._ask("deployments", owner or "acme/", status or "")
        return self.listing(owner or "acme", status)

    def _ask(self, what, deployment, more=""):
        self.asked.append((what, deployment, more))
        if (error := self.fault(what, deployment)) is not None:
            raise error
        if what != "deployments":
            self.asked.pop()
            super()._ask(what, deployment, more)

    def listing(self, owner, status):
        mine = sorted(name for name in self.known if name.startswith(f"{owner}/"))
        mine = [n for n in mine if status is None or self.statuses.get(n, "ready") == status]
        shown = Listing(
            SimpleNamespace(ref=n, status=self.statuses.get(n, "ready"))
            for n in mine
            if n not in self.hidden
        )
        shown.unlisted = len(mine) - len(shown)
        return shown

    def metrics_asked(self):
        return [deployment for what, deployment, _ in self.asked if what == "metrics"]


@pytest.fixture
def table(clock):
    return Directory(clock, ["acme/line-1", "acme/line-2"])


@pytest.fixture
def fleet(make, clock):
    """One run of a monitor of the fleet, five minutes after the last."""

    def run(**how):
        watched = how.pop("deployments", Fleet())
        samples = how.pop("samples", ())
        done = make(**{"deployments": watched, "rules": [latency()], **how}).run_once(samples)
        clock.advance(5 * MINUTE)
        return done

    return run


class TestFound:
    def test_listed_and_watched(self, fleet, table, make):
        """Whatever the platform lists is asked, and what comes later as well."""
        assert fleet().ok
        table.known.add("acme/line-9")
        fleet()
        fleet()
        assert {"acme/line-1", "acme/line-2", "acme/line-9"} == set(table.metrics_asked())
        assert make(deployments=Fleet()).deployments[-1] == "acme/line-9"

    def test_at_a_sane_pace(self, fleet, table):
        """A listing every ten minutes, however often the monitor runs."""
        for _ in range(12):
            fleet()
        assert 6 == sum(what == "deployments" for what, _, _ in table.asked)

    def test_filters(self, fleet, table):
        """Owners, a pattern and a status choose; what is named besides is always watched."""
        table.known |= {"beta/line-1", "beta/test-1", "beta/line-2", "zeta/line-1", "beta/own"}
        table.statuses["beta/line-2"] = "stopped"
        fleet(
            deployments=Fleet(owners=["beta"], match="*/line-*", status="ready", also=["beta/own"])
        )

        assert {"beta/line-1", "beta/own"} == set(table.metrics_asked())

    def test_a_function(self, fleet, table):
        """A function of the user's is asked at each run; one that fails changes nothing."""
        names = iter([["acme/line-1"], ["acme/line-1", "acme/line-2"]])
        fleet(deployments=lambda: next(names))
        fleet(deployments=lambda: next(names))
        failed = fleet(deployments=lambda: next(names))

        assert ["acme/line-1", "acme/line-2"] == table.metrics_asked()[-2:]
        assert "the function could not be listed: StopIteration" in str(failed.problems[0])

    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            ({"platform": SimpleNamespace(metrics=print), "deployments": Fleet()}, ConfigError),
            ({"platform": None, "deployments": Fleet()}, ConfigError),
            ({"platform": {}}, ConfigError),
            ({"deployments": "acme/line-1"}, InputError),
        ],
    )
    def test_refused(self, make, wrong, error):
        """Nobody to list, nobody to ask, a name that is no list: said when the monitor is made."""
        with pytest.raises(error):
            make(**wrong)

    @pytest.mark.parametrize(
        "wrong", [{"every": -MINUTE}, {"status": "well"}, {"owners": "acme"}, {"also": "acme/x"}]
    )
    def test_a_fleet_is_checked(self, wrong):
        """So is a fleet."""
        with pytest.raises(InputError):
            Fleet(**wrong)


class TestGone:
    def test_deleted(self, fleet, table, sink, make, store):
        """Of a deployment that was deleted the alert ends, once, and nothing is asked any more."""
        table.bad_between(-60, 600)
        fleet()
        table.known.discard("acme/line-2")
        for _ in range(4):
            fleet()
        table.asked.clear()
        runs = [fleet() for _ in range(6)]

        assert "acme/line-2" not in table.metrics_asked()
        assert all(run.ok for run in runs)
        mine = [a.status.value for a in sink.alerts if a.deployment == "acme/line-2"]
        assert ["firing", "resolved"] == mine
        assert "acme/line-2" not in make(deployments=Fleet()).deployments

    def test_out_of_the_filter(self, fleet, table, sink):
        """One that is merely not listed any more is asked until two listings agree."""
        table.bad_between(-60, 600)
        ready = Fleet(status="ready")
        fleet(deployments=ready)
        table.statuses["acme/line-2"] = "failed"
        for _ in range(2):
            assert [] == changes(fleet(deployments=ready))
        for _ in range(3):
            fleet(deployments=ready)
        ended = [a for a in sink.alerts if a.status.value == "resolved"]
        assert [("acme/line-2", True)] == [(a.deployment, "not watched" in a.reason) for a in ended]

    def test_one_listing_without_it(self, fleet, table, sink):
        """A single listing without it ends nothing, and it is asked all the while."""
        table.bad_between(-60, 600)
        fleet()
        for _ in range(4):
            table.statuses["acme/line-2"] = "stopped"
            fleet(deployments=Fleet(status="ready"))
            table.statuses.clear()
            fleet(deployments=Fleet(status="ready", every=timedelta(0)))
        assert ["firing"] * 2 == [status for _, status in told(sink)]

    def test_what_was_learnt_stays(self, fleet, table, store, clock):
        """Who comes back within 30 days is known still; later it is a stranger."""
        learning = {"rules": [rules.RequestVolume(mode="hourly", runbook=RUNBOOK)]}

        def learnt():
            return {d.key for d in store.scan("monitor/monitor/memory") if "line-2" in d.key}

        for _ in range(20):
            fleet(**learning)
        before = learnt()
        table.known.discard("acme/line-2")
        for _ in range(12):
            fleet(**learning)
        assert before == learnt() != set()
        clock.advance(timedelta(days=31))
        fleet(**learning)
        assert set() == learnt()

    @pytest.mark.parametrize("metric", [Metric.REQUESTS, Metric.DETECTIONS])
    def test_no_data_of_the_gone_is_no_alarm(self, fleet, table, sink, clock, metric):
        """A rule that alarms on silence does not alarm on what was taken away."""
        for run in range(24):
            if run == 2:
                table.known.discard("acme/line-2")
            one = "acme/line-1"
            names = [one, "acme/line-2"] if run < 2 else [one]
            fleet(
                rules=[latency(), rules.NoData(series=metric, runbook=RUNBOOK)],
                samples=[
                    Sample(metric=Metric.DETECTIONS, value=9, at=clock.now(), deployment=name)
                    for name in names
                ],
            )
        assert () == sink.firing

    def test_two_workers_in_one_second(self, fleet, make, table, sink, clock):
        """Two answers without it within a minute are one: the second worker's is no second sign."""
        table.bad_between(-60, 600)
        names = ["acme/line-1", "acme/line-2"]
        fleet(deployments=lambda: names)
        for _ in range(2):
            make(deployments=lambda: names[:1], rules=[latency()]).run_once()
        assert ["firing"] * 2 == [status for _, status in told(sink)]
        clock.advance(MINUTE)
        make(deployments=lambda: names[:1], rules=[latency()]).run_once()
        assert ["acme/line-2"] == [a.deployment for a in sink.alerts if a.status.value != "firing"]

    def test_a_function_that_answers_nothing(self, fleet, table, sink):
        """An inventory that is suddenly empty is a failure that is said, and ends nothing."""
        table.bad_between(-60, 600)
        assert fleet(deployments=list).ok  # it was empty all along
        fleet(deployments=lambda: ["acme/line-1"])
        runs = [fleet(deployments=list) for _ in range(4)]

        assert ["firing"] == [status for _, status in told(sink)]
        assert 5 == len(table.metrics_asked())
        assert all("answered no deployments" in str(run.problems[0]) for run in runs)


class TestUnseen:
    def test_a_listing_that_fails(self, fleet, table, sink):
        """Those known are asked, the run says so, and nothing is ended."""
        table.bad_between(-60, 600)
        fleet()
        table.fault = lambda what, _: OSError("no route") if what == "deployments" else None
        runs = [fleet() for _ in range(8)]
        assert "could not be listed: OSError: no route" in str(runs[-1].problems[0])
        assert ["firing"] * 2 == [status for _, status in told(sink)]

    def test_names_before_the_first_listing(self, fleet, table, sink):
        """From names to a fleet: until a listing succeeds, those asked before are watched on."""
        table.bad_between(-60, 600)
        fleet(deployments=["acme/line-1"])
        table.fault = lambda what, _: OSError("no route") if what == "deployments" else None
        fleet()
        assert ["firing"] == [status for _, status in told(sink)]
        assert "acme/line-1" == table.metrics_asked()[-1]

    def test_cut_off(self, fleet, table, sink):
        """How many a listing does not show is said; those known of them are asked all the same."""
        table.bad_between(-60, 600)
        fleet()
        table.hidden = {"acme/line-2"}
        runs = [fleet() for _ in range(8)]

        assert {1} == {run.unlisted for run in runs[2:]}
        assert "1 deployments of the owner could not be seen" in str(runs[-1].problems[0])
        assert not runs[-1].ok
        assert ["firing"] * 2 == [status for _, status in told(sink)]
        table.known.discard("acme/line-2")
        table.known.add("acme/line-3")
        table.hidden = {"acme/line-3"}
        for _ in range(6):
            fleet()
        table.asked.clear()
        fleet()
        assert {"acme/line-1"} == set(table.metrics_asked())

    @pytest.mark.parametrize("platform", ["one client", "by owner"])
    def test_named_besides(self, fleet, table, platform):
        """What a listing does not show and somebody named is seen; what nobody named is not."""
        table.known |= {"acme/line-3", "acme/line-4", "acme/press-1"}
        table.hidden = {"acme/line-3", "acme/line-4"}
        how = {} if platform == "one client" else {"platform": {"acme": table}}
        also = ["acme/line-1", "acme/press-1", "acme/line-3"]  # the first two are listed
        run = fleet(deployments=Fleet(match="*/line-*", also=also), **how)
        assert (1, 1) == (run.unlisted, len(run.problems))
        run = fleet(deployments=Fleet(match="*/line-*", also=[*also, "acme/line-4"]), **how)
        assert (0, ()) == (run.unlisted, run.problems)

    def test_named_and_not_there(self, fleet, table):
        """A name that the Platform does not know stands for no deployment that is hidden."""
        table.known.add("acme/line-3")
        table.hidden = {"acme/line-3"}
        runs = [fleet(deployments=Fleet(also=["acme/line-8"])) for _ in range(4)]
        assert 1 == runs[-1].unlisted


class TestOwners:
    def test_a_client_each(self, clock, make, sink):
        """Each owner's deployments are listed and asked with the owner's own client."""
        tables = {
            o: Directory(clock, [f"{o}/line-{i}" for i in range(2)]) for o in ("acme", "beta")
        }
        tables["beta"].bad_between(-60, 600)
        run = make(platform=tables, deployments=Fleet(), rules=[latency()]).run_once()

        assert run.ok
        for owner, table in tables.items():
            assert {f"{owner}/line-0", f"{owner}/line-1"} == set(table.metrics_asked())
        assert {"beta/line-0", "beta/line-1"} == {alert.deployment for alert in sink.firing}

    def test_an_owner_without_a_client(self, make, table):
        """Whoever cannot be asked is refused when the monitor is made, by name."""
        with pytest.raises(ConfigError, match="no client for 'beta'"):
            make(platform={"acme": table}, deployments=["acme/line-1", "beta/line-1"])

    def test_also_without_a_client(self, make, table):
        """So is whoever a fleet is to watch besides."""
        with pytest.raises(ConfigError, match="no client for 'beta'"):
            make(platform={"acme": table}, deployments=Fleet(also=["beta/line-1"]))

    def test_a_function_that_names_a_stranger(self, make, table):
        """One deployment that cannot be asked is a problem of the run; the others are judged."""
        names = ["beta/line-1", "acme/line-1"]
        run = make(
            platform={"acme": table}, deployments=lambda: names, rules=[latency()]
        ).run_once()

        assert run.judged
        assert ["acme/line-1"] == table.metrics_asked()
        assert ["beta/line-1"] == [problem.deployment for problem in run.problems]
        assert "no client for its owner" in str(run)

    def test_an_owner_that_left(self, clock, make):
        """Whoever lost the client is not asked any more, even before the new list is complete."""
        tables = {o: Directory(clock, [f"{o}/line-1"]) for o in ("acme", "beta", "gamma")}
        watch = {"deployments": Fleet(), "rules": [latency()]}
        make(platform={o: tables[o] for o in ("acme", "beta")}, **watch).run_once()
        clock.advance(LISTING)
        tables["gamma"].fault = lambda *_: OSError("no route")
        run = make(platform={o: tables[o] for o in ("acme", "gamma")}, **watch).run_once()

        assert run.judged
        assert [["acme/line-1"] * 2, ["beta/line-1"], []] == [
            table.metrics_asked() for table in tables.values()
        ]

    def test_one_that_is_dead(self, clock, make, sink):
        """An owner whose platform keeps silent holds up no other."""
        tables = {
            o: Directory(clock, [f"{o}/line-{i}" for i in range(9)]) for o in ("acme", "beta")
        }
        tables["acme"].fault = lambda what, _: (
            Unreachable("no reply") if what == "metrics" else None
        )
        tables["beta"].bad_between(-60, 600)
        make(
            platform=tables, deployments=Fleet(), rules=[latency()], workers=1, store=MemoryStore()
        ).run_once()
        assert 9 == len(sink.firing)
