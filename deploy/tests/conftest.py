"""Databases like the services', and a process that keeps writing into one."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

_WRITER = """
import fcntl, sqlite3, sys
lock = open(sys.argv[1] + ".lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
database.execute("PRAGMA journal_mode=WAL")
database.execute("PRAGMA synchronous=NORMAL")
number = 0
while True:
    # Two tables that are in step after each transaction, and only then.
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO accounts (email) VALUES (?)", (f"{number}@example.org",))
    database.execute("INSERT INTO sign_ins (account) VALUES (last_insert_rowid())")
    database.execute("COMMIT")
    number += 1
    if number == 50:
        print("writing", flush=True)
"""


def make_database(path: Path, rows: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            """
            PRAGMA journal_mode=WAL;
            CREATE TABLE alembic_version (version_num TEXT);
            INSERT INTO alembic_version VALUES ('0002');
            CREATE TABLE accounts (id INTEGER PRIMARY KEY, email TEXT);
            CREATE TABLE sign_ins (id INTEGER PRIMARY KEY, account INTEGER);
            CREATE TABLE "odd ""name" (a);
            """
        )
        values = [(f"{number}@example.com",) for number in range(rows)]
        database.executemany("INSERT INTO accounts (email) VALUES (?)", values)
        database.execute("INSERT INTO sign_ins (account) SELECT id FROM accounts")
        database.commit()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder with two databases and both keys."""
    folder = tmp_path / "home"
    make_database(folder / "subscription.db")
    make_database(folder / "quote.db", rows=1)
    (folder / "gateway-session.keys").write_text("a key\n")
    (folder / "gateway-csrf.key").write_text("another key\n")
    return folder


@pytest.fixture
def writing() -> Iterator[Callable[[Path], "subprocess.Popen[str]"]]:
    """Starts processes that hold a database like a service, and write into it all the time."""
    started: list[subprocess.Popen[str]] = []

    def start(path: Path) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
