"""`make doctor`, as somebody at a terminal sees it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from foretick_rpc.ports import free_port

DOCTOR = Path(__file__).parents[2] / "deploy" / "doctor.py"


def visit(folder: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """What the doctor says in an empty folder, on a machine without Docker."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    environment = {**kept, "PATH": str(folder), "GATEWAY_PORT": str(free_port()), **settings}
    return subprocess.run(
        [sys.executable, str(DOCTOR)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_machine_where_nothing_runs_yet_is_well(tmp_path: Path) -> None:
    told = visit(tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "the database of quote_svc will be made at the first start" in told.stdout
    assert "nothing runs at http://127.0.0.1" in told.stdout
    assert told.stdout.endswith("All is well.\n")


def test_every_bad_setting_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("QUOTE_YAHOO_RATE=much\nGATEWAY_SECURE_COOKIES=perhaps\n")
    told = visit(tmp_path)
    assert told.returncode == 1
    assert "WRONG quote-svc: QUOTE_YAHOO_RATE" in told.stdout
    assert "WRONG gateway: GATEWAY_SECURE_COOKIES" in told.stdout


def test_a_database_of_another_version_is_known(tmp_path: Path) -> None:
    (tmp_path / ".foretick").mkdir()
    (tmp_path / ".foretick" / "subscription.db").write_bytes(b"no database at all" * 100)
    told = visit(tmp_path)
    assert told.returncode == 1
    assert "file is not a database" in told.stdout


def test_a_port_that_is_taken_is_known(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        told = visit(tmp_path, GATEWAY_PORT=str(port))
    assert told.returncode == 1
    assert f"something else answers at http://127.0.0.1:{port}" in told.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_known(tmp_path: Path) -> None:
    (tmp_path / ".foretick").mkdir(mode=0o500)
    told = visit(tmp_path)
    assert told.returncode == 1
    assert ".foretick cannot be written" in told.stdout
