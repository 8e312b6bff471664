"""`make run`: what it says when all is well, when a port is taken, and when a process dies."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import run_local
from foretick_rpc.ports import free_port
from secrets_in_logs import found_in


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **os.environ,
        "FORETICK_DATA_DIR": str(folder / "home"),
        "GATEWAY_PORT": str(free_port()),
        **settings,
    }
    with subprocess.Popen(
        [sys.executable, run_local.__file__],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=20)


def lines_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if words in line:
            assert not found_in("".join(said))
            return "".join(said)
    raise AssertionError(f"it ended without saying {words!r}:\n{''.join(said)}")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pids(said: str) -> dict[str, int]:
    return {name: int(pid) for name, pid in re.findall(r"(\S+) started \(pid=(\d+)\)", said)}


def models_of(running_env: Path) -> str:
    """What `models` says of the service that runs, called as the README says."""
    shell = f"set -a; . {running_env}; set +a; exec {sys.executable} -m prediction_svc models"
    outside = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return subprocess.run(
        ["/bin/sh", "-c", shell], env=outside, check=True, capture_output=True, text=True
    ).stdout


def test_it_says_where_it_answers_and_one_ctrl_c_stops_all(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        said = lines_until(process, "Foretick is up: ")
        url = re.findall(r"Foretick is up: (\S+)", said)[0]
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as response:
            assert response.status == 200
        running_env = tmp_path / "home" / "running.env"
        assert running_env.stat().st_mode & 0o777 == 0o600
        assert models_of(running_env).startswith(("no model of ", "scale-"))
        started = pids(said)
        assert set(started) == {"gateway", "prediction-svc", "quote-svc", "subscription-svc"}
        # What a terminal does on Ctrl-C: the signal goes to the whole foreground group.
        os.killpg(process.pid, signal.SIGINT)
        rest = process.communicate(timeout=30)[0]
    assert process.returncode == 0, rest
    assert "Foretick has stopped." in rest
    assert not running_env.exists()
    assert "Traceback" not in said + rest
    assert not [name for name, pid in started.items() if is_alive(pid)]


def test_it_names_the_process_that_died(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        started = pids(lines_until(process, "Foretick is up: "))
        os.kill(started["subscription-svc"], signal.SIGKILL)
        rest = process.communicate(timeout=30)[0]
    assert process.returncode == 1
    assert "subscription-svc died" in rest
    assert not [name for name, pid in started.items() if is_alive(pid)]


def test_a_bad_setting_is_a_clear_message(tmp_path: Path) -> None:
    with running(tmp_path, QUOTE_MARKET="bazaar") as process:
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "QUOTE_MARKET: " in said
    assert "quote-svc died" in said
    assert "Traceback" not in said


def test_a_taken_port_is_a_clear_message(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(tmp_path, GATEWAY_PORT=str(port)) as process:
            said = process.communicate(timeout=30)[0]
    assert process.returncode == 1
    assert f"GATEWAY_PORT: cannot listen on 127.0.0.1:{port}" in said
    assert "Traceback" not in said


def test_a_port_that_is_none_is_a_clear_message(tmp_path: Path) -> None:
    with running(tmp_path, GATEWAY_PORT="http") as process:
        said = process.communicate(timeout=30)[0]
    assert process.returncode == 1
    assert "GATEWAY_PORT: 'http' is not a port" in said
