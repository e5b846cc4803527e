"""The right of one worker among several: each deployment is asked by one, and one writes at a time.

A claim is a lease on one deployment: a document with an end, taken and renewed by compare and swap,
so that a hundred cost one transaction. It keeps two workers from asking the same thing and no more.
What keeps an alert from being told twice or not at all is the monitor's own lease: whoever has
answers takes it for as long as judging, writing and sending last, and reads anew what the others
have written. So a worker that was suspended and overtaken finds that everything is judged already.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from driftline._checks import ZERO
from driftline._clock import Clock, SystemClock
from driftline.errors import StoreBusy, StoreConflict
from driftline.monitor._keep import Keep, somebody
from driftline.records import Change, Document, Lease, Put, Store
from driftline.rules._time import instant, micros, span

_POLL_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 5.0


class Claims:
    """Claims on deployments, and for a while the monitor's lease; the verbs of `Keep`."""

    def __init__(self, store: Store, name: str, clock: Clock, duration: timedelta) -> None:
        """Keep where claims are; nothing is taken yet."""
        self._store = store
        self._name = name
        self._space = f"{name}/claims"
        self._clock = clock
        self._duration = duration
        self._watch = SystemClock()
        self._holder = somebody()
        self._seen: dict[str, int] = {}
        self._mine: dict[str, int] = {}
        self._renewed = 0.0
        self._turn: Keep | None = None

    # --- deployments -------------------------------------------------------------------------

    def taken(self) -> frozenset[str]:
        """Deployments that another worker is at; to be asked before what they wrote is read."""
        now = self._clock.now()
        found = self._store.scan(self._space)
        self._seen = {document.key: document.version for document in found}
        return frozenset(document.key for document in found if _lease(document).holds(now))

    def claim(self, deployments: Sequence[str]) -> bool:
        """Take deployments on; False when somebody has claimed one since `taken` was asked.

        A claim is never deleted while its deployment is watched, so that its version tells
        whether another worker took it, and perhaps finished with it, in between.
        """
        return self._swap({name: self._seen.get(name, 0) for name in deployments})

    def settled(self) -> list[Change]:
        """What to write when the deployments taken on are judged: they are free again."""
        return [self._claim(deployment, ZERO) for deployment in self._mine]

    def _claim(self, deployment: str, duration: timedelta, version: int | None = None) -> Put:
        since = micros(self._clock.now())
        value = {"by": self._holder, "since": since, "until": since + span(duration)}
        return Put(space=self._space, key=deployment, value=value, version=version)

    def _swap(self, versions: dict[str, int]) -> bool:
        """Take or renew claims at these versions; answer whether nobody came between."""
        try:
            self._store.write([self._claim(d, self._duration, v) for d, v in versions.items()])
        except StoreConflict:
            return False
        self._mine = {deployment: version + 1 for deployment, version in versions.items()}
        self._renewed = self._watch.monotonic()
        return True

    # --- the turn ----------------------------------------------------------------------------

    def secure(self) -> bool:
        """Wait for the monitor's lease; others may have written since we read.

        Raises:
            StoreBusy: somebody keeps it for longer than a worker that died could.
        """
        deadline = self._watch.monotonic() + self._duration.total_seconds() + _PATIENCE_SECONDS
        while self._turn is None:
            try:
                self._turn = Keep(self._store, self._name, self._clock, self._duration)
            except StoreBusy:
                if self._watch.monotonic() > deadline:
                    raise
                self.touch()
                self._watch.sleep(_POLL_SECONDS)
        return True

    def yield_turn(self) -> None:
        """Let others write."""
        if self._turn is not None:
            self._turn.release()
            self._turn = None
        self._mine = {}

    def write(self, changes: Sequence[Change]) -> None:
        """Write under the monitor's lease.

        Raises:
            StoreBusy: it has been taken over; nothing was written.
        """
        assert self._turn is not None
        self._turn.write(changes)

    @property
    def due(self) -> bool:
        """Whether something is to be renewed."""
        if self._turn is not None:
            return self._turn.due
        return self._watch.monotonic() - self._renewed > self._duration.total_seconds() / 3

    def touch(self) -> None:
        """Renew the lease, or the claims, when that is due.

        Claims that somebody else took over meanwhile are let go: nothing depends on them.

        Raises:
            StoreBusy: the lease has been taken over.
        """
        if self._turn is not None:
            self._turn.touch()
        elif self._mine and self.due and not self._swap(self._mine):
            self._mine = {}

    def release(self) -> None:
        """Give everything back."""
        if self._mine:  # not judged; whoever has taken over meanwhile keeps them
            with suppress(StoreConflict):
                self._store.write([self._claim(d, ZERO, v) for d, v in self._mine.items()])
        self.yield_turn()


def _lease(claim: Document) -> Lease:
    value = claim.value
    return Lease(
        name=claim.key,
        holder=value["by"],
        token=claim.version,
        since=instant(value["since"]),
        until=instant(value["until"]),
    )
