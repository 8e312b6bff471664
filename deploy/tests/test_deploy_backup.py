"""Backing up and restoring a data folder, by the command that people use."""

import json
import os
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

import backup

Writing = Callable[[Path], "subprocess.Popen[str]"]
SCRIPT = Path(backup.__file__)


def ran(*arguments: object, cwd: Path, code: int = 0) -> str:
    """What the command printed; on standard error where it is to fail."""
    environment = {key: value for key, value in os.environ.items() if key != "FORETICK_DATA_DIR"}
    ended = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, *map(str, arguments)],
        check=False,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == code, ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr
    return ended.stderr if code else ended.stdout


@pytest.fixture
def saved(home: Path, tmp_path: Path) -> Path:
    """A backup of the data folder."""
    out = tmp_path / "saved.tar"
    ran("backup", "--data-dir", home, "--out", out, cwd=tmp_path)
    return out


def counted(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


def manifest_of(file: Path) -> dict[str, Any]:
    with tarfile.open(file) as tar:
        source = tar.extractfile("manifest.json")
        assert source is not None
        content: dict[str, Any] = json.load(source)
    return content


def rewritten(file: Path, out: Path, **changed: bytes) -> None:
    """The same backup with the content of some files changed, by their names without dots."""
    with tarfile.open(file) as old, tarfile.open(out, "w") as new:
        for member in old:
            source = old.extractfile(member)
            assert source is not None
            content = changed.get(member.name.replace(".", "_"), source.read())
            member.size = len(content)
            new.addfile(member, BytesIO(content))


def test_a_backup_says_what_it_holds_and_is_for_its_owner_only(home: Path, saved: Path) -> None:
    assert saved.stat().st_mode & 0o777 == 0o600
    manifest = manifest_of(saved)
    assert (manifest["format"], manifest["kind"]) == (1, "sqlite")
    assert manifest["databases"]["subscription"] == {
        "revision": "0002",
        "rows": {"alembic_version": 1, "accounts": 3, "sign_ins": 3, 'odd "name': 0},
    }
    names = ["gateway-csrf.key", "gateway-session.keys", "quote.db", "subscription.db"]
    assert sorted(manifest["files"]) == names
    assert sorted(path.name for path in saved.parent.iterdir()) == ["home", "saved.tar"]


def test_wiped_and_restored_all_is_back(home: Path, saved: Path, tmp_path: Path) -> None:
    home.rename(tmp_path / "lost")
    printed = ran("restore", saved, "--data-dir", home, cwd=tmp_path)
    assert "accounts                           3" in printed
    for name in ("quote.db", "subscription.db"):
        tables = ("accounts", "sign_ins")
        lost, back = (
            [counted(folder / name, table) for table in tables]
            for folder in (tmp_path / "lost", home)
        )
        assert lost == back
    for name in ("gateway-session.keys", "gateway-csrf.key"):
        assert (home / name).read_bytes() == (tmp_path / "lost" / name).read_bytes()
        assert (home / name).stat().st_mode & 0o777 == 0o600


def test_what_is_replaced_needs_force_and_is_kept_beside(
    home: Path, saved: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(home / "subscription.db")) as database:
        database.execute("DELETE FROM sign_ins")
        database.commit()
    (home / "subscription.db-wal").write_bytes(b"of a crash")
    refused = ran("restore", saved, "--data-dir", home, cwd=tmp_path, code=1)
    assert "FORCE=1" in refused
    assert counted(home / "subscription.db", "sign_ins") == 0
    (home / "subscription.db-wal").write_bytes(b"of a crash")
    ran("restore", saved, "--data-dir", home, "--force", cwd=tmp_path)
    assert counted(home / "subscription.db", "sign_ins") == 3
    assert not list(home.glob("*-wal"))
    (replaced,) = tmp_path.glob("home.replaced-*")
    assert (replaced / "subscription.db-wal").read_bytes() == b"of a crash"


def test_it_is_consistent_while_another_process_writes(
    home: Path, tmp_path: Path, writing: Writing
) -> None:
    process = writing(home / "subscription.db")
    for number in range(5):
        out = tmp_path / f"{number}.tar"
        ran("backup", "--data-dir", home, "--out", out, cwd=tmp_path)
    assert process.poll() is None
    process.kill()
    process.wait()
    counts = [manifest_of(tmp_path / f"{number}.tar") for number in range(5)]
    rows = [each["databases"]["subscription"]["rows"] for each in counts]
    assert all(each["accounts"] == each["sign_ins"] for each in rows)
    assert 53 <= rows[0]["accounts"] < rows[-1]["accounts"]
    ran("restore", tmp_path / "4.tar", "--data-dir", home, "--force", cwd=tmp_path)
    assert counted(home / "subscription.db", "accounts") == rows[-1]["accounts"]


def test_nothing_is_restored_while_the_product_runs(
    home: Path, saved: Path, tmp_path: Path, writing: Writing
) -> None:
    writing(home / "subscription.db")
    refused = ran("restore", saved, "--data-dir", home, "--force", cwd=tmp_path, code=1)
    assert f"{home / 'subscription.db'} is in use: stop Foretick" in refused
    assert not list(tmp_path.glob("home.*"))


def damaged_bytes(kind: str, content: bytes) -> bytes:
    place = content.index(b"0@example.com")
    return {
        "cut": content[: len(content) // 2],
        "flipped": content[:place] + b"9" + content[place + 1 :],
        "empty": b"",
        "no tar": os.urandom(20_000),
    }[kind]


def damaged_manifest(kind: str, manifest: dict[str, Any]) -> Any:
    match kind:
        case "format":
            manifest["format"] = 2
        case "count":
            manifest["databases"]["quote"]["rows"]["accounts"] = 2
        case "revision":
            manifest["databases"]["quote"]["revision"] = "0001"
        case "path":
            manifest["files"]["../quote.db"] = manifest["files"].pop("quote.db")
        case "kind":
            manifest["kind"] = "mysql"
        case "no manifest":
            return []
    return manifest


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("cut", "is damaged"),
        ("flipped", "quote.db is not as it was backed up"),
        ("empty", "no backup of Foretick"),
        ("no tar", "no backup of Foretick"),
        ("format", "has format 2, and this version knows 1"),
        ("count", "quote.accounts has 1 rows, in the backup 2"),
        ("revision", "quote is at revision '0002', in the backup '0001'"),
        ("path", "its manifest can't be read"),
        ("kind", "its manifest can't be read"),
        ("no manifest", "its manifest can't be read"),
    ],
)
def test_a_damaged_or_unknown_file_changes_nothing(
    home: Path, saved: Path, tmp_path: Path, kind: str, words: str
) -> None:
    damaged = tmp_path / "damaged.tar"
    if kind in {"cut", "flipped", "empty", "no tar"}:
        damaged.write_bytes(damaged_bytes(kind, saved.read_bytes()))
    else:
        manifest = damaged_manifest(kind, manifest_of(saved))
        rewritten(saved, damaged, manifest_json=json.dumps(manifest).encode())
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    refused = ran("restore", damaged, "--data-dir", home, "--force", cwd=tmp_path, code=1)
    assert words in refused
    assert {path.name: path.read_bytes() for path in home.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.tar", "home", "saved.tar"]


def test_a_damaged_database_is_not_backed_up(home: Path, tmp_path: Path) -> None:
    (home / "quote.db").write_bytes(b"SQLite format 3\x00" + os.urandom(8192))
    out = tmp_path / "out.tar"
    refused = ran("backup", "--data-dir", home, "--out", out, cwd=tmp_path, code=1)
    assert "quote.db" in refused
    assert not out.exists()


def test_mistakes_are_said_clearly(home: Path, saved: Path, tmp_path: Path) -> None:
    def failed(*arguments: object) -> str:
        return ran(*arguments, cwd=tmp_path, code=1)

    assert "there is no file" in failed("restore", "nothing.tar", "--data-dir", home)
    assert "has no database of Foretick" in failed("backup", "--data-dir", tmp_path / "none")
    assert "exists already" in failed("backup", "--data-dir", home, "--out", saved)
    nowhere = failed("backup", "--data-dir", home, "--out", "/proc/none/out.tar")
    assert "/proc/none" in nowhere
    assert "usage:" in ran(cwd=tmp_path, code=2)


def test_the_folder_of_make_run_is_found_by_itself(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # so that there is no Docker, and no stack
    (tmp_path / ".env").write_text('#FORETICK_DATA_DIR=x\nFORETICK_DATA_DIR="./home"\n')
    printed = ran("backup", cwd=tmp_path)
    assert f"Backing up the data folder {home}" in printed
    (made,) = (tmp_path / "backups").iterdir()
    assert made.name.startswith("foretick-")
    assert str(made) in printed
