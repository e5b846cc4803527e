"""Whatever is asked of a store, in any order: each kind answers as plain dicts and lists would."""

from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from driftline.errors import StoreBusy, StoreConflict
from driftline.records import (
    Append,
    Bury,
    Drop,
    Enqueue,
    Postpone,
    Put,
    Remove,
    Revive,
    Settle,
    Trim,
)
from driftline.stores import MemoryStore, SqlStore

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PROFILE = {"deadline": None, "derandomize": True, "database": None, "stateful_step_count": 30}

few = st.sampled_from
names = few(["a", "b", "ä/%"])
spaces = few(["s", "s/t"])
queues = few(["q/1", "q/2", "q%"])
times = st.integers(-3, 3).map(lambda n: START + n * SECOND)
versions = st.none() | st.integers(0, 3)
bodies = st.dictionaries(few(["x", "y\x00"]), st.integers() | st.text(max_size=3), max_size=2)


class Plain:
    """What a store holds, as dicts and lists; every change is a line or two."""

    def __init__(self):
        self.documents, self.lines, self.waiting, self.dead = {}, [], [], []

    def copy(self):
        twin = Plain()
        twin.documents, twin.lines = dict(self.documents), list(self.lines)
        twin.waiting, twin.dead = [dict(i) for i in self.waiting], [dict(i) for i in self.dead]
        return twin

    def put(self, change):
        version = self.documents.get((change.space, change.key), ({}, 0))[1]
        if change.version not in (None, version):
            raise StoreConflict("put")
        self.documents[change.space, change.key] = (dict(change.value), version + 1)

    def remove(self, change):
        version = self.documents.get((change.space, change.key), ({}, 0))[1]
        if change.version is not None and (not version or change.version != version):
            raise StoreConflict("remove")
        self.documents.pop((change.space, change.key), None)

    def append(self, change):
        self.lines.append((change.space, change.key, change.at, dict(change.record)))

    def trim(self, change):
        self.lines = [
            one for one in self.lines if one[0] != change.space or one[2] >= change.before
        ]

    def enqueue(self, change):
        item = {"queue": change.queue, "key": change.key, "payload": dict(change.payload)}
        times = {"created": change.at, "due": change.due or change.at, "expires": change.expires}
        self.waiting.append(item | times | {"attempts": 0, "error": ""})

    def take(self, change, rows):
        found = [one for one in rows if one.get("id") == change.id]
        rows[:] = [one for one in rows if one.get("id") != change.id]
        return found

    def settle(self, change):
        self.take(change, self.waiting)

    def drop(self, change):
        self.take(change, self.dead)

    def postpone(self, change):
        for one in self.waiting:
            if one.get("id") == change.id:
                one |= {"due": change.due, "error": change.error, "attempts": one["attempts"] + 1}

    def bury(self, change):
        for one in self.take(change, self.waiting):
            self.dead.append(one | {"at": change.at, "reason": change.reason})

    def revive(self, change):
        for one in self.take(change, self.dead):
            again = {"created": change.at, "due": change.at, "expires": None}
            kept = {name: one[name] for name in ("queue", "key", "payload")}
            self.waiting.append(kept | again | {"attempts": 0, "error": ""})

    def write(self, changes):
        """All or nothing: what is left when every change went well."""
        after = self.copy()
        for change in changes:
            getattr(after, type(change).__name__.lower())(change)
        return after


ITEM = ("queue", "key", "payload", "created", "due", "expires", "attempts", "error")


def fields(item):
    return {name: getattr(item, name) for name in ITEM}


