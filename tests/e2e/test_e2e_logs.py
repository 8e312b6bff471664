"""That no log holds a secret is looked after in every test; here, that it would be noticed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from secrets_in_logs import __file__ as plugin
from secrets_in_logs import found_in, note

PLANTED = """
import logging, subprocess, sys
from secrets_in_logs import note

SEALED = "gAAAAA" + "b-_1" * 30

def test_clean(tmp_path):
    (tmp_path / "service.log").write_text("serving on 127.0.0.1:1")
    logging.warning("request 0f3c9a77e4f24a1d9b1c took 3 ms")

def test_token():
    logging.warning("a link: %s", "/reset-password?token=" + "Ab1" + "xY9-" * 10)

def test_cookie():
    logging.error("what came was %s", SEALED)

def test_password():
    note("a long enough one")
    logging.warning("refused: a long enough one")

def test_other_process():
    subprocess.run([sys.executable, "-c", f"import sys; sys.stderr.write({SEALED!r})"], check=True)

def test_file_of_a_process(tmp_path):
    (tmp_path / "gateway.log").write_text("smtp://me:a-password@mail.example.org is away")
"""


def test_planted_leaks_fail_their_tests(tmp_path: Path) -> None:
    (tmp_path / "test_planted.py").write_text(PLANTED)
    paths = [str(Path(plugin).parent), *sys.path]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "secrets_in_logs", "-p", "no:cacheprovider", "-q"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = ended.stdout
    for name in ("token", "cookie", "password", "other_process"):
        assert f"ERROR test_planted.py::test_{name} - the log of this test holds" in told, told
    assert "gateway.log': ['a password in a URL']" in told, told
    assert "6 passed, 5 errors" in told, told


@pytest.mark.parametrize(
    "text",
    [
        "14:02:11 INFO foretick.rpc [1566636a977a4913912e010ba8240870] /x.Y/Z took 2.0 ms (call 7)",
        "head 7d3f" + "0a" * 30 + "@1770 of demo:7",
        "it must be like smtp://user:password@mail.example.org:587?starttls=required",
        "use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME",
        "postgresql://me:***@127.0.0.1:5432/subscription does not answer",
        "in test_a_session_that_nobody_was_there_for_is_missed",
    ],
)
def test_what_is_no_secret_may_be_logged(text: str) -> None:
    assert found_in(text) == []


def test_short_words_are_no_secrets() -> None:
    note("short")
    assert found_in("a short one") == []
