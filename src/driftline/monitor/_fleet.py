"""Who is watched: names somebody gave, or whatever the Platform lists, remembered between runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final, TypeAlias

from attrs import asdict, define, field, frozen
from attrs.converters import optional

from driftline._checks import a, not_negative, part, parts
from driftline.errors import ConfigError, InputError
from driftline.monitor._clients import Clients
from driftline.monitor._gather import GONE_AFTER, GONE_APART
from driftline.monitor._run import Problem
from driftline.monitor._sources import Answer, Ask, Listing
from driftline.platform import DeploymentStatus
from driftline.platform._deployment import checked_owner, checked_status
from driftline.records import Change, Put, Store
from driftline.rules._time import micros, span


def _references(deployments: Iterable[str]) -> tuple[str, ...]:
    names = parts(deployments, str, name="deployments", what="a name such as 'acme/line-3'")
    if not all(names):
        msg = f"deployments={deployments!r} holds an empty name; name each, such as 'acme/line-3'"
        raise InputError(msg)
    return tuple(dict.fromkeys(names))


def _owners(given: Iterable[str]) -> tuple[str, ...]:
    names = parts(given, str, name="owners", what="the name of a workspace, such as 'acme'")
    return tuple(map(checked_owner, names))


@frozen(kw_only=True)
class Fleet:
    """Deployments that are found by listing them, again and again.

    A deployment that is listed anew is watched from then on. One that is missing from two listings
    in a row, a minute apart or more, is not watched any more: its open alerts end and say so, and
    what rules have learnt of it is kept for 30 days, should it come back. A listing that fails, or
    is cut off, ends nothing.

    Attributes:
        owners: workspaces; those that have a client of their own, or the client's, when empty.
        match: pattern of ``"owner/deployment"``, as of `driftline.rules.Rule.deployments`.
        status: only deployments of this status; all of them by default, because one that failed
            is worth watching.
        every: how often they are listed; a call or more for each owner.
        also: deployments to watch whatever the listing says, such as those it cannot show.
    """

    owners: Sequence[str] = field(default=(), converter=_owners)
    match: str = field(default="*", validator=a(str, "a pattern such as 'acme/line-*'"))
    status: DeploymentStatus | None = field(default=None, converter=optional(checked_status))
    every: timedelta = field(default=timedelta(minutes=10), validator=not_negative)
    also: Sequence[str] = field(default=(), converter=_references)


Watched: TypeAlias = Sequence[str] | Fleet | Callable[[], Iterable[str]]
"""Names, a `Fleet`, or a function that answers names at each run.

