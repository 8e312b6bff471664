"""The file of a backup: a tar of databases and keys, and a manifest of what they hold."""

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

FORMAT = 1
SQLITE, POSTGRESQL = "sqlite", "postgresql"
SERVICES = ("quote", "prediction", "subscription")
SUFFIX = {SQLITE: ".db", POSTGRESQL: ".dump"}
# They keep people signed in, and open forms valid.
KEY_FILES = ("gateway-session.keys", "gateway-csrf.key")
_MANIFEST = "manifest.json"
_LONGEST_MANIFEST = 1 << 20


class BackupError(Exception):
    """Why nothing was backed up or restored, in a sentence."""


@dataclass(frozen=True)
class Contents:
    """What a database holds: Alembic's revision, empty where there is none, and rows by table."""

    revision: str
    rows: dict[str, int]


@dataclass(frozen=True)
class Manifest:
    """What a backup holds; databases by service, the size in bytes and SHA-256 of each file."""

    format: int
    made_at: str
    kind: str
    databases: dict[str, Contents]
    files: dict[str, tuple[int, str]]


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


@contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """A folder of ours alone, on the same disk as `beside`, that is gone afterwards."""
    beside.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=beside.parent, prefix=f"{beside.name}.partial-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def pack(folder: Path, out: Path, kind: str, databases: dict[str, Contents]) -> Manifest:
    """Write all files of `folder` into the backup `out`, which appears when it is complete."""
    files = {path.name: (path.stat().st_size, _sha256(path)) for path in sorted(folder.iterdir())}
    made_at = now().isoformat(timespec="seconds")
    manifest = Manifest(FORMAT, made_at, kind, databases, files)
    with scratch_folder(out) as scratch:
        (scratch / _MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n")
        complete = scratch / out.name
        with os.fdopen(os.open(complete, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                for path in (scratch / _MANIFEST, *(folder / name for name in files)):
                    tar.add(path, arcname=path.name, recursive=False)
            file.flush()
            os.fsync(file.fileno())
        if out.exists():
            raise BackupError(f"{out} exists already, and is not overwritten")
        complete.rename(out)
    return manifest


def unpack(backup: Path, folder: Path) -> Manifest:
    """Write the files of a backup into `folder`, each checked against the manifest.

    Raises BackupError for a file that is damaged, or no backup of Foretick.
    """
    try:
        with tarfile.open(backup, "r:") as tar:
            manifest = _manifest(tar, backup)
            while member := tar.next():
                if not member.isfile() or member.name not in manifest.files:
                    raise BackupError(f"{backup} is damaged: its manifest lacks {member.name!r}")
                with (folder / member.name).open("xb") as target:
                    shutil.copyfileobj(tar.extractfile(member) or BytesIO(), target)
    except FileNotFoundError:
        raise BackupError(f"there is no file {backup}") from None
    except (tarfile.TarError, EOFError, FileExistsError) as error:
        raise BackupError(f"{backup} is damaged, or no backup of Foretick: {error}") from error
    for name, (size, sha256) in manifest.files.items():
        path = folder / name
        if not path.exists() or (path.stat().st_size, _sha256(path)) != (size, sha256):
            raise BackupError(f"{backup} is damaged: {name} is not as it was backed up")
    return manifest


def compare(manifest: Manifest, restored: dict[str, Contents]) -> None:
    """Raise BackupError where what was restored is not what was backed up."""
    for service, expected in manifest.databases.items():
        found = restored[service]
        if found.revision != expected.revision:
            raise BackupError(
                f"{service} is at revision {found.revision!r}, in the backup {expected.revision!r}"
            )
        for table in sorted(expected.rows.keys() | found.rows.keys()):
            here, there = found.rows.get(table), expected.rows.get(table)
            if here != there:
                raise BackupError(f"{service}.{table} has {here} rows, in the backup {there}")


def show(manifest: Manifest) -> None:
    """Print what a backup holds."""
    for service, contents in manifest.databases.items():
        print(f"  {service} (revision {contents.revision or 'none'})")
        for table, rows in sorted(contents.rows.items()):
            print(f"    {table:<24}{rows:>12,}")
    keys = [name for name in manifest.files if name in KEY_FILES]
    print(f"  keys: {', '.join(keys) or 'none'}")


def _manifest(tar: tarfile.TarFile, backup: Path) -> Manifest:
    first = tar.next()
    if first is None or first.name != _MANIFEST or not 0 < first.size < _LONGEST_MANIFEST:
        raise BackupError(f"{backup} is no backup of Foretick")
    source = tar.extractfile(first)
    try:
        content: dict[str, Any] = json.loads(source.read() if source else b"")
        if content["format"] != FORMAT:
            raise BackupError(
                f"{backup} has format {content['format']!r:.20}, and this version knows {FORMAT}"
            )
        kind = content["kind"]
        databases = {name: Contents(**each) for name, each in content["databases"].items()}
        files = {name: (int(size), str(sha)) for name, (size, sha) in content["files"].items()}
        manifest = Manifest(FORMAT, str(content["made_at"]), kind, databases, files)
        _check_names(manifest)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError(f"{backup} is damaged: its manifest can't be read") from error
    return manifest


def _check_names(manifest: Manifest) -> None:
    """No file of a backup is written under a name that is not one of ours."""
    names = {service + SUFFIX[manifest.kind] for service in manifest.databases}
    if not set(manifest.databases) <= set(SERVICES):
        raise ValueError("unknown database")
    if names != set(manifest.files) - set(KEY_FILES):
        raise ValueError("unknown file")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
