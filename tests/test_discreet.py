"""Credentials in what other people's libraries log."""

import logging
import sys
import threading

import pytest

from driftline._discreet import discreet

NAME = "driftline.tests.discreet"


@pytest.fixture
def lines():
    """What a logger wrote."""
    written: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record):
            written.append(record.getMessage())

    logger, keeper = logging.getLogger(NAME), Keeper()
    logger.addHandler(keeper)
    logger.setLevel(logging.DEBUG)
    yield written
    logger.removeHandler(keeper)


def test_masked_meanwhile(lines):
    """A credential is masked while it is in use, whether it is in the words or the arguments."""
    log = logging.getLogger(NAME)
    with discreet([NAME], ["canary-1"]):
        log.info("GET %s", "https://hooks.example/canary-1")
        log.info("canary-1")
    log.info("canary-1")

    assert ["GET https://hooks.example/***", "***", "canary-1"] == lines
    assert [] == log.filters


def test_two_at_once(lines):
    """One that ends while another logs does not take the other's mask away."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    log = logging.getLogger(NAME)

    def use(secret):
        for _ in range(300):
            with discreet([NAME], [secret]):
                log.info("POST %s", secret)

    try:
        threads = [threading.Thread(target=use, args=(f"canary-{k}",)) for k in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert {"POST ***"} == set(lines)
    assert [] == log.filters
