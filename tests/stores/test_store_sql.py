"""What is particular to SQL: URLs, secrets, migrations, several processes, servers that restart."""

import gc
import multiprocessing
import os
import re
import sqlite3
import subprocess
import sys
import threading
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from driftline.errors import InputError, MissingExtra, StoreBusy, StoreConflict, StoreError
from driftline.records import Append, Enqueue, Put
from driftline.stores import SqlStore
from driftline.stores import _dialects as dialects
from driftline.stores import _migrations as migrations

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def shown_locals(error):
    """What a tool that shows local variables would show of Driftline's frames."""
    told = []
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if "/tests/" not in frame.f_code.co_filename:
                values = [v for v in frame.f_locals.values() if isinstance(v, str | bytes | list)]
                told += map(repr, values)
        error = error.__cause__ or error.__context__
    return "".join(told)


class TestUrl:
    @pytest.mark.parametrize(
        "bad",
        [
            "",
            "driftline.db",
            "sqlite://",
            "sqlite:///",
            "mysql://x/y",
            "postgresql://",
            "sqlite:x.db",
        ],
    )
    def test_refused(self, bad):
        """Anything but SQLite and PostgreSQL is refused, with the forms that would do."""
        with pytest.raises(InputError, match="sqlite:///"):
            SqlStore(bad)

    def test_relative_and_absolute(self, tmp_path, monkeypatch):
        """Three slashes are relative to the working directory, four are absolute."""
        monkeypatch.chdir(tmp_path)
        for url in ("sqlite:///a.db", f"sqlite:///{tmp_path}/b.db"):
            with SqlStore(url) as store:
                store.write([Put(space="a", key="k", value={})])
        assert {"a.db", "b.db"} <= {path.name for path in tmp_path.iterdir()}

    def test_nothing_is_opened_at_birth(self, tmp_path):
        """The file is made by the first call, not by the constructor."""
        SqlStore(f"sqlite:///{tmp_path}/d.db")
        assert [] == list(tmp_path.iterdir())

    def test_cannot_be_opened(self, tmp_path):
        """A path that cannot be opened is named."""
        with pytest.raises(StoreError, match="no/such/folder"):
            SqlStore(f"sqlite:///{tmp_path}/no/such/folder/d.db").get("a", "k")

    def test_name_that_is_no_text(self, tmp_path):
        """A name that UTF-8 cannot say is refused as input, and the store goes on working."""
        with SqlStore(f"sqlite:///{tmp_path}/d.db") as store:
            with pytest.raises(InputError, match="cannot be the name"):
                store.write([Put(space="a", key="\ud800", value={})])
            with pytest.raises(InputError, match="cannot be the name"):
                store.get("a", "\ud800")
            store.write([Put(space="a", key="k", value={})])
            assert ["k"] == [document.key for document in store.scan("a")]

    def test_no_database(self, tmp_path):
        """A file that is no database is refused and not harmed."""
        path = tmp_path / "d.db"
        path.write_text("hello " * 1000)
        with pytest.raises(StoreError):
            SqlStore(f"sqlite:///{path}").get("a", "k")
        assert path.read_text().startswith("hello")

    def test_passwords_are_not_shown(self, postgres):
        """Neither the object nor an error shows the password."""
        url = f"postgresql://driftline:s3cret-word@127.0.0.1:{postgres.port}/no-such-database"
        store = SqlStore(url)
        with pytest.raises(StoreError) as caught:
            store.get("a", "k")
        shown = (
            repr(store)
            + str(caught.value)
            + repr(caught.value.__cause__)
            + repr(caught.value.__context__)
        )
        assert "s3cret-word" not in shown
        assert "driftline:***@127.0.0.1" in repr(store)

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://u:s3cret/w0rd@127.0.0.1:9/x",
            "postgresql://u:s3cret@w0rd@127.0.0.1:9/x",
            "postgresql://u:s3cret/w0rd?a@127.0.0.1:9/x",
            "postgresql://a/b:s3cretw0rd@127.0.0.1:9/x",
            "postgresql://a@b:s3cretw0rd@127.0.0.1:9/x",
            "postgresql://u@127.0.0.1:9/x?password=s3cret@w0rd%zz",
            "postgresql://u:s3cret%zzw0rd@127.0.0.1:9/x",
            "postgresql://u@127.0.0.1:9/x?password=s3cret%zzw0rd",
            "postgresql://u@127.0.0.1:9/x?sslpassword=s3cret%zzw0rd",
            "postgresql://u@127.0.0.1:9/x?p%61ssword=s3cretw0rd%zz",
            "postgresql://u@127.0.0.1:9/x?oauth_client_secret=s3cretw0rd&zz=1",
            "postgresql://u:s3cret?w0rd@127.0.0.1:9/x?zz=1",
            "postgresql://u:s3cret#w0rd@127.0.0.1:9/x?zz=1",
            "postgresql://u:%733cretw0rd@127.0.0.1:9/x?zz=1",
        ],
    )
    def test_odd_passwords_are_not_shown(self, url):
        """Nor is one shown that is not written as a URL wants it, in part or as a whole."""
        with pytest.raises((InputError, StoreError)) as caught:
            SqlStore(url).get("a", "k")

        assert "s3cret" not in str(caught.value) + shown_locals(caught.value)
        assert "w0rd" not in str(caught.value) + shown_locals(caught.value)
        assert "***" in str(caught.value)

    @pytest.mark.parametrize(
        "url",
        [
            "password=s3cretw0rd host=127.0.0.1",
            "host=127.0.0.1 password=s3cretw0rd",
            "postgresql:u:s3cretw0rd@127.0.0.1/x",
            "u:s3cretw0rd@127.0.0.1",
            "mysql://u:s3cretw0rd@127.0.0.1/x",
            "s3cretw0rd",
            b"postgresql://u:s3cretw0rd@127.0.0.1/x",
        ],
    )
    def test_other_spellings_are_not_shown(self, url):
        """Of what is no URL of a store nothing is quoted that may be a password."""
        with pytest.raises(InputError, match="begins with sqlite:///") as caught:
            SqlStore(url)

        assert "s3cret" not in str(caught.value) + shown_locals(caught.value)

    def test_missing_driver_shows_no_password(self, monkeypatch):
        """Without the driver's package no frame of the error shows the password."""
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(MissingExtra) as caught:
            SqlStore("postgresql://u:s3cretw0rd@127.0.0.1/x").get("a", "k")

        assert "s3cret" not in shown_locals(caught.value)

    def test_characters_that_end_a_password(self):
        """An @ or a / in a password is refused at once, with how to write it."""
        with pytest.raises(InputError, match=r"must be written %40 or %2F"):
            SqlStore("postgresql://u:a@b@127.0.0.1/x")
        assert "SqlStore('postgresql://u:***@127.0.0.1/x')" == repr(
            SqlStore("postgresql://u:a%40b@127.0.0.1/x")
        )

    def test_missing_driver(self, monkeypatch):
        """Without psycopg the error names the extra."""
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(MissingExtra, match=r"driftline\[postgres\]"):
            SqlStore("postgresql://127.0.0.1/x").get("a", "k")

    def test_nobody_answers(self):
        """A server that is not there is a store error, soon."""
        with pytest.raises(StoreError, match=r"127\.0\.0\.1"):
            SqlStore("postgresql://u@127.0.0.1:9/x").get("a", "k")


