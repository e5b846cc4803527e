"""A fleet of three owners: found by listing, asked with each owner's key, shared by two workers.

Everything runs offline: the Platform is a server on loopback, the pager a list. In production the
clients hold the owners' keys, the store is ``SqlStore("postgresql://…")``, and cron calls each
worker's `run_once` every five minutes.

    python examples/fleet.py
"""

from contextlib import ExitStack
from datetime import timedelta

from driftline import Monitor, PlatformClient, rules
from driftline.monitor import Fleet
from driftline.stores import MemoryStore
from driftline.testing import FrozenClock, LocalPlatform, RecordingSink

CADENCE = timedelta(minutes=5)
OWNERS = {"acme": 130, "brick": 40, "crane": 12}


def platforms(stack: ExitStack, clock: FrozenClock) -> dict[str, LocalPlatform]:
    """Three owners' deployments; one owner has more than a listing shows."""
    found = {}
    for owner, number in OWNERS.items():
        local = LocalPlatform(owner=owner, deployments=(), clock=clock)
        for i in range(number):
            local.add_deployment(
                f"line-{i}", model=f"vision/model-v{1 + i % 2}", requests_per_minute=60
            )
        found[owner] = stack.enter_context(local)
    return found


def main() -> None:
    """Half an hour: one line is slow, and after a quarter of an hour the first worker is gone."""
    clock, pager, store = FrozenClock(), RecordingSink(name="pager"), MemoryStore()
    with ExitStack() as stack:
        locals_ = platforms(stack, clock)
        clients = {
            owner: stack.enter_context(
                PlatformClient(api_key=local.api_key, base_url=local.url, clock=clock)
            )
            for owner, local in locals_.items()
        }
        workers = [
            Monitor(
                clients,
                deployments=Fleet(match="*/line-*"),
                rules=[rules.LatencyBudget(p95_ms=250, runbook="Check instances, cold starts.")],
                sinks=[pager],
                store=store,
                cadence=CADENCE,
            )
            for _ in ("first", "second")
        ]
        locals_["brick"].deployment("line-7").slow_down(3)
        for number in range(7):
            if number == 3:
                workers.pop(0)  # its machine died; nobody has to be told
            began = clock.now()
            for worker in workers:
                run = worker.run_once()
                print(f"{run.at:%H:%M} samples judged: {run.judged}, alerts: {len(run.alerts)}")
            clock.set(max(clock.now(), began + CADENCE))
        print(f"watched: {len(workers[0].deployments)} deployments of {len(clients)} owners")
        for alert in pager.alerts:
            print(f"told: {alert.status.value} {alert.deployment}: {alert.summary}")


if __name__ == "__main__":
    main()
