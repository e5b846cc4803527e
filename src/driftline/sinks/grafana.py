"""Alerts, metrics and markers into the Grafana stack, over plain HTTP.

Three parts, each optional: alerts to an Alertmanager (`driftline.sinks.alertmanager`) or to
Grafana IRM, metrics by OTLP/HTTP, markers as annotations. Grafana has no official client.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from attrs import evolve

from driftline._checks import part, parts, refuse_no_text
from driftline._clock import Clock, as_clock, as_utc
from driftline._http import as_url, checked_base_url
from driftline._secret import Secret
from driftline._wire import Call
from driftline.errors import DeliveryError, DeliveryRefused, InputError
from driftline.records import Alert, AlertStatus, Delivery, Link, Receipt, Sample
from driftline.sinks import _otlp
from driftline.sinks._channel import TIMEOUT_SECONDS, Auth, Channel, Closing, Credential, credential
from driftline.sinks._intake import STANDING
from driftline.sinks._names import NAMESPACE
from driftline.sinks._text import clip, dedup_key, fitted, headline, one_line, paragraphs, web_url
from driftline.sinks.alertmanager import AlertmanagerSink, worst

__all__ = ["GrafanaSink"]

ANNOTATIONS: Final = "/api/annotations"
TAG_LIMIT: Final = 100
"""Characters of an annotation's tag (Grafana's columns ``tag.key`` and ``tag.value``)."""
TEXT_LIMIT: Final = 4000
TITLE_LIMIT: Final = 500
UID_LIMIT: Final = 255


class GrafanaSink(Closing):
    """Sends each kind of thing to the part of the Grafana stack that takes it.

    Attributes:
        name: name of the sink in receipts and in the outbox.
        delivery: with an Alertmanager, repeat the firing set at each run; else when it changes.
    """

    def __init__(
        self,
        *,
        alerts_url: str | Sequence[str] | None = None,
        alerts_auth: Auth = None,
        irm_url: str | Secret | None = None,
        metrics_url: str | None = None,
        metrics_auth: Auth = None,
        markers_url: str | None = None,
        markers_token: str | Secret | None = None,
        tenant: str = "",
        interval: timedelta = timedelta(minutes=5),
        labels: Mapping[str, str] | None = None,
        namespace: str = NAMESPACE,
        standing: Sequence[str] = STANDING,
        timeout_seconds: float = TIMEOUT_SECONDS,
        clock: Clock | None = None,
        name: str = "grafana",
    ) -> None:
        """Keep where to send; nothing is sent yet.

        Args:
            alerts_url: address of an Alertmanager (Prometheus', Mimir's, Grafana Cloud's); of
                each member when there are several. Grafana itself takes no alerts from outside.
            alerts_auth: its bearer token, or ``(user, password)``.
            irm_url: URL of a "Formatted webhook" integration of Grafana IRM. It is a credential.
            metrics_url: OTLP/HTTP base, without ``/v1/metrics``: Grafana Cloud's
                ``https://otlp-gateway-<zone>.grafana.net/otlp``, Mimir's ``/otlp``, a
                Prometheus' ``/api/v1/otlp``, a collector's ``:4318``.
            metrics_auth: its bearer token, or ``(instance, token)``; left out, the
                ``Authorization`` of ``OTEL_EXPORTER_OTLP_HEADERS`` where
                ``OTEL_EXPORTER_OTLP_ENDPOINT`` is on the same host.
            markers_url: address of Grafana, for annotations.
            markers_token: service account token with ``annotations:create`` and
                ``annotations:read``; left out, ``GRAFANA_SERVICE_ACCOUNT_TOKEN``.
            tenant: Mimir's tenant, sent as ``X-Scope-OrgID`` with alerts and metrics.
            interval: how often the monitor runs.
            labels: labels for every alert, such as ``{"env": "prod"}``.
            namespace: first part of every metric's name.
            standing: prefixes of metrics whose result stands until the next one: older than an
                hour, they are sent with the present time.
            timeout_seconds: bound on one call.
            clock: where the time comes from.
            name: name of the sink in receipts and in the outbox.

        Raises:
            InputError: no part or two for alerts, a bad address, or Grafana's own for alerts.
            MissingCredential: markers without a token.
        """
        try:
            alerts = credential(alerts_auth)
            metrics = credential(metrics_auth)
            irm = Secret(irm_url) if isinstance(irm_url, str) else irm_url
            markers = _token(markers_token) if markers_url is not None else None
        finally:
            del alerts_auth, metrics_auth, irm_url, markers_token
        refuse_no_text("name", name)
        part(tenant, str, name="tenant", what="text")
        part(namespace, str, name="namespace", what="text")
        self.name = name
        if alerts_url is not None and irm is not None:
            msg = "alerts_url and irm_url repeat differently: make one GrafanaSink for each"
            raise InputError(msg)
        self._alerts: AlertmanagerSink | _Irm | None = None
        self._metrics: _Metrics | None = None
        self._markers: _Markers | None = None
        if alerts_url is not None:
            self._alerts = AlertmanagerSink(
                alerts_url,
                auth=alerts,
                tenant=tenant,
                interval=interval,
                labels=labels,
                timeout_seconds=timeout_seconds,
                clock=clock,
                name=name,
            )
        if irm is not None:
            self._alerts = _Irm(irm, timeout_seconds=timeout_seconds, sink=name)
        if metrics_url is not None:
            channel = _metrics_channel(
                metrics_url, metrics, tenant=tenant, timeout_seconds=timeout_seconds, sink=name
            )
            self._metrics = _Metrics(
                channel, namespace=namespace, standing=standing, clock=clock, sink=name
            )
        if markers_url is not None:
            self._markers = _Markers(
                markers_url, markers, timeout_seconds=timeout_seconds, sink=name
            )
        if not self._parts:
            msg = (
                "no part of Grafana was named: pass alerts_url, irm_url, metrics_url or markers_url"
            )
            raise InputError(msg)
        self.delivery = self._alerts.delivery if self._alerts is not None else Delivery()
        life = self.delivery.time_to_live
        if self._metrics is not None and life is not None:
            # Numbers are worth sending as long as the receiver takes them.
            self.delivery = evolve(self.delivery, time_to_live=max(life, _otlp.OLDEST_POINT))
        self._closes(*(part.close for part in self._parts.values()))

    @property
    def _parts(self) -> dict[str, AlertmanagerSink | _Irm | _Metrics | _Markers]:
        named = {"alerts": self._alerts, "metrics": self._metrics, "markers": self._markers}
        return {name: part for name, part in named.items() if part is not None}

    def send(self, alert: Alert) -> Receipt:
        """Send an alert, and mark it on the dashboards.

        A marker is no page: when the alert was taken and only the marker was not, the receipt
        says so and nothing is raised. A sink that was made for metrics only takes no alert, and
        its receipt counts none.

        Raises:
            DeliveryFailed: it was not taken; a later attempt may succeed.
            DeliveryRefused: it was not taken, nor will be as it stands.
        """
        if self._alerts is None:
            if self._markers is not None:
                return self._markers.send(alert)
            return Receipt(sink=self.name, count=0, detail="alerts: no alerts_url or irm_url")
        receipt = self._alerts.send(alert)
        if self._markers is None:
            return receipt
        try:
            self._markers.send(alert)
        except DeliveryError as error:
            detail = "; ".join(filter(None, [receipt.detail, f"the marker was not set: {error}"]))
            return Receipt(sink=self.name, reference=receipt.reference, detail=detail)
        return receipt

    def push(self, samples: Sequence[Sample]) -> Receipt:
        """Send samples as OTLP gauges; without `metrics_url` none are, and the receipt counts none.

        Raises:
            DeliveryFailed: no reply, 429, 502, 503 or 504.
            DeliveryRefused: the receiver refuses them.
        """
        if self._metrics is None:
            return Receipt(sink=self.name, count=0, detail="metrics: no metrics_url")
        return self._metrics.push(samples)

    def mark(
        self,
        summary: str,
        *,
        at: datetime,
        deployment: str = "",
        details: Mapping[str, str | float] | None = None,
        links: Sequence[Link] = (),
    ) -> Receipt:
        """Set a marker on the dashboards: a model was deployed, a baseline was locked.

        Raises:
            DeliveryFailed: no reply, 429 or 5xx.
            DeliveryRefused: Grafana refuses it, or `markers_url` was not passed.
        """
        if self._markers is None:
            msg = f"{self.name}: it sets no markers; pass markers_url"
            raise DeliveryRefused(msg)
        lines = [one_line(summary)]
        lines += [f"{name}: {value}" for name, value in fitted(details or {}, TEXT_LIMIT).items()]
        lines += [f"{one_line(link.text)}: {url}" for link in links if (url := web_url(link.url))]
        at = as_utc(at, name="at")
        identity = f"{summary} {deployment} {at.timestamp()}"
        return self._markers.mark("\n".join(lines), identity, [deployment], start=at)

    def check(self) -> Receipt:
        """Ask every part whether address and credential work; nobody is paged.

        Raises:
            DeliveryError: some part does not; the message says all that is wrong.
        """
        told: list[str] = []
        errors: list[DeliveryError] = []
        for what, one in self._parts.items():
            try:
                told.append(f"{what}: {one.check().detail}")
            except DeliveryError as error:
                errors.append(error)
                told.append(f"{what}: {error}")
        if errors:
            kind = type(worst(errors))
            raise kind("; ".join(told), status=worst(errors).status)
        return Receipt(sink=self.name, detail="; ".join(told))

    def __repr__(self) -> str:
        """Say which parts there are; never a credential."""
        return f"GrafanaSink({', '.join(f'{name}={part!r}' for name, part in self._parts.items())})"


class _Irm:
    """Grafana IRM's "Formatted webhook" integration: an alert group for each ``alert_uid``."""

    delivery: Final = Delivery()

    def __init__(self, url: Secret, *, timeout_seconds: float, sink: str) -> None:
        self._sink = sink
        self._channel = _secret_channel(url, timeout_seconds=timeout_seconds, sink=sink)

    def send(self, alert: Alert) -> Receipt:
        self._channel.call(Call(method="POST", path="", json=irm_body(alert)))
        return Receipt(sink=self._sink, reference=dedup_key(alert, UID_LIMIT))

    def check(self) -> Receipt:
        """Open the integration's page of instructions; only a POST makes an alert."""
        self._channel.call(Call(method="GET", path=""))
        return Receipt(sink=self._sink, detail=f"{self._channel.base_url} knows the integration")

    def close(self) -> None:
        self._channel.close()

    def __repr__(self) -> str:
        return f"irm({self._channel.base_url!r})"


def _secret_channel(url: Secret, *, timeout_seconds: float, sink: str) -> Channel:
    origin, path = _split_url(url)
    origin = checked_base_url(origin, credential=True)
    if path is None:
        msg = f"irm_url={origin!r} has no path; copy the integration's whole URL"
        raise InputError(msg)
    return Channel(origin, sink=sink, timeout_seconds=timeout_seconds, path=path)


def _split_url(url: Secret) -> tuple[str, Secret | None]:
    """The origin, which may be shown, and the rest, which may not."""
    parts = urlsplit(url.reveal())
    rest = parts.path + (f"?{parts.query}" if parts.query else "")
    return f"{parts.scheme}://{parts.netloc}", Secret(rest) if rest.strip("/") else None


def irm_body(alert: Alert) -> dict[str, str]:
    """An alert as IRM's formatted webhook takes it.

    Fields: https://grafana.com/docs/oncall/latest/configure/integrations/references/webhook/.
    """
    resolved = alert.status is AlertStatus.RESOLVED
    body = {
        "alert_uid": dedup_key(alert, UID_LIMIT),
        "title": clip(headline(alert), TITLE_LIMIT),
        "state": "ok" if resolved else "alerting",
        "message": clip(paragraphs(alert), TEXT_LIMIT),
    }
    urls = [url for link in alert.links if (url := web_url(link.url))]
    return {**body, "link_to_upstream_details": urls[0]} if urls else body


class _Metrics:
    """An OTLP/HTTP receiver."""

    def __init__(
        self,
        channel: Channel,
        *,
        namespace: str,
        standing: Sequence[str],
        clock: Clock | None,
        sink: str,
    ) -> None:
        self._channel = channel
        self._namespace = namespace
        self._standing = parts(standing, str, name="standing", what="the prefix of a metric")
        self._clock = as_clock(clock)
        self._sink = sink

    def push(self, samples: Sequence[Sample]) -> Receipt:
        bodies = _otlp.payloads(
            samples, namespace=self._namespace, now=self._clock.now(), standing=self._standing
        )
        taken, words = 0, ""
        for body, count in bodies:
            rejected, said = self._post(body)
            taken += count - min(rejected, count)
            words = said or words
        if samples and not taken:
            msg = (
                f"{self._sink}: the receiver rejected every sample: {words or 'it did not say why'}"
            )
            raise DeliveryRefused(msg)
        return Receipt(sink=self._sink, count=taken, detail=words)

    def check(self) -> Receipt:
        self._post(_otlp.empty())
        return Receipt(sink=self._sink, detail=f"{self._channel.base_url} takes OTLP")

    def _post(self, body: dict[str, Any]) -> tuple[int, str]:
        """How many points were rejected, and why; a partial success is not sent again (OTLP)."""
        reply = self._channel.call(
            Call(method="POST", path="/v1/metrics", json=body), hints=_OTLP_HINTS
        )
        try:
            partial = json.loads(reply.content or b"{}").get("partialSuccess") or {}
            rejected = int(partial.get("rejectedDataPoints", 0))
            return rejected, clip(one_line(str(partial.get("errorMessage", ""))), TITLE_LIMIT)
        except (ValueError, TypeError, AttributeError):
            return 0, ""

    def close(self) -> None:
        self._channel.close()

    def __repr__(self) -> str:
        return f"otlp({self._channel.base_url!r})"


_OTLP_HINTS: Final = {
    404: "check the address; Prometheus takes OTLP from 2.47 on, at /api/v1/otlp, and from 3.0 "
    "with --web.enable-otlp-receiver",
    415: "the receiver does not take OTLP as JSON; point it at one that does (a collector's :4318)",
}


def _metrics_channel(
    url: str, held: Credential | None, *, tenant: str, timeout_seconds: float, sink: str
) -> Channel:
    return Channel(
        as_url(url).rstrip("/").removesuffix("/v1/metrics"),
        sink=sink,
        auth=held if held is not None else _otel_credential(url),
        headers={"X-Scope-OrgID": tenant} if tenant else {},
        timeout_seconds=timeout_seconds,
        retry_later=_otlp.RETRY_LATER,
    )


def _otel_credential(url: str) -> Credential | None:
    """The credential that OpenTelemetry's variables hold for this very host, if they do.

    https://opentelemetry.io/docs/specs/otel/protocol/exporter/: ``key=value`` pairs, separated
    by commas, percent-encoded. They are left alone when they are meant for another host.
    """
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    if urlsplit(endpoint)[:2] != urlsplit(url)[:2]:
        return None
    for pair in os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", "").split(","):
        name, _, value = pair.partition("=")
        if unquote(name).strip().lower() == "authorization":
            return _parsed(*unquote(value).strip().split(maxsplit=1))
    return None


def _parsed(scheme: str = "", value: str = "") -> Credential | None:
    """The two words of an ``Authorization`` header; None where there are not two."""
    return Credential(Secret(value), scheme=scheme) if value else None


def _token(given: str | Secret | None) -> Secret:
    try:
        return Secret.from_argument(
            given, variable="GRAFANA_SERVICE_ACCOUNT_TOKEN", what="service account token"
        )
    finally:
        del given


class _Markers:
    """Annotations of Grafana: a region from the start of an alert to its end.

    Posting twice makes two, so each carries a tag of its own and is looked up first. The API is
    deprecated since October 2026 and served; its successor is not switched on by default yet.
    """

    def __init__(
        self, url: str, token: Secret | None, *, timeout_seconds: float, sink: str
    ) -> None:
        self._sink = sink
        self._channel = Channel(url, sink=sink, auth=token, timeout_seconds=timeout_seconds)

    def send(self, alert: Alert) -> Receipt:
        resolved = alert.status is AlertStatus.RESOLVED
        return self.mark(
            paragraphs(alert),
            f"{alert.key} {alert.since.timestamp()}",
            [alert.deployment, alert.severity.value, "drill" if alert.test else ""],
            start=alert.since,
            end=alert.at if resolved else None,
        )

    def mark(
        self,
        text: str,
        identity: str,
        tags: Sequence[str],
        *,
        start: datetime,
        end: datetime | None = None,
    ) -> Receipt:
        digest = hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()[:32]
        own = f"driftline:{digest}"
        body: dict[str, Any] = {
            "time": _milliseconds(start),
            "tags": ["driftline", own, *(clip(one_line(tag), TAG_LIMIT) for tag in tags if tag)],
            "text": clip(text, TEXT_LIMIT),
        }
        if end is not None:
            body["timeEnd"] = _milliseconds(max(start, end))
        return Receipt(sink=self._sink, reference=str(self._put(own, body)))

    def _put(self, tag: str, body: dict[str, Any]) -> int:
        """The id of the annotation under `tag`, made or brought up to date."""
        found = self._find(tag)
        if found is None:
            reply = self._channel.call(Call(method="POST", path=ANNOTATIONS, json=body))
            return _id_of(reply.content)
        number = int(found["id"])
        if body.get("timeEnd") not in {None, found.get("timeEnd")}:
            change = {"timeEnd": body["timeEnd"], "text": body["text"]}
            self._channel.call(Call(method="PATCH", path=f"{ANNOTATIONS}/{number}", json=change))
        return number

    def _find(self, tag: str) -> dict[str, Any] | None:
        call = Call(method="GET", path=ANNOTATIONS, params={"tags": tag, "limit": 1})
        content = self._channel.call(call, hints=_MARKER_HINTS).content
        try:
            first = json.loads(content)[:1]  # a list, or it is no Grafana
            return {**first[0], "id": int(first[0]["id"])} if first else None
        except (ValueError, LookupError, TypeError) as exc:
            msg = f"{self._sink}: {self._channel.base_url} does not answer as Grafana's annotations"
            raise DeliveryRefused(msg) from exc

    def check(self) -> Receipt:
        self._find("driftline")
        return Receipt(sink=self._sink, detail=f"{self._channel.base_url} lets annotations be read")

    def close(self) -> None:
        self._channel.close()

    def __repr__(self) -> str:
        return f"annotations({self._channel.base_url!r})"


_MARKER_HINTS: Final = {
    401: "check the service account token",
    403: "the token needs annotations:read and annotations:create",
    404: "check the address; where the annotations API is switched off, leave markers_url out",
}


def _id_of(content: bytes) -> int:
    try:
        return int(json.loads(content)["id"])
    except (ValueError, LookupError, TypeError):
        return 0  # it was taken; only its number is unknown


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