class TestMigrations:
    def test_from_every_step(self, url, monkeypatch):
        """A database of any earlier step is brought up to date when it is opened, once."""
        whole = (*migrations.MIGRATIONS, ("CREATE TABLE driftline_later (x BIGINT)",))
        with SqlStore(url) as old:
            old.write([Put(space="a", key="k", value={"x": 1})])
        monkeypatch.setattr(migrations, "MIGRATIONS", whole)
        for _ in range(2):
            with SqlStore(url) as new:
                assert {"x": 1} == new.get("a", "k").value
        monkeypatch.undo()
        with pytest.raises(StoreError, match="written by a newer Driftline"):
            SqlStore(url).get("a", "k")

    def test_all_or_nothing(self, url, monkeypatch):
        """A step that fails leaves the database as it was."""
        with SqlStore(url) as old:
            old.write([Put(space="a", key="k", value={"x": 1})])
        broken = (*migrations.MIGRATIONS, ("CREATE TABLE driftline_later (x BIGINT)", "NONSENSE"))
        monkeypatch.setattr(migrations, "MIGRATIONS", broken)
        with pytest.raises(StoreError):
            SqlStore(url).get("a", "k")
        monkeypatch.undo()
        with SqlStore(url) as again:
            assert {"x": 1} == again.get("a", "k").value

    def test_many_open_it_first(self, url):
        """Of many that open an empty database at once, each finds the tables."""
        errors, gate = [], threading.Barrier(6)

        def first(i):
            gate.wait()
            try:
                with SqlStore(url) as store:
                    store.write([Put(space="a", key=str(i), value={})])
            except Exception as exc:
                errors.append(exc)

        threads = [threading.Thread(target=first, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with SqlStore(url) as store:
            assert ([], 6) == (errors, len(store.scan("a")))

    def test_a_file_in_use_is_waited_for(self, tmp_path):
        """A file that another program reads is opened when that is done; SQLite would not wait."""
        path = tmp_path / "d.db"
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("CREATE TABLE x (y)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM x").fetchall()
        done = threading.Timer(0.3, other.execute, ["COMMIT"])
        done.start()
        with SqlStore(f"sqlite:///{path}") as store:
            store.write([Put(space="a", key="k", value={})])
        done.join()
        other.close()

    def test_a_file_in_use_for_too_long(self, tmp_path, monkeypatch):
        """A file that another program does not let go of is a store error."""
        monkeypatch.setattr(dialects, "_LOCK_SECONDS", 0.1)
        path = tmp_path / "d.db"
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked"):
            SqlStore(f"sqlite:///{path}").get("a", "k")
        other.close()


class TestSharing:
    def test_two_stores(self, url):
        """What one object wrote, another reads."""
        with SqlStore(url) as a, SqlStore(url) as b:
            a.write([Put(space="a", key="k", value={"x": 1})])
            b.write([Put(space="a", key="k", value={"x": 2}, version=1)])
            with pytest.raises(StoreConflict):
                a.write([Put(space="a", key="k", value={"x": 3}, version=1)])
            assert {"x": 2} == a.get("a", "k").value

    def test_many_writers(self, url):
        """Increments of many threads with compare-and-swap lose none."""
        with SqlStore(url) as store:
            store.write([Put(space="a", key="n", value={"n": 0})])

        def count():
            with SqlStore(url) as mine:
                for _ in range(20):
                    while True:
                        found = mine.get("a", "n")
                        try:
                            mine.write(
                                [
                                    Put(
                                        space="a",
                                        key="n",
                                        value={"n": found.value["n"] + 1},
                                        version=found.version,
                                    ),
                                    Append(space="h", key="n", at=NOW, record={}),
                                ]
                            )
                            break
                        except StoreConflict:
                            continue

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with SqlStore(url) as store:
            assert (80, 80) == (store.get("a", "n").value["n"], len(store.history("h")))

    def test_one_object_many_threads(self, url):
        """One object may be used from many threads."""
        with SqlStore(url) as store:
            threads = [
                threading.Thread(
                    target=lambda i=i: [
                        store.write([Enqueue(queue=f"q{i}", key="k", payload={"n": n}, at=NOW)])
                        for n in range(20)
                    ]
                )
                for i in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for i in range(4):
                assert list(range(20)) == [item.payload["n"] for item in store.waiting(f"q{i}")]

    def test_after_a_fork(self, url):
        """A process that forked opens its own connection and leaves its parent's alone."""
        with SqlStore(url) as store:
            store.write([Put(space="a", key="parent", value={})])
            child = os.fork()
            if child == 0:
                try:
                    store.write([Put(space="a", key="child", value={})])
                    os._exit(0)
                except BaseException:
                    os._exit(1)
            _, status = os.waitpid(child, 0)
            assert 0 == status
            assert ["child", "parent"] == [document.key for document in store.scan("a")]

    def test_leases_between_processes(self, url):
        """A lease that one process holds, another does not get."""
        with SqlStore(url) as store:
            store.acquire("m", holder="me", now=NOW, duration=MINUTE)
        script = (
            "import sys; from datetime import *; from driftline.stores import SqlStore\n"
            "SqlStore(sys.argv[1]).acquire('m', holder='you', "
            "now=datetime.fromisoformat(sys.argv[2]), duration=timedelta(1))"
        )
        asked = [sys.executable, "-c", script, url, NOW.isoformat()]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=1200, check=False)
        assert "StoreBusy" in done.stderr
        asked[-1] = (NOW + MINUTE).isoformat()
        assert 0 == subprocess.run(asked, timeout=1200, check=False).returncode
        with SqlStore(url) as store, pytest.raises(StoreBusy):
            store.acquire("m", holder="me", now=NOW + 2 * MINUTE, duration=MINUTE)


class TestConnections:
    def test_closed_and_used_again(self, url):
        """After `close` the next call opens it again."""
        store = SqlStore(url)
        store.write([Put(space="a", key="k", value={})])
        store.close()
        store.close()
        assert store.get("a", "k") is not None
        store.close()

    def test_let_go(self, url):
        """A store that is forgotten closes its connection without a warning."""
        store = SqlStore(url)
        store.get("a", "k")
        connection = store._open
        del store
        gc.collect()
        with pytest.raises(Exception, match=r"[Cc]losed"):
            connection.rows("SELECT 1", {})

    def test_the_server_restarts(self, postgres):
        """A run after the server restarted works; one during it fails as a store error."""
        store = SqlStore(postgres.new_schema())
        store.write([Put(space="a", key="k", value={"x": 1})])
        postgres.stop()
        try:
            with pytest.raises(StoreError):
                store.get("a", "k")
        finally:
            postgres.start()
        assert {"x": 1} == store.get("a", "k").value
        store.close()

    def test_a_connection_that_died_at_rest(self, postgres, monkeypatch):
        """A connection that rested is asked whether it lives before it is trusted."""
        store = SqlStore(postgres.new_schema())
        store.write([Put(space="a", key="k", value={"x": 1})])
        postgres.stop()
        postgres.start()
        store._used -= 3600
        assert {"x": 1} == store.get("a", "k").value
        store.close()

    def test_locked_for_too_long(self, tmp_path, monkeypatch):
        """A writer that does not let go makes a store error, not a hang without end."""
        path = tmp_path / "d.db"
        with SqlStore(f"sqlite:///{path}") as store:
            store.get("a", "k")
            assert (30_000,) == store._open._raw.execute("PRAGMA busy_timeout").fetchone()
            store._open._raw.execute("PRAGMA busy_timeout=50")
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                store.write([Put(space="a", key="k", value={})])
            other.execute("ROLLBACK")
            other.close()
            store.write([Put(space="a", key="k", value={})])

    def test_what_is_committed_is_on_disk(self, tmp_path):
        """SQLite runs with a write-ahead log and full synchronisation."""
        with SqlStore(f"sqlite:///{tmp_path}/d.db") as store:
            store.get("a", "k")
            raw = store._open._raw
            assert ("wal",) == raw.execute("PRAGMA journal_mode").fetchone()
            assert (2,) == raw.execute("PRAGMA synchronous").fetchone()

    def test_garbage_is_named(self, url):
        """A text that is no JSON object is refused with its beginning."""
        with SqlStore(url) as store:
            store.write([Put(space="a", key="k", value={})])
            for text in ("nonsense", "[1]"):
                store._open._raw.execute(f"UPDATE driftline_documents SET value = '{text}'")
                with pytest.raises(StoreError, match=rf"JSON.*{re.escape(text)}"):
                    store.get("a", "k")


def test_spawned_processes_can_have_it(tmp_path):
    """A URL is all another process needs."""
    url = f"sqlite:///{tmp_path}/d.db"
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_write, args=(url,))
    process.start()
    process.join(1200)
    assert 0 == process.exitcode
    with SqlStore(url) as store:
        assert {"x": 1} == store.get("a", "k").value
    assert Path(f"{tmp_path}/d.db").exists()


def _write(url):
    with SqlStore(url) as store:
        store.write([Put(space="a", key="k", value={"x": 1})])
