"""Key files below the data folder: made on first run, kept across restarts."""

import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, MultiFernet

from foretick_rpc.errors import StartupError


def session_keys(data_dir: Path) -> MultiFernet:
    """Read the keys of the sign-in cookie, one a line: the first encrypts, all decrypt.

    To rotate, put a new key on top; take the old one out when the cookies' age has passed.
    """
    path = data_dir / "gateway-session.keys"
    lines = read_or_make(path, Fernet.generate_key()).split()
    try:
        return MultiFernet([Fernet(line) for line in lines])
    except ValueError as error:
        raise StartupError(
            f"{path}: each line must be one Fernet key, which is 32 bytes in URL-safe base64"
        ) from error


def csrf_key(data_dir: Path) -> bytes:
    """Read the key of CSRF tokens.

    It is apart from the session keys, so that rotating those refuses no form that is open.
    """
    path = data_dir / "gateway-csrf.key"
    key = read_or_make(path, secrets.token_hex(32).encode()).strip()
    if len(key) < 32:
        raise StartupError(f"{path}: the key must have at least 32 characters")
    return key


def read_or_make(path: Path, first: bytes) -> bytes:
    """Return the content of ``path``, which is ``first`` if there was no such file.

    Several processes may do so at once: one makes the file, complete, and all read that one.
    Raises `StartupError` where the file can be neither made nor read.
    """
    try:
        return _read_or_make(path, first)
    except OSError as error:
        raise StartupError(
            f"{path} can be neither made nor read (FORETICK_DATA_DIR): {error.strerror or error}"
        ) from error


def _read_or_make(path: Path, first: bytes) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(first + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first
        finally:
            draft.unlink()
    return path.read_bytes()
