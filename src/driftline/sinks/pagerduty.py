"""Pages through PagerDuty: Events API v2, over PagerDuty's own client.

The API: https://developer.pagerduty.com/docs/events-api-v2-overview. Its limits (summary 1024
characters, dedup key 255, body 512 KB) are in that text only; the client checks none of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeVar

from driftline._checks import refuse_no_text, refuse_other
from driftline._clock import as_utc
from driftline._http import checked_base_url
from driftline._retry import retry_after_seconds
from driftline._secret import Secret
from driftline._wire import Reply
from driftline.errors import DeliveryError, MissingExtra
from driftline.records import Alert, AlertStatus, Link, Receipt
from driftline.sinks._channel import (
    SUCCESS,
    TIMEOUT_SECONDS,
    Closing,
    checked_timeout,
    failure,
    no_reply,
    said,
)
from driftline.sinks._text import (
    LOG_LINES,
    clip,
    dedup_key,
    facts,
    fitted,
    headline,
    iso,
    log_line,
    one_line,
    web_url,
)

try:
    import pagerduty
except ModuleNotFoundError as exc:
    extra = "pagerduty"
    raise MissingExtra(extra, needed_for="PagerDutySink", package=extra) from exc

__all__ = ["PagerDutySink"]

T = TypeVar("T")

SUMMARY_LIMIT: Final = 1024
KEY_LIMIT: Final = 255
BODY_LIMIT: Final = 512_000
ENVELOPE: Final = 4_000
"""Room for what the client adds: the keys, of which each character may take six bytes."""
VALUE_LIMIT: Final = 2_000
"""Characters of one detail; PagerDuty states none, this keeps a page readable."""
LINKS: Final = 20

REGIONS: Final = {"us": "https://events.pagerduty.com", "eu": "https://events.eu.pagerduty.com"}

CHECK_KEY: Final = "driftline-check-never-triggered"


class _Client(pagerduty.EventsApiV2Client):
    """PagerDuty's client, one attempt a call; plain http is let through to loopback only.

    Left as it is, the client sleeps: for ever after 429, up to 189 s after 503. One attempt of
    each retried status and none of the network is the only setting that returns at once.
    """

    max_http_attempts = -1
    max_network_attempts = 0
    timeout: float = TIMEOUT_SECONDS  # type: ignore[assignment] # seconds; typed int by its default only

    def __init__(self, routing_key: str, *, base_url: str, timeout_seconds: float) -> None:
        self._events_url = base_url
        super().__init__(routing_key)
        self.retry = dict.fromkeys((429, 500, 502, 503, 504), 1)
        self.timeout = timeout_seconds  # the constructor's own `timeout` is ignored

    @property
    def url(self) -> str:
        """The base URL; the client's own setter refuses the fakes of a test on loopback."""
        return self._events_url

    @url.setter
    def url(self, new_base_url: str) -> None:
        del new_base_url


