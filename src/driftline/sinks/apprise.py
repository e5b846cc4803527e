"""Alerts to a hundred further services (chat, mail, push), over Apprise.

Addresses: https://appriseit.com/services/. An address holds the service's credentials.
"""

from __future__ import annotations

import base64
import string
import warnings
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from driftline._discreet import discreet
from driftline._secret import Secret
from driftline.errors import DeliveryFailed, InputError, MissingExtra
from driftline.records import Alert, AlertStatus, Receipt, Severity
from driftline.sinks._text import clip, headline, paragraphs, uncalled

try:
    from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType
except ModuleNotFoundError as exc:
    extra = "apprise"
    raise MissingExtra(extra, needed_for="AppriseSink", package=extra) from exc

__all__ = ["AppriseSink"]

TITLE_LIMIT: Final = 250
"""Characters of a title, where the service itself allows more."""

LOGGERS: Final = ("apprise", "urllib3.connectionpool", "httpx")
"""What may log an address while a notification is sent."""

SHORTEST_SECRET: Final = 6
"""Parts of an address shorter than this are words, not credentials; masking them hides nothing."""

_TYPES: Final = {
    Severity.CRITICAL: NotifyType.FAILURE,
    Severity.ERROR: NotifyType.FAILURE,
    Severity.WARNING: NotifyType.WARNING,
    Severity.INFO: NotifyType.INFO,
}


class AppriseSink:
    """Tells one service of each alert and of its end.

    One address a sink: the outbox tries a sink again as a whole, and a second service that had
    taken the message would get it twice. Most of these services know no key to recognise a
    repeated message by, so that after an unclear outcome it may appear twice.

    Attributes:
        name: name of the sink in receipts and in the outbox.
    """

    def __init__(self, url: str | Secret | None = None, *, name: str = "") -> None:
        """Keep the address; nothing is sent yet.

        Args:
            url: address of one service, such as ``slack://…`` or ``mailto://…``; left out, it
                is taken from ``APPRISE_URLS``, the variable of Apprise's own command.
            name: name of the sink in receipts and in the outbox; left out, it is
                ``apprise-`` and the kind of the service. Give each sink its own.

        Raises:
            MissingCredential: no address was passed and none is in the environment.
            InputError: Apprise does not know the address.
        """
        try:
            self._url = _address(url)
        finally:
            del url
        kind = urlsplit(self._url.reveal()).scheme
        if len(self._notifier()) != 1:
            msg = (
                f"Apprise cannot use this {kind!r} address; compare it with "
                f"https://appriseit.com/services/, and pass one address a sink"
            )
            raise InputError(msg)
        self.name = name or f"apprise-{kind}"

    def send(self, alert: Alert) -> Receipt:
        """Send one message; what the service does not take is cut, with a mark.

        ``@name`` and the like in an alert call nobody; whom to call belongs into the address
        (such as ``discord://…?ping=…``).

        Raises:
            DeliveryFailed: the service did not take it. Apprise does not say why or for how
                long, so that it is always tried again.
        """
        resolved = alert.status is AlertStatus.RESOLVED
        notifier = self._notifier()
        title, body = _fitted(alert, notifier[0])
        with discreet(LOGGERS, _secrets_of(self._url)):
            taken = notifier.notify(
                title=title,
                body=body,
                notify_type=NotifyType.SUCCESS if resolved else _TYPES[alert.severity],
                body_format=NotifyFormat.TEXT,
            )
        if not taken:
            msg = f"{self.name}: the service did not take the message; Apprise's log says more"
            raise DeliveryFailed(msg)
        return Receipt(sink=self.name, reference=alert.key)

    def check(self) -> Receipt:
        """Tell that the address is well formed; Apprise can check no more without a message."""
        return Receipt(sink=self.name, detail="the address is well formed; only a drill tells more")

    def _notifier(self) -> Any:
        """A fresh notifier: a used one sleeps up to 5.5 s before it sends again."""
        _load_services()
        # A followed redirect turns the POST into a GET: Apprise would call a lost message taken.
        notifier = Apprise(asset=AppriseAsset(http_redirects=False))
        with discreet(LOGGERS, _secrets_of(self._url)):
            notifier.add(self._url.reveal())
        return notifier

    def __repr__(self) -> str:
        """Say which kind of service; never the address."""
        return f"AppriseSink({self.name!r})"


def _address(url: str | Secret | None) -> Secret:
    try:
        # An address may hold a password beyond ASCII; quoted, it is one all the same.
        quoted = quote(url.strip(), safe=string.punctuation) if isinstance(url, str) else url
        return Secret.from_argument(quoted, variable="APPRISE_URLS", what="Apprise URL")
    finally:
        url = quoted = None


@cache
def _load_services() -> None:
    """Let Apprise import its services, once; some of them import what Python deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        Apprise.instantiate("json://localhost")


def _fitted(alert: Alert, service: Any) -> tuple[str, str]:
    """Title and body within what the service takes; left alone, Apprise sends them as they are."""
    longest = int(getattr(service, "body_maxlen", 0)) or 4000
    longest_title = int(getattr(service, "title_maxlen", 0)) or TITLE_LIMIT
    title = clip(uncalled(headline(alert)), min(TITLE_LIMIT, longest_title, longest // 2))
    _, _, rest = paragraphs(alert).partition("\n")
    # Where a service has no title, Apprise puts it before the body: room for both.
    return title, clip(uncalled(rest), longest - len(title) - 2)


def _secrets_of(url: Secret) -> list[str]:
    """The address and each part of it that may be a credential, as written and decoded."""
    parts = urlsplit(url.reveal())
    found = [
        url.reveal(),
        parts.netloc,
        parts.username or "",
        parts.password or "",
        parts.hostname or "",
    ]
    found += [parts.path, *parts.path.split("/"), parts.query]
    found += [value for _, value in parse_qsl(parts.query)]
    both = [*found, *map(unquote, found)]
    pair = unquote(f"{parts.username}:{parts.password}").encode()
    both.append(base64.b64encode(pair).decode())
    return sorted({part for part in both if len(part) >= SHORTEST_SECRET}, key=len, reverse=True)
