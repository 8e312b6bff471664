"""`python -m <service>`: migrate, and the doctor, as somebody at a terminal sees them."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from foretick_rpc import doctor
from foretick_rpc.ports import free_port
from foretick_rpc.testing import SERVICE_TOKEN, serving

SECRET = "a-password-nobody-may-see"


def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "FORETICK_SERVICE_TOKEN": SERVICE_TOKEN, **variables}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def subscription(*arguments: str, url: str) -> "subprocess.CompletedProcess[str]":
    return run("subscription_svc", *arguments, SUBSCRIPTION_DATABASE_URL=url)


def test_the_doctor_says_what_to_do_about_tables_and_migrating_cures_them(
    postgres_url: str,
) -> None:
    sick = subscription("doctor", url=postgres_url)
    assert sick.returncode == 1
    assert "WRONG the tables of subscription_svc are at none, not at 000" in sick.stdout
    assert "-> run `python -m subscription_svc migrate` as their owner" in sick.stdout
    refused = subscription(url=postgres_url)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert "run `python -m subscription_svc migrate`" in refused.stderr
    cured = subscription("migrate", url=postgres_url)
    assert (cured.returncode, "at revision 000" in cured.stderr) == (0, True), cured.stderr
    well = subscription("doctor", url=postgres_url)
    assert (well.returncode, "WRONG" in well.stdout) == (0, False), well.stdout


def test_a_database_that_does_not_answer_is_named_without_its_password() -> None:
    url = f"postgresql://me:{SECRET}@127.0.0.1:{free_port()}/subscription"
    sick = subscription("doctor", url=url)
    assert sick.returncode == 1
    assert "does not answer" in sick.stdout
    assert SECRET not in sick.stdout + sick.stderr


def test_mysql_is_not_supported_yet() -> None:
    url = f"mysql://me:{SECRET}@localhost/subscription"
    for command in ((), ("migrate",)):
        refused = subscription(*command, url=url)
        assert refused.returncode == 1
        assert "mysql is not supported yet" in refused.stderr
        assert SECRET not in refused.stderr


async def test_the_doctor_looks_at_what_is_called() -> None:
    async with serving() as server:
        there, gone = f"127.0.0.1:{server.port}", f"127.0.0.1:{free_port()}"
        # The server runs on this event loop, the doctor asks from a thread.
        well = await asyncio.to_thread(doctor._target, "quote", there)
        sick = await asyncio.to_thread(doctor._target, "quote", gone)
    assert (well.what, well.advice) == (f"quote at {there} is serving", "")
    assert "QUOTE_TARGET" in sick.advice


def test_the_doctor_knows_a_clock_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not doctor.clock().advice
    monkeypatch.setattr("foretick_rpc.doctor.time.time", lambda: 0.0)
    assert "set the system's clock" in doctor.clock().advice


def test_the_doctor_knows_a_disk_without_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not doctor.folder(tmp_path / "not" / "there yet").advice
    monkeypatch.setattr("foretick_rpc.doctor._LEAST_FREE_BYTES", 2**70)
    assert doctor.folder(tmp_path).advice == "make room on that disk"


def test_an_unknown_command_is_refused() -> None:
    refused = run("subscription_svc", "migrat")
    assert refused.returncode == 2
    assert "invalid choice: 'migrat'" in refused.stderr
