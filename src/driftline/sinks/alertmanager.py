"""Alerts to a Prometheus Alertmanager, or to anything with its API v2 (Mimir, Grafana Cloud).

The API: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml. What a client
owes it: https://prometheus.io/docs/alerting/latest/alerts_api/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from driftline._checks import part, parts, refuse_no_text, refuse_no_time
from driftline._clock import Clock, as_clock
from driftline._http import checked_base_url
from driftline._wire import Call
from driftline.errors import DeliveryError, DeliveryFailed, DeliveryRefused, InputError
from driftline.records import Alert, AlertStatus, Delivery, Receipt
from driftline.sinks._channel import (
    TIMEOUT_SECONDS,
    Auth,
    Channel,
    Closing,
    Credential,
    checked_labels,
    credential,
)
from driftline.sinks._text import (
    clip,
    clip_bytes,
    dedup_key,
    facts,
    headline,
    iso,
    log_line,
    one_line,
    web_url,
)

__all__ = ["AlertmanagerSink"]

PATH: Final = "/api/v2/alerts"

LIFETIME_IN_INTERVALS: Final = 4
"""An alert that is not repeated ends after this many intervals: Prometheus' own factor
(``4 * max(interval, resendDelay)``, rules/alerting.go), so that two missed runs do no harm."""

REPEAT_RESOLVED_FOR: Final = timedelta(minutes=15)
"""How long a resolve is repeated: Prometheus' ``resolvedRetention`` (rules/alerting.go)."""

KEY_LABEL: Final = "alert_key"
"""Label that holds `Alert.key`."""
KEY_LIMIT: Final = 255
"""Characters of it; at four bytes each they stay within `LABEL_BYTES`, so it is never cut twice."""

LABEL_BYTES: Final = 1024
"""Bytes of a label's value: Mimir's default limit is 2048, Alertmanager has none."""

ANNOTATION_LIMIT: Final = 4000

_GRAFANA_ITSELF: Final = (
    "Grafana's built-in Alertmanager takes no alerts from outside (grafana/grafana#57710 removed "
    "the endpoint); pass the address of a Prometheus or Mimir Alertmanager, or use "
    "GrafanaSink(irm_url=...) to page through Grafana IRM"
)
_HINT: Final = f"check the address; if it is Grafana itself: {_GRAFANA_ITSELF}"
_HINTS: Final[Mapping[int, str]] = dict.fromkeys((404, 405), _HINT)


