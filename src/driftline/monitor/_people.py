"""What people say to a monitor, and what they may know of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attrs import evolve

from driftline._clock import Clock
from driftline._draw import plot
from driftline.errors import InputError
from driftline.monitor import _views
from driftline.monitor._book import Book, memory_key
from driftline.monitor._codec import alert_from_json, notice_from_json, transition_from_json
from driftline.monitor._keep import Keep
from driftline.monitor._letters import again
from driftline.monitor._outbox import letter
from driftline.monitor._run import DeadLetter, Notice, Transition
from driftline.monitor._standing import Standing, standing
from driftline.monitor._subjects import Subject
from driftline.records import Alert, DeadItem, Drop, Put, Remove, Store
from driftline.rules import Phase, Rule, Silence

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class People:
    """The part of a `driftline.Monitor` that people use between its runs.

    Attributes:
        name: its name in the store and in dedup keys.
        rules: what is judged.
    """

    def __init__(
        self, *, name: str, rules: Sequence[Rule], store: Store, clock: Clock, lease: timedelta
    ) -> None:
        """Keep where its memory is."""
        self.name = name
        self.rules = tuple(rules)
        self._store = store
        self._clock = clock
        self._lease = lease
        self._space = f"monitor/{name}"

    def _keep(self) -> Keep:
        return Keep(self._store, self._space, self._clock, self._lease)

    # --- what people say ---------------------------------------------------------------------

    def silence(
        self,
        *,
        author: str,
        reason: str,
        end: datetime,
        start: datetime | None = None,
        rule: str = "*",
        deployment: str = "*",
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Do not tell people of some alerts for a while; their state is tracked all the same.

        Args:
            author: who asks for it.
            reason: why.
            end: until when.
            start: from when; now, unless given.
            rule: pattern of rule names.
            deployment: pattern of deployments.
            labels: labels a slice must carry.

        Returns:
            Its name, for `lift`.
        """
        return self._silenced(
            Silence(
                author=author,
                reason=reason,
                start=start or self._clock.now(),
                end=end,
                rule=rule,
                deployment=deployment,
                labels=labels or {},
            )
        )

    def disable(self, rule: str, *, author: str, reason: str, deployment: str = "*") -> str:
        """Tell nobody of a rule until it is enabled again; answer a name for `lift`.

        Raises:
            InputError: no rule is called so.
        """
        self._known(rule)
        silence = Silence(
            author=author,
            reason=reason,
            start=self._clock.now(),
            end=None,
            rule=rule,
            deployment=deployment,
        )
        return self._silenced(silence)

    def enable(self, rule: str) -> None:
        """End whatever disables a rule; an alert that is still open is told at the next run."""
        self._known(rule)
        for name, silence in self.silences().items():
            if silence.end is None and silence.rule == rule:
                self.lift(name)

    def lift(self, name: str) -> None:
        """End a silence now.

        Raises:
            InputError: there is none of this name.
        """
        silence = self.silences().get(name)
        if silence is None:
            msg = f"no silence is called {name!r}; monitor.silences() lists them"
            raise InputError(msg)
        now = self._clock.now()
        space = f"{self._space}/silences"
        if silence.start >= now:
            self._store.write([Remove(space=space, key=name)])
        elif silence.end is None or silence.end > now:
            # It is kept for a day: a late run still judges the time it was on.
            self._store.write(
                [Put(space=space, key=name, value=evolve(silence, end=now).to_json())]
            )

    def silences(self) -> dict[str, Silence]:
        """Silences and disabled rules by name, those that are over included for a day."""
        found = self._store.scan(f"{self._space}/silences")
        return {document.key: Silence.from_json(document.value) for document in found}

    def acknowledge(self, key: str, *, author: str, note: str = "") -> None:
        """Say that somebody has taken on an open alert: it is not repeated to people any more.

        Nothing is sent to any sink: an acknowledgement there is a person's own act. It ends with
        the alert.

        Raises:
            InputError: no open alert has this key.
        """
        keys = [standing.key for standing in self.status() if standing.phase is Phase.FIRING]
        if key not in keys:
            msg = f"no open alert has the key {key!r}; open are {', '.join(keys) or 'none'}"
            raise InputError(msg)
        value = {"author": author, "note": note, "at": self._clock.now().isoformat()}
        self._store.write([Put(space=f"{self._space}/acknowledged", key=key, value=value)])

    def forget(
        self, rule: str, *, deployment: str, labels: Mapping[str, str] | None = None
    ) -> None:
        """Let a rule learn anew what is usual, after a change that was meant to be.

        Raises:
            InputError: no rule is called so.
            StoreBusy: a run is at work; try again when it is done.
        """
        self._known(rule)
        keep = self._keep()
        try:
            place = (rule, Subject.of(deployment, labels or {}))
            keep.write([Remove(space=f"{self._space}/memory", key=memory_key(place))])
        finally:
            keep.release()

    # --- what there is to know ---------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """Where its time comes from."""
        return self._clock

    def status(self) -> tuple[Standing, ...]:
        """Where every rule stands on everything it judges, by the last run."""
        book = Book.load(self._store, self._space)
        severities = {rule.name: rule.severity for rule in self.rules}
        return tuple(
            standing(self.name, place, state, severities.get(place[0]), book.acknowledged)
            for place, state in sorted(book.states().items())
        )

    def alerts(self) -> tuple[Alert, ...]:
        """The alerts people have been told of and that are not over, as they were last told."""
        groups = [d.value for d in self._store.scan(f"{self._space}/groups")]
        members = {key for group in groups for key in group["members"]}
        single = [
            state.alert
            for state in Book.load(self._store, self._space).states().values()
            if state.told and state.alert is not None and state.alert["key"] not in members
        ]
        return tuple(map(alert_from_json, [group["alert"] for group in groups] + single))

    def transitions(
        self, *, since: datetime | None = None, key: str | None = None, last: int | None = None
    ) -> tuple[Transition, ...]:
        """What happened to alerts, by time; see `driftline.records.Store.history`."""
        found = self._store.history(f"{self._space}/transitions", key, since=since, last=last)
        return tuple(transition_from_json(e.key, e.at, e.record) for e in found)

    def notices(
        self, *, since: datetime | None = None, key: str | None = None, last: int | None = None
    ) -> tuple[Notice, ...]:
        """Which sink took which alert, by time; see `driftline.records.Store.history`."""
        found = self._store.history(f"{self._space}/notices", key, since=since, last=last)
        return tuple(notice_from_json(e.key, e.at, e.record) for e in found)

    def drills(self) -> tuple[Transition, ...]:
        """What happened to the synthetic alerts of `drill`, by time."""
        found = self._store.history(f"{self._space}/drills")
        return tuple(transition_from_json(e.key, e.at, e.record) for e in found)

    def plot(self, ax: Axes | None = None, *, since: datetime | None = None) -> Axes:
        """When alerts were pending, firing and not told: a row for each rule and subject.

        Args:
            ax: where to draw; None makes a figure of its own.
            since: from when on; None: all that the store keeps.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        now = self._clock.now()
        return plot(_views.alerts(self.transitions(), since=since, now=now), ax)

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """What was given up, newest first, until it is revived or dropped."""
        return tuple(letter(dead) for dead in self._store.dead(f"{self._space}/"))

    def revive(self, number: int) -> None:
        """Send a dead letter again at the next run, after what made it one was mended.

        The beginning of an alert that is over by now is followed by its end, so that no sink
        keeps it open.

        Raises:
            InputError: there is none of this number, or its alert fires anew, of which it would
                tell something untrue: `drop` it.
            StoreBusy: a run is at work; try again when it is done.
        """
        keep = self._keep()
        try:
            dead = self._dead(number)
            changes = again(
                dead,
                open_alerts=self.alerts(),
                waiting=self._store.waiting(dead.item.queue),
                dead_items=self._store.dead(dead.item.queue),
                now=self._clock.now(),
            )
            keep.write(changes)
        finally:
            keep.release()

    def drop(self, number: int) -> None:
        """Forget a dead letter that is dealt with.

        Raises:
            InputError: there is none of this number.
        """
        self._dead(number)
        self._store.write([Drop(id=number)])

    def _dead(self, number: int) -> DeadItem:
        for dead in self._store.dead(f"{self._space}/"):
            if dead.item.id == number:
                return dead
        msg = f"no dead letter has the number {number}; monitor.dead_letters() lists them"
        raise InputError(msg)

    def _silenced(self, silence: Silence) -> str:
        name = f"{silence.start:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        put = Put(space=f"{self._space}/silences", key=name, value=silence.to_json(), version=0)
        self._store.write([put])
        return name

    def _known(self, rule: str) -> None:
        names = [each.name for each in self.rules]
        if rule not in names:
            msg = f"no rule is called {rule!r}; there are {', '.join(names) or 'none'}"
            raise InputError(msg)
