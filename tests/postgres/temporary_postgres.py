"""A PostgreSQL server that lives as long as the tests do."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from foretick_rpc.ports import free_port

_FOLDERS = (
    *Path("/usr/lib/postgresql").glob("*/bin"),
    *Path("/usr/local/opt").glob("postgres*/bin"),
)
# Where durability is not what is tested, it only takes time.
_SETTINGS = ("fsync=off", "full_page_writes=off", "max_connections=200")


def _binary(name: str) -> str | None:
    newest_first = sorted(_FOLDERS, reverse=True)
    return shutil.which(name, path=os.pathsep.join(map(str, newest_first))) or shutil.which(name)


@contextmanager
def server_of_the_tests() -> Iterator["PostgresServer"]:
    """A server; where its binaries are missing, whoever needs it is skipped.

    FORETICK_REQUIRE_POSTGRES=1 makes that an error, so that nothing goes untested unnoticed.
    """
    as_root = ["runuser"] if os.geteuid() == 0 else []
    missing = [name for name in ("initdb", "pg_ctl", *as_root) if _binary(name) is None]
    if missing:
        problem = f"no PostgreSQL server binaries ({', '.join(missing)})"
        if os.environ.get("FORETICK_REQUIRE_POSTGRES"):
            raise RuntimeError(problem)
        pytest.skip(problem)
    with PostgresServer() as server:
        yield server


class PostgresServer:
    """A server on a free port of loopback; entered, it runs."""

    def __init__(self) -> None:
        # Not below pytest's own folder, which another run that begins closes to other users.
        self._temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._folder = Path(self._temporary.name)
        self._numbers = count(1)
        self.port = free_port()

    def __enter__(self) -> Self:
        if os.geteuid() == 0:  # the server refuses to be run by root
            shutil.chown(self._folder, _USER, _USER)
        self._run("initdb", "--username=test", "--auth=trust", "--no-sync", "--encoding=UTF8")
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._temporary.cleanup()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        where = ("listen_addresses=127.0.0.1", f"port={self.port}")
        settings = (*where, f"unix_socket_directories={self._folder}", *_SETTINGS)
        options = " ".join(f"-c {setting}" for setting in settings)
        log = str(self._folder / "log")
        self._run("pg_ctl", "--wait", "--log", log, "--options", options, "start")

    def stop(self) -> None:
        """Stop it at once, if it runs; connections break."""
        if not (self._folder / "data" / "postmaster.pid").exists():
            return
        self._run("pg_ctl", "--wait", "--mode=immediate", "stop")

    def new_database(self, owner: str = "test", template: str = "template1") -> str:
        """The URL of a new database: empty, or a copy of another that nobody has open."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} OWNER {owner} TEMPLATE {template}")
        return f"postgresql://{owner}@127.0.0.1:{self.port}/{name}"

    def sql(self, statement: str, database: str = "postgres") -> None:
        """Run a statement as superuser."""
        where = ["--host=127.0.0.1", f"--port={self.port}", "--username=test", database]
        self._run("psql", "--quiet", "--set=ON_ERROR_STOP=1", f"--command={statement}", *where)

    def _run(self, name: str, *arguments: str) -> None:
        binary = _binary(name)
        assert binary is not None, f"{name} is not there"
        environment = {**os.environ, "PGDATA": str(self._folder / "data")}
        # Not by subprocess's own `user`: that forks, which gRPC's threads do not always survive.
        as_user = ["runuser", "-u", _USER, "--"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*as_user, binary, *arguments],
            env=environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=(out := (self._folder / "out").open("w")),
            stderr=subprocess.STDOUT,
            check=False,
        )
        out.close()
        assert not done.returncode, (self._folder / "out").read_text()


_USER = "postgres"
