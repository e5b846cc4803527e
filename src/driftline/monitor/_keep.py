"""The right of one run to work, kept while it works and given back at the end."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Sequence
from datetime import timedelta

from driftline._clock import Clock, SystemClock
from driftline.records import Change, Store


def somebody() -> str:
    """A name for who is at work, for people and unlike any other."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class Keep:
    """A lease that is renewed on the way; what is written under it, an overtaken run cannot write."""

    def __init__(self, store: Store, name: str, clock: Clock, duration: timedelta) -> None:
        """Take the lease.

        Raises:
            StoreBusy: somebody else holds it.
        """
        self._store = store
        self._clock = clock
        self._duration = duration
        self._watch = SystemClock()
        self._lease = store.acquire(name, holder=somebody(), now=clock.now(), duration=duration)
        self._renewed = self._watch.monotonic()

    @property
    def due(self) -> bool:
        """Whether a third of the lease is over."""
        return self._watch.monotonic() - self._renewed > self._duration.total_seconds() / 3

    def taken(self) -> frozenset[str]:
        """Deployments that another worker is at: none, nobody else works."""
        return frozenset()

    def claim(self, _deployments: Sequence[str]) -> bool:
        """Take deployments on; False when somebody was quicker, and nobody ever is."""
        return True

    def secure(self) -> bool:
        """Take the right to write; answer whether others may have written since we read."""
        return False

    def settled(self) -> list[Change]:
        """What to write when the deployments taken on are judged."""
        return []

    def yield_turn(self) -> None:
        """Let others write, between two rounds; there are none."""

    def touch(self) -> None:
        """Renew the lease when that is due.

        Raises:
            StoreBusy: it has been taken over.
        """
        if self.due:
            self._lease = self._store.renew(
                self._lease, now=self._clock.now(), duration=self._duration
            )
            self._renewed = self._watch.monotonic()

    def write(self, changes: Sequence[Change]) -> None:
        """Write under the lease.

        Raises:
            StoreBusy: it has been taken over; nothing was written.
        """
        self.touch()
        if changes:
            self._store.write(changes, lease=self._lease)

    def release(self) -> None:
        """Give it back."""
        self._store.release(self._lease)
