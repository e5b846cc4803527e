"""Where a frame goes: a hash of its key, compared with the share of the stage. Pure.

`zlib.crc32` would be faster but is affine: the same keys would be the early ones in every
rollout, because a prefix moves all sums by the same mask. BLAKE2b (RFC 7693) takes a key of its
own, here the rollout's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from attrs import frozen

from driftline.errors import InputError
from driftline.retrain._arms import Arm

_BYTES: Final = 8
_SPAN: Final = 1 << (8 * _BYTES)


@frozen(kw_only=True)
class Route:
    """Where one frame is to be sent.

    Attributes:
        arm: which model answers.
        deployment: ``"owner/deployment"`` to send it to.
        stage: number of the rollout's stage, -1 outside of one.
        copy_to: deployment that gets a copy whose answer nobody is served, None for none.
    """

    arm: Arm
    deployment: str
    stage: int = -1
    copy_to: str | None = None

    def __str__(self) -> str:
        """The deployment."""
        return self.deployment


@frozen(kw_only=True)
class Table:
    """Where keys go at one moment of a rollout.

    Attributes:
        salt: name of the rollout; another one deals the keys anew.
        deployment: the incumbent, which serves all whose number is not below the share.
        canary: the candidate.
        share: share of keys that the candidate serves, 0 to 1.
        copies: share of keys whose frames the candidate gets a copy of, 0 to 1.
        stage: number of the stage.
    """

    salt: str
    deployment: str
    canary: str
    share: float = 0.0
    copies: float = 0.0
    stage: int = -1

    def lookup(self) -> Callable[[str], Route]:
        """The function that finds the route of a key; it depends on nothing but these fields."""
        digest = hashlib.blake2b(self.salt.encode(), digest_size=64).digest()
        copy = hashlib.blake2b(digest_size=_BYTES, key=digest).copy
        limit = round(max(self.share, self.copies) * _SPAN)
        low = Route(arm=Arm.CANDIDATE, deployment=self.canary, stage=self.stage)
        rest = Route(arm=Arm.INCUMBENT, deployment=self.deployment, stage=self.stage)
        if self.copies:
            low = Route(
                arm=Arm.INCUMBENT,
                deployment=self.deployment,
                stage=self.stage,
                copy_to=self.canary,
            )
        number = int.from_bytes

        def route(key: str) -> Route:
            state = copy()
            try:
                state.update(key.encode())
            except (AttributeError, UnicodeEncodeError) as exc:
                raise _bad_key(key) from exc
            return low if number(state.digest(), "big") < limit else rest

        return route


def _bad_key(key: object) -> InputError:
    msg = f"the key of a frame must be text that encodes as UTF-8, got {key!r:.80}"
    return InputError(msg)
