"""Pages for people, and dashboards and alert rules as code."""

from driftline.reports._check import Checkup, Finding, check
from driftline.reports._datadog import datadog_dashboard, datadog_monitors
from driftline.reports._exported import Exported
from driftline.reports._grafana import grafana_alert_rules, grafana_dashboard
from driftline.reports._prometheus import prometheus_rules
from driftline.reports._weekly import WeeklyReport, weekly

__all__ = [
    "Checkup",
    "Exported",
    "Finding",
    "WeeklyReport",
    "check",
    "datadog_dashboard",
    "datadog_monitors",
    "grafana_alert_rules",
    "grafana_dashboard",
    "prometheus_rules",
    "weekly",
]
