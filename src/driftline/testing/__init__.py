"""Fakes and conformance suites: what Driftline is tested with, for users' tests as well."""

from driftline.testing._sinks import RecordingSink

__all__ = ["RecordingSink"]
