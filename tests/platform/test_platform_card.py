"""The card of a deployment: what it shows, and how often it looks again."""

import asyncio
import io
import threading
from contextlib import redirect_stdout
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline import AsyncPlatformClient, PlatformClient
from driftline.errors import NotFound
from driftline.platform import DeploymentStatus
from driftline.platform._card import plain
from driftline.testing import LocalPlatform

REF = "acme/line-3"


@pytest.fixture
def local():
    with LocalPlatform() as started:
        yield started


@pytest.fixture
def platform(local):
    with PlatformClient(local.api_key, local.url, clock=local.clock) as client:
        yield client


@pytest.fixture
def endpoint(local):
    return local.deployment("line-3")


def asked(local, operation):
    """How often something was asked."""
    return sum(call.path.endswith(operation) for call in local.calls)


def test_shows(platform, endpoint):
    """Requests, p95 and error rate of 24 hours, health, and the 20 newest lines."""
    endpoint.history(timedelta(hours=6), requests_per_minute=10, p95_ms=180, error_rate=0.02)
    for number in range(30):
        endpoint.log(f"line number {number}")
    seen = platform.card(REF)

    assert 3600 == pytest.approx(
        seen.metrics.summary.total_requests, abs=20
    )  # the minute that is still filling
    assert 0.02 == pytest.approx(seen.error_rate, rel=0.3)
    assert not seen.red
    assert seen.health.healthy
    assert 20 == len(seen.logs)
    assert "line number 29" in seen.logs[0].message
    assert "ready" in repr(seen)
    assert "180 ms" in str(seen)
    assert "p95 latency in 24 h" in seen._repr_html_()


@pytest.mark.parametrize(("rate", "red"), [(0.04, False), (0.06, True)])
def test_red(platform, endpoint, rate, red):
    """From 5 % of failed requests on it is red, in a word as well as in colour."""
    endpoint.history(timedelta(hours=6), requests_per_minute=60, error_rate=rate)
    seen = platform.card(REF)

    assert red is seen.red
    assert red is ("of requests fail" in str(seen))
    assert red is ("background:var(--dl-bad," in seen._repr_html_())


def test_unwell(platform, endpoint):
    """An endpoint that does not answer is called unhealthy, whatever its numbers say."""
    endpoint.behave(healthy=False)
    seen = platform.card(REF)

    assert "unhealthy" in repr(seen)
    assert "no data" in str(seen)


def test_stopped(local, platform):
    """A deployment that is not ready is not pinged: a ping would wake it."""
    platform.stop(REF)
    seen = platform.card(REF)

    assert "stopped" in repr(seen)
    assert 0 == asked(local, "/health")
    assert "not asked" in str(seen)


def test_lines_are_plain(platform, endpoint):
    """Colours of a terminal are gone, and nothing in a line is HTML or a command."""
    endpoint.log("\x1b[31mred\x1b[0m <script>alert(1)</script>\x1b]0;title\x07\x1b[2J\r\n\x9bdone")
    seen = platform.card(REF)

    assert "\x1b" not in str(seen)
    assert "\x9b" not in str(seen)
    assert "red <script>" in str(seen)
    assert "&lt;script&gt;" in seen._repr_html_()
    assert "<script" not in seen._repr_html_()


@given(st.text(alphabet=st.sampled_from("\x1b[]0;m\x07\\a \n\x00\x9b\u2028")))
def test_no_line_commands(text):
    """Whatever a line holds, nothing in it can command a terminal or begin a line of its own."""
    assert plain(text).isprintable()
    assert 1 >= len(plain(text).splitlines())


def test_unknown(platform):
    """A deployment that is not there is an error, not an empty card."""
    with pytest.raises(NotFound):
        platform.card("acme/nobody")


def test_partial(platform, endpoint):
    """What cannot be asked for is said; the rest is shown."""
    endpoint.fault(500, on="metrics", times=None)
    seen = platform.card(REF)

    assert seen.metrics is None
    assert seen.health.healthy
    assert "PlatformBroken" in str(seen)


def test_watch_rounds(local, platform):
    """In ten minutes: numbers and log each 60 s, the status each 15 s, a good health once."""
    shown = []
    last = platform.watch_card(REF, duration=timedelta(minutes=10), show=shown.append)

    assert last is shown[-1]
    assert 11 == asked(local, "/metrics")
    assert 11 == asked(local, "/logs")
    assert 41 == asked(local, "/deployments/acme/line-3")
    assert 1 == asked(local, "/health")


