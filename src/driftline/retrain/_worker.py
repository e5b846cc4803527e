"""The part of a rollout that runs in every worker: deal frames, watch, hand in what was seen."""

from __future__ import annotations

import logging
import math
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import TracebackType
from typing import Final, Self, TypeVar

from driftline._checks import refuse_no_time
from driftline._clock import Clock, as_clock
from driftline._fork import begin_anew_after_fork
from driftline.errors import (
    InputError,
    PaymentRequired,
    RateLimited,
    RefusedInput,
    StoreConflict,
    StoreError,
)
from driftline.platform import Prediction
from driftline.platform._deployment import parse_ref
from driftline.records import Append, Change, Detections, Put, Store
from driftline.retrain._arms import PAIRED, Counts, Outcome, Recorder, Scale
from driftline.retrain._router import Route, Table
from driftline.retrain._stages import Batch, State

T = TypeVar("T")
_log = logging.getLogger("driftline.retrain")

SPACE: Final = "retrain/rollout"
"""Where rollouts are in a store, by main deployment; their history has the same name."""
SYNC_EVERY: Final = timedelta(seconds=10)
ATTEMPTS: Final = 40
"""Tries of a compare-and-swap; with pauses growing to 0.25 s that is about 8 s of contention."""
NOT_THE_ENDPOINTS_FAULT: Final = (InputError, RefusedInput, RateLimited, PaymentRequired)
"""Errors of a call that say nothing about the model that was asked."""
COPIES_AT_ONCE: Final = 2
COPIES_WAITING: Final = 32
"""Copies that may wait; further ones are dropped, because shadow traffic must not cost memory."""


