"""A retraining is remembered alike in every store."""

import importlib.util
from pathlib import Path

from loop_kit import DECISION, MAIN
from loop_signs import Callers, drive, small_retraining

from driftline.retrain import Move

SPEC = importlib.util.spec_from_file_location(
    "stores_conftest", Path(__file__).parents[1] / "stores" / "conftest.py"
)
STORES = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(STORES)
store = STORES.store


def test_same_end(tmp_path, store):
    """In memory, SQLite and PostgreSQL: the same steps, read back from the history."""
    with small_retraining(tmp_path / "loop", store=store) as (local, loop, signs):
        loop.open(DECISION)
        done = drive(loop, local, signs, Callers(loop))
        history = store.history("retrain/loop", MAIN)

        assert Move.DONE is done.move
        assert [note.said for note in done.notes] == [one.record["said"] for one in history]
        assert {1, 2, 3, 4, 5, 6, 7} == {note.step for note in done.notes}
