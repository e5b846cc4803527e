"""Metrics, events and service checks to Datadog, over Datadog's own client.

The API: https://docs.datadoghq.com/api/latest/ (metrics v2, events v2, service checks v1). The
client's models are imported one by one: its ``v2.models`` takes five seconds to import.
"""

from __future__ import annotations

import json
import math
import os
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from driftline._checks import parts, refuse_no_time
from driftline._clock import Clock, as_clock, as_utc
from driftline._discreet import masked_text
from driftline._http import LOOPBACK, checked_base_url
from driftline._retry import retry_after_seconds
from driftline._secret import Secret
from driftline._wire import Reply
from driftline.errors import DeliveryError, DeliveryRefused, InputError, MissingExtra
from driftline.records import Alert, AlertStatus, Delivery, Link, Receipt, Sample, Severity
from driftline.sinks._channel import (
    TIMEOUT_SECONDS,
    Closing,
    checked_timeout,
    failure,
    no_reply,
)
from driftline.sinks._intake import STANDING, batches, stamped
from driftline.sinks._names import NAMESPACE, datadog_name
from driftline.sinks._text import (
    clip,
    dedup_key,
    facts,
    fitted,
    headline,
    iso,
    one_line,
    paragraphs,
    web_url,
)

try:
    from datadog_api_client import ApiClient, Configuration
    from datadog_api_client.exceptions import ApiException, OpenApiException
    from datadog_api_client.v1.api.authentication_api import AuthenticationApi
    from datadog_api_client.v1.api.service_checks_api import ServiceChecksApi
    from datadog_api_client.v1.model.service_check import ServiceCheck
    from datadog_api_client.v1.model.service_check_status import ServiceCheckStatus
    from datadog_api_client.v1.model.service_checks import ServiceChecks
    from datadog_api_client.v2.api.events_api import EventsApi
    from datadog_api_client.v2.api.metrics_api import MetricsApi
    from datadog_api_client.v2.model.alert_event_custom_attributes import (
        AlertEventCustomAttributes,
    )
    from datadog_api_client.v2.model.alert_event_custom_attributes_custom import (
        AlertEventCustomAttributesCustom,
    )
    from datadog_api_client.v2.model.alert_event_custom_attributes_links_items import (
        AlertEventCustomAttributesLinksItems,
    )
    from datadog_api_client.v2.model.alert_event_custom_attributes_links_items_category import (
        AlertEventCustomAttributesLinksItemsCategory as LinkCategory,
    )
    from datadog_api_client.v2.model.alert_event_custom_attributes_priority import (
        AlertEventCustomAttributesPriority,
    )
    from datadog_api_client.v2.model.alert_event_custom_attributes_status import (
        AlertEventCustomAttributesStatus,
    )
    from datadog_api_client.v2.model.change_event_custom_attributes import (
        ChangeEventCustomAttributes,
    )
    from datadog_api_client.v2.model.change_event_custom_attributes_changed_resource import (
        ChangeEventCustomAttributesChangedResource,
    )
    from datadog_api_client.v2.model.change_event_custom_attributes_changed_resource_type import (
        ChangeEventCustomAttributesChangedResourceType as ChangedResourceType,
    )
    from datadog_api_client.v2.model.event_category import EventCategory
    from datadog_api_client.v2.model.event_create_request import EventCreateRequest
    from datadog_api_client.v2.model.event_create_request_payload import (
        EventCreateRequestPayload,
    )
    from datadog_api_client.v2.model.event_create_request_type import EventCreateRequestType
    from datadog_api_client.v2.model.event_payload import EventPayload
    from datadog_api_client.v2.model.event_payload_integration_id import (
        EventPayloadIntegrationId,
    )
    from datadog_api_client.v2.model.metric_content_encoding import MetricContentEncoding
    from datadog_api_client.v2.model.metric_intake_type import MetricIntakeType
    from datadog_api_client.v2.model.metric_payload import MetricPayload
    from datadog_api_client.v2.model.metric_point import MetricPoint
    from datadog_api_client.v2.model.metric_series import MetricSeries
    from urllib3 import Retry
    from urllib3.exceptions import HTTPError
