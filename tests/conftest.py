"""Every credential that any test makes is a canary: it must be found in no log, error or file.

`Secret` is where credentials enter Driftline, so its values are collected as tests make them.
Each log record, each error that a test expects (with its causes, notes and attributes), what a test
prints, and each file below `tmp_path` after it is searched for all of them, also in the encodings
that they travel in. A test that needs its credential in a
file says so with the mark ``writes_secret``.

Hypothesis does not measure time either: an example may take long on a busy machine.
"""

import base64
import json
import logging
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, Phase, settings

from driftline._secret import Secret
from postgres_server import postgres

__all__ = ["postgres"]  # here, so that a process starts one server for all areas

settings.register_profile(
    "unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(  # nox -s mutation: one failing example is enough, none is shrunk
    "mutation",
    phases=(Phase.explicit, Phase.generate),
    derandomize=True,
    deadline=None,
    database=None,
)
settings.load_profile("unhurried")

SHORTEST = 12
"""A shorter value, such as "key", is found in innocent text, ..."""
FEWEST_CHARACTERS = 3
"""... and so is one of a single character again and again, such as zeros, in any large number."""
LARGEST_FILE = 5_000_000
CANARIES: set[str] = set()
LEAKS: list[str] = []


def search(text, *, where):
    """Note a leak where a canary is in the text; the canary itself is not repeated."""
    if any(canary in text for canary in CANARIES):
        LEAKS.append(where)


class Listener(logging.Handler):
    """Searches each record as it would be printed, with its traceback."""

    def emit(self, record):
        search(self.format(record), where=f"the log of {record.name}")


def forms(value):
    """A credential as it is, as URLs write it, as JSON does, and inside base64 at any offset."""
    yield value
    yield quote(value, safe="")
    yield json.dumps(value)[1:-1]
    for before in range(3):
        inside = base64.b64encode(bytes(before) + value.encode()).decode().rstrip("=")
        yield inside[-(-before * 8 // 6) : -1]


def chain(error):
    """The error and all that leads to it, whether a traceback would show it or not."""
    todo, seen = [error], set()
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def pytest_configure(config):
    """Collect from birth: wrap the constructor, listen to every logger, watch `pytest.raises`."""
    keep, leave = Secret.__init__, pytest.RaisesExc.__exit__

    def collect(self, value):
        keep(self, value)
        telling = len(value) >= SHORTEST and len(set(value)) >= FEWEST_CHARACTERS
        if telling and urlsplit(value).path not in ("", "/"):
            CANARIES.update(forms(value))

    def inspect(self, kind, error, traceback):
        for one in chain(error):
            told = [one, repr(one), *vars(one).values(), *getattr(one, "__notes__", ())]
            search(" ".join(map(str, told)), where=f"the text of {type(one).__name__}")
        return leave(self, kind, error, traceback)

    Secret.__init__ = collect
    pytest.RaisesExc.__exit__ = inspect
    logging.getLogger().addHandler(Listener())
    logging.getLogger("driftline").setLevel(logging.DEBUG)
    config.addinivalue_line("markers", "writes_secret: the test itself puts a credential in a file")


@pytest.fixture(autouse=True)
def no_credential_leaks(request):
    """Fail the test in which a credential went where people or disks can see it."""
    LEAKS.clear()
    yield
    folder = request.node.funcargs.get("tmp_path")
    if folder is not None and not request.node.get_closest_marker("writes_secret"):
        search_files(folder)
    assert not LEAKS, f"a credential is in {sorted(set(LEAKS))}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """What a test prints is searched too; a leak makes the report a failure."""
    report = yield
    found = [name for name, text in report.sections if any(c in text for c in CANARIES)]
    if found:
        report.outcome, report.longrepr = "failed", f"a credential is in {found}"
    return report


def search_files(folder):
    wanted = [canary.encode() for canary in CANARIES]
    for path in Path(folder).rglob("*"):
        if path.is_file() and path.stat().st_size <= LARGEST_FILE:
            content = path.read_bytes()
            if any(canary in content for canary in wanted):
                LEAKS.append(f"the file {path.name}")
