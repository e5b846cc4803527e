"""What `driftline.check` and ``python -m driftline doctor`` tell somebody who sits down before it."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

import driftline
from driftline import AsyncPlatformClient, Monitor, PlatformClient, RetrainPolicy, Sample, rules
from driftline.__main__ import main
from driftline.errors import DeliveryFailed, DeliveryRefused, InputError
from driftline.monitor import Fleet
from driftline.records import Metric
from driftline.testing import FrozenClock, LocalPlatform, RecordingSink

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
KEY = "ul_" + "0123456789abcdef" * 2
VARIABLES = (
    "ULTRALYTICS_API_KEY",
    "ULTRALYTICS_PLATFORM_URL",
    "DD_API_KEY",
    "DD_APP_KEY",
    "PAGERDUTY_ROUTING_KEY",
    "GRAFANA_SERVICE_ACCOUNT_TOKEN",
)


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch):
    """An environment of which nothing is known."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def found(checkup, what):
    """The finding of that name."""
    return next(finding for finding in checkup.findings if finding.what == what)


class Broken:
    """A sink that nobody answers behind."""

    name = "broken"

    def send(self, alert):
        raise DeliveryFailed("nobody answers")

    def check(self):
        raise DeliveryFailed("nobody answers")


class Foreign(Broken):
    """A sink of somebody else's making, whose errors say too much."""

    name = "foreign"

    def check(self):
        raise RuntimeError("https://hooks.example/T0/secret")


class Refusing(Broken):
    """A sink that takes nothing, ever."""

    def send(self, alert):
        raise DeliveryRefused("not like this")


def watching(*more, platform=None, sinks=None, deployments=()):
    """A monitor with the two rules of the checklist, and a clock that stands still."""
    return Monitor(
        platform,
        deployments=deployments,
        rules=[
            rules.LatencyBudget(p95_ms=250, runbook="Scale out"),
            rules.DetectionVolume(runbook="Look at the cameras"),
            *more,
        ],
        sinks=[RecordingSink()] if sinks is None else sinks,
        clock=FrozenClock(NOW),
    )


def test_nothing_configured():
    """A fresh install is well: extras and credentials are listed, and nothing is asked."""
    seen = driftline.check()

    assert seen.ok
    assert "not set" in found(seen, "ULTRALYTICS_API_KEY").told
    assert found(seen, "extra datadog").ok
    assert "wrong" in repr(seen)


def test_missing_extra(monkeypatch):
    """An extra that is not there names the command that brings it, and is no fault."""
    monkeypatch.setattr(
        "importlib.metadata.requires",
        lambda _name: ["attrs>=23", 'nosuchthing[all]>=1 ; extra == "extraordinary"'],
    )
    seen = driftline.check()
    extra = found(seen, "extra extraordinary")

    assert extra.ok is None
    assert 'pip install "driftline[extraordinary]"' == extra.next
    assert seen.ok


def test_key_works(monkeypatch):
    """A key in the environment is tried on the Platform the environment names."""
    with LocalPlatform() as local:
        monkeypatch.setenv("ULTRALYTICS_API_KEY", local.api_key)
        monkeypatch.setenv("ULTRALYTICS_PLATFORM_URL", local.url)
        good = driftline.check()
        monkeypatch.setenv("ULTRALYTICS_API_KEY", KEY)
        bad = driftline.check()

        assert good.ok
        assert local.owner in found(good, "the Platform takes the key").told
        assert not bad.ok
        assert "NotAuthorized" in found(bad, "the Platform takes the key").told
        assert local.api_key not in str(good) + good._repr_html_()
    assert KEY not in str(bad) + bad._repr_html_()


def test_key_unreachable(monkeypatch):
    """A Platform that is not there is told of, not raised."""
    monkeypatch.setenv("ULTRALYTICS_API_KEY", KEY)
    monkeypatch.setenv("ULTRALYTICS_PLATFORM_URL", "http://127.0.0.1:9")

    assert "Unreachable" in found(driftline.check(), "the Platform takes the key").told