except ModuleNotFoundError as exc:
    extra = "datadog"
    raise MissingExtra(extra, needed_for="DatadogSink", package="datadog-api-client") from exc

__all__ = ["DatadogSink"]

TITLE_LIMIT: Final = 500
MESSAGE_LIMIT: Final = 4000
KEY_LIMIT: Final = 100
TAG_LIMIT: Final = 200
TAGS: Final = 100
LINKS: Final = 20
LINK_TITLE_LIMIT: Final = 300
PROPERTIES: Final = 100
PROPERTY_LIMIT: Final = 2000
"""Limits of events v2 (client 2.62, docstrings of EventPayload and its parts), and of tags."""

PAYLOAD_BYTES: Final = 500_000
"""Kept below before compression, so that what is sent is below 512 000 bytes in any case."""
POINTS_A_SERIES: Final = 2000

OLDEST_POINT: Final = timedelta(hours=1)
OLDEST_EVENT: Final = timedelta(hours=18)
"""What the intakes accept: metric points up to 1 h old, events up to 18 h."""

_ONE_ATTEMPT: Final = Retry(
    total=0,
    connect=0,
    read=0,
    redirect=0,
    status=0,
    other=0,
    raise_on_redirect=False,  # a redirect is answered as it is: refused, and not followed
    raise_on_status=False,
    respect_retry_after_header=False,
)
"""One request, and the vendor's own error with status and headers: the outbox decides."""

_STATUS: Final = {
    Severity.CRITICAL: ("error", "1", 2),
    Severity.ERROR: ("error", "2", 2),
    Severity.WARNING: ("warn", "3", 1),
    Severity.INFO: ("warn", "5", None),  # Datadog has no status for information
}
"""By severity: status and priority of the event, status of the service check (1 WARN, 2 CRIT)."""