class PagerDutySink(Closing):
    """Opens and closes incidents, and marks changes beside them.

    A firing alert triggers under its key: as long as that alert is open, PagerDuty adds to it
    instead of opening another, so that repeating after an unclear outcome is harmless. It never
    acknowledges: that is a person's word.

    Attributes:
        name: name of the sink in receipts and in the outbox.
    """

    def __init__(
        self,
        routing_key: str | Secret | None = None,
        *,
        region: Literal["us", "eu"] = "us",
        events_url: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        name: str = "pagerduty",
    ) -> None:
        """Keep the key; nothing is sent yet.

        Args:
            routing_key: "Integration Key" of an Events API v2 integration; left out, it is
                taken from ``PAGERDUTY_ROUTING_KEY``.
            region: where the account lives ("eu": events.eu.pagerduty.com).
            events_url: another receiver of the same API, in place of the region's.
            timeout_seconds: bound on one call.
            name: name of the sink in receipts and in the outbox.

        Raises:
            MissingCredential: no routing key was passed and none is in the environment.
            InputError: a region that does not exist, or an address that is not https.
        """
        try:
            self._key = Secret.from_argument(
                routing_key, variable="PAGERDUTY_ROUTING_KEY", what="routing key"
            )
        finally:
            del routing_key
        refuse_other("region", region, sorted(REGIONS))
        refuse_no_text("name", name)
        self.name = name
        self._base_url = checked_base_url(events_url or REGIONS[region], credential=True)
        self._client = _Client(
            self._key.reveal(),
            base_url=self._base_url,
            timeout_seconds=checked_timeout(timeout_seconds),
        )
        self._closes(self._client.close)

    def send(self, alert: Alert) -> Receipt:
        """Trigger or resolve under the alert's key.

        Raises:
            DeliveryFailed: no reply, 429 or 5xx.
            DeliveryRefused: PagerDuty refuses the event or the key.
        """
        key = dedup_key(alert, KEY_LIMIT)
        if alert.status is AlertStatus.RESOLVED:
            self._once(lambda: self._client.send_event("resolve", dedup_key=key))
        else:
            event = trigger(alert)
            self._once(lambda: self._client.send_event("trigger", dedup_key=key, **event))
        return Receipt(sink=self.name, reference=key)

    def mark(
        self,
        summary: str,
        *,
        at: datetime,
        deployment: str = "",
        details: Mapping[str, str | float] | None = None,
        links: Sequence[Link] = (),
    ) -> Receipt:
        """Send a change event: a model was deployed, a baseline was locked.

        PagerDuty shows it beside incidents for 90 days and notifies nobody.

        Raises:
            DeliveryFailed: no reply, 429 or 5xx.
            DeliveryRefused: PagerDuty refuses it; the key of a ruleset takes no change events.
        """
        event: dict[str, Any] = {
            "payload": {
                "summary": clip(one_line(summary), SUMMARY_LIMIT),
                "source": clip(one_line(deployment), SUMMARY_LIMIT) or "driftline",
                "timestamp": iso(as_utc(at, name="at")),  # without one the client crashes
                "custom_details": fitted(details or {}, VALUE_LIMIT),
            },
            "links": link_list(links),
        }
        event = _within_limit(event)
        self._once(lambda: self._client.send_change_event(**event))
        return Receipt(sink=self.name)

    def check(self) -> Receipt:
        """Resolve an alert that was never opened, which PagerDuty takes and drops.

        PagerDuty has no call that only checks a key. This one tells that the address answers
        and takes events under the key; whether a service is paged by it only a drill tells.

        Raises:
            DeliveryError: as in `send`.
        """
        self._once(lambda: self._client.send_event("resolve", dedup_key=CHECK_KEY))
        return Receipt(sink=self.name, detail=f"{self._base_url} takes events under the key")

    def _once(self, do: Callable[[], T]) -> T | None:
        try:
            return do()
        except Exception as exc:  # noqa: BLE001 - isolation border: the client leaks its HTTP library's errors, which change with its version
            error = self._meaning(exc)
        if error is not None:
            # Raised outside the handler: the cause's frames hold the request with the key.
            raise error
        return None

    def _meaning(self, exc: Exception) -> DeliveryError | None:
        """What an error of the client means; None where the event was taken all the same."""
        response = getattr(exc, "response", None)
        status = getattr(response, "status_code", None)
        if response is None or status is None:
            cause = exc.__cause__ or exc
            return no_reply(self.name, self._key.redact(f"{type(cause).__name__}: {cause}"))
        if status in SUCCESS:  # a 202 whose body is a proxy's page was delivered
            return None
        headers = {name.lower(): value for name, value in response.headers.items()}
        reply = Reply(status=status, headers=headers, content=response.content)
        return failure(
            self.name,
            status,
            said=self._key.redact(said(reply)),
            retry_after=retry_after_seconds(reply),
            hint=_HINTS.get(status, ""),
        )

    def __repr__(self) -> str:
        """Say where it sends; never the key."""
        return f"PagerDutySink({self._base_url!r})"


_HINTS: Final = {
    400: "check that the routing key belongs to an Events API v2 integration of this region",
    401: "check the routing key and the region",
    403: "check the routing key and the region",
}


def trigger(alert: Alert) -> dict[str, Any]:
    """A trigger event without its key, within PagerDuty's limits."""
    links = link_list(alert.links)
    event: dict[str, Any] = {
        "payload": {
            "summary": clip(headline(alert), SUMMARY_LIMIT),
            "source": clip(one_line(alert.deployment), SUMMARY_LIMIT) or "driftline",
            "severity": alert.severity.value,
            "timestamp": iso(alert.at),
            "component": clip(one_line(alert.metric), SUMMARY_LIMIT) or "endpoint",
            "group": clip(one_line(alert.deployment.partition("/")[0]), SUMMARY_LIMIT)
            or "driftline",
            "class": clip(one_line(alert.rule), SUMMARY_LIMIT),
            "custom_details": _details(alert),
        },
        "links": links,
        "client": "driftline",
    }
    if links:
        event["client_url"] = links[0]["href"]
    return _within_limit(event)


def _within_limit(event: dict[str, Any]) -> dict[str, Any]:
    """The event, without its details where they make it too long, as Alertmanager does it."""
    if len(json.dumps(event)) <= BODY_LIMIT - ENVELOPE:
        return event
    details: Mapping[str, Any] = event["payload"]["custom_details"]
    kept = {name: details[name] for name in ("runbook",) if name in details}
    cut = f"the details were longer than the {BODY_LIMIT} bytes PagerDuty takes"
    return {**event, "payload": {**event["payload"], "custom_details": {**kept, "cut": cut}}}


def _details(alert: Alert) -> dict[str, Any]:
    logs = [clip(log_line(line), VALUE_LIMIT) for line in alert.logs[:LOG_LINES]]
    details = fitted(facts(alert), VALUE_LIMIT)
    return {**details, "logs": logs} if logs else {**details}


def link_list(links: Sequence[Link]) -> list[dict[str, str]]:
    """Links as PagerDuty takes them; what is no http(s) URL is left out."""
    usable = [(web_url(link.url), clip(one_line(link.text), VALUE_LIMIT)) for link in links]
    return [{"href": url, "text": text} for url, text in usable if url][:LINKS]
