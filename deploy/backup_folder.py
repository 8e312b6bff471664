"""Backing up and restoring the data folder of `make run`: SQLite files and the gateway's keys."""

import fcntl
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from backup_file import (
    KEY_FILES,
    SERVICES,
    SQLITE,
    SUFFIX,
    BackupError,
    Contents,
    Manifest,
    compare,
    now,
    pack,
    scratch_folder,
)


def back_up(data_dir: Path, out: Path) -> Manifest:
    """Back up the databases, each as it is at one instant, while the product may be writing."""
    databases: dict[str, Contents] = {}
    with scratch_folder(out) as folder:
        for service in SERVICES:
            source = data_dir / f"{service}{SUFFIX[SQLITE]}"
            if source.exists():
                _copy(source, folder / source.name)
                databases[service] = contents(folder / source.name)
        if not databases:
            raise BackupError(f"{data_dir} has no database of Foretick")
        for name in KEY_FILES:
            if (data_dir / name).exists():
                shutil.copyfile(data_dir / name, folder / name)
        return pack(folder, out, SQLITE, databases)


def restore(manifest: Manifest, unpacked: Path, data_dir: Path, *, force: bool) -> None:
    """Put what was unpacked beside `data_dir` in its place; what was there is kept beside it.

    Raises BackupError, with nothing changed, while the product runs, where there is something
    to replace without `force`, and where the backup is not what its manifest says.
    """
    found = {
        service: contents(unpacked / f"{service}{SUFFIX[SQLITE]}") for service in manifest.databases
    }
    compare(manifest, found)
    with ExitStack() as locks:
        # Nobody opens the old files, nor the new ones before all are in their place.
        for folder in (data_dir, unpacked):
            if folder.exists():
                locks.enter_context(_locked(folder))
        is_empty = not data_dir.exists() or not any(_ours(data_dir))
        if not (is_empty or force):
            raise BackupError(
                f"{data_dir} has data; to replace it, restore by force (make restore FORCE=1): "
                "it will be kept beside"
            )
        for name in KEY_FILES:
            if (unpacked / name).exists():
                (unpacked / name).chmod(0o600)
        if data_dir.exists():
            replaced = data_dir.with_name(f"{data_dir.name}.replaced-{now():%Y%m%d-%H%M%S}")
            data_dir.rename(replaced)
            print(f"What was in {data_dir} is now in {replaced}.")
        unpacked.rename(data_dir)


def contents(path: Path) -> Contents:
    """What the database in a file holds; raises BackupError if it is damaged."""
    try:
        with closing(sqlite3.connect(path)) as database:
            (verdict,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise BackupError(f"{path.name} is damaged: {verdict}")
            tables = database.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%'"
                " ESCAPE '~'"
            ).fetchall()
            rows = {table: _rows(database, table) for (table,) in tables}
            found = (
                "alembic_version" in rows
                and database.execute("SELECT version_num FROM alembic_version").fetchone()
            )
    except sqlite3.Error as error:
        raise BackupError(f"{path.name} is damaged: {error}") from error
    return Contents(found[0] if found else "", rows)


def _rows(database: sqlite3.Connection, table: str) -> int:
    quoted = table.replace('"', '""')
    # A table's name can't be a parameter, and is quoted.
    (count,) = database.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()  # noqa: S608
    return int(count)


def _copy(source: Path, target: Path) -> None:
    """Copy a database in one read transaction, which keeps no writer waiting."""
    try:
        with (
            closing(sqlite3.connect(source, timeout=30)) as database,
            closing(sqlite3.connect(target)) as copy,
        ):
            database.backup(copy)
            # One file, with nothing beside it; who opens it to write makes it WAL again.
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise BackupError(f"{source} can't be backed up: {error}") from error


def _ours(folder: Path) -> Iterator[Path]:
    names = (*(f"{service}{SUFFIX[SQLITE]}" for service in SERVICES), *KEY_FILES)
    return (folder / name for name in names if (folder / name).exists())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the locks that the services hold while they have their databases open."""
    with ExitStack() as held:
        for service in SERVICES:
            path = folder / f"{service}{SUFFIX[SQLITE]}"
            lock = held.enter_context(path.with_name(f"{path.name}.lock").open("a"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupError(f"{path} is in use: stop Foretick, then restore") from None
        yield
