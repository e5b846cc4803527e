"""Who is asked about which deployment: one client, or one for each owner, each with its own key."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from driftline._checks import part
from driftline._clock import Clock
from driftline.errors import ConfigError, InputError
from driftline.monitor._sources import Ask, AsyncPlatform, Platform

Client: TypeAlias = Platform | AsyncPlatform

ROUND_SHARE: Final = 0.9
"""Part of a key's minute that one round of questions uses; the rest is for the logs of what fires,
so that no page waits for the next minute."""


class Clients:
    """The client of each owner; a single one answers for all."""

    def __init__(self, platform: Client | Mapping[str, Client] | None) -> None:
        """Keep them.

        Raises:
            InputError: one of them is no platform.
            ConfigError: there are none, or blocking and async ones.
        """
        self._by_owner: Mapping[str, Client] = {}
        self._one: Client | None = None
        if isinstance(platform, Mapping):
            self._by_owner = dict(platform)
            if not platform:
                msg = "platform={} must name a client for each owner, such as {'acme': client}"
                raise ConfigError(msg)
        else:
            self._one = platform
        for client in self._all():
            _check(client)
        self.is_async = self._face()

    def _face(self) -> bool:
        faces = {_is_async(client) for client in self._all()}
        if len(faces) > 1:
            msg = "platform= holds blocking and async clients; pass one kind"
            raise ConfigError(msg)
        return True in faces

    def _all(self) -> list[Client]:
        return [*self._by_owner.values()] if self._one is None else [self._one]

    @property
    def given(self) -> bool:
        """Whether there is anybody to ask."""
        return bool(self._all())

    @property
    def owners(self) -> tuple[str, ...]:
        """The owners who have a client of their own."""
        return tuple(self._by_owner)

    @property
    def clock(self) -> Clock | None:
        """The clock that the first one shows, None for none: simulated time is shared time."""
        shown = getattr(next(iter(self._all()), None), "clock", None)
        return shown if hasattr(shown, "asleep") else None

    def has(self, deployment: str) -> bool:
        """Whether somebody answers for a deployment; nobody needs to where nobody is asked."""
        owner = deployment.partition("/")[0]
        return self._one is not None or not self._by_owner or owner in self._by_owner

    def of(self, deployment: str) -> Client:
        """Who answers for a deployment or an owner.

        Raises:
            ConfigError: nobody does.
        """
        if self._one is not None:
            return self._one
        owner = deployment.partition("/")[0]
        if owner not in self._by_owner:
            msg = f"{deployment}: platform= has no client for {owner!r}, only {', '.join(self.owners)}"
            raise ConfigError(msg)
        return self._by_owner[owner]

    def round(self, asks: Sequence[Ask]) -> list[Ask]:
        """The first questions, as many as each key's minute carries.

        A client says so by ``calls_per_minute``; one that does not is asked everything at once.
        """
        used: Counter[int] = Counter()
        chosen: dict[str, bool] = {}
        for ask in asks:
            client = self.of(ask.deployment)
            limit = getattr(client, "calls_per_minute", None)
            used[id(client)] += 1
            fits = limit is None or used[id(client)] <= max(1, ROUND_SHARE * limit)
            chosen.setdefault(ask.deployment, fits)  # all questions about one, or none
        return [ask for ask in asks if chosen[ask.deployment]]

    def sorted(self, asks: Sequence[Ask]) -> list[tuple[Client, list[Ask]]]:
        """Questions by who answers them, in order."""
        found: dict[int, tuple[Client, list[Ask]]] = {}
        for ask in asks:
            client = self.of(ask.deployment)
            found.setdefault(id(client), (client, []))[1].append(ask)
        return list(found.values())


def _check(client: object) -> None:
    part(client, object, name="platform", what="a PlatformClient")
    if not callable(getattr(client, "metrics", None)):
        msg = (
            f"platform={client!r} has no metrics(); pass a PlatformClient, or None when all "
            "numbers come from you"
        )
        raise InputError(msg)


def _is_async(client: object) -> bool:
    metrics: Callable[..., Any] | None = getattr(client, "metrics", None)
    return inspect.iscoroutinefunction(metrics)
