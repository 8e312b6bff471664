"""Reads all that a run of tests logs, and fails where a secret is in it.

A pytest plugin. Of each test it reads what was logged in its process and what went to standard
error, which other processes share; at the end of the run, each `*.log` below the folder of
temporary files, where tests let processes write. What the product makes is known by its looks.
What tests make up, they `note`.
"""

import re
from collections.abc import Generator, Iterator

import pytest

from foretick_rpc.testing import SERVICE_TOKEN

_noted = {SERVICE_TOKEN}
# Tokens of links, of forms, between services, and ids of sign-ins: 256 bits in base64.
_TOKEN = re.compile(r"(?<![\w-])(?=[\w-]*[0-9])(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[\w-]{43}(?![\w-])")
_LOOKS = {
    "token": _TOKEN,
    "sealed cookie": re.compile(r"gAAAAA[\w-]{60,}"),
    "password hash": re.compile(r"\$argon2\w*\$"),
    # What a message that explains the form of a URL has there is nobody's.
    "password in a URL": re.compile(r"://(?!user:password@)[^\s/:@]+:[^\s/@*]+@", re.IGNORECASE),
}
SHORTEST = 8
"""Characters; what is shorter is a word that may stand in any log."""


def note(secret: str) -> None:
    """Let no log hold this from now on."""
    if len(secret) >= SHORTEST:
        _noted.add(secret)


def found_in(text: str) -> list[str]:
    """What a log should not hold: by name, since whoever reads this reads a log as well."""
    found = [f"a {name}" for name, looks in _LOOKS.items() if looks.search(text)]
    return found + [f"what begins with {each[:3]!r}" for each in _noted if each in text]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the last part of a test fail, in any part of which was logged what should not be."""
    report = yield
    if report.when == "teardown" and (found := found_in(report.caplog + report.capstderr)):
        report.outcome = "failed"
        report.longrepr = f"the log of this test holds {', '.join(found)}"
    return report


@pytest.fixture(scope="session", autouse=True)
def logs_of_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Look through the logs of other processes once all of them have ended."""
    yield
    logs = tmp_path_factory.getbasetemp().rglob("*.log")
    read = {str(log): found_in(log.read_text("utf-8", "replace")) for log in logs}
    leaks = {log: found for log, found in read.items() if found}
    assert not leaks, f"secrets in logs: {leaks}"