class DatadogSink(Closing):
    """Numbers as metrics, alerts as events and as the state of a service check.

    An alert sets the service check ``<namespace>.alert`` (tags ``rule``, ``deployment``,
    ``alert_key``): one monitor of type "service check" over it pages for every rule and
    recovers by itself. The event beside it tells the story; events of one alert are joined by
    their aggregation key. Without an application key only the metrics and the check are sure
    to be taken: the events API asks for both keys.

    Every metric is a gauge, counts of a bucket included: the intake keeps the last value of a
    time and tag set, so that sending twice changes nothing. Sum a count over time with
    ``.rollup(sum)``.

    Attributes:
        name: name of the sink in receipts and in the outbox.
        delivery: an alert older than 18 hours is given up, as the events intake refuses it.
    """

    delivery: Final = Delivery(time_to_live=OLDEST_EVENT)

    def __init__(
        self,
        api_key: str | Secret | None = None,
        *,
        app_key: str | Secret | None = None,
        site: str | None = None,
        tags: Sequence[str] = (),
        namespace: str = NAMESPACE,
        host: str = "driftline",
        standing: Sequence[str] = STANDING,
        oldest_point: timedelta = OLDEST_POINT,
        base_url: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        clock: Clock | None = None,
        name: str = "datadog",
    ) -> None:
        """Keep keys and site; nothing is sent yet.

        Args:
            api_key: API key; left out, it is taken from ``DD_API_KEY``.
            app_key: application key; left out, it is taken from ``DD_APP_KEY`` where that is set.
            site: such as ``datadoghq.eu``; left out, ``DD_SITE``, else ``datadoghq.com``.
            tags: tags for everything, such as ``("env:prod",)``.
            namespace: first part of every metric's name.
            host: host name of the service check; Datadog wants one.
            standing: prefixes of metrics that state a result which stands until the next one,
                such as a weekly accuracy: too old for the intake, they are sent with the
                present time and a tag ``evaluated:<day>``.
            oldest_point: how old a point may be. Raise it where "historical metrics ingestion"
                is switched on for the metrics.
            base_url: another receiver of the same API, for everything: a proxy, or a fake.
            timeout_seconds: bound on one call; the client's own default is none at all.
            clock: where the time comes from.
            name: name of the sink in receipts and in the outbox.

        Raises:
            MissingCredential: no API key was passed and none is in the environment.
            InputError: a site that does not exist, or an address that is not https.
        """
        try:
            self._keys = _keys(api_key, app_key)
        finally:
            del api_key, app_key
        self.name = name
        self._tags = parts(tags, str, name="tags", what="a tag such as 'env:prod'")
        self._namespace = namespace
        self._host = host
        self._standing = parts(standing, str, name="standing", what="the prefix of a metric")
        refuse_no_time("oldest_point", oldest_point)
        self._oldest_point = oldest_point
        self._clock = as_clock(clock)
        self._client = ApiClient(_configuration(self._keys, site, base_url, timeout_seconds))
        self._closes(self._client.close)

    def send(self, alert: Alert) -> Receipt:
        """Set the service check, then post the event.

        The check comes first: it needs the API key only, and it is what monitors page by. When
        it was taken and the event was refused for want of an application key, the receipt says
        so and nothing is raised.

        Raises:
            DeliveryFailed: no reply, 408, 429 or 5xx.
            DeliveryRefused: Datadog refuses the key or the payload.
        """
        checks = self._checks(alert)
        if checks:
            self._once(lambda: self._service_checks().submit_service_check(ServiceChecks(checks)))
        detail = ""
        try:
            self._post(self._event(alert))
        except DeliveryRefused as error:
            if not checks or "appKeyAuth" in self._keys or error.status not in _EVENT_HINTS:
                raise
            detail = f"the service check is set; the event was not taken: {error}"
        return Receipt(sink=self.name, reference=dedup_key(alert, KEY_LIMIT), detail=detail)

    def push(self, samples: Sequence[Sample]) -> Receipt:
        """Submit samples as gauges; what the intake would drop for its age is left out.

        Raises:
            DeliveryFailed: no reply, 408, 429 or 5xx; sending all of it again is harmless.
            DeliveryRefused: Datadog refuses it, or every sample is too old to be taken.
        """
        points = list(self._points(samples))
        late = len(samples) - len(points)
        told = (
            f"{late} of {len(samples)} samples end more than {self._oldest_point} ago"
            if late
            else ""
        )
        if samples and not points:
            msg = f"{self.name}: {told}: the intake drops them; push closer to the time they cover"
            raise DeliveryRefused(msg)
        for batch in batches(_series(points), PAYLOAD_BYTES):
            self._submit(batch)
        return Receipt(sink=self.name, count=len(points), detail=told)

    def mark(
        self,
        summary: str,
        *,
        at: datetime,
        deployment: str = "",
        details: Mapping[str, str | float] | None = None,
        links: Sequence[Link] = (),
    ) -> Receipt:
        """Post a change event: a model was deployed, a baseline was locked.

        Raises:
            DeliveryFailed: no reply, 408, 429 or 5xx.
            DeliveryRefused: Datadog refuses the key or the payload.
        """
        lines = [one_line(summary)]
        lines += [f"{one_line(link.text)}: {url}" for link in links if (url := web_url(link.url))]
        changed = ChangeEventCustomAttributesChangedResource(
            name=clip(one_line(deployment), TAG_LIMIT) or self._namespace,
            type=ChangedResourceType.CONFIGURATION,
        )
        attributes = ChangeEventCustomAttributes(
            changed_resource=changed, change_metadata=_properties(details or {})
        )
        payload = EventPayload(
            category=EventCategory.CHANGE,
            title=clip(lines[0], TITLE_LIMIT) or "change",
            message=clip("\n".join(lines), MESSAGE_LIMIT) or "change",
            integration_id=EventPayloadIntegrationId.CUSTOM_EVENTS,
            tags=_tags({"source": "driftline", "deployment": deployment}, self._tags, {}),
            timestamp=iso(self._event_time(as_utc(at, name="at"))),
            attributes=attributes,
        )
        self._post(payload)
        return Receipt(sink=self.name)

    def check(self) -> Receipt:
        """Ask Datadog whether the keys are good on this site; nothing is submitted.

        Raises:
            DeliveryError: they are not, or Datadog cannot be reached.
        """
        answer = self._once(lambda: AuthenticationApi(self._client).validate())
        address = self._client.configuration.host
        if not _valid(answer):
            msg = f"{self.name}: {address} does not take the API key; {_KEY_HINT}"
            raise DeliveryRefused(msg)
        if len(self._keys) > 1:
            self._once(self._validate_keys)
            return Receipt(sink=self.name, detail=f"{address} takes both keys")
        detail = f"{address} takes the API key; events may want an application key as well"
        return Receipt(sink=self.name, detail=detail)

    def _validate_keys(self) -> object:
        from datadog_api_client.v2.api.key_management_api import (  # noqa: PLC0415 - 0.1 s, for checks only
            KeyManagementApi,
        )

        return KeyManagementApi(self._client).validate_api_key()

    def _post(self, payload: EventPayload) -> None:
        request = EventCreateRequest(attributes=payload, type=EventCreateRequestType.EVENT)
        body = EventCreateRequestPayload(data=request)
        self._once(lambda: EventsApi(self._client).create_event(body), hints=_EVENT_HINTS)

    def _service_checks(self) -> ServiceChecksApi:
        return ServiceChecksApi(self._client)

    def _submit(self, series: list[MetricSeries]) -> None:
        payload = MetricPayload(series=series)
        encoding = MetricContentEncoding.GZIP
        self._once(
            lambda: MetricsApi(self._client).submit_metrics(payload, content_encoding=encoding)
        )

    def _checks(self, alert: Alert) -> list[ServiceCheck]:
        level = _STATUS[alert.severity][2]
        if level is None:
            return []
        resolved = alert.status is AlertStatus.RESOLVED
        return [
            ServiceCheck(
                check=f"{self._namespace}.alert",
                host_name=self._host,
                status=ServiceCheckStatus(0 if resolved else level),
                tags=self._alert_tags(alert),
                message=clip(headline(alert), TITLE_LIMIT),
                # No timestamp: the check states how things stand when it arrives, and the
                # intake drops what is older than ten minutes.
            )
        ]

    def _event(self, alert: Alert) -> EventPayload:
        return EventPayload(
            category=EventCategory.ALERT,
            title=clip(headline(alert), TITLE_LIMIT),
            message=clip(paragraphs(alert), MESSAGE_LIMIT),
            aggregation_key=dedup_key(alert, KEY_LIMIT),
            integration_id=EventPayloadIntegrationId.CUSTOM_EVENTS,
            tags=self._alert_tags(alert),
            timestamp=iso(self._event_time(alert.at)),
            attributes=_attributes(alert),
        )

    def _event_time(self, at: datetime) -> datetime:
        now = self._clock.now()
        return at if timedelta(0) <= now - at < OLDEST_EVENT else now

    def _alert_tags(self, alert: Alert) -> list[str]:
        own = {
            "rule": alert.rule,
            "deployment": alert.deployment,
            "metric": alert.metric,
            "alert_key": dedup_key(alert, KEY_LIMIT),
            "drill": "true" if alert.test else "",
        }
        return _tags(own, self._tags, alert.labels)

    def _points(
        self, samples: Iterable[Sample]
    ) -> Iterator[tuple[str, tuple[str, ...], MetricPoint]]:
        now = self._clock.now()
        for sample in samples:
            at, restamped = stamped(
                sample, now=now, oldest=self._oldest_point, standing=self._standing
            )
            if at is None or not math.isfinite(sample.value):
                continue
            covered = sample.at + sample.width
            own = {"deployment": sample.deployment}
            if restamped:
                own["evaluated"] = f"{covered:%Y-%m-%d}"
            yield (
                datadog_name(f"{self._namespace}.{sample.metric}"),
                tuple(_tags(own, self._tags, sample.labels)),
                MetricPoint(timestamp=int(at.timestamp()), value=sample.value),
            )

    def _once(self, do: Callable[[], object], *, hints: Mapping[int, str] | None = None) -> bytes:
        """The body of a success; the client's own reading of it is left out.

        Left to it, a 202 whose body is a proxy's page, or empty, would look like a failure.
        """
        try:
            reply: Any = do()
            content: bytes = reply.data  # reading it gives the connection back
        except ApiException as exc:
            error = self._refusal(exc, hints or {})
        except (OpenApiException, HTTPError, UnicodeError) as exc:
            # The client wraps no network error, and takes every page of an error for UTF-8.
            error = no_reply(self.name, self._redacted(f"{type(exc).__name__}: {exc}"))
        else:
            return content
        # Raised outside the handler: the cause's frames hold the request with the keys.
        raise error

    def _refusal(self, exc: ApiException, hints: Mapping[int, str]) -> DeliveryError:
        status = int(exc.status or 0)
        if status == 0:
            return no_reply(self.name, self._redacted(str(exc.reason)))
        headers = {name.lower(): value for name, value in (exc.headers or {}).items()}
        return failure(
            self.name,
            status,
            said=self._redacted(_said(exc.body)),
            retry_after=_wait_seconds(status, headers),
            hint=hints.get(status) or _HINTS.get(status, ""),
        )

    def _redacted(self, text: str) -> str:
        return masked_text(text, [key.reveal() for key in self._keys.values()])

    def __repr__(self) -> str:
        """Say where it sends; never a key."""
        return f"DatadogSink({self._client.configuration.host!r})"


