"""Backing up and restoring the Compose stack: PostgreSQL's databases and the gateway's keys."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from backup_file import (
    KEY_FILES,
    POSTGRESQL,
    SERVICES,
    SUFFIX,
    BackupError,
    Contents,
    Manifest,
    compare,
    pack,
    scratch_folder,
)

ROOT = Path(__file__).resolve().parent.parent
SECRETS = ROOT / "deploy" / "secrets"
_DATABASE = "postgres"
_REVISIONS = "alembic_version"
_REVISION = "SELECT version_num FROM alembic_version;"

# All tables of a database with their rows, as one line of JSON.
_COUNTS = """
SELECT coalesce(json_object_agg(relname, (xpath('/row/n/text()', query_to_xml(
    format('SELECT count(*) AS n FROM public.%I', relname), false, true, '')))[1]::text::bigint
), '{}') FROM pg_class WHERE relnamespace = to_regnamespace('public') AND relkind IN ('r', 'p');
"""

# A session may outlive its service. One transaction replaces all, and comes to its COMMIT only if
# the dump could be read to its end.
_RESTORE = """
{
    echo "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    echo "WHERE datname = current_database() AND pid <> pg_backend_pid();"
    echo "BEGIN; SET LOCAL lock_timeout = '20s';"
    echo "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;"
    pg_restore --file=- && echo "COMMIT;"
} | psql --username=postgres --dbname="$1" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 >/dev/null
"""


def is_running() -> bool:
    """Whether the stack's PostgreSQL is running on this machine."""
    with suppress(BackupError):
        return _DATABASE in _running()
    return False


def back_up(out: Path) -> Manifest:
    """Back up the databases, each as it is at one instant, while the stack may be writing."""
    _require_database()
    databases: dict[str, Contents] = {}
    with scratch_folder(out) as folder:
        for service in SERVICES:
            databases[service] = _dump(service, folder / f"{service}{SUFFIX[POSTGRESQL]}")
        for name in KEY_FILES:
            if (SECRETS / name).exists():
                shutil.copyfile(SECRETS / name, folder / name)
        return pack(folder, out, POSTGRESQL, databases)


def restore(manifest: Manifest, unpacked: Path, replaced: Path, *, force: bool) -> None:
    """Replace the databases and keys by what was unpacked, with the services stopped meanwhile.

    What was there is backed up into `replaced` first. Raises BackupError with nothing changed
    where there is something to replace without `force`; with one database after another
    replaced, each as a whole or not at all, where one of them can't be.
    """
    _require_database()
    has_data = any(
        any(rows for table, rows in _contents(service).rows.items() if table != _REVISIONS)
        for service in SERVICES
    )
    if has_data and not force:
        raise BackupError(
            "the stack's databases have data; to replace it, restore by force "
            "(make restore FORCE=1): it will be backed up before"
        )
    stopped = sorted(_running() - {_DATABASE})
    if stopped:
        print(f"Stopping {', '.join(stopped)} ...")
        _compose("stop", *stopped)
    if has_data:
        back_up(replaced)
        print(f"What was there is now in {replaced}.")
    try:
        _replace(manifest, unpacked)
    except BackupError as error:
        raise BackupError(
            f"{error}\nThe services are stopped. Restore again, or the former data."
        ) from error
    if stopped:
        print(f"Starting {', '.join(stopped)} ...")
        for service in manifest.databases:
            # The backup may be of an older version.
            _compose("run", "--rm", "-T", "--no-deps", f"migrate-{service}")
        _compose("start", *stopped)


def _replace(manifest: Manifest, unpacked: Path) -> None:
    for service in manifest.databases:
        with (unpacked / f"{service}{SUFFIX[POSTGRESQL]}").open("rb") as dump:
            shell = ("bash", "-o", "pipefail", "-c", _RESTORE, "bash", service)
            _compose("exec", "-T", _DATABASE, *shell, stdin=dump)
    for name in KEY_FILES:
        if (unpacked / name).exists():
            shutil.copyfile(unpacked / name, SECRETS / f".{name}")
            # Its container reads it as a user of its own; the folder keeps others out.
            (SECRETS / f".{name}").chmod(0o644)
            (SECRETS / f".{name}").replace(SECRETS / name)
    compare(manifest, {service: _contents(service) for service in manifest.databases})


def _dump(service: str, path: Path) -> Contents:
    """Dump a database, and tell what is in the dump: both from one snapshot."""
    with _snapshot(service) as (snapshot, contents), path.open("wb") as dump:
        pg_dump = ("pg_dump", "--username=postgres", "--format=custom", f"--snapshot={snapshot}")
        _compose("exec", "-T", _DATABASE, *pg_dump, service, stdout=dump)
    return contents


def _contents(service: str) -> Contents:
    with _snapshot(service) as (_, contents):
        return contents


@contextmanager
def _snapshot(service: str) -> Iterator[tuple[str, Contents]]:
    """The name of a snapshot of a database, which lasts while entered, and what is in it."""
    session = subprocess.Popen(
        _command(
            *("exec", "-T", _DATABASE, "psql", "--username=postgres", f"--dbname={service}"),
            *("--no-psqlrc", "--quiet", "--tuples-only", "--no-align"),
        ),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with session:

        def ask(sql: str) -> str:
            print(sql, file=session.stdin, flush=True)
            answer = session.stdout.readline().strip() if session.stdout else ""
            if not answer:
                raise BackupError(f"PostgreSQL does not answer for the database {service}")
            return answer

        snapshot = ask("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_export_snapshot();")
        rows: dict[str, int] = json.loads(ask(_COUNTS))
        revision = ask(_REVISION) if rows.get(_REVISIONS) else ""
        yield snapshot, Contents(revision, rows)


def _running() -> set[str]:
    # One that dies and is started again, over and over, may write too.
    states = ("--status=running", "--status=restarting")
    return set(_compose("ps", "--services", *states, stdout=subprocess.PIPE).split())


def _require_database() -> None:
    if _DATABASE not in _running():
        raise BackupError("the stack's PostgreSQL is not running: start it with `make up`")


def _compose(
    *arguments: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | int | None = None
) -> str:
    """Run a command of Docker Compose; what it printed, with `stdout` a pipe."""
    try:
        ended = subprocess.run(
            _command(*arguments),
            cwd=ROOT,
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
    except FileNotFoundError:
        raise BackupError("there is no `docker` on this machine") from None
    if ended.returncode != 0:
        complaint = ended.stderr.decode(errors="replace").strip()[-1000:]
        raise BackupError(f"docker compose {' '.join(arguments[:4])} failed: {complaint}")
    return (ended.stdout or b"").decode()


def _command(*arguments: str) -> list[str]:
    return ["docker", "compose", *arguments]
