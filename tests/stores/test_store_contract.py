"""What every store promises; the same tests for memory, SQLite and a real PostgreSQL."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from driftline.errors import InputError, StoreBusy, StoreConflict
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
    Store,
    Trim,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_is_a_store(store):
    """Each of them is what the protocol asks for."""
    assert isinstance(store, Store)


class TestDocuments:
    def test_absent(self, store):
        """What was never written is None, and a space without documents is empty."""
        assert store.get("a", "k") is None
        assert [] == list(store.scan("a"))

    def test_versions_count_writes(self, store):
        """A document begins at version 1 and gains one at each write."""
        store.write([Put(space="a", key="k", value={"x": 1})])
        store.write([Put(space="a", key="k", value={"x": 2})])

        found = store.get("a", "k")

        assert ({"x": 2}, 2) == (found.value, found.version)

    def test_compare_and_swap(self, store):
        """A write made for another version changes nothing and says so."""
        store.write([Put(space="a", key="k", value={"x": 1}, version=0)])
        with pytest.raises(StoreConflict, match="'k' of 'a' is not at version 0"):
            store.write([Put(space="a", key="k", value={"x": 9}, version=0)])
        with pytest.raises(StoreConflict):
            store.write([Put(space="a", key="k", value={"x": 9}, version=7)])
        store.write([Put(space="a", key="k", value={"x": 2}, version=1)])

        assert {"x": 2} == store.get("a", "k").value

    def test_remove(self, store):
        """A removed document is gone; removing at a version minds the version."""
        store.write([Put(space="a", key="k", value={})])
        with pytest.raises(StoreConflict):
            store.write([Remove(space="a", key="k", version=2)])
        store.write([Remove(space="a", key="k", version=1), Remove(space="a", key="none")])

        assert store.get("a", "k") is None
        with pytest.raises(StoreConflict):
            store.write([Remove(space="a", key="k", version=1)])

    def test_scan_by_key(self, store):
        """A scan lists one space in the order of keys, code point by code point."""
        store.write(
            [Put(space="a", key=key, value={"k": key}) for key in ("b", "ä", "B", "", "a/b")]
        )
        store.write([Put(space="ab", key="x", value={})])

        assert ["", "B", "a/b", "b", "ä"] == [document.key for document in store.scan("a")]

    def test_what_json_can_hold(self, store):
        """Nested values, big integers, any text and exact floats come back equal."""
        value = {"a": [1, 2.5, None, True, {"b": "\x00 é \U0001f600"}], "n": 2**62, "f": 0.1 + 0.2}
        store.write([Put(space="a", key="k", value=value)])

        assert value == store.get("a", "k").value

    @pytest.mark.parametrize("value", [{"x": float("nan")}, {"x": NOW}, {"x": {1, 2}}])
    def test_refuses_what_json_cannot(self, store, value):
        """NaN, dates and sets are refused before anything is written."""
        with pytest.raises(InputError, match="only plain JSON"):
            store.write([Put(space="a", key="ok", value={}), Put(space="a", key="k", value=value)])
        assert [] == list(store.scan("a"))

    def test_no_shared_objects(self, store):
        """Changing what was written or read changes nothing in the store."""
        value = {"x": [1]}
        store.write([Put(space="a", key="k", value=value)])
        value["x"].append(2)
        store.get("a", "k").value["x"].append(3)

        assert {"x": [1]} == store.get("a", "k").value


class TestWrite:
    def test_all_or_nothing(self, store):
        """When one change of a write cannot be done, none is."""
        store.write([Put(space="a", key="k", value={})])
        changes = [
            Put(space="a", key="new", value={}),
            Append(space="h", key="k", at=NOW, record={}),
            Enqueue(queue="q", key="k", payload={}, at=NOW),
            Put(space="a", key="k", value={}, version=5),
        ]
        with pytest.raises(StoreConflict):
            store.write(changes)

        assert store.get("a", "new") is None
        assert [] == list(store.history("h"))
        assert [] == list(store.waiting("q"))

    def test_in_order(self, store):
        """Changes of one write are done in the order they are given."""
        store.write(
            [
                Put(space="a", key="k", value={"x": 1}, version=0),
                Put(space="a", key="k", value={"x": 2}, version=1),
                Remove(space="a", key="k"),
                Put(space="a", key="k", value={"x": 3}, version=0),
            ]
        )

        assert ({"x": 3}, 1) == (store.get("a", "k").value, store.get("a", "k").version)

    def test_nothing(self, store):
        """Writing nothing is allowed, and leaves everything as it is."""
        store.write([Put(space="a", key="k", value={"x": 1})])
        store.write([])

        assert [("k", {"x": 1}, 1)] == [(d.key, d.value, d.version) for d in store.scan("a")]

    @pytest.mark.parametrize(
        ("kind", "fields", "name"),
        [
            (Put, {"space": "a", "key": "k", "value": {}, "version": 2**63}, "version"),
            (Put, {"space": "a", "key": "k", "value": {}, "version": -1}, "version"),
            (Put, {"space": "a", "key": "k", "value": None}, "value"),
            (Put, {"space": None, "key": "k", "value": {}}, "space"),
            (Remove, {"space": "a", "key": "k", "version": 2**63}, "version"),
            (Append, {"space": "h", "key": 5, "at": NOW, "record": {}}, "key"),
            (Append, {"space": "h", "key": "k", "at": NOW, "record": [1]}, "record"),
            (Trim, {"space": None, "before": NOW}, "space"),
            (Enqueue, {"queue": None, "key": "k", "payload": {}, "at": NOW}, "queue"),
            (Settle, {"id": 2**63}, "id"),
            (Settle, {"id": None}, "id"),
            (Postpone, {"id": "1", "due": NOW, "error": ""}, "id"),
            (Postpone, {"id": 1, "due": NOW, "error": None}, "error"),
            (Bury, {"id": 1.0, "at": NOW, "reason": ""}, "id"),
            (Revive, {"id": -1, "at": NOW}, "id"),
            (Drop, {"id": True}, "id"),
        ],
    )
    def test_what_is_no_change(self, kind, fields, name):
        """A change that no database can hold is refused where it is made, with its field."""
        with pytest.raises(InputError, match=f"^{name}=.* must be "):
            kind(**fields)

    @pytest.mark.parametrize("bad", [None, "put", Settle(id=1), [Settle(id=1), {"id": 2}], [Put]])
    def test_what_is_no_list_of_changes(self, store, bad):
        """Anything but a list of changes is refused, and nothing of it is written."""
        store.write([Enqueue(queue="q", key="k", payload={}, at=NOW)])
        with pytest.raises(InputError, match=r"^changes"):
            store.write(bad)

        assert {"q": 1} == store.queues()

    @pytest.mark.parametrize("bad", [None, 5, ["a"]])
    def test_names_are_text(self, store, bad):
        """Asking for what has no name of text is refused, for nothing is ever called so."""
        asking = [
            (store.get, (bad, "k"), {}),
            (store.get, ("a", bad), {}),
            (store.scan, (bad,), {}),
            (store.history, (bad,), {}),
            (store.history, ("h", bad or 0), {}),
            (store.waiting, (bad,), {}),
            (store.queues, (bad,), {}),
            (store.dead, (bad,), {}),
            (store.acquire, (bad,), {"holder": "me", "now": NOW, "duration": MINUTE}),
            (store.acquire, ("m",), {"holder": bad, "now": NOW, "duration": MINUTE}),
        ]
        for ask, names, more in asking:
            with pytest.raises(InputError, match="must be text"):
                ask(*names, **more)

    def test_many(self, store):
        """A thousand documents go in one write."""
        store.write([Put(space="a", key=f"{i:04}", value={"i": i}) for i in range(1000)])

        assert list(range(1000)) == [document.value["i"] for document in store.scan("a")]


class TestHistory:
    def test_in_order_of_time(self, store):
        """Lines come by time, and lines of one time in the order they were written."""
        for minute, name in ((2, "c"), (1, "a"), (1, "b"), (3, "d")):
            store.write([Append(space="h", key="k", at=NOW + minute * MINUTE, record={"n": name})])

        assert ["a", "b", "c", "d"] == [entry.record["n"] for entry in store.history("h", "k")]

    def test_part_of_it(self, store):
        """`since` is inclusive, `until` exclusive, `last` takes the newest; keys are apart."""
        store.write(
            [
                Append(space="h", key=key, at=NOW + i * MINUTE, record={"i": i})
                for i in range(5)
                for key in ("k", "other")
            ]
        )

        def found(**how):
            return [entry.record["i"] for entry in store.history("h", "k", **how)]

        assert [1, 2] == found(since=NOW + MINUTE, until=NOW + 3 * MINUTE)
        assert [3, 4] == found(last=2)
        assert [] == found(last=0)
        assert 10 == len(store.history("h"))
        assert ["k", "other"] == [entry.key for entry in store.history("h", last=2)]

    @pytest.mark.parametrize(
        "bad", [{"last": -1}, {"last": "x"}, {"last": 2**63}, {"since": 5}, {"until": 5}]
    )
    def test_what_is_no_part(self, store, bad):
        """A number below zero, or what is no time, is refused and means the same in no store."""
        with pytest.raises(InputError):
            store.history("h", **bad)

    def test_times_are_exact(self, store):
        """Microseconds and other zones survive; times before 1970 too."""
        times = [
            datetime(1969, 7, 20, 20, 17, 40, 1, tzinfo=UTC),
            datetime(2026, 11, 23, 13, 0, 0, 999_999, tzinfo=UTC),
        ]
        store.write([Append(space="h", key="k", at=at, record={}) for at in times])

        assert times == [entry.at for entry in store.history("h")]

    def test_naive_times_are_refused(self):
        """A time without a zone means nothing."""
        with pytest.raises(InputError, match="no time zone"):
            Append(space="h", key="k", at=datetime(2026, 1, 1), record={})

    @pytest.mark.parametrize("bound", ["since", "until"])
    def test_naive_bounds_are_refused(self, store, bound):
        """A bound without a zone is refused by each kind of store."""
        store.write([Append(space="h", key="k", at=NOW, record={})])
        with pytest.raises(InputError, match="no time zone"):
            store.history("h", **{bound: datetime(2026, 1, 1)})

    def test_trim(self, store):
        """What is about a time before the cut is forgotten, in one space."""
        for space in ("h", "other"):
            store.write(
                [Append(space=space, key="k", at=NOW + i * MINUTE, record={}) for i in range(4)]
            )
        store.write([Trim(space="h", before=NOW + 2 * MINUTE)])

        assert (2, 4) == (len(store.history("h")), len(store.history("other")))


class TestItems:
    def test_first_in_first_out(self, store):
        """A queue keeps its order, across writes."""
        for i in range(3):
            store.write([Enqueue(queue="q", key=f"k{i}", payload={"i": i}, at=NOW)])
        store.write([Enqueue(queue="other", key="k", payload={}, at=NOW)])

        assert [0, 1, 2] == [item.payload["i"] for item in store.waiting("q")]
        assert [0, 1] == [item.payload["i"] for item in store.waiting("q", limit=2)]

    def test_fields(self, store):
        """An item is due at once unless told otherwise, and never expires unless told."""
        store.write(
            [
                Enqueue(queue="q", key="a", payload={}, at=NOW),
                Enqueue(
                    queue="q",
                    key="b",
                    payload={},
                    at=NOW,
                    due=NOW + MINUTE,
                    expires=NOW + 2 * MINUTE,
                ),
            ]
        )
        a, b = store.waiting("q")

        assert (NOW, NOW, None, 0, "") == (a.created, a.due, a.expires, a.attempts, a.error)
        assert (NOW + MINUTE, NOW + 2 * MINUTE) == (b.due, b.expires)

    def test_so_many(self, store):
        """A limit cuts the list; one below zero is refused, and not all but the last."""
        assert [] == store.waiting("q", limit=0)
        for ask in (store.waiting, store.dead):
            assert [] == ask("q", limit=2**63 - 1)
            for bad in (-1, 2**63):
                with pytest.raises(InputError, match=f"limit={bad} must be 0 or more, in 64 bits"):
                    ask("q", limit=bad)

    def test_settle_and_postpone(self, store):
        """A settled item is gone; a postponed one counts the attempt and keeps its place."""
        store.write([Enqueue(queue="q", key=k, payload={}, at=NOW) for k in "abc"])
        a, b, _ = store.waiting("q")
        error = "no\x00answer \ud800"
        store.write([Settle(id=b.id), Postpone(id=a.id, due=NOW + MINUTE, error=error)])
        first, second = store.waiting("q")

        assert ("a", 1, NOW + MINUTE) == (first.key, first.attempts, first.due)
        assert first.error.startswith("no")
        assert "c" == second.key

    def test_dead_and_revived(self, store):
        """A buried item is out of its queue, is listed with the reason, and can come back."""
        store.write(
            [Enqueue(queue="m/s", key=k, payload={"k": k}, at=NOW, expires=NOW) for k in "ab"]
        )
        a, b = store.waiting("m/s")
        store.write(
            [
                Bury(id=a.id, at=NOW + MINUTE, reason="400"),
                Bury(id=b.id, at=NOW + 2 * MINUTE, reason="403"),
            ]
        )

        assert [] == list(store.waiting("m/s"))
        assert [("b", "403"), ("a", "400")] == [(d.item.key, d.reason) for d in store.dead("m/")]
        assert ["b"] == [d.item.key for d in store.dead("m/", limit=1)]
        assert [] == list(store.dead("n/"))

        store.write([Revive(id=a.id, at=NOW + 3 * MINUTE)])
        (back,) = store.waiting("m/s")

        assert ({"k": "a"}, NOW + 3 * MINUTE, None, 0) == (
            back.payload,
            back.due,
            back.expires,
            back.attempts,
        )
        assert ["b"] == [d.item.key for d in store.dead()]

    def test_dead_by_their_time(self, store):
        """The newest dead is the one of the latest time, by number where times are equal."""
        store.write([Enqueue(queue="q", key=k, payload={}, at=NOW) for k in "abcd"])
        numbers = {item.key: item.id for item in store.waiting("q")}
        for key, minute in (("b", 2), ("a", 1), ("d", 1), ("c", 1)):
            store.write([Bury(id=numbers[key], at=NOW + minute * MINUTE, reason="")])

        assert ["b", "d", "c", "a"] == [dead.item.key for dead in store.dead("q")]

    def test_what_is_gone_stays_gone(self, store):
        """Settling, postponing, burying or reviving what is not there does nothing."""
        store.write(
            [
                Settle(id=7),
                Postpone(id=7, due=NOW, error=""),
                Bury(id=7, at=NOW, reason=""),
                Revive(id=7, at=NOW),
            ]
        )

        assert {} == store.queues()
        assert [] == list(store.dead())

    def test_numbers_are_not_used_twice(self, store):
        """A new item never gets the number of one that was settled: a late settle hits nothing."""
        store.write([Enqueue(queue="q", key="a", payload={}, at=NOW)])
        (first,) = store.waiting("q")
        store.write([Settle(id=first.id)])
        store.write([Enqueue(queue="q", key="b", payload={}, at=NOW)])

        assert store.waiting("q")[0].id > first.id

    def test_queues(self, store):
        """Queues are counted by prefix, with no pattern in it meaning anything."""
        for queue in ("m/a", "m/a", "m/b", "mm", "m%/c"):
            store.write([Enqueue(queue=queue, key="k", payload={}, at=NOW)])

        assert {"m/a": 2, "m/b": 1} == store.queues("m/")
        assert {"m%/c": 1} == store.queues("m%")
        assert 4 == len(store.queues())


class TestLeases:
    def test_one_at_a_time(self, store):
        """While a lease is held, nobody else gets it, and is told who holds it until when."""
        store.acquire("m", holder="me", now=NOW, duration=MINUTE)
        with pytest.raises(StoreBusy, match="held by me until 2026-11-23T12:01:00"):
            store.acquire("m", holder="you", now=NOW + 0.9 * MINUTE, duration=MINUTE)
        store.acquire("other", holder="you", now=NOW, duration=MINUTE)

    def test_runs_out(self, store):
        """A lease whose time is over is free, and tokens only grow."""
        first = store.acquire("m", holder="me", now=NOW, duration=MINUTE)
        second = store.acquire("m", holder="you", now=NOW + MINUTE, duration=MINUTE)

        assert ("you", NOW + 2 * MINUTE) == (second.holder, second.until)
        assert second.token > first.token

    def test_release(self, store):
        """A released lease is free at once; releasing what was taken over does nothing."""
        first = store.acquire("m", holder="me", now=NOW, duration=MINUTE)
        store.release(first)
        second = store.acquire("m", holder="you", now=NOW, duration=MINUTE)
        store.release(first)

        assert second.token > first.token
        with pytest.raises(StoreBusy):
            store.acquire("m", holder="me", now=NOW, duration=MINUTE)

    def test_renew(self, store):
        """A renewed lease lasts longer; one that was taken over cannot be renewed."""
        first = store.acquire("m", holder="me", now=NOW, duration=MINUTE)
        renewed = store.renew(first, now=NOW + 0.5 * MINUTE, duration=MINUTE)
        assert NOW + 1.5 * MINUTE == renewed.until
        with pytest.raises(StoreBusy):
            store.acquire("m", holder="you", now=NOW + 1.2 * MINUTE, duration=MINUTE)

        store.acquire("m", holder="you", now=NOW + 2 * MINUTE, duration=MINUTE)
        with pytest.raises(StoreBusy, match="taken over"):
            store.renew(renewed, now=NOW + 2 * MINUTE, duration=MINUTE)

    def test_an_overtaken_run_writes_nothing(self, store):
        """A write under a lease that was taken over is refused whole: the fencing token."""
        first = store.acquire("m", holder="me", now=NOW, duration=MINUTE)
        second = store.acquire("m", holder="you", now=NOW + MINUTE, duration=MINUTE)
        with pytest.raises(StoreBusy, match="taken over"):
            store.write([Put(space="a", key="k", value={})], lease=first)
        assert store.get("a", "k") is None

        store.write([Put(space="a", key="k", value={})], lease=second)
        assert store.get("a", "k") is not None

    @pytest.mark.parametrize("renewed", [False, True])
    def test_a_clock_that_was_set_back(self, store, renewed):
        """A lease taken further ahead than it is long is free; a little ahead, clocks differ."""
        held = store.acquire("m", holder="me", now=NOW, duration=2 * MINUTE)
        if renewed:
            store.renew(held, now=NOW + MINUTE, duration=MINUTE)
        taken, long = (NOW + MINUTE, MINUTE) if renewed else (NOW, 2 * MINUTE)
        for ahead in (timedelta(0), 0.5 * long, 0.99 * long):
            with pytest.raises(StoreBusy, match="held by me"):
                store.acquire("m", holder="you", now=taken - ahead, duration=MINUTE)
        second = store.acquire("m", holder="you", now=taken - long, duration=MINUTE)

        assert (held.token + 1, taken - long) == (second.token, second.since)
        with pytest.raises(StoreBusy, match="taken over"):
            store.write([Put(space="a", key="k", value={})], lease=held)

    def test_its_own_length_counts(self, store):
        """How far ahead a lease may be is told by its own length, not by that of who asks."""
        store.acquire("m", holder="me", now=NOW, duration=10 * MINUTE)
        with pytest.raises(StoreBusy):
            store.acquire("m", holder="you", now=NOW - 5 * MINUTE, duration=MINUTE)

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (timedelta.max, "ends after the year 9999"),
            (-MINUTE, "must not be negative"),
            (60, "must be a timedelta"),
        ],
    )
    def test_durations(self, store, bad, message):
        """A duration that ends in no year, before it begins or in no unit is refused."""
        lease = store.acquire("m", holder="me", now=NOW, duration=MINUTE)
        with pytest.raises(InputError, match=message):
            store.acquire("other", holder="me", now=NOW, duration=bad)
        with pytest.raises(InputError, match=message):
            store.renew(lease, now=NOW, duration=bad)
        with pytest.raises(StoreBusy):
            store.acquire("m", holder="you", now=NOW, duration=MINUTE)

    def test_what_is_no_lease(self, store):
        """Only what a store gave can be written under, renewed or given back."""
        for use in (
            lambda: store.write([], lease="m"),
            lambda: store.renew(None, now=NOW, duration=MINUTE),
            lambda: store.release(None),
        ):
            with pytest.raises(InputError, match=r"lease=.* must be a lease"):
                use()

    def test_many_want_it(self, store):
        """Of many threads that ask at once, one gets the lease."""
        taken, refused = [], []
        gate = threading.Barrier(8)

        def ask(i):
            gate.wait()
            try:
                taken.append(store.acquire("m", holder=f"t{i}", now=NOW, duration=MINUTE))
            except StoreBusy:
                refused.append(i)

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert (1, 7) == (len(taken), len(refused))
