"""Back Foretick up, and restore it: `python deploy/backup.py backup`, `... restore FILE`.

It needs nothing but Python 3.11 or later, and Docker Compose for its stack.
"""

import argparse
import os
import sys
from pathlib import Path

import backup_folder
import backup_stack
from backup_file import SQLITE, BackupError, now, scratch_folder, show, unpack


def main() -> int:
    """Do what the command line says; the exit code is 1, with a sentence, where that failed."""
    options = _parser().parse_args()
    try:
        if options.command == "backup":
            _back_up(options.out, options.data_dir)
        else:
            _restore(options.file, options.data_dir, force=options.force)
    except BackupError as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{options.command}: {error.filename or ''}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _back_up(out: Path | None, data_dir: Path | None) -> None:
    out = (out or _new_file()).absolute()
    if out.exists():
        raise BackupError(f"{out} exists already, and is not overwritten")
    if data_dir is None and backup_stack.is_running():
        print("Backing up the Compose stack, which is running.")
        manifest = backup_stack.back_up(out)
    else:
        folder = (data_dir or _default_data_dir()).absolute()
        print(f"Backing up the data folder {folder}.")
        manifest = backup_folder.back_up(folder, out)
    show(manifest)
    print(f"Wrote {out} ({out.stat().st_size:,} bytes).")


def _restore(file: Path, data_dir: Path | None, *, force: bool) -> None:
    folder = (data_dir or _default_data_dir()).absolute()
    # Unpacked beside the place where it belongs, so that it need not be copied again.
    with scratch_folder(folder) as unpacked:
        manifest = unpack(file, unpacked)
        if manifest.kind == SQLITE:
            print(f"Restoring the data folder {folder} as of {manifest.made_at}.")
            backup_folder.restore(manifest, unpacked, folder, force=force)
        elif data_dir is not None:
            raise BackupError(f"{file} is of the Compose stack, and not of a data folder")
        else:
            print(f"Restoring the Compose stack as of {manifest.made_at}.")
            replaced = _new_file("-replaced").absolute()
            backup_stack.restore(manifest, unpacked, replaced, force=force)
    print("Restored, and counted again:")
    show(manifest)


def _new_file(suffix: str = "") -> Path:
    return Path("backups") / f"foretick-{now():%Y%m%d-%H%M%S}{suffix}.tar"


def _default_data_dir() -> Path:
    """FORETICK_DATA_DIR as `make run` finds it: of the environment, of .env, or .foretick."""
    if value := os.environ.get("FORETICK_DATA_DIR"):
        return Path(value)
    settings = Path(".env").read_text() if Path(".env").exists() else ""
    lines = [line.partition("=") for line in settings.splitlines()]
    values = [value.strip(" '\"") for name, _, value in lines if name == "FORETICK_DATA_DIR"]
    return Path((values or [""])[-1] or ".foretick")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, prog="deploy/backup.py")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    backup = commands.add_parser(
        "backup", help="back up the Compose stack if it is running, else the data folder"
    )
    backup.add_argument(
        "--out", type=Path, metavar="FILE", help="default: backups/foretick-<date>-<time>.tar"
    )
    restore = commands.add_parser("restore", help="put a backup back where it was made")
    restore.add_argument("file", type=Path, metavar="FILE", help="what `backup` wrote")
    restore.add_argument(
        "--force", action="store_true", help="replace what is there; it is kept beside"
    )
    for command in (backup, restore):
        command.add_argument(
            "--data-dir", type=Path, metavar="DIR", help="the data folder; default: .foretick"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
