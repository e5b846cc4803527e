"""Credentials in what other people's libraries log.

HTTP libraries log addresses, and some addresses are credentials: a webhook's, a signed one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

from driftline._secret import MASK

_CHANGING = threading.Lock()


@contextmanager
def discreet(loggers: Sequence[str], secrets: Sequence[str]) -> Generator[None]:
    """Mask `secrets` in what these loggers write meanwhile."""
    masking = _Masking(secrets)
    for name in loggers:
        _replace(logging.getLogger(name), add=masking)
    try:
        yield
    finally:
        for name in loggers:
            _replace(logging.getLogger(name), remove=masking)


def _replace(
    logger: logging.Logger, *, add: _Masking | None = None, remove: _Masking | None = None
) -> None:
    """Give a logger another list of filters.

    Never the same list changed, as `logging` does it: a thread that goes through it while another
    one takes its filter out leaves out the next one, which may be its own.
    """
    with _CHANGING:
        kept = [one for one in logger.filters if one is not remove]
        logger.filters = kept if add is None else [*kept, add]


class _Masking(logging.Filter):
    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._secrets = sorted(secrets, key=len, reverse=True)

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        masked = masked_text(text, self._secrets)
        if masked != text:
            record.msg, record.args = masked, ()
            record.exc_info = record.exc_text = None
        return True


def masked_text(text: str, secrets: Iterable[str]) -> str:
    """`text` with each of `secrets` masked."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text