_KEY_HINT: Final = "a key belongs to one site: check DD_SITE, and that the key was not revoked"
_HINTS: Final[Mapping[int, str]] = dict.fromkeys((401, 403), _KEY_HINT)
_EVENT_HINTS: Final[Mapping[int, str]] = dict.fromkeys(
    (401, 403), "events want an application key beside the API key: pass app_key or set DD_APP_KEY"
)


def _keys(api_key: str | Secret | None, app_key: str | Secret | None) -> dict[str, Secret]:
    try:
        keys = {"apiKeyAuth": Secret.from_argument(api_key, variable="DD_API_KEY", what="API key")}
        if app_key is not None or os.environ.get("DD_APP_KEY"):
            keys["appKeyAuth"] = Secret.from_argument(
                app_key, variable="DD_APP_KEY", what="application key"
            )
    finally:
        del api_key, app_key
    return keys


def _configuration(
    keys: Mapping[str, Secret], site: str | None, base_url: str | None, timeout_seconds: float
) -> Configuration:
    configuration = Configuration(
        api_key={name: key.reveal() for name, key in keys.items()},
        host=checked_base_url(base_url, credential=True) if base_url else None,
        request_timeout=checked_timeout(timeout_seconds),
        preload_content=False,
        retry_policy=_ONE_ATTEMPT,
    )
    settings: Any = configuration  # the client annotates none of its attributes
    if site is not None:
        # After construction: DD_SITE in the environment overrides what is passed into it.
        settings.server_variables["site"] = site
    try:
        settings.proxy = _proxy(settings.host)
    except ValueError as exc:
        known = settings.get_host_settings()[0]["variables"]["site"]["enum_values"]
        msg = f"site={settings.server_variables['site']!r} must be one of {sorted(set(known))}"
        raise InputError(msg) from exc
    return configuration