class RolloutRouter:
    """Deals frames to the two deployments of a rollout and watches what comes of it.

    One object serves many threads; every process makes its own. It needs the store and the name
    of the deployment only: the plan is read from the store, so that all workers follow one.
    Until the first `sync`, and whenever there is no rollout, every key goes to the deployment.
    """

    def __init__(
        self,
        store: Store,
        deployment: str,
        *,
        clock: Clock | None = None,
        sync_every: timedelta | None = SYNC_EVERY,
    ) -> None:
        """Keep what to follow; nothing is read yet.

        Args:
            store: the store of the rollout; shared by all workers.
            deployment: ``"owner/deployment"``, the main deployment.
            clock: where time comes from; else the machine's.
            sync_every: how often `observe`, `compare` and `run` hand in and read by themselves;
                None: only `sync` does.

        Raises:
            InputError: an argument cannot be used.
        """
        if sync_every is not None:
            refuse_no_time("sync_every", sync_every)
        self._store = _checked_store(store)
        self._deployment = whole_ref(deployment, name="deployment")
        self._clock = as_clock(clock)
        self._sync_seconds = math.inf if sync_every is None else sync_every.total_seconds()
        self._table = Table(salt="", deployment=self._deployment, canary=self._deployment)
        self._lookup = self._table.lookup()
        self._scale = Scale()
        self._begin_anew()
        begin_anew_after_fork(self)

    def _begin_anew(self) -> None:
        """Nothing seen, nothing to hand in: at birth, and in a process that was forked."""
        self._name = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._recorder = Recorder(known=Counts(), block_seconds=0)
        self._unsent: list[Batch] = []
        self._number = 0
        self._due = -math.inf
        self._copies: ThreadPoolExecutor | None = None
        self._slots = threading.BoundedSemaphore(COPIES_WAITING)

    # --- dealing ------------------------------------------------------------------------------

    def route(self, key: str) -> Route:
        """Where the frames of a key go; the same for the same key while the stage lasts.

        A key that the candidate serves stays with it in all later stages. Nothing is read and
        nothing is waited for: about 1 µs.

        Args:
            key: what shall stay together: a camera, a request, a customer. Few keys make coarse
                shares, and differences between keys look like differences between models.

        Raises:
            InputError: the key is no text.
        """
        return self._lookup(key)

    def run(self, key: str, call: Callable[[str], T]) -> T:
        """Route a frame, call the deployment, time it, and watch what comes of it.

        In shadow, a copy goes to the candidate on a thread of its own; its answer is compared and
        dropped, and whatever goes wrong with it stays there.

        Args:
            key: as in `route`.
            call: takes ``"owner/deployment"`` and answers; a `Prediction` or `Detections` is
                compared. In shadow it is called a second time, from another thread.

        Returns:
            The answer.
        """
        self._sync_if_due()
        route = self.route(key)
        began = self._clock.monotonic()
        try:
            answer = call(route.deployment)
        except NOT_THE_ENDPOINTS_FAULT:
            raise
        except Exception:
            self._served(route, key, call, Outcome(ok=False))
            raise
        ms = max(0.0, self._clock.monotonic() - began) * 1000
        self._served(route, key, call, Outcome(latency_ms=ms, detections=_detections(answer)))
        return answer

    def _served(
        self, route: Route, key: str, call: Callable[[str], object], outcome: Outcome
    ) -> None:
        self.observe(route, outcome, key=key)
        if route.copy_to is None or not self._slots.acquire(blocking=False):
            return
        with self._lock:
            if self._copies is None:
                self._copies = ThreadPoolExecutor(COPIES_AT_ONCE, "driftline-copy")
            copies = self._copies
        try:
            future = copies.submit(self._copy, route, key, call, outcome)
        except RuntimeError:  # closed meanwhile
            self._slots.release()
        else:
            future.add_done_callback(lambda _: self._slots.release())

    def _copy(self, route: Route, key: str, call: Callable[[str], object], served: Outcome) -> None:
        began = self._clock.monotonic()
        try:
            answer = call(str(route.copy_to))
            ms = max(0.0, self._clock.monotonic() - began) * 1000
            copy = Outcome(latency_ms=ms, detections=_detections(answer))
        except NOT_THE_ENDPOINTS_FAULT as exc:
            _log.info("a copy to %s was not sent: %s", route.copy_to, exc)
            return
        except Exception:  # noqa: BLE001 - isolation border: nobody waits for a copy
            _log.info("a copy to %s failed", route.copy_to, exc_info=True)
            copy = Outcome(ok=False)
        self.compare(route, served, copy, key=key)

    # --- watching -----------------------------------------------------------------------------

    def observe(self, route: Route, outcome: Outcome, *, key: str) -> None:
        """Tell what came of a frame that was sent along a route.

        Args:
            route: what `route` answered; a stage that is over is told by it.
            outcome: what came of it.
            key: the key it was made of; frames of one key and minute are one observation.
        """
        self._add(route, str(route.arm), self._scale.of(outcome), key)

    def compare(self, route: Route, served: Outcome, copy: Outcome, *, key: str) -> None:
        """Tell what both models made of one frame, in shadow.

        Args:
            route: what `route` answered.
            served: what came of the frame at the incumbent.
            copy: what came of it at ``route.copy_to``.
            key: as in `observe`.
        """
        self._add(route, PAIRED, self._scale.of_pair(served, copy), key)

    def _add(self, route: Route, group: str, values: dict[str, float], key: str) -> None:
        if route.stage >= 0:
            at = self._clock.now().timestamp()
            with self._lock:
                if route.stage == self._table.stage:
                    self._recorder.add(group, key, values, at=at)
        self._sync_if_due()

    # --- the store ----------------------------------------------------------------------------

    def sync(self) -> None:
        """Hand in what was seen, and follow the plan as it stands now.

        Raises:
            StoreError: the store failed. Frames go where they went before, and what was seen is
                handed in the next time.
        """
        with self._syncing:
            self._due = self._clock.monotonic() + self._sync_seconds
            self._hand_in(before=self._clock.now().timestamp())

    def _sync_if_due(self) -> None:
        if self._clock.monotonic() < self._due or not self._syncing.acquire(blocking=False):
            return
        try:
            self._due = self._clock.monotonic() + self._sync_seconds
            self._hand_in(before=self._clock.now().timestamp())
        except StoreError as exc:
            _log.warning("rollout of %s: not handed in, next time: %s", self._deployment, exc)
        finally:
            self._syncing.release()

    def _hand_in(self, *, before: float) -> None:
        with self._lock:
            self._recorder.close_blocks(before)
            counts = self._recorder.take()
            if counts.frames or counts.tallies:
                self._number += 1
                self._unsent.append(
                    Batch(
                        worker=self._name,
                        number=self._number,
                        stage=self._table.stage,
                        counts=counts,
                    )
                )
        while self._unsent:
            if self._update(lambda state: state.merge(self._unsent[0])) is None:
                self._unsent.clear()
                break
            del self._unsent[0]
        state = self._read()
        self._follow(None if state is None else state[0])

    def _follow(self, state: State | None) -> None:
        """Deal by the plan as it stands."""
        plain = Table(salt="", deployment=self._deployment, canary=self._deployment)
        table = plain if state is None else state.table
        with self._lock:
            if table != self._table:
                self._table, self._lookup = table, table.lookup()
                self._recorder = Recorder(known=Counts(), block_seconds=0)
            if state is not None:
                self._scale = state.guard.scale
                self._recorder.known = state.ledger.stage
                self._recorder.block_seconds = state.guard.block.total_seconds()

    def _read(self) -> tuple[State, int] | None:
        document = self._store.get(SPACE, self._deployment)
        return None if document is None else (State.from_json(document.value), document.version)

    def _update(self, change: Callable[[State], State]) -> State | None:
        """Change the stored state by compare-and-swap; None when there is none.

        Raises:
            StoreConflict: too many others changed it at the same time.
        """
        for attempt in range(ATTEMPTS):
            found = self._read()
            if found is None:
                return None
            state, version = found
            changed = change(state)
            if changed is state:
                return state
            try:
                self._write(changed, version, before=state)
            except StoreConflict:
                self._clock.sleep(_pause_seconds(self._name, attempt))
            else:
                return changed
        msg = (
            f"the rollout of {self._deployment} changed under {ATTEMPTS} attempts to write it; "
            "raise sync_every, so that its workers write less often"
        )
        raise StoreConflict(msg)

    def _write(self, state: State, version: int, *, before: State | None) -> None:
        old = 0 if before is None else len(before.steps)
        changes: list[Change] = [
            Put(space=SPACE, key=self._deployment, value=state.to_json(), version=version)
        ]
        changes += [
            Append(
                space=SPACE,
                key=self._deployment,
                at=step.at,
                record={
                    "candidate": state.candidate,
                    "phase": step.phase.value,
                    "stage": step.stage,
                    "reason": step.reason,
                },
            )
            for step in state.steps[old:]
        ]
        self._store.write(changes)

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Wait for copies under way, drop those that wait, and hand in everything.

        Raises:
            StoreError: the store failed.
        """
        if self._copies is not None:
            self._copies.shutdown(wait=True, cancel_futures=True)
            self._copies = None
        with self._syncing:
            self._hand_in(before=math.inf)

    def __enter__(self) -> Self:
        """Use it as a context: it reads the plan, and closes at the end."""
        self.sync()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Say what it follows and how it deals."""
        share = self._table.share
        return f"{type(self).__name__}({self._deployment!r}, {share:.3g} to {self._table.canary!r})"


def _checked_store(store: Store) -> Store:
    given: object = store
    if not isinstance(given, Store):
        msg = f"store={given!r} must be a Store, such as SqlStore('sqlite:///driftline.db')"
        raise InputError(msg)
    return store


def whole_ref(ref: object, *, name: str) -> str:
    """``"owner/deployment"``, as the key of a document must be.

    Raises:
        InputError: it is something else.
    """
    wanted = parse_ref(ref) if isinstance(ref, str) else None
    if wanted is None or wanted.owner is None:
        msg = f"{name}={ref!r} must be 'owner/deployment', as in its URL"
        raise InputError(msg)
    return f"{wanted.owner}/{wanted.name}"


def _detections(answer: object) -> Detections | None:
    if isinstance(answer, Prediction):
        return answer.detections if len(answer.frames) == 1 else None
    return answer if isinstance(answer, Detections) else None


def _pause_seconds(worker: str, attempt: int) -> float:
    """Pause after a lost race; workers spread by their names, which are random."""
    spread = (int(worker[:8], 16) / 16**8 + attempt * 0.618) % 1
    return min(0.25, 0.002 * 2.0**attempt) * (0.5 + spread)