def test_checklist_before():
    """A monitor nobody has drilled, without a holdout run, is told what to do next."""
    seen = driftline.check(watching())

    assert not seen.ok
    assert "monitor.drill('latency-budget')" == found(seen, "an alert on p95 latency").next
    assert "monitor.drill('detection-volume')" == found(seen, "an alert on detection volume").next
    assert "HoldoutValidator" in found(seen, "a holdout run less than 8 days ago").next


def test_checklist_after():
    """After a drill and a holdout run it is well, and says when each alert last fired."""
    accuracy = rules.Threshold(series=Metric.MAP, below=0.3, runbook="Look at the frames")
    monitor = watching(accuracy)
    monitor.drill()
    monitor.run_once([Sample(metric=Metric.MAP, value=0.5, at=NOW - timedelta(days=7))])
    seen = driftline.check(monitor)

    assert seen.ok, str(seen)
    assert "on 2026-11-23" in found(seen, "an alert on p95 latency").told
    assert "detection-volume last fired" in found(seen, "an alert on detection volume").told
    assert "week from 2026-11-16" in found(seen, "a holdout run less than 8 days ago").told


def test_holdout_age():
    """A run eight days ago is too old, one of seven is not; an accuracy of an old week is too old."""
    what = "a holdout run less than 8 days ago"
    accuracy = rules.Threshold(series=Metric.MAP, below=0.3, runbook="Look at the frames")
    monitor = watching(accuracy)
    monitor.run_once([Sample(metric=Metric.MAP, value=0.5, at=NOW - timedelta(days=15))])

    assert not found(driftline.check(monitor), what).ok
    assert found(driftline.check(monitor, evaluated=NOW - timedelta(days=7)), what).ok
    assert not found(driftline.check(monitor, evaluated=NOW - timedelta(days=8)), what).ok
    with pytest.raises(InputError, match="evaluated"):
        driftline.check(monitor, evaluated=datetime(2026, 11, 22))


def test_trigger():
    """The retraining trigger is one sentence made of the policy's own numbers."""
    policy = RetrainPolicy(minimum_gain=0.02, cooldown=timedelta(days=21), budget=40)
    mine = RetrainPolicy(clauses=[lambda _evidence, _policy: None])
    what = "the retraining trigger"

    told = found(driftline.check(watching(), policy=policy), what).told
    assert "2 points" in told
    assert "21 days" in told
    assert "40" in told
    assert "<lambda>" in found(driftline.check(watching(), policy=mine), what).told


def test_parts():
    """Sinks and deployments are asked; what does not answer is wrong and says why."""
    with (
        LocalPlatform() as local,
        PlatformClient(local.api_key, base_url=local.url, owner=local.owner) as platform,
    ):
        seen = driftline.check(
            watching(
                platform=platform,
                deployments=["acme/line-3", "acme/nobody"],
                sinks=[Broken(), Foreign(), RecordingSink()],
            )
        )

        assert found(seen, "deployment acme/line-3").ok
    assert "NotFound" in found(seen, "deployment acme/nobody").told
    assert "nobody answers" in found(seen, "sink broken").told
    assert "RuntimeError" in found(seen, "sink foreign").told
    assert "secret" not in str(seen) + seen._repr_html_()
    assert found(seen, "sink recording").ok is not False


@pytest.mark.parametrize("key", ["good", "bad"])
def test_each_key(key):
    """Each owner's key is tried, and each deployment with the key of its owner."""
    with (
        LocalPlatform(owner="acme", deployments=["line-3"]) as one,
        LocalPlatform(owner="globex", deployments=["dock"]) as two,
        PlatformClient(one.api_key, one.url) as first,
        PlatformClient(two.api_key if key == "good" else KEY, two.url) as second,
    ):
        refs = ["acme/line-3", "globex/dock", "globex/nobody"]
        monitor = watching(platform={"acme": first, "globex": second}, deployments=refs)
        seen = driftline.check(monitor)

    assert found(seen, "platform acme").ok
    assert found(seen, "deployment acme/line-3").ok
    assert (key == "good") is found(seen, "platform globex").ok
    assert (key == "good") is found(seen, "deployment globex/dock").ok
    assert not found(seen, "deployment globex/nobody").ok