def _proxy(address: str) -> str | None:
    """The proxy of the environment; the client looks for none, unlike httpx."""
    parts = urlsplit(address)
    if parts.hostname in LOOPBACK or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _tags(own: Mapping[str, str], further: Iterable[str], labels: Mapping[str, str]) -> list[str]:
    """Tags within the limits; our own come first, so that none of them is among those cut."""
    given = [f"{name}:{value}" for name, value in own.items() if value]
    given += further
    given += [
        f"{name}:{value}" for name, value in sorted(labels.items()) if value and name not in own
    ]
    return [clip(line, TAG_LIMIT) for tag in given if (line := one_line(tag))][:TAGS]


def _attributes(alert: Alert) -> AlertEventCustomAttributes:
    status, priority, _ = _STATUS[alert.severity]
    resolved = alert.status is AlertStatus.RESOLVED
    links = _links(alert)
    custom = _properties(facts(alert))
    further: dict[str, Any] = {"links": links} if links else {}
    return AlertEventCustomAttributes(
        status=AlertEventCustomAttributesStatus("ok" if resolved else status),
        priority=AlertEventCustomAttributesPriority(priority),
        custom=AlertEventCustomAttributesCustom(**custom),
        **further,
    )


def _properties(details: Mapping[str, str | float]) -> dict[str, str | float]:
    kept = list(fitted(details, PROPERTY_LIMIT).items())[:PROPERTIES]
    return {clip(name, TAG_LIMIT): value for name, value in kept}


