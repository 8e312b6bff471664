"""Processes of a benchmark, and what the kernel says that they cost."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

STOP_WITHIN_SECONDS = 30.0
_TICK = os.sysconf("SC_CLK_TCK")


@contextmanager
def started(
    module: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """`python -m module` until left; what it prints can be read line by line.

    Ours stop where their input ends, so that they tidy up; the product's services by SIGTERM.
    """
    with subprocess.Popen(  # noqa: S603 - our own
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if module.startswith("bench.") and process.stdin:
                process.stdin.close()
            else:
                process.terminate()
            try:
                process.wait(STOP_WITHIN_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints; raises RuntimeError where it ended instead."""
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError(f"{process.args!r} ended with {process.wait()}")
    return line.rstrip("\n")


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Write a line to a process."""
    if process.stdin:
        process.stdin.write(line + "\n")
        process.stdin.flush()


def cpu_seconds(*pids: int) -> float:
    """User and system time so far of processes, their children, and those that they outlived."""
    # The last two of the fields are of children that have ended.
    return sum(int(ticks) for pid in descendants(*pids) for ticks in _stat(pid)[11:15]) / _TICK


def descendants(*pids: int) -> list[int]:
    """Processes, their children, and so on."""
    found, children = list(pids), _children()
    for pid in found:
        found += children.get(pid, [])
    return found


def resident_mib(pid: int) -> float:
    """The memory of one process that is resident, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def wait_until_idle(*pids: int, share: float = 0.15, within: float = 180.0) -> None:
    """Wait until processes use less than this share of a core for two seconds.

    Raises TimeoutError.
    """
    give_up = time.monotonic() + within
    before = cpu_seconds(*pids)
    while time.monotonic() < give_up:
        time.sleep(2)
        now = cpu_seconds(*pids)
        if now - before < 2 * share:
            return
        before = now
    raise TimeoutError(f"the processes are still at work after {within:.0f} s")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat that follow the name; what has ended costs no more."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ["0"] * 15
    return text.rpartition(")")[2].split()


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            pid = int(folder.name)
            found.setdefault(int(_stat(pid)[1]), []).append(pid)
    return found
