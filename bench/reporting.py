"""Figures with their goals and spreads, as a Markdown table and as JSON."""

import json
import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "out"
_PACKAGES = ("aiohttp", "aiosqlite", "grpcio", "jinja2", "protobuf", "sqlalchemy", "xgboost-cpu")
HEADER = (
    "| | what | value | spread over rounds | goal | |\n|---|---|---:|---:|---:|---|"  # of the table
)


@dataclass(frozen=True)
class Goal:
    """What is wanted of a figure: a bound, and the side of it that is good."""

    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        """Whether a figure is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {short(self.bound)}"


def at_least(bound: float) -> Goal:
    """The figure, or more of it."""
    return Goal(bound, at_least=True)


def at_most(bound: float) -> Goal:
    """The figure, or less of it."""
    return Goal(bound, at_least=False)


@dataclass(frozen=True)
class Entry:
    """One figure: the median of rounds, with the least and the greatest of them."""

    measure: str
    name: str
    value: float
    unit: str
    low: float
    high: float
    rounds: int
    goal: Goal | None = None

    @property
    def met(self) -> bool | None:
        """Whether it is as wanted; None where nothing is wanted."""
        return None if self.goal is None else self.goal.met(self.value)

    def row(self) -> str:
        """Its row of the table."""
        unit = f" {self.unit}" if self.unit else ""
        spread = f"{short(self.low)}–{short(self.high)} ({self.rounds})" if self.rounds > 1 else ""
        verdict = {None: "", True: "met", False: "**missed**"}[self.met]
        goal = "" if self.goal is None else f"{self.goal}{unit}"
        return (
            f"| {self.measure} | {self.name} | {short(self.value)}{unit} | {spread} "
            f"| {goal} | {verdict} |"
        )

    def as_json(self) -> dict[str, Any]:
        """Its object in results.json."""
        return {
            "measure": self.measure,
            "name": self.name,
            "value": self.value,
            "goal": None if self.goal is None else str(self.goal),
            "met": self.met,
            "unit": self.unit,
            "low": self.low,
            "high": self.high,
            "rounds": self.rounds,
        }


def entry(
    measure: str, name: str, rounds: Sequence[float], unit: str = "", goal: Goal | None = None
) -> Entry:
    """The figure of some rounds, or of one."""
    return Entry(
        measure, name, statistics.median(rounds), unit, min(rounds), max(rounds), len(rounds), goal
    )


def ratios(mine: Iterable[float], theirs: Iterable[float]) -> list[float]:
    """Round by round, so that what disturbs the machine disturbs both sides of a ratio."""
    return [own / other for own, other in zip(mine, theirs, strict=True)]


def quantile(values: Sequence[float], probability: float) -> float:
    """The smallest value that no more than 1 - `probability` of all are above."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(probability * len(ranked)))]


def short(value: float) -> str:
    """Three digits that count, and thousands in groups."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write_results(path: Path, entries: Iterable[Entry]) -> None:
    """Write all figures, after what they were measured on."""
    told = [
        {"measure": name, "name": name, "value": value, "goal": None, "met": None}
        for name, value in (("machine", machine()), ("versions", versions()))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    told += [each.as_json() for each in entries]
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What the figures were measured on; its load average is of the last minute of the run."""
    processors = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(": ")[2] for line in processors.splitlines() if "model name" in line]
    return {
        "system": platform.platform(),
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average": os.getloadavg()[0],
    }


def versions() -> dict[str, str]:
    """Of this repository, of Python, and of what is measured."""
    git, wrk = shutil.which("git"), shutil.which("wrk")
    commit = [git, "describe", "--always", "--dirty"] if git else ["echo"]
    # Both are asked for nothing but their names.
    described = subprocess.run(commit, capture_output=True, text=True, check=False)  # noqa: S603
    return {
        "foretick": described.stdout.strip(),
        "python": platform.python_version(),
        "load": "wrk" if wrk else "asyncio",
        **{package: version(package) for package in _PACKAGES},
    }
