"""Where a retraining is written down: one document for each name, its history, its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from driftline.errors import ConfigError
from driftline.records import Append, Change, Put, Store
from driftline.retrain._loop_frames import LoopFrame
from driftline.retrain._loop_state import State

SPACE: Final = "retrain/loop"
"""Where the present retraining of each name is in a store; their history has the same name."""
PAST: Final = "retrain/loop/past"
"""Where retrainings that another followed are, by id."""
FRAMES: Final = "retrain/loop/frames"
"""Where the frames of each retraining are, by id."""


class Book:
    """The retrainings of one name in a store."""

    def __init__(self, store: Store, name: str) -> None:
        """Keep where; nothing is read yet."""
        self._store, self._name = store, name

    def find(self) -> tuple[State, int] | None:
        """The present retraining and its version, None when there is none."""
        found = self._store.get(SPACE, self._name)
        return None if found is None else (State.from_json(found.value), found.version)

    def known(self) -> tuple[State, int]:
        """The same.

        Raises:
            ConfigError: there is none.
        """
        found = self.find()
        if found is None:
            msg = f"no retraining of {self._name} was opened; call open(decision)"
            raise ConfigError(msg)
        return found

    def past(self, ident: str) -> State | None:
        """A retraining that another followed."""
        found = self._store.get(PAST, ident)
        return None if found is None else State.from_json(found.value)

    def frames(self, ident: str, class_names: Mapping[int, str]) -> tuple[LoopFrame, ...]:
        """The frames of a retraining."""
        found = self._store.get(FRAMES, ident)
        rows = () if found is None else found.value["frames"]
        return tuple(LoopFrame.from_json(one, class_names) for one in rows)

    def drawn_before(self, class_names: Mapping[int, str]) -> frozenset[str]:
        """Digests of the frames on which earlier retrainings of this name were evaluated."""
        past = [one.key for one in self._store.scan(PAST) if one.value["name"] == self._name]
        frames = (frame for ident in past for frame in self.frames(ident, class_names))
        return frozenset(frame.digest for frame in frames if frame.drawn)

    def write(
        self,
        state: State,
        version: int,
        *,
        before: State | None,
        frames: Sequence[LoopFrame] | None = None,
    ) -> None:
        """Write a state, what is new in its record, and its frames: all or nothing.

        Args:
            state: the state.
            version: the version it was made from, 0 for none.
            before: the state it was made from; one of another retraining is kept as past.
            frames: its frames; None: unchanged.

        Raises:
            StoreConflict: somebody else wrote meanwhile.
        """
        follows = before is not None and before.id == state.id
        old = len(before.notes) if before is not None and follows else 0
        changes: list[Change] = [
            Put(space=SPACE, key=self._name, value=state.to_json(), version=version)
        ]
        changes += [
            Append(
                space=SPACE,
                key=self._name,
                at=note.at,
                record={"loop": state.id, "step": note.step, "said": note.said},
            )
            for note in state.notes[old:]
        ]
        if before is not None and not follows:
            changes.append(Put(space=PAST, key=before.id, value=before.to_json()))
        if frames is not None:
            value = {"frames": [frame.to_json() for frame in frames]}
            changes.append(Put(space=FRAMES, key=state.id, value=value))
        self._store.write(changes)
