"""From a decision to a better model: the guide's seven steps, one a call, across restarts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from attrs import evolve

from driftline._checks import part, parts, refuse_no_text, refuse_no_time, refuse_number
from driftline._clock import Clock, SystemClock
from driftline.errors import ConfigError, DriftlineError, InputError, StoreConflict
from driftline.holdout import Holdout
from driftline.platform import TrainArgs
from driftline.profiles import Profile, SampledFrame
from driftline.records import Store
from driftline.retrain._alone import alone
from driftline.retrain._backend import RetrainBackend
from driftline.retrain._decision import Action, Decision
from driftline.retrain._loop_book import Book
from driftline.retrain._loop_parts import (
    ApproveFunction,
    Ask,
    Deploy,
    Done,
    MarkSink,
    Parts,
    Wait,
)
from driftline.retrain._loop_state import (
    GATES,
    Gate,
    Move,
    Note,
    State,
    Yes,
    begin,
    loop_id,
)
from driftline.retrain._loop_status import LoopStatus, status_of
from driftline.retrain._loop_table import TABLE, step_of
from driftline.retrain._promotion import PromotionRule
from driftline.retrain._review import ReviewBatch

_log = logging.getLogger("driftline.retrain")

ATTEMPTS: Final = 5
PATIENCE: Final = timedelta(minutes=1)
BASELINE_DAYS: Final = 7
"""A week: weekdays and weekends look different."""
RULE: Final = PromotionRule()


class RetrainLoop:
    """A retraining with reasons, carried through: one step a call, for days, across restarts.

    Everything is one document in the store; what a step makes is found again by a key that is
    made of the decision, so that after a crash, anywhere, `advance` goes on where it was. Money
    is spent, labels are taken and traffic is moved only after a yes: by `approve`, or by a
    function that is asked.
    """

    def __init__(
        self,
        backend: RetrainBackend,
        store: Store,
        name: str,
        *,
        incumbent: str | Callable[[], str],
        sample: Callable[[], Iterable[SampledFrame]],
        holdout: Holdout | str | Path,
        args: TrainArgs,
        deploy: Deploy,
        folder: str | Path,
        rule: PromotionRule = RULE,
        baseline: Callable[[datetime, datetime], Profile | None] | None = None,
        baseline_days: int = BASELINE_DAYS,
        sinks: Sequence[MarkSink] = (),
        approve: ApproveFunction | None = None,
        read: Callable[[str], bytes] | None = None,
        clock: Clock | None = None,
        patience: timedelta = PATIENCE,
    ) -> None:
        """Keep the parts; nothing is asked or changed yet.

        Args:
            backend: where datasets are kept and models are trained.
            store: where the loop is remembered.
            name: what is retrained, such as ``"acme/line-3"``.
            incumbent: the model that serves, or a function that says which: the previous best.
                It is asked, and kept (`RetrainBackend.keep`), when a loop is opened: a path may be
                the one that `deploy` overwrites.
            sample: gives the frames that people are to look at, such as ``lambda:
                Selection.of([*reservoir.uncertain(), *reservoir.uniform()], budget=300).frames``.
                Those with source "uniform" are never trained on.
            holdout: the golden holdout, or its path. Its classes are the classes.
            args: how to train.
            deploy: brings a model to its users; see `Deploy`.
            folder: where pictures, frames under review, answers of models, the new holdout and
                the new reference are kept; one for each name. All that call `advance` need the
                same.
            rule: when a candidate may take over.
            baseline: gives the profile of what was found between two times, or None where those
                days were not healthy; None: no reference is kept.
            baseline_days: healthy days in a row that make a reference.
            sinks: told at the end: Datadog, Grafana and PagerDuty have ``mark``.
            approve: asked at a gate; True is a yes.
            read: content of a frame that was sampled by its id; by default the id is a path.
            clock: where time comes from; else the machine's.
            patience: how long one call shows frames to models.

        Raises:
            InputError: an argument cannot be used.
        """
        refuse_no_text("name", name)
        refuse_number("baseline_days", baseline_days, "1 or more", least=1, whole=True)
        refuse_no_time("patience", patience)
        part(store, Store, name="store", what='a store, such as SqlStore("sqlite:///driftline.db")')
        part(args, TrainArgs, name="args", what="a driftline.platform.TrainArgs(…)")
        part(folder, (str, Path), name="folder", what="the path of a folder")
        self._name, self._book = name, Book(store, name)
        self._clock = SystemClock() if clock is None else clock
        self._parts = Parts(
            name=name,
            book=self._book,
            backend=backend,
            incumbent=incumbent,
            sample=sample,
            read=(lambda path: Path(path).read_bytes()) if read is None else read,
            source=holdout,
            args=args,
            deploy=deploy,
            rule=rule,
            baseline=baseline,
            baseline_days=baseline_days,
            sinks=parts(sinks, object, name="sinks", what="a sink"),
            approve=approve,
            folder=Path(folder),
            clock=self._clock,
            patience=patience,
        )

    # --- what people ask ----------------------------------------------------------------------

    def open(self, decision: Decision) -> LoopStatus:
        """Begin a retraining, once for each decision.

        While one is under way, and for a decision that was carried through already, nothing is
        begun: the answer is the status of that one. One whose candidate serves, and that waits for
        its healthy week or tells the sinks, ends there for another decision, with no reference:
        a world that moves on has no such week.

        Raises:
            InputError: the decision is not to retrain, or it has no date.
        """
        if decision.action is not Action.RETRAIN:
            msg = f"the decision is to {decision.action.value}, not to retrain: {decision.trigger}"
            raise InputError(msg)
        if decision.at is None:
            msg = (
                "the decision has no date, by which one is told from the next: give its Evidence "
                f"the time it is about, at=…: {decision.trigger}"
            )
            raise InputError(msg)
        found = self._book.find()
        known, version = (None, 0) if found is None else found
        ident = loop_id(decision, name=self._name)
        if known is not None and known.id == ident:
            return self._status(known)
        if (past := self._book.past(ident)) is not None:
            return self._status(past)
        if known is not None and known.move in {Move.BASELINE, Move.ANNOUNCE}:
            self._close(known, version)
            return self.open(decision)
        if known is not None and not known.move.over:
            return self._status(known)
        now = self._clock.now()
        state = begin(decision, name=self._name, incumbent=self._parts.serving(), now=now)
        try:
            self._book.write(state, version, before=known)
        except StoreConflict:  # somebody else opened one at the same time
            return self.status()
        return status_of(state, now=now, did=state.notes[-1].said)

    def _close(self, state: State, version: int) -> None:
        """End one whose candidate serves already, because another decision was taken."""
        kept = "a reference was" if "reference" in state.facts else "no reference was"
        said = f"{kept} taken before the next decision; {state.candidate} serves"
        after = state.to(Move.DONE, said, step=step_of(state), now=self._clock.now())
        with suppress(StoreConflict):  # somebody else moved it
            self._book.write(after, version, before=state)

    def status(self) -> LoopStatus:
        """Where the retraining stands, read from the store.

        Raises:
            ConfigError: none was opened.
        """
        return self._status(self._book.known()[0])

    def approve(self, gate: Gate, *, by: str) -> LoopStatus:
        """Say yes to what the loop asks for; the next `advance` does it, and nothing else.

        The yes is to the question as it stands (`LoopStatus.asks`): where what would be done is
        another by then, it is asked again. Where nothing needs a yes any more, nothing changes.

        Args:
            gate: what for.
            by: who says so, for the record.

        Raises:
            InputError: nobody is named, or there is no such gate.
            ConfigError: the loop does not ask for that now.
        """
        if not by.strip() or gate not in GATES:
            msg = f"approve(gate={gate!r}, by={by!r}): gate is one of {GATES}, by names a person"
            raise InputError(msg)
        state, version = self._book.known()
        row = TABLE.get(state.move)
        if row is None or row.gate != gate:
            msg = f"the retraining of {self._name} is at {state.move.value!r} and asks for no {gate!r}"
            raise ConfigError(msg)
        asks = self._asks(state)
        return self._status(state) if asks is None else self._approve(state, version, asks, by)

    def review(self) -> ReviewBatch:
        """The frames before people, with proposed labels: a folder they may work in.

        Raises:
            UnreadableData: the loop has not come that far.
        """
        return ReviewBatch.open(self._parts.review(self._book.known()[0]))

    def import_labels(self, source: str | Path) -> LoopStatus:
        """Take labels that people made elsewhere: every frame that is there counts as reviewed.

        Args:
            source: a folder of YOLO labels or a COCO JSON; see `ReviewBatch.read`.
        """
        batch = self.review()
        done = batch.read(source, whole=True)
        for frame in (*done.chosen, *done.random):
            batch.label(frame.id, frame.truth)
        return self.status()

    def abort(self, reason: str) -> LoopStatus:
        """Stop the retraining, whatever it is doing, and go back to the incumbent.

        A training is cancelled; traffic that was moved is moved back, also after the end. What
        was learned stays in the status.

        Args:
            reason: why, for the record.

        Raises:
            ConfigError: it ended without a change of traffic.
        """
        for left in reversed(range(ATTEMPTS)):
            try:
                self._stop(reason)
            except StoreConflict:  # a call that was under way came first
                if not left:
                    raise
            else:
                break
        return self.advance()

    def _stop(self, reason: str) -> None:
        state, version = self._book.known()
        if state.move in {Move.REFUSED, Move.ABORTED, Move.ROLLED_BACK}:
            msg = f"the retraining of {self._name} is {state.move} already: {state.notes[-1].said}"
            raise ConfigError(msg)
        if state.move is not Move.STOP:
            now, said = self._clock.now(), f"to be stopped: {reason}"
            after = state.to(Move.STOP, said, step=step_of(state), now=now, reasons=(reason,))
            self._book.write(after, version, before=state)

    # --- what a scheduler calls ---------------------------------------------------------------

    def advance(self) -> LoopStatus:
        """Do the next move, or look whether what it waits for has come.

        Call it as often as you like, from as many places: it changes nothing that is not due.

        Returns:
            What was done, or what is waited for.

        Raises:
            ConfigError: none was opened, or the parts do not fit.
            DriftlineError: a part failed; nothing is lost, the next call tries again.
        """
        with alone(self._parts.folder / "lock") as free:
            if free:
                return self._advance()
        waits_for = "another call on this machine, which is at it"
        return status_of(self._book.known()[0], now=self._clock.now(), waits_for=waits_for)

    def _advance(self) -> LoopStatus:
        state, version = self._book.known()
        row = TABLE.get(state.move)
        if row is None:
            return self._status(state)
        if (asks := self._asks(state)) is not None:
            if not self._says_yes(asks, state):
                return status_of(state, now=self._clock.now(), asks=asks)
            try:  # written before it is acted on
                return self._approve(state, version, asks, "the approve function")
            except StoreConflict:  # somebody else said yes, or no, meanwhile
                return self.status()
        answer = row.does(self._parts, state)
        if isinstance(answer, Wait):
            return status_of(state, now=self._clock.now(), waits_for=answer.said)
        return self._move(state, version, answer)

    def _move(self, state: State, version: int, answer: Done) -> LoopStatus:
        row = TABLE[state.move]
        now = self._clock.now()
        to = row.then if answer.to is None else answer.to
        after = state.learned(**answer.facts).to(
            to, answer.said, step=step_of(state), now=now, reasons=answer.reasons
        )
        if to is Move.FREEZE and state.move is Move.TRAIN:  # another attempt wants another yes
            approved = {gate: by for gate, by in state.approved.items() if gate != "money"}
            after = evolve(after, attempt=state.attempt + 1, approved=approved)
        try:
            self._book.write(after, version, before=state, frames=answer.frames)
        except StoreConflict:
            return self._overtaken(state)
        _log.info("%s: %s", self._name, after.notes[-1])
        return status_of(after, now=now, did=answer.said)

    def _overtaken(self, state: State) -> LoopStatus:
        """Somebody else moved the loop meanwhile; a training that nobody waits for is stopped."""
        stored = self._book.known()[0]
        if stored.id != state.id or stored.move in {Move.STOP, Move.ABORTED}:
            self._parts.backend.cancel(state.key)
        return self._status(stored)

    # --- small things -------------------------------------------------------------------------

    def _approve(self, state: State, version: int, asks: Ask, by: str) -> LoopStatus:
        now, said = self._clock.now(), f"{asks.gate}: yes, by {by}"
        notes = (*state.notes, Note(at=now, step=step_of(state), said=said))
        yes = Yes(by=by, said=asks.said, most_cents=asks.most_cents)
        after = evolve(state, approved={**state.approved, asks.gate: yes}, notes=notes)
        self._book.write(after, version, before=state)
        return status_of(after, now=now, did=said)

    def _asks(self, state: State) -> Ask | None:
        """What needs a yes before the next move; one to another question is none."""
        row = TABLE.get(state.move)
        asks = None if row is None or row.asks is None else row.asks(self._parts, state)
        if asks is None or (yes := state.approved.get(asks.gate)) is None:
            return asks
        return None if (yes.said, yes.most_cents) == (asks.said, asks.most_cents) else asks

    def _says_yes(self, asks: Ask, state: State) -> bool:
        """Whether the approve function does; after a failed training only a person's word counts."""
        if self._parts.approve is None or (asks.gate == "money" and state.attempt > 1):
            return False
        return self._parts.approve(asks) is True

    def _status(self, state: State) -> LoopStatus:
        asks, why = None, ""
        try:
            asks = self._asks(state)
        except DriftlineError as exc:  # a label that is half written, a model that was replaced
            why = str(exc)
        return status_of(state, now=self._clock.now(), asks=asks, waits_for=why)

    def __repr__(self) -> str:
        """What it retrains."""
        return f"RetrainLoop({self._name!r})"
