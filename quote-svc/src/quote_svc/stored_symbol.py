"""What is kept of one symbol beside its bars."""

from dataclasses import dataclass
from datetime import datetime

from quote_svc.market import RECENT_CLOSES, Bars
from quote_svc.source import SourceInstrument, SourceQuote

_TAIL = 2


@dataclass(frozen=True)
class Gap:
    """A session whose bar the source lost: `day` since 1970-01-01, why, and when to ask again.

    `retry_at` is in seconds since the epoch; None once nothing more is expected.
    """

    day: int
    reason: str
    tries: int
    retry_at: float | None


@dataclass(frozen=True)
class TailBar:
    """One of the last bars; `day` since 1970-01-01, `close_seconds` since the epoch."""

    day: int
    close_seconds: int
    low: float
    high: float
    close: float
    volume: float


@dataclass(frozen=True)
class Provenance:
    """Where the bars come from: when, on which adjusted basis, and what was found wrong."""

    fetched_at: datetime
    adjusted_basis: int
    gaps: tuple[Gap, ...]
    checks: tuple[str, ...]


@dataclass(frozen=True)
class StoredSymbol:
    """One symbol: its facts, its bars' provenance and end, and its latest price.

    `answered_at` is when the source last answered for it, `asked_at` when people last asked.
    `pushed_at` is when it last pushed a price, `failure` why it fails now, empty where it doesn't.
    `version` rises with every change of all this but `asked_at`, in steps of two or more.
    `recent_closes` are those of the last bars, oldest first.
    `unknown_since` is when the source began to deny a symbol that it had before, and
    `unknown_days` on how many days it has confirmed that.
    """

    instrument: SourceInstrument
    provenance: Provenance
    sessions: int
    tail: tuple[TailBar, ...]
    quote: SourceQuote | None
    answered_at: datetime
    asked_at: datetime | None = None
    unknown_since: datetime | None = None
    unknown_days: int = 0
    pushed_at: datetime | None = None
    failure: str = ""
    version: int = 0
    recent_closes: tuple[float, ...] = ()

    @property
    def heard_at(self) -> datetime:
        """When the source was last heard of the symbol."""
        return max(self.answered_at, self.pushed_at or self.answered_at)

    @property
    def last_day(self) -> int | None:
        """The day of the last bar, since 1970-01-01."""
        return self.tail[-1].day if self.tail else None


def tail_of(bars: Bars) -> tuple[TailBar, ...]:
    """The last bars, oldest first."""
    return tuple(
        TailBar(
            int(bars.session_days[row]),
            int(bars.close_seconds[row]),
            float(bars.lows[row]),
            float(bars.highs[row]),
            float(bars.closes[row]),
            float(bars.volumes[row]),
        )
        for row in range(max(len(bars) - _TAIL, 0), len(bars))
    )


def recent_closes_of(bars: Bars) -> tuple[float, ...]:
    """The closes of the last bars, oldest first."""
    return tuple(bars.closes[-RECENT_CLOSES:].tolist())