@pytest.mark.parametrize("owner", [None, "acme"])
def test_fleet_before_its_first_run(owner):
    """A key that does not work is found although no deployment is known yet."""
    with LocalPlatform(owner="acme") as local:
        for key, works in ((local.api_key, True), (KEY, False)):
            with PlatformClient(key, local.url, owner=owner) as platform:
                seen = driftline.check(watching(platform=platform, deployments=Fleet()))

            assert works is found(seen, "platform").ok
            assert "none is known" in found(seen, "deployments").told


def test_more_than_are_looked_at():
    """Twenty deployments are looked up; that there are more is said."""
    names = [f"line-{number}" for number in range(23)]
    with (
        LocalPlatform(deployments=names) as local,
        PlatformClient(local.api_key, local.url, clock=local.clock) as platform,
    ):
        refs = [f"acme/{name}" for name in names]
        seen = driftline.check(watching(platform=platform, deployments=refs))

    assert 20 == sum(finding.what.startswith("deployment acme/") for finding in seen.findings)
    assert "3 more not looked at" == found(seen, "deployments").told


def test_parts_unasked():
    """What cannot be asked here is neither well nor wrong, and is said."""

    class Bare:
        """A sink without a check of its own."""

        name = "bare"

        def send(self, alert):
            raise NotImplementedError

    platform = AsyncPlatformClient(KEY, base_url="http://127.0.0.1:9")
    seen = driftline.check(watching(platform=platform, deployments=["acme/x"], sinks=[Bare()]))

    assert found(seen, "platform").ok is None
    assert "was not asked" in found(seen, "platform").told
    assert found(seen, "sink bare").ok is None
    assert KEY not in str(seen)


def test_no_rules():
    """A monitor that judges nothing is wrong, and so is a checklist without its alerts."""
    seen = driftline.check(Monitor(None, rules=[], sinks=[RecordingSink()]))

    assert "nothing is judged" in found(seen, "rules").told
    assert "add a rule" in found(seen, "an alert on p95 latency").next


def test_dead_letters():
    """What was given up is wrong until somebody deals with it; no sink at all is wrong too."""
    monitor = watching(sinks=[])

    assert "nobody is told" in found(driftline.check(monitor), "sinks").told

    refusing = watching(sinks=[Refusing()])
    breach = [
        Sample(
            metric=metric, value=value, at=NOW - timedelta(minutes=m), width=timedelta(minutes=1)
        )
        for m in range(30, 0, -1)
        for metric, value in {Metric.LATENCY_P95_MS: 900.0, Metric.REQUESTS: 60.0}.items()
    ]
    assert refusing.run_once(breach).dead_letters
    assert "1 not delivered" in found(driftline.check(refusing), "dead letters").told


def test_html_is_escaped():
    """Names from outside cannot write HTML into a notebook."""
    nasty = rules.Threshold(
        series="x", above=1, name="<script>alert(1)</script>", runbook="<b>no</b>"
    )
    html = driftline.check(watching(nasty))._repr_html_()

    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_doctor(capsys):
    """The command prints what the function finds, and its exit code tells."""
    assert 0 == main(["doctor"])
    assert "extra datadog" in capsys.readouterr().out
    assert 1 == main(["doctor", "test_check_doctor:monitor"])
    assert "latency-budget never fired" in capsys.readouterr().out
    for wrong in ("test_check_doctor:NOW", "test_check_doctor", "no_such_module:monitor"):
        with pytest.raises(SystemExit, match="2"):
            main(["doctor", wrong])
        assert wrong in capsys.readouterr().err


def test_doctor_as_module():
    """It runs as ``python -m driftline doctor`` does; without a command it says which there are."""
    run = [sys.executable, "-m", "driftline"]
    good = subprocess.run(
        [*run, "doctor"], capture_output=True, text=True, timeout=1200, check=False
    )
    bare = subprocess.run(run, capture_output=True, text=True, timeout=1200, check=False)

    assert 0 == good.returncode
    assert good.stdout.startswith("driftline, ")
    assert 2 == bare.returncode
    assert "doctor" in bare.stderr


monitor = watching()
