"""Which profiles may meet: of the same features, in the same periods, under the same settings."""

from __future__ import annotations

from collections.abc import Collection

from driftline._checks import chosen, part
from driftline.profiles._context import refuse_mixed, refuse_other_shape
from driftline.profiles._profile import Profile


def require_comparable(a: Profile, b: Profile, *, ignore: Collection[str] = ()) -> None:
    """Refuse two profiles that must not be compared.

    Args:
        a: one profile.
        b: another.
        ignore: names of settings of the context that may differ.

    Raises:
        ContextMismatch: they were made under different settings, count different features or
            have periods of different lengths; `.fields` names what differs.
        InputError: one is no profile.
    """
    first, second = (part(p, Profile, name=n, what="a Profile") for n, p in (("a", a), ("b", b)))
    ignored = chosen(ignore, str, name="ignore", what="the name of a setting")
    refuse_other_shape(first, second, doing="compare")
    refuse_mixed(first.context, second.context, doing="compare", ignore=ignored)
