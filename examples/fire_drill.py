"""Three fire drills on a local platform: synthetic, with malformed images, and without traffic.

Run it anywhere: it needs no network and simulates the time. Against a real endpoint use your own
client, sinks and clock, and tell whoever is on call first.
"""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from driftline import Monitor, PlatformClient, rules
from driftline.monitor import drill_bad_images, drill_paused_traffic
from driftline.sinks import LogSink
from driftline.testing import LocalPlatform, RecordingSink

LINE = "acme/line-3"


@contextmanager
def a_deployment_with_traffic() -> Generator[LocalPlatform]:
    """An endpoint that has served a request a second for two hours."""
    with LocalPlatform(deployments=["line-3"]) as local:
        line = local.deployment("line-3")
        line.history(timedelta(hours=2), requests_per_minute=60)
        line.behave(requests_per_minute=60)
        yield local


def main() -> None:
    with (
        a_deployment_with_traffic() as local,
        PlatformClient(api_key=local.api_key, base_url=local.url, clock=local.clock) as platform,
    ):
        line = local.deployment("line-3")
        monitor = Monitor(
            platform,
            deployments=[LINE],
            rules=[
                rules.LatencyBudget(p95_ms=250, samples=3, runbook="Check instances and region."),
                rules.ErrorRate(above=0.01, minutes=5, runbook="Read the error lines below."),
                rules.RequestVolume(runbook="Check that the cameras still send frames."),
            ],
            sinks=[RecordingSink(name="pager"), LogSink()],
            clock=local.clock,
        )

        print("1. From a breach to every sink")
        drill = monitor.drill()
        print(drill)

        print("\n2. Malformed images until the error-rate rule fires")
        images = drill_bad_images(monitor, platform, LINE, clock=local.clock)
        print(images)
        if images.fired is not None:
            print(f"  {images.fired.reason}")

        print("\n3. No traffic until the volume rule fires")
        paused = drill_paused_traffic(
            monitor,
            LINE,
            pause=lambda: line.behave(requests_per_minute=0),
            resume=lambda: line.behave(requests_per_minute=60),
            clock=local.clock,
        )
        print(paused)

        if not (drill.ok and images.ok and paused.ok):
            message = "a drill did not go well"
            raise SystemExit(message)


if __name__ == "__main__":
    main()