class Machine(RuleBasedStateMachine):
    """Two users of one store, and the plain model of it."""

    def __init__(self, open_two):
        super().__init__()
        self.stores = open_two()
        self.plain = Plain()
        self.leases = {}
        self.greatest = 0

    held = Bundle("held")

    @property
    def store(self):
        """One of the two: what one writes the other reads."""
        self.stores = self.stores[::-1]
        return self.stores[0]

    def ids(self):
        """Numbers that items have or had, and one that none ever had."""
        known = [one["id"] for one in (*self.plain.waiting, *self.plain.dead)]
        return st.sampled_from([*known, 10**6])

    # --- writing ------------------------------------------------------------------------------

    @rule(data=st.data(), many=st.integers(1, 4))
    def write(self, data, many):
        """Any mix of changes at once: all of them, or a conflict and none."""
        self.written([data.draw(self.changes()) for _ in range(many)])

    def changes(self):
        plain = self.plain.documents
        current = st.sampled_from(sorted(v for _, v in plain.values()) or [0])
        at_version = versions | current
        ids = self.ids()
        texts = st.text(max_size=4).map(lambda text: text.replace("\x00", " "))
        return st.one_of(
            st.builds(Put, space=spaces, key=names, value=bodies, version=at_version),
            st.builds(
                Remove, space=spaces, key=names, version=st.none() | current.filter(bool) | few([9])
            ),
            st.builds(Append, space=spaces, key=names, at=times, record=bodies),
            st.builds(Trim, space=spaces, before=times),
            st.builds(
                Enqueue,
                queue=queues,
                key=names,
                payload=bodies,
                at=times,
                due=st.none() | times,
                expires=st.none() | times,
            ),
            st.builds(Settle, id=ids),
            st.builds(Drop, id=ids),
            st.builds(Postpone, id=ids, due=times, error=texts),
            st.builds(Bury, id=ids, at=times, reason=texts),
            st.builds(Revive, id=ids, at=times),
        )

    def written(self, changes, **how):
        try:
            after = self.plain.write(changes)
        except StoreConflict:
            with pytest.raises(StoreConflict):
                self.store.write(changes, **how)
        else:
            self.store.write(changes, **how)
            self.plain = after
            self.number()

    def number(self):
        """New items, in order, got numbers greater than any that was there before."""
        fresh = [one for one in self.plain.waiting if "id" not in one]
        in_store = [i for q in self.store.queues() for i in self.store.waiting(q)]
        unseen = sorted(i.id for i in in_store if i.id > self.greatest)
        assert len(fresh) == len(unseen)
        for one, number in zip(fresh, unseen, strict=True):
            one["id"] = number
        self.greatest = max([self.greatest, *unseen])

    @precondition(lambda self: self.plain.waiting)
    @rule(data=st.data(), at=times)
    def work_on_an_item(self, data, at):
        """What delivery does: it was sent, was tried in vain, or is given up."""
        number = data.draw(st.sampled_from([one["id"] for one in self.plain.waiting]))
        deed = data.draw(few(["sent", "in vain", "given up"]))
        known = {
            "sent": Settle(id=number),
            "in vain": Postpone(id=number, due=at, error="503"),
            "given up": Bury(id=number, at=at, reason="400"),
        }
        self.written([known[deed]])

    # --- leases -------------------------------------------------------------------------------

    @rule(target=held, name=names, holder=few(["me", "you"]), now=times, long=st.integers(0, 3))
    def acquire(self, name, holder, now, long):
        """A lease is had when it does not hold any more, with a token above all before."""
        known = self.leases.get(name)
        asked = {"holder": holder, "now": now, "duration": long * SECOND}
        if known is not None and abs(now - known.since) < known.until - known.since:
            with pytest.raises(StoreBusy, match=f"held by {known.holder}"):
                self.store.acquire(name, **asked)
            return multiple()
        lease = self.store.acquire(name, **asked)
        assert (name, holder, now + long * SECOND) == (lease.name, lease.holder, lease.until)
        assert known is None or lease.token > known.token
        self.leases[name] = lease
        return lease

    def is_held(self, lease):
        return self.leases[lease.name].token == lease.token

    @rule(lease=held, now=times, long=st.integers(0, 3))
    def renew(self, lease, now, long):
        """Who was not overtaken may go on, others are told."""
        if not self.is_held(lease):
            with pytest.raises(StoreBusy, match="taken over"):
                self.store.renew(lease, now=now, duration=long * SECOND)
            return
        renewed = self.store.renew(lease, now=now, duration=long * SECOND)
        assert (lease.token, now + long * SECOND) == (renewed.token, renewed.until)
        self.leases[lease.name] = renewed

    @rule(lease=held)
    def release(self, lease):
        """Given back it is free at once; given back too late, nothing happens."""
        self.store.release(lease)
        if self.is_held(lease):
            known = self.leases[lease.name]
            self.leases[lease.name] = evolve(known, until=known.since)

    @rule(lease=held, key=names, body=bodies)
    def write_under_a_lease(self, lease, key, body):
        """Who was overtaken writes nothing."""
        change = Put(space="s", key=key, value=body)
        if self.is_held(lease):
            self.written([change], lease=lease)
        else:
            with pytest.raises(StoreBusy):
                self.store.write([change], lease=lease)

    # --- reading ------------------------------------------------------------------------------

    @rule(
        space=spaces,
        key=st.none() | names,
        since=st.none() | times,
        until=st.none() | times,
        last=st.none() | st.integers(0, 4),
    )
    def history(self, space, key, since, until, last):
        """Lines by time, those of one time in order of writing; the newest of them."""
        lines = [
            (k, at, record)
            for s, k, at, record in self.plain.lines
            if s == space
            and key in (None, k)
            and (since is None or at >= since)
            and (until is None or at < until)
        ]
        lines.sort(key=lambda line: line[1])
        wanted = lines if last is None else lines[len(lines) - min(last, len(lines)) :]
        found = self.store.history(space, key, since=since, until=until, last=last)
        assert wanted == [(one.key, one.at, one.record) for one in found]

    @rule(prefix=few(["", "q/", "q%", "x"]), limit=st.none() | st.integers(0, 3))
    def dead(self, prefix, limit):
        """What was given up last comes first."""
        rows = [one for one in self.plain.dead if one["queue"].startswith(prefix)]
        rows.sort(key=lambda one: (one["at"], one["id"]), reverse=True)
        found = self.store.dead(prefix, limit=limit)
        assert [one["id"] for one in rows[:limit]] == [one.item.id for one in found]
        for one, dead in zip(rows, found, strict=False):
            assert {k: one[k] for k in ITEM} == fields(dead.item)
            assert (one["at"], one["reason"]) == (dead.at, dead.reason)

    @rule(queue=queues, limit=st.integers(0, 3))
    def the_first_ones(self, queue, limit):
        """A limit takes the front of a queue."""
        rows = [one["id"] for one in self.plain.waiting if one["queue"] == queue]
        assert rows[:limit] == [one.id for one in self.store.waiting(queue, limit=limit)]

    @invariant()
    def holds_what_was_written(self):
        """Documents, queues and their counts are those of the model, whoever looks."""
        store, plain = self.store, self.plain
        for space in ("s", "s/t"):
            rows = sorted((k, *found) for (s, k), found in plain.documents.items() if s == space)
            assert rows == [(d.key, d.value, d.version) for d in store.scan(space)]
        for key in ("a", "b"):
            document, known = store.get("s", key), plain.documents.get(("s", key))
            assert known == (None if document is None else (document.value, document.version))
        counts = {}
        for one in plain.waiting:
            counts[one["queue"]] = counts.get(one["queue"], 0) + 1
        assert counts == store.queues()
        for queue in counts:
            rows = [one for one in plain.waiting if one["queue"] == queue]
            found = store.waiting(queue)
            assert [one["id"] for one in rows] == [item.id for item in found]
            assert [{k: one[k] for k in ITEM} for one in rows] == [fields(i) for i in found]

    # --- restarts -----------------------------------------------------------------------------

    @rule()
    def reopen(self):
        """A connection that was closed opens again; nothing is lost by it."""
        self.store.close()

    def teardown(self):
        for store in self.stores:
            store.close()


_numbers = iter(range(1_000_000))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def open_two(request, tmp_path):
    """Opens an empty store, for two users of it."""

    def two():
        if request.param == "memory":
            store = MemoryStore()
            return [store, store]
        name = f"machine{next(_numbers)}"
        url = f"sqlite:///{tmp_path}/{name}.db"
        if request.param == "postgres":
            url = request.getfixturevalue("postgres").new_schema()
        return [SqlStore(url), SqlStore(url)]

    return two


def test_answers_as_plain_lists(open_two):
    """Compare-and-swap, histories, queues, the dead and leases, mixed by chance."""
    run_state_machine_as_test(
        lambda: Machine(open_two), settings=settings(max_examples=12, **PROFILE)
    )


@pytest.mark.slow
def test_answers_as_plain_lists_at_length(open_two):
    """The same, seventy times as often."""
    run_state_machine_as_test(
        lambda: Machine(open_two), settings=settings(max_examples=900, **PROFILE)
    )