class AlertmanagerSink(Closing):
    """Keeps an Alertmanager told which alerts fire.

    An Alertmanager forgets what is not repeated and loses everything when it restarts, so the
    whole firing set is sent at every run (`delivery`). Each alert carries its end, four
    intervals ahead: with no end, an Alertmanager ends it by itself after ``resolve_timeout``
    (five minutes), and a five-minute schedule makes it flap.

    An alert is known by its labels. When the labels of an open alert change (its severity rose),
    the one under the old labels is ended in the same call.

    Attributes:
        name: name of the sink in receipts and in the outbox.
        delivery: repeat the firing set at each run, and a resolve for 15 minutes.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        auth: Auth | Credential = None,
        tenant: str = "",
        interval: timedelta = timedelta(minutes=5),
        labels: Mapping[str, str] | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        clock: Clock | None = None,
        name: str = "alertmanager",
    ) -> None:
        """Keep where to send; nothing is sent yet.

        Args:
            url: address of the Alertmanager, without ``/api/v2/alerts``; of each member when
                there are several, because members share silences and notifications but every
                one must be told every alert. One that took it is enough.
            auth: bearer token, or ``(user, password)``.
            tenant: Mimir's tenant, sent as ``X-Scope-OrgID``.
            interval: how often the monitor runs.
            labels: labels for every alert, such as ``{"env": "prod"}``.
            timeout_seconds: bound on one call.
            clock: where the time comes from.
            name: name of the sink in receipts and in the outbox.

        Raises:
            InputError: no URL, one of Grafana itself, or an interval that is not positive.
        """
        try:
            held = credential(auth)
        finally:
            del auth
        refuse_no_text("name", name)
        part(tenant, str, name="tenant", what="text")
        refuse_no_time("interval", interval)
        urls = [url] if isinstance(url, str) else parts(url, str, name="url", what="an address")
        if not urls:
            msg = f"url={url!r} must name an Alertmanager"
            raise InputError(msg)
        headers = {"X-Scope-OrgID": tenant} if tenant else {}
        self._members = [
            Channel(
                alertmanager_url(one),
                sink=name,
                auth=held,
                headers=headers,
                timeout_seconds=timeout_seconds,
            )
            for one in urls
        ]
        self.name = name
        self.delivery = Delivery(
            repeat_firing=True,
            repeat_resolved_for=REPEAT_RESOLVED_FOR,
            time_to_live=LIFETIME_IN_INTERVALS * interval,
        )
        self._lifetime = LIFETIME_IN_INTERVALS * interval
        self._labels = checked_labels(labels)
        self._clock = as_clock(clock)
        self._open: dict[str, Mapping[str, str]] = {}
        self._closes(*(member.close for member in self._members))

    def send(self, alert: Alert) -> Receipt:
        """Tell every member; what is open under other labels of the same key is ended.

        Raises:
            DeliveryFailed: no member took it; a later attempt may succeed.
            DeliveryRefused: no member took it, nor will as it stands.
        """
        item = self._item(alert)
        outcomes = [self._tell(member, alert, item) for member in self._members]
        errors = [outcome for outcome in outcomes if outcome is not None]
        if len(errors) == len(self._members):
            raise worst(errors)
        if alert.status is AlertStatus.FIRING:
            self._open[alert.key] = item["labels"]
        else:
            self._open.pop(alert.key, None)
        return Receipt(
            sink=self.name,
            reference=alert.key,
            detail="; ".join(str(error) for error in errors),
        )

    def check(self) -> Receipt:
        """Ask each member for its status and post it an empty list, which alerts nobody.

        Raises:
            DeliveryError: a member does not answer as an Alertmanager.
        """
        for member in self._members:
            status = member.call(Call(method="GET", path="/api/v2/status"), hints=_HINTS)
            if b"versionInfo" not in status.content:
                msg = f"{self.name}: {member.base_url} does not answer as an Alertmanager; {_HINT}"
                raise DeliveryRefused(msg)
            member.call(Call(method="POST", path=PATH, json=[]), hints=_HINTS)
        where = ", ".join(member.base_url for member in self._members)
        return Receipt(sink=self.name, detail=f"{where} takes alerts")

    def _tell(self, member: Channel, alert: Alert, item: dict[str, Any]) -> DeliveryError | None:
        try:
            items = [item, *self._superseded(member, alert, item["labels"])]
            member.call(Call(method="POST", path=PATH, json=items), hints=_HINTS)
        except DeliveryError as error:
            return error
        return None

    def _superseded(
        self, member: Channel, alert: Alert, labels: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """The alerts of the same key that are open under other labels, as ended ones."""
        if self._open.get(alert.key) == labels and alert.status is AlertStatus.FIRING:
            return []
        wanted = f'{KEY_LABEL}="{_quoted(labels[KEY_LABEL])}"'
        call = Call(method="GET", path=PATH, params={"filter": wanted})
        try:
            found = json.loads(member.call(call).content)
            others = [one for one in found if one["labels"] != labels]
            return [_ended(one, min(alert.at, self._clock.now())) for one in others]
        except (DeliveryError, ValueError, LookupError, TypeError):
            return []  # the look-up is a courtesy: what it misses ends by itself

    def _item(self, alert: Alert) -> dict[str, Any]:
        resolved = alert.status is AlertStatus.RESOLVED
        now = self._clock.now()
        # An end ahead of now is no end yet; one behind would end what still fires.
        ends = min(alert.at, now) if resolved else max(alert.at, now) + self._lifetime
        item: dict[str, Any] = {
            "labels": alert_labels(alert, self._labels),
            "annotations": alert_annotations(alert),
            # Both are always sent: an end without a start sets the start to the end.
            "startsAt": iso(min(alert.since, ends)),
            "endsAt": iso(ends),
        }
        urls = [url for link in alert.links if (url := web_url(link.url))]
        if urls:
            item["generatorURL"] = urls[0]
        return item

    def __repr__(self) -> str:
        """Say where it sends; never the credential."""
        return f"AlertmanagerSink({[member.base_url for member in self._members]})"


def alertmanager_url(url: str) -> str:
    """The base URL of an Alertmanager, without the path of its API.

    Raises:
        InputError: it is no address, carries credentials, or is the address of Grafana itself.
    """
    url = checked_base_url(url, credential=False)
    base = url.rstrip("/").removesuffix(PATH).removesuffix("/api/v2")
    parts = urlsplit(base)
    host = parts.hostname or ""
    cloud = host.endswith(".grafana.net") and not host.startswith("alertmanager")
    if cloud or "/api/alertmanager/grafana" in parts.path:
        msg = f"url={url!r}: {_GRAFANA_ITSELF}"
        raise InputError(msg)
    return base


def label_name(name: str) -> str:
    """A label name that every version takes: ``[a-zA-Z_][a-zA-Z0-9_]*``.

    >>> label_name("camera-id"), label_name("2nd")
    ('camera_id', '_2nd')
    """
    safe = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    return safe if safe[:1].isalpha() or safe[:1] == "_" else f"_{safe}"


def alert_labels(alert: Alert, further: Mapping[str, str]) -> dict[str, str]:
    """What an alert is known by; empty labels are left out, as the server would do.

    Own labels win over labels of the same name.
    """
    own = {
        "alertname": alert.rule,
        "deployment": alert.deployment,
        "severity": alert.severity.value,
        "metric": alert.metric,
        "drill": "true" if alert.test else "",
        KEY_LABEL: dedup_key(alert, KEY_LIMIT),
    }
    given = {label_name(name): value for name, value in (*further.items(), *alert.labels.items())}
    labels = {
        name: clip_bytes(one_line(value), LABEL_BYTES) for name, value in {**given, **own}.items()
    }
    return {name: value for name, value in labels.items() if value}


def alert_annotations(alert: Alert) -> dict[str, str]:
    """What an alert tells people; it may change from one sending to the next."""
    told: dict[str, str] = {"summary": headline(alert)}
    told |= {label_name(name): str(value) for name, value in facts(alert).items()}
    told["logs"] = "\n".join(log_line(line) for line in alert.logs)
    runbooks = [url for word in alert.runbook.split() if (url := web_url(word))]
    told["runbook_url"] = runbooks[0] if runbooks else ""
    return {name: clip(value, ANNOTATION_LIMIT) for name, value in told.items() if value}


def worst(errors: Sequence[DeliveryError]) -> DeliveryError:
    """One error for several: worth another attempt when one of them is."""
    later = [error for error in errors if isinstance(error, DeliveryFailed)]
    return later[0] if later else errors[0]


def _ended(found: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    started = datetime.fromisoformat(found["startsAt"])
    return {
        "labels": found["labels"],
        "annotations": found["annotations"],
        "startsAt": found["startsAt"],
        "endsAt": iso(max(started, at)),
    }


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
