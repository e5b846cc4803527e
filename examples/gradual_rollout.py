"""Two candidates on their way to an endpoint: one arrives, one is sent back. Offline.

A LocalPlatform serves three models: the one in production, one that is as good, and one whose
calls begin to fail when it gets half of the traffic. Time is
simulated. Run it with ``python examples/gradual_rollout.py``.
"""

from datetime import timedelta
from functools import partial

import numpy as np
import numpy.typing as npt

from driftline import PlatformClient, Rollout
from driftline.errors import PlatformBroken
from driftline.retrain import Guard, Phase, Proposal, Stage
from driftline.stores import MemoryStore
from driftline.testing import LocalPlatform, Scenes

MAIN, NEXT = "acme/line-3", "acme/line-3-next"
HOUR = timedelta(hours=1)
FRAMES_AN_HOUR = 120
HOURS = 40
SEED = 7
FALTERING = "vision/model-v3"


def ask(proposal: Proposal) -> bool:
    """Stand for the colleague who says yes or no to the replace."""
    print(f"  asked to {proposal.action} {proposal.model}: yes")
    return True


def serve(
    platform: PlatformClient, rollout: Rollout, frames: list[npt.NDArray[np.uint8]], hour: int
) -> None:
    """One hour of a service: each request goes where the rollout says."""
    for number in range(FRAMES_AN_HOUR):
        frame = frames[number % len(frames)]
        try:
            rollout.run(
                f"request-{hour}-{number}",
                partial(platform.predict, image=frame),
            )
        except PlatformBroken:
            continue  # a service would answer its caller with an error
    rollout.sync()


def plan(platform: PlatformClient, local: LocalPlatform, candidate: str) -> Rollout:
    """Shadow first, then half and all of the requests."""
    shadow = Stage(share=0, copies=1.0, dwell=HOUR, frames=30)
    shares = [Stage(share=share, dwell=HOUR, frames=50) for share in (0.5, 1.0)]
    return Rollout(
        platform,
        MemoryStore(),
        MAIN,
        canary=NEXT,
        candidate=candidate,
        stages=[shadow, *shares],
        guard=Guard(errors=0.1, slow=None, boxes=2.0, confidence=0.2, block=timedelta(0)),
        approve=ask,
        clock=local.clock,
    )


def watch(local: LocalPlatform, platform: PlatformClient, candidate: str) -> Phase:
    """One candidate, hour by hour, until its rollout is over."""
    frames = [frame.image for frame in Scenes(seed=SEED, size=64).frames(10)]
    with plan(platform, local, candidate) as rollout:
        status, told = rollout.advance(), 0
        for hour in range(HOURS):
            for step in status.steps[told:]:
                print(f"  {step}")
            told = len(status.steps)
            if status.phase.over:
                break
            if candidate == FALTERING and status.share >= 0.5:
                local.deployment(NEXT).behave(error_rate=0.3)
            serve(platform, rollout, frames, hour)
            local.clock.advance(HOUR)
            status = rollout.advance()
    return status.phase


def main() -> None:
    with LocalPlatform(deployments=[], rate_limits=None) as local:
        local.add_deployment("line-3", model="vision/model-v1")
        local.add_deployment("line-3-next", model="vision/model-v2")
        with PlatformClient(
            base_url=local.url,
            api_key=local.api_key,
            clock=local.clock,
            rate_limits={"predict": 1_000_000},
        ) as platform:
            print("vision/model-v2, which is as good:")
            print(f"  ends {watch(local, platform, 'vision/model-v2')}")

            print(f"{FALTERING}, which begins to fail in the second stage:")
            local.add_model(FALTERING)
            platform.replace(NEXT, FALTERING)
            print(f"  ends {watch(local, platform, FALTERING)}")
            print(f"in production: {platform.deployment(MAIN).model_ref}")


if __name__ == "__main__":
    main()
