"""Dead letters, sent again: the last word a sink hears of an alert must be the true one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from attrs import evolve

from driftline.errors import InputError
from driftline.monitor._codec import alert_from_json, alert_to_json
from driftline.records import Alert, AlertStatus, Change, DeadItem, Enqueue, Item, Revive, Settle


def again(
    dead: DeadItem,
    *,
    open_alerts: Iterable[Alert],
    waiting: Sequence[Item],
    dead_items: Iterable[DeadItem],
    now: datetime,
) -> list[Change]:
    """What sends a dead letter again, and after it the end of its alert where that is over.

    Args:
        dead: the letter.
        open_alerts: what people know to be open.
        waiting: what waits in the letter's queue.
        dead_items: all dead letters.
        now: the time.

    Raises:
        InputError: the same alert fires anew, and the letter would be taken for news of it.
    """
    item, revived = dead.item, Revive(id=dead.item.id, at=now)
    if "alert" not in item.payload:
        return [revived]
    alert = alert_from_json(item.payload["alert"])
    newer = next((one for one in open_alerts if one.key == alert.key), None)
    ended = alert.status is AlertStatus.RESOLVED
    if newer is not None and (ended or newer.since > alert.since):
        msg = (
            f"letter {item.id} tells that {alert.key!r} is {alert.status.value}, which is old: it "
            f"has been firing since {newer.since.isoformat()}; drop({item.id}) it"
        )
        raise InputError(msg)
    if newer is not None or ended or any(_ends(alert, one.item, item) for one in dead_items):
        return [revived]
    early = [one for one in waiting if _ends(alert, one, item)]
    end = early[-1].payload["alert"] if early else _end_of(alert, now)
    return [
        revived,
        *(Settle(id=one.id) for one in early),
        Enqueue(queue=item.queue, key=item.key, payload={"alert": end}, at=now),
    ]


def _ends(alert: Alert, other: Item, item: Item) -> bool:
    """Whether another item of the same queue tells the end of the alert."""
    if (other.queue, other.key) != (item.queue, item.key):
        return False
    told = alert_from_json(other.payload["alert"])
    return told.status is AlertStatus.RESOLVED and told.since >= alert.since


def _end_of(alert: Alert, now: datetime) -> dict[str, Any]:
    over = evolve(alert, status=AlertStatus.RESOLVED, at=now, reason="over before it was told")
    return alert_to_json(over)