def test_watch_health(local, platform, endpoint):
    """An unhealthy endpoint is asked every 20 s until it is well."""
    endpoint.behave(healthy=False)
    seen = []

    def show(card):
        seen.append(card.health.healthy)
        if asked(local, "/health") == 4:
            endpoint.behave(healthy=True)

    platform.watch_card(REF, duration=timedelta(minutes=5), show=show)

    assert 5 == asked(local, "/health")
    assert (False, True) == (seen[0], seen[-1])


def test_watch_transition(local, platform):
    """While the status changes it is looked at every 3 s; ready again, the health is asked anew."""
    platform.stop(REF)
    platform.start(REF, wait=False)
    before = asked(local, "/deployments/acme/line-3")
    seen = []
    platform.watch_card(REF, duration=timedelta(seconds=9), show=seen.append)

    if seen[0].deployment.status.transitional:
        assert asked(local, "/deployments/acme/line-3") - before >= 3
    assert seen[-1].deployment.status in {DeploymentStatus.READY, DeploymentStatus.DEPLOYING}


def test_watch_survives(local, platform, endpoint):
    """What fails on the way is told and seen again later; the card keeps what it knew."""
    endpoint.history(timedelta(hours=1), requests_per_minute=10)
    seen = []

    def show(card):
        seen.append(card)
        if len(seen) == 1:
            endpoint.fault(500, on="metrics", times=3)

    platform.watch_card(REF, duration=timedelta(minutes=3), show=show)

    assert any("PlatformBroken" in card.problems.get("numbers", "") for card in seen)
    assert all(card.metrics is not None for card in seen)
    assert not seen[-1].problems


def test_watch_stale(local, platform, endpoint):
    """Old numbers are called old, with their time, at every look until they are asked for again."""
    endpoint.history(timedelta(hours=1), requests_per_minute=10)
    seen = []

    def show(card):
        seen.append(card)
        if len(seen) == 1:
            endpoint.fault(500, on="metrics", times=None)

    last = platform.watch_card(REF, duration=timedelta(minutes=2), show=show)
    fresh = seen[0].metrics.received_at
    stale = [card for card in seen if card.at >= fresh + timedelta(minutes=1)]

    assert len(stale) > 2, "the status is asked more often than the numbers"
    assert all(fresh == card.metrics.received_at for card in stale)
    assert all("PlatformBroken" in card.problems["numbers"] for card in stale)
    assert f"numbers of: {fresh:%Y-%m-%d %H:%M:%S} UTC" in str(last)
    assert all("numbers of" in card._repr_html_() for card in seen)
    assert "numbers of" not in str(seen[0])


def test_watch_writes(platform):
    """Outside a notebook a card is written when it changes, not at each look."""
    written = io.StringIO()
    with redirect_stdout(written):
        platform.watch_card(REF, duration=timedelta(minutes=2))

    # The second shows the ping of the first: it is a request like any other.
    assert 2 == written.getvalue().count("acme/line-3: ready")


def test_async_watch(local):
    """As a task it leaves the loop free, ends when cancelled, and leaves no thread behind."""

    async def main():
        before = set(threading.enumerate())
        shown, first = [], asyncio.Event()

        def show(card):
            shown.append(card)
            first.set()

        async with AsyncPlatformClient(local.api_key, local.url) as platform:
            assert "ready" in repr(await platform.card(REF))
            task = asyncio.create_task(platform.watch_card(REF, show=show))
            await first.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        ours = {t.name for t in set(threading.enumerate()) - before}
        return len(shown), [name for name in ours if "_converse" not in name]  # the server's

    assert (1, []) == asyncio.run(main())


def test_notebook(tmp_path):
    """In a Jupyter kernel the card is one output that is brought up to date."""
    import nbformat
    from nbclient import NotebookClient

    code = """
from datetime import timedelta
from driftline import PlatformClient
from driftline.testing import LocalPlatform
with LocalPlatform() as local, PlatformClient(local.api_key, local.url, clock=local.clock) as p:
    local.deployment("line-3").log("first")
    p.watch_card("acme/line-3", duration=timedelta(minutes=3),
                 show=None);
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    patience = {"timeout": 1200, "startup_timeout": 1200, "iopub_timeout": 1200}
    NotebookClient(notebook, **patience, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = notebook.cells[0].outputs

    displays = [output for output in outputs if output.output_type == "display_data"]
    assert 1 == len(displays)
    assert "p95 latency in 24 h" in displays[0]["data"]["text/html"]
