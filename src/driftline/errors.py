"""Every error Driftline raises, drawn by whose fault it is.

::

    DriftlineError
    ├── InputError             yours: a value you passed cannot be used       (also a ValueError)
    ├── ConfigError            yours: how the parts were put together
    │   ├── MissingExtra           a package of an extra is not installed     (also an ImportError)
    │   └── MissingCredential      no key was given and none is in the environment
    ├── DataError              the data's: what was recorded cannot answer the question
    │   ├── TooLittleData          fewer observations than the answer needs
    │   ├── ContextMismatch        two things measured under different settings
    │   └── UnreadableData         a file or record that does not parse
    ├── PlatformError          theirs: a call to the Platform did not succeed
    │   ├── NotAuthorized          401: the key is missing, malformed or revoked
    │   ├── PaymentRequired        402: credits are used up
    │   ├── Forbidden              403: plan, quota or permission
    │   ├── NotFound               404: absent, or not visible to this key
    │   ├── Conflict               409: the state does not allow it now
    │   ├── RefusedInput           400, 413, 422: the platform refuses what was sent
    │   ├── RateLimited            429: too many calls; carries the wait
    │   ├── PlatformBroken         5xx: the platform failed
    │   ├── UnreadableReply        the reply is not what the contract says; carries the JSON paths
    │   ├── Unreachable            no reply: connection, TLS, time-out
    │   └── TransitionFailed       a start, stop or replace ended in a state nobody asked for
    ├── ModelError             theirs: the detector failed (child process, weights, export)
    ├── StoreError             theirs: the state store, or the disk under a file
    │   ├── StoreBusy              another run holds the lease
    │   └── StoreConflict          a document changed since it was read
    └── DeliveryError          theirs: a sink did not take an alert or a metric
        ├── DeliveryFailed         it may work later: the outbox tries again
        └── DeliveryRefused        it never will as it stands: dead letter

A message holds the offending value and the next step; objects that a program may act on
(a wait, a request id, JSON paths, receipts) are attributes, never words to parse.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "ConfigError",
    "Conflict",
    "ContextMismatch",
    "DataError",
    "DeliveryError",
    "DeliveryFailed",
    "DeliveryRefused",
    "DriftlineError",
    "Forbidden",
    "InputError",
    "MissingCredential",
    "MissingExtra",
    "ModelError",
    "NotAuthorized",
    "NotFound",
    "PaymentRequired",
    "PlatformBroken",
    "PlatformError",
    "RateLimited",
    "RefusedInput",
    "StoreBusy",
    "StoreConflict",
    "StoreError",
    "TooLittleData",
    "TransitionFailed",
    "Unreachable",
    "UnreadableData",
    "UnreadableReply",
]


class DriftlineError(Exception):
    """The root of the tree: catch this to catch everything Driftline raises on purpose."""


class InputError(DriftlineError, ValueError):
    """A value you passed cannot be used; the message names the value and what would do."""


class ConfigError(DriftlineError):
    """The parts were put together in a way that cannot work."""


class MissingExtra(ConfigError, ImportError):
    """A package that an extra brings is not installed.

    Attributes:
        extra: name of the extra, as in ``pip install "driftline[extra]"``.
    """

    def __init__(self, extra: str, *, needed_for: str, package: str) -> None:
        """Name the extra, what needs it, and the package that was not found."""
        super().__init__(
            f'{needed_for} needs the package {package!r}: pip install "driftline[{extra}]"'
        )
        self.extra = extra


class MissingCredential(ConfigError):
    """No credential was passed and none was found in the usual environment variable."""


class DataError(DriftlineError):
    """What was recorded cannot answer the question that was asked."""


class TooLittleData(DataError):
    """Fewer observations than an honest answer needs; the message says how many would do."""


class ContextMismatch(DataError):
    """Two things were measured under different settings and must not be compared or merged.

    Attributes:
        fields: names of the fields that differ.
    """

    def __init__(self, message: str, *, fields: Sequence[str] = ()) -> None:
        """Keep the message and the names of the fields that differ."""
        super().__init__(message)
        self.fields = tuple(fields)


class UnreadableData(DataError):
    """A file or record does not parse, or has a schema this version does not know."""


class PlatformError(DriftlineError):
    """A call to the Platform did not succeed.

    Attributes:
        method: HTTP verb of the call.
        path: path of the call, without host, query or credentials.
        status: HTTP status, None when there was no reply.
        request_id: the platform's ``x-request-id``, None when it sent none.
        said: the platform's own words (the ``error`` of its reply), "" when it said nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        method: str = "",
        path: str = "",
        status: int | None = None,
        request_id: str | None = None,
        said: str = "",
    ) -> None:
        """Keep what a program may act on beside the message."""
        super().__init__(message)
        self.method = method
        self.path = path
        self.status = status
        self.request_id = request_id
        self.said = said


class NotAuthorized(PlatformError):
    """401: the key is missing, malformed or revoked."""


class PaymentRequired(PlatformError):
    """402: the workspace has not the credits for it."""


class Forbidden(PlatformError):
    """403: the plan, a quota or the key's permissions do not allow it."""


class NotFound(PlatformError):
    """404: it is absent, or not visible to this key (the Platform does not say which)."""


class Conflict(PlatformError):
    """409: the present state does not allow it; read the state and decide again."""


class RefusedInput(PlatformError):
    """400, 413 or 422: the Platform refuses what was sent."""


class RateLimited(PlatformError):
    """429: too many calls.

    Attributes:
        retry_after_seconds: how long to wait before the next call, None when not said.
    """

    retry_after_seconds: float | None = None


class PlatformBroken(PlatformError):
    """5xx: the Platform failed; nothing is wrong with the call."""


class UnreadableReply(PlatformError):
    """The reply is not what the contract says.

    Attributes:
        problems: one line a fault, each beginning with its JSON path (``$.series[3].value``).
    """

    problems: tuple[str, ...] = ()


class Unreachable(PlatformError):
    """There was no reply: connection refused or reset, TLS failure, time-out.

    Attributes:
        sent: True when the request may have reached the other side (a read time-out),
            so that repeating it may do its work twice.
    """

    sent: bool = True


class TransitionFailed(PlatformError):
    """A start, stop or replace ended in a state nobody asked for, or did not end in time."""


class ModelError(DriftlineError):
    """The detector failed: its child process, its weights or its export."""


class StoreError(DriftlineError):
    """The state store, or the disk under a file, failed or holds what this version cannot read."""


class StoreBusy(StoreError):
    """Another run holds the lease; that one works, this one leaves."""


class StoreConflict(StoreError):
    """A document is not at the version the change was made for; read it and decide again."""


class DeliveryError(DriftlineError):
    """A sink did not take an alert or a metric.

    Attributes:
        status: HTTP status where there was one.
        retry_after_seconds: the wait the other side asked for, None when it asked for none.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Keep what the outbox decides by beside the message."""
        super().__init__(message)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class DeliveryFailed(DeliveryError):
    """Not now: network, 429 or 5xx. The outbox keeps it and tries again."""


class DeliveryRefused(DeliveryError):
    """Never as it stands: 400, 401, 403, 404, 413. It goes to the dead letters, loudly."""
