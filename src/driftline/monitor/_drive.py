"""The two ways to hold a run's conversation: with threads, and on the loop of a service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from attrs import frozen

from driftline._checks import refuse_no_time
from driftline._clock import SystemClock
from driftline.errors import InputError, StoreBusy
from driftline.monitor._asking import Patience, aask_all, ask_all
from driftline.monitor._clients import Clients
from driftline.monitor._run import Run
from driftline.monitor._sources import Answer, Ask
from driftline.monitor._tick import Conversation, Right


@frozen(kw_only=True)
class Budget:
    """How much real time a run may take.

    Attributes:
        total: the whole run; a question on its way may outlast it.
        delivery: the part that is kept for sending, so that a slow platform holds up no page.
    """

    total: timedelta = timedelta(minutes=4)
    delivery: timedelta = timedelta(seconds=30)

    def __attrs_post_init__(self) -> None:
        """Refuse a part that is no part."""
        refuse_no_time("total", self.total)
        refuse_no_time("delivery", self.delivery)
        if self.delivery > self.total:
            msg = f"delivery={self.delivery} must not be above total={self.total}"
            raise InputError(msg)


class Driver:
    """Asks what a conversation wants to know until it reports."""

    def __init__(self, clients: Clients, *, workers: int, budget: Budget) -> None:
        """Keep who is asked, how many questions at once, and for how long."""
        self._clients = clients
        self._workers = workers
        self._budget = budget
        self._watch = SystemClock()  # a time budget is real time, whatever the clock says

    def run(self, conversation: Conversation, keep: Right) -> Run:
        """The report, after questions asked in threads."""
        patience = self._patience()
        said = _step(conversation, None)
        while not isinstance(said, Run):
            answers: Sequence[Answer] | StoreBusy
            try:
                answers = ask_all(
                    self._clients, said, patience, workers=self._workers, touch=keep.touch
                )
            except StoreBusy as exc:
                answers = exc
            said = _step(conversation, answers)
        return said

    async def arun(self, conversation: Conversation, keep: Right) -> Run:
        """The report, after questions awaited, or asked in threads of a blocking platform."""
        patience = self._patience()
        said = await asyncio.to_thread(_step, conversation, None)
        while not isinstance(said, Run):
            answers: Sequence[Answer] | StoreBusy
            try:
                answers = await self._answers(said, patience, keep)
            except StoreBusy as exc:
                answers = exc
            said = await asyncio.to_thread(_step, conversation, answers)
        return said

    async def _answers(
        self, asks: Sequence[Ask], patience: Patience, keep: Right
    ) -> Sequence[Answer]:
        if not self._clients.is_async:
            return await asyncio.to_thread(
                ask_all, self._clients, asks, patience, workers=self._workers, touch=keep.touch
            )

        async def touch() -> None:
            if keep.due:
                await asyncio.to_thread(keep.touch)

        return await aask_all(self._clients, asks, patience, workers=self._workers, touch=touch)

    def _patience(self) -> Patience:
        for_asking = self._budget.total - self._budget.delivery
        return Patience(self._watch, self._watch.monotonic() + for_asking.total_seconds())


def _step(
    conversation: Conversation, answers: Sequence[Answer] | StoreBusy | None
) -> Sequence[Ask] | Run:
    """The next questions, or the report when there are no more.

    The conversation hears of a lease that was lost: its earlier rounds are done and are reported.
    """
    try:
        if isinstance(answers, StoreBusy):
            return conversation.throw(answers)
        return next(conversation) if answers is None else conversation.send(answers)
    except StopIteration as stop:
        run: Run = stop.value
        return run