A function that answers no names at all has failed, as one that raises: nothing is ended."""


@define(kw_only=True)
class _Part:
    """What one listing told: the deployments of an owner.

    Attributes:
        at: when, microseconds since 1970.
        counted: when it was last counted who is missing.
        missing: deployment → in how many listings in a row it was missing.
        unlisted: how many there are that were not listed.
        beside: deployments that were listed and are not of the pattern.
        resting: deployments that were not ready.
    """

    at: int = 0
    counted: int = 0
    missing: dict[str, int] = field(factory=dict)
    unlisted: int = 0
    beside: list[str] = field(factory=list)
    resting: list[str] = field(factory=list)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@define(kw_only=True)
class Roster:
    """Who is watched, as far as is known.

    Attributes:
        watched: as the monitor was told.
        store: where it is remembered.
        space: prefix of the monitor's spaces.
        owners: whose deployments are listed; empty when names were given.
        clients: who is asked about them.
    """

    watched: Watched
    store: Store
    space: str
    owners: tuple[str, ...]
    clients: Clients
    _parts: dict[str, _Part] = field(factory=dict)
    _changed: set[str] = field(factory=set)

    @classmethod
    def load(cls, watched: Watched, clients: Clients, store: Store, space: str) -> Roster:
        """As the last run left it."""
        owners: Sequence[str] = ()
        if isinstance(watched, Fleet):
            owners = watched.owners or clients.owners or ("",)
        elif callable(watched):
            owners = ("",)
        roster = cls(
            watched=watched,
            store=store,
            space=f"{space}/fleet",
            owners=tuple(owners),
            clients=clients,
        )
        if owners:
            found = {d.key: d.value for d in store.scan(roster.space)}
            roster._parts = {owner: _Part(**found[owner]) for owner in owners if owner in found}
        return roster

    @property
    def names(self) -> tuple[str, ...]:
        """Whom to ask: those named or listed for whom there is a client."""
        return tuple(filter(self.clients.has, self._told))

    @property
    def _told(self) -> tuple[str, ...]:
        if isinstance(self.watched, Fleet):
            listed = [name for part in self._parts.values() for name in part.missing]
            return tuple(dict.fromkeys((*listed, *self.watched.also)))
        if callable(self.watched):
            return tuple(self._parts[""].missing) if "" in self._parts else ()
        return tuple(self.watched)

    @property
    def known(self) -> bool:
        """Whether every owner was listed at least once: only then is a name too few a sign."""
        return set(self.owners) <= set(self._parts)

    @property
    def resting(self) -> frozenset[str]:
        """Deployments that were not ready when they were listed: those need not have metrics."""
        return frozenset(name for part in self._parts.values() for name in part.resting)

    @property
    def unlisted(self) -> int:
        """How many deployments no listing showed and nobody named."""
        return sum(map(self._unknown, self._parts))

    def questions(self, now: datetime) -> list[Ask]:
        """The listings that are due."""
        if not isinstance(self.watched, Fleet):
            return []
        last = micros(now) - span(self.watched.every)
        due = [owner for owner in self.owners if self._part(owner).at <= last]
        return [Ask(what="deployments", deployment=o, status=self.watched.status) for o in due]

    def take(self, answers: Iterable[Answer], now: datetime) -> list[Problem]:
        """Take listings in; answer what went wrong."""
        problems: list[Problem] = []
        if callable(self.watched):
            problems += self._called(self.watched, now)
        for answer in answers:
            owner = answer.ask.deployment
            if answer.error is None:
                listed = list(self._matching(answer.value))
                self._take(owner, listed, answer.value.unlisted, now)
                others = {each.ref for each in answer.value} - set(listed)
                self._parts[owner].beside = sorted(others)
                self._parts[owner].resting = [
                    each.ref for each in answer.value if each.status != DeploymentStatus.READY
                ]
            else:
                problems.append(_failed(owner or "the client's owner", answer.error))
        return [*problems, *self._unseen(), *self._without_client()]

    def changes(self) -> list[Change]:
        """What to write."""
        return [
            Put(space=self.space, key=owner, value=self._parts[owner].to_json())
            for owner in sorted(self._changed)
        ]

    def _called(self, names: Callable[[], Iterable[str]], now: datetime) -> list[Problem]:
        try:
            found = _references(names())
        except Exception as exc:  # noqa: BLE001 - border: a function of the user's may raise anything
            return [_failed("the function", exc)]
        if found:
            self._take("", found, 0, now)
        elif self.names:
            return [Problem(deployment="", message=_NONE)]
        return []

    def _matching(self, listing: Listing) -> Iterator[str]:
        assert isinstance(self.watched, Fleet)
        return (d.ref for d in listing if fnmatchcase(d.ref, self.watched.match))

    def _take(self, owner: str, listed: Sequence[str], unlisted: int, now: datetime) -> None:
        before, at = self._part(owner), micros(now)
        counts = at - before.counted >= GONE_APART
        missing = dict.fromkeys(listed, 0)
        for name in before.missing.keys() - missing.keys():
            # A listing that was cut off says nothing of those it does not show; only the
            # Platform's own word does.
            times = self._not_found(name) if unlisted else before.missing[name] + counts
            if times < GONE_AFTER:
                missing[name] = times
        counted = at if counts else before.counted
        self._parts[owner] = _Part(at=at, counted=counted, missing=missing, unlisted=unlisted)
        self._changed.add(owner)

    def _not_found(self, name: str) -> int:
        page = self.store.get(f"{self.space.removesuffix('/fleet')}/state", name)
        return 0 if page is None else int(page.value["m"][0])

    def _part(self, owner: str) -> _Part:
        return self._parts.get(owner, _Part())

    def _unknown(self, owner: str) -> int:
        """Of an owner, how many no listing showed, less those that `Fleet.also` names."""
        part = self._parts[owner]
        if not part.unlisted or not isinstance(self.watched, Fleet):
            return 0
        listed = {name for name, times in part.missing.items() if not times} | {*part.beside}
        whose = owner or next((name.partition("/")[0] for name in sorted(listed)), "")
        named = [
            name
            for name in self.watched.also
            if name.startswith(f"{whose}/")
            and name not in listed
            and self._not_found(name) < GONE_AFTER
        ]
        return max(0, part.unlisted - len(named))

    def _unseen(self) -> Iterator[Problem]:
        for owner in sorted(self._parts):
            if unknown := self._unknown(owner):
                message = (
                    f"{unknown} deployments of {owner or 'the owner'} could not be seen: the "
                    "Platform lists a hundred by status and model; name them in Fleet(also=[…])"
                )
                yield Problem(deployment="", message=message)

    def _without_client(self) -> Iterator[Problem]:
        for name in self._told:
            if not self.clients.has(name):
                message = "nobody is asked about it: platform= has no client for its owner; add one"
                yield Problem(deployment=name, message=message)


_NONE: Final = (
    "the function answered no deployments, which is taken for its failure: those known are asked; "
    "to watch none of them any more, stop the monitor"
)


def _failed(whose: str, error: Exception) -> Problem:
    message = (
        f"the deployments of {whose} could not be listed: {type(error).__name__}: {error}; "
        "those known are asked"
    )
    return Problem(deployment="", message=message, error=error)


def checked(watched: Watched, clients: Clients) -> Watched:
    """Who is watched.

    Raises:
        InputError: it is neither names nor a way to find them.
        ConfigError: nobody is there to be asked.
    """
    if isinstance(watched, Fleet):
        for owner in watched.owners or clients.owners or ("",):
            if not clients.given or not hasattr(clients.of(owner), "deployments"):
                msg = "Fleet needs a platform that lists deployments, such as a PlatformClient"
                raise ConfigError(msg)
        _reachable(watched.also, clients)
        return watched
    given: object = watched
    if given is Fleet:  # a class can be called, and would answer no names
        part(given, Fleet, name="deployments", what="a Fleet(…)")
    if callable(watched):
        return watched
    names = _references(watched)
    if clients.given and not names:
        msg = (
            "deployments= names nobody, so that platform= would be asked nothing; name them, pass "
            "a Fleet(…), or platform=None when all numbers come from you"
        )
        raise ConfigError(msg)
    _reachable(names, clients)
    return names


def _reachable(names: Iterable[str], clients: Clients) -> None:
    """Refuse a name for which there is no client."""
    if clients.given:
        for name in names:
            clients.of(name)