def _links(alert: Alert) -> list[AlertEventCustomAttributesLinksItems]:
    runbook = [Link(url=word, text="Runbook") for word in alert.runbook.split()]
    return [
        AlertEventCustomAttributesLinksItems(
            category=_category(link),
            url=url,
            title=clip(one_line(link.text) or url, LINK_TITLE_LIMIT),
        )
        for link in (*runbook, *alert.links)
        if (url := web_url(link.url))
    ][:LINKS]


def _category(link: Link) -> LinkCategory:
    words = link.text.lower()
    for known in ("runbook", "dashboard", "documentation"):
        if known in words:
            return LinkCategory(known)
    return LinkCategory("resource")


def _series(
    points: Iterable[tuple[str, tuple[str, ...], MetricPoint]],
) -> Iterator[tuple[MetricSeries, int]]:
    """Series of points with one name and tag set, each with its estimated size in bytes."""
    by_series: dict[tuple[str, tuple[str, ...]], list[MetricPoint]] = {}
    for name, tags, point in points:
        by_series.setdefault((name, tags), []).append(point)
    for (name, tags), mine in by_series.items():
        for first in range(0, len(mine), POINTS_A_SERIES):
            part = mine[first : first + POINTS_A_SERIES]
            series = MetricSeries(
                metric=name, type=MetricIntakeType.GAUGE, points=part, tags=list(tags)
            )
            # json.dumps escapes what is not ASCII to at most 12 bytes a character.
            size = (
                100 + len(name) + sum(len(tag) * (1 if tag.isascii() else 12) + 4 for tag in tags)
            )
            yield series, size + 64 * len(part)


def _valid(answer: bytes) -> bool:
    try:
        return json.loads(answer)["valid"] is True
    except (ValueError, LookupError, TypeError):
        return False


def _said(body: object) -> str:
    if isinstance(body, dict):
        return ": ".join(
            str(body[name]) for name in ("errors", "error", "message") if body.get(name)
        )
    text = str(body or "")
    return "" if "<html" in text.lower() else text


def _wait_seconds(status: int, headers: Mapping[str, str]) -> float | None:
    """The wait Datadog asks for: ``X-RateLimit-Reset`` (seconds), else ``Retry-After``."""
    try:
        seconds = float(headers.get("x-ratelimit-reset", "nan"))
    except ValueError:
        seconds = math.nan
    if math.isfinite(seconds) and status == HTTPStatus.TOO_MANY_REQUESTS:
        return max(0.0, seconds)
    return retry_after_seconds(Reply(status=status, headers=headers))
