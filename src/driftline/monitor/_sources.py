"""What a monitor asks of a platform.

`driftline.PlatformClient` and `driftline.AsyncPlatformClient` answer; so does any object of yours
with the same three methods, and a fourth where a `driftline.monitor.Fleet` is to be found.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from attrs import frozen

from driftline.errors import DriftlineError
from driftline.platform import Window
from driftline.records import LogLine, Series


class Observed(Protocol):
    """What ``metrics`` answers; `driftline.platform.DeploymentMetrics` is one."""

    @property
    def series(self) -> Mapping[str, Series]:
        """Metric → series."""
        ...

    @property
    def start(self) -> datetime | None:
        """From when on the answer is complete; None when it has no times."""
        ...

    @property
    def settled_until(self) -> datetime | None:
        """Up to when it will not change any more."""
        ...


class Healthy(Protocol):
    """What ``health`` answers; `driftline.platform.Health` is one."""

    @property
    def healthy(self) -> bool:
        """Whether the endpoint answered well."""
        ...


class LogEntry(Protocol):
    """What ``logs`` yields; `driftline.platform.LogEntry` is one."""

    def to_line(self) -> LogLine:
        """The line as an alert carries it."""
        ...


class Listed(Protocol):
    """One deployment of a listing; `driftline.platform.Deployment` is one."""

    @property
    def ref(self) -> str:
        """``"owner/deployment"``."""
        ...

    @property
    def status(self) -> str:
        """``ready``, ``stopped`` and so on."""
        ...


class Listing(Protocol):
    """What ``deployments`` answers; `driftline.platform.DeploymentList` is one."""

    def __iter__(self) -> Iterator[Listed]:
        """Those that were listed."""
        ...

    @property
    def unlisted(self) -> int:
        """How many more there are."""
        ...


class Directory(Protocol):
    """Who lists deployments; `driftline.PlatformClient` does."""

    def deployments(self, *, owner: str | None, status: str | None) -> Listing:
        """The deployments of an owner, the client's own for None."""
        ...


class AsyncDirectory(Protocol):
    """Who lists deployments, awaited; `driftline.AsyncPlatformClient` does."""

    async def deployments(self, *, owner: str | None, status: str | None) -> Listing:
        """The deployments of an owner, the client's own for None."""
        ...


class Platform(Protocol):
    """What a monitor asks; `driftline.PlatformClient` is one."""

    def metrics(self, deployment: str, /, window: Window = "1h") -> Observed:
        """What an endpoint did over the window that ends now."""
        ...

    def health(self, deployment: str, /) -> Healthy:
        """Whether it answers; asked only for `driftline.rules.EndpointHealth`."""
        ...

    def logs(
        self, deployment: str, /, *, limit: int | None, severity: Iterable[str] | None
    ) -> Iterable[LogEntry]:
        """Lines of its log, newest first."""
        ...


class AsyncPlatform(Protocol):
    """The same, awaited; `driftline.AsyncPlatformClient` is one."""

    async def metrics(self, deployment: str, /, window: Window = "1h") -> Observed:
        """What an endpoint did over the window that ends now."""
        ...

    async def health(self, deployment: str, /) -> Healthy:
        """Whether it answers."""
        ...

    def logs(
        self, deployment: str, /, *, limit: int | None, severity: Iterable[str] | None
    ) -> AsyncIterable[LogEntry]:
        """Lines of its log, newest first."""
        ...


@frozen(kw_only=True)
class Ask:
    """One question.

    Attributes:
        what: which.
        deployment: about which deployment; of listings: the owner, "" for the client's own.
        window: of metrics: which window.
        limit: of logs: how many lines.
        status: of listings: which status, None for all.
    """

    what: Literal["metrics", "health", "logs", "deployments"]
    deployment: str
    window: Window = "1h"
    limit: int = 0
    status: str | None = None


@frozen(kw_only=True)
class Answer:
    """What came of it: `error` is None when `value` holds."""

    ask: Ask
    value: Any = None
    error: Exception | None = None


USED_UP: Final = (
    "not asked: the run's time was used up; the next run makes up for it "
    "(Budget(total=…) gives more)"
)


class NotAsked(DriftlineError):
    """A question was left out.

    Attributes:
        silent: True when the platform keeps silent, False when the run's time was used up.
    """

    def __init__(self, message: str, *, silent: bool) -> None:
        """Keep why."""
        super().__init__(message)
        self.silent = silent
