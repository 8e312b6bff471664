"""Backing up and restoring PostgreSQL as the stack sets it up, with a Docker that is none."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import backup_stack
from backup_file import SERVICES, BackupError, unpack
from temporary_postgres import PostgresServer, server_of_the_tests

INIT = Path(backup_stack.__file__).parent / "postgres" / "10-databases.sh"

# What it is asked to do in the container of PostgreSQL it does here; the rest it notes.
DOCKER = """#!/bin/sh
shift
case $1 in
ps) printf 'gateway\\npostgres\\nquote-svc\\n' ;;
exec) shift 3; exec "$@" ;;
*) echo "$*" >>{log} ;;
esac
"""

TABLES = """
CREATE TABLE alembic_version (version_num text);
INSERT INTO alembic_version VALUES ('0003');
CREATE TABLE bars (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, close float);
CREATE TABLE ticks (bar bigint REFERENCES bars);
CREATE TABLE ledger (forecast text);
INSERT INTO ledger VALUES ('one'), ('two');
REVOKE UPDATE, DELETE ON ledger FROM {service};
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'append only'; END $$;
CREATE TRIGGER append_only BEFORE TRUNCATE ON ledger EXECUTE FUNCTION refuse();
"""

# Two tables that are in step after each transaction, and only then.
WRITER = """
DO $$ BEGIN LOOP
    INSERT INTO bars (close) VALUES (1); INSERT INTO ticks SELECT max(id) FROM bars; COMMIT;
END LOOP; END $$
"""


def sql(service: str, statement: str, user: str = "postgres") -> str:
    """What a statement answers, or why it is refused."""
    flags = ["--quiet", "--tuples-only", "--no-align", "--no-psqlrc", "--set=ON_ERROR_STOP=1"]
    ended = subprocess.run(
        ["psql", *flags, f"--username={user}", f"--dbname={service}"],
        input=statement,
        check=False,
        capture_output=True,
        text=True,
    )
    return ended.stdout + ended.stderr


def privileges(service: str) -> list[str]:
    # A comment of the template's is no privilege.
    queries = ("\\dp", "\\ddp", "\\dn", "\\dt", "\\df", "\\l")
    return [sql(service, query) for query in queries]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresServer]:
    with server_of_the_tests() as server:
        server.sql("CREATE ROLE postgres SUPERUSER LOGIN")
        yield server


@pytest.fixture
def log(cluster: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The stack's databases, made by its own script; what Docker was told besides is noted."""
    secrets, log = tmp_path / "secrets", tmp_path / "log"
    secrets.mkdir()
    for service in SERVICES:
        for role in ("owner", "runtime"):
            (secrets / f"{service}-{role}-url").write_text(f"postgresql://{service}:p@x/{service}")
    (secrets / "gateway-session.keys").write_text("a key\n")
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER.format(log=shlex.quote(str(log))))
    docker.chmod(0o755)
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = [str(docker.parent), *map(str, newest), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", str(cluster.port))
    monkeypatch.setattr(backup_stack, "SECRETS", secrets)
    script = INIT.read_text().replace("/run/secrets", str(secrets))
    subprocess.run(["sh", "-c", script], check=True)
    for service in SERVICES:
        assert sql(service, TABLES.format(service=service), f"{service}_owner") == ""
    yield log
    for service in SERVICES:
        drop = (
            f"DROP DATABASE {service} WITH (FORCE); DROP ROLE {service}_owner; DROP ROLE {service};"
        )
        assert sql("postgres", drop) == ""


def test_all_is_back_with_owners_and_privileges(log: Path, tmp_path: Path) -> None:
    out, unpacked = tmp_path / "out.tar", tmp_path / "unpacked"
    writer = subprocess.Popen(
        ["psql", "--quiet", "--username=quote_owner", "quote", f"--command={WRITER}"],
        stderr=subprocess.DEVNULL,
    )
    try:
        while sql("quote", "SELECT count(*) > 50 FROM ticks") != "t\n":
            assert writer.poll() is None
        manifest = backup_stack.back_up(out)
    finally:
        sql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'quote_owner'",
        )
        writer.wait()
    before = [privileges(service) for service in SERVICES]
    rows = manifest.databases["quote"].rows
    assert rows["bars"] == rows["ticks"] > 50
    assert manifest.databases["quote"].revision == "0003"
    assert out.stat().st_mode & 0o777 == 0o600

    sql("quote", "DELETE FROM ticks; CREATE TABLE newer (a int)", "quote_owner")
    (backup_stack.SECRETS / "gateway-session.keys").unlink()
    unpacked.mkdir()
    unpack(out, unpacked)
    replaced = tmp_path / "replaced.tar"
    with pytest.raises(BackupError, match="have data"):
        backup_stack.restore(manifest, unpacked, replaced, force=False)
    assert not log.exists()
    backup_stack.restore(manifest, unpacked, replaced, force=True)

    assert sql("quote", "SELECT count(*) FROM ticks") == f"{rows['ticks']}\n"
    assert [privileges(service) for service in SERVICES] == before
    assert "does not exist" in sql("quote", "SELECT * FROM newer")
    assert sql("quote", "INSERT INTO bars (close) VALUES (2) RETURNING true", "quote") == "t\n"
    assert "permission denied" in sql("quote", "DELETE FROM ledger", "quote")
    assert "permission denied" in sql("quote", "CREATE TABLE mine (a int)", "quote")
    assert "permission denied" in sql("quote", "SELECT 1", "prediction")
    assert sql("quote", "CREATE TABLE next (a int)", "quote_owner") == ""
    assert sql("quote", "SELECT count(*) FROM next", "quote") == "0\n"  # by default privileges
    assert (backup_stack.SECRETS / "gateway-session.keys").read_text() == "a key\n"
    former = tmp_path / "former"
    former.mkdir()
    assert unpack(replaced, former).databases["quote"].rows["newer"] == 0
    migrations = [f"run --rm -T --no-deps migrate-{service}" for service in manifest.databases]
    told = log.read_text().splitlines()
    assert told == ["stop gateway quote-svc", *migrations, "start gateway quote-svc"]


def test_a_database_is_replaced_as_a_whole_or_not_at_all(log: Path, tmp_path: Path) -> None:
    out, unpacked = tmp_path / "out.tar", tmp_path / "unpacked"
    backup_stack.back_up(out)
    unpacked.mkdir()
    manifest = unpack(out, unpacked)
    dump = unpacked / "quote.dump"
    dump.write_bytes(dump.read_bytes()[:-200])
    sql("quote", "INSERT INTO bars (close) VALUES (7)")
    before = privileges("quote")
    only = replace(manifest, databases={"quote": manifest.databases["quote"]})
    with pytest.raises(BackupError, match="The services are stopped"):
        backup_stack.restore(only, unpacked, tmp_path / "replaced.tar", force=True)
    assert sql("quote", "SELECT close FROM bars") == "7\n"
    assert privileges("quote") == before
    assert log.read_text() == "stop gateway quote-svc\n"
