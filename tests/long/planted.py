"""What the demo exchange has planted in its stocks, and what an honest record may say of them.

`figures` are of one seed. Where a limit is one of chance it is the binomial's at 99 %; of many
symbols' coverages each has its share of the 1 % (Bonferroni).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quote_svc.demo_stocks import STOCKS, Process

SESSIONS = 300
"""Sessions that are stepped before the verdicts are read."""
TURMOIL_SESSIONS = 126
"""Sessions after that, within which coverage must be what was promised again."""
SEEDS = (7, 11, 23)
LEAST_FOUND = 0.9
"""Share of the stocks with planted direction whose direction must be found."""
FALSE_VERDICTS = 0.012
"""Share of stocks without an edge that a verdict may stand for after 300 sessions."""
COVERAGE = 0.8
PROMISED = (0.75, 0.85)
"""Where coverage over 63 sessions belongs."""
SURE = 0.99
_PROCESS: Mapping[str, Process] = {stock.symbol: stock.process for stock in STOCKS}


@dataclass(frozen=True)
class Judged:
    """What is said of one symbol."""

    symbol: str
    sessions: int
    """That its coverage is over."""
    coverage: float
    direction: bool
    sharper: bool


def most_by_chance(count: int, chance: float) -> int:
    """So many of `count` at most come by chance, at 99 %."""
    return _quantile(count, chance, SURE)


def coverage_limits(sessions: int, symbols: int) -> tuple[float, float]:
    """Within these a symbol's coverage stays by chance, all symbols' together at 99 %."""
    tail = (1 - SURE) / symbols / 2
    low, high = (_quantile(sessions, COVERAGE, share) for share in (tail, 1 - tail))
    return low / sessions, high / sessions


def _quantile(count: int, chance: float, share: float) -> int:
    """The smallest number of successes that is not exceeded with probability `share`."""
    total = 0.0
    for successes in range(count + 1):
        total += (
            math.comb(count, successes) * chance**successes * (1 - chance) ** (count - successes)
        )
        if total >= share:
            return successes
    return count


@dataclass(frozen=True)
class Verdicts:
    """How many stocks of each process have which verdict, and how far coverages go."""

    judged: Sequence[Judged]

    def of(self, *processes: Process) -> list[Judged]:
        """Those of some processes."""
        return [each for each in self.judged if _PROCESS[each.symbol] in processes]

    @property
    def outside(self) -> list[str]:
        """Symbols whose coverage chance does not explain."""
        outside = []
        for each in self.judged:
            low, high = coverage_limits(each.sessions, len(self.judged))
            if not low <= each.coverage <= high:
                outside.append(f"{each.symbol} {each.coverage:.1%} of {each.sessions}")
        return outside

    def lines(self) -> list[str]:
        """The figures for people."""
        lines = []
        for process in Process:
            own = self.of(process)
            directions, ranges = sum(e.direction for e in own), sum(e.sharper for e in own)
            covered = [each.coverage for each in own]
            lines.append(
                f"{process.name.lower():14} {len(own)} stocks: direction {directions}, "
                f"range {ranges}, coverage {min(covered):.1%} to {max(covered):.1%}"
            )
        return [*lines, f"coverage beyond chance: {', '.join(self.outside) or 'none'}"]

    def check(self) -> None:
        """Fail where one of them is not what was planted."""
        told = "\n".join(self.lines())
        learnable, steady = self.of(Process.AUTOREGRESSIVE), self.of(Process.STEADY)
        walks = self.of(Process.STEADY, Process.VARYING)
        assert len(learnable) == len(steady) == 20, told
        assert len(walks) >= 39, told
        assert sum(each.direction for each in learnable) >= LEAST_FOUND * len(learnable), told
        false_directions = sum(each.direction for each in walks)
        assert false_directions <= most_by_chance(len(walks), FALSE_VERDICTS), told
        false_ranges = sum(each.sharper for each in steady)
        assert false_ranges <= most_by_chance(len(steady), FALSE_VERDICTS), told
        assert not self.outside, told


@dataclass(frozen=True)
class Turmoil:
    """The mean coverage of 63 sessions after each session of the turmoil, and whether it rang."""

    means: Sequence[float]
    rings: Sequence[bool]

    def lines(self) -> list[str]:
        """The figures for people."""
        rung = [day for day, rings in enumerate(self.rings, start=1) if rings]
        when = f"rings {len(rung)} times, first {rung[0]}, last {rung[-1]}" if rung else "is silent"
        return [
            f"turmoil: the alarm {when} (sessions into it); coverage of 63 sessions at its lowest "
            f"{min(self.means):.1%}, at its highest {max(self.means):.1%}, after "
            f"{len(self.means)} sessions {self.means[-1]:.1%}"
        ]

    def check(self) -> None:
        """Fail where it did not ring, or where coverage does not come back."""
        told = "\n".join(self.lines())
        assert len(self.means) == TURMOIL_SESSIONS, told
        assert any(self.rings), told
        assert PROMISED[0] <= self.means[-1] <= PROMISED[1], told
