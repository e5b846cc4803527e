"""Where alerts and numbers go: any object with ``send(alert)`` or ``push(samples)`` is a sink.

`LogSink` needs nothing. The vendors' sinks live in modules of their own, and importing one is
the opt-in to its extra: ``driftline.sinks.datadog``, ``.pagerduty``, ``.grafana``,
``.alertmanager`` (neither of the last two needs an extra) and ``.apprise``.

A sink makes one attempt a call and raises `driftline.errors.DeliveryFailed` (try again later) or
`driftline.errors.DeliveryRefused` (never as it stands); waiting, repeating and giving up belong
to the outbox of `driftline.Monitor`.
"""

from driftline.sinks.log import LogSink

__all__ = ["LogSink"]
