"""What changes in the book, for any number of watchers."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from prediction_svc.book import Book, IssuedForecast
from prediction_svc.market import Refusal
from prediction_svc.recipe import HORIZON


class WatchingEnded(Exception):  # noqa: N818 - a state, not a fault
    """The service is stopping, and nothing is watched any longer."""


@dataclass(frozen=True)
class News:
    """What a watcher was not told yet."""

    market_id: str
    version: int
    is_snapshot: bool
    """Whether every symbol is answered."""
    answers: Mapping[str, IssuedForecast | Refusal]
    """By symbol, as the watcher wrote it."""


async def watch(
    book: Book, symbols: Sequence[str], horizon: int = HORIZON
) -> AsyncGenerator[News, None]:
    """First the answers for all `symbols`, then those that have changed since the last news.

    Another market begins anew, with the answers for all. Nothing is queued for a watcher: what it
    was told is compared with what is known now, so a slow one costs no memory and misses only what
    has been overtaken. Raises WatchingEnded.
    """
    market_id: str | None = None
    told: Mapping[str, IssuedForecast | Refusal] = {}
    while not book.ended:
        changed = book.changed  # taken first: a change while news is told ends the wait at once
        known = {asked: book.find(asked, horizon) for asked in symbols}
        is_snapshot = book.market_id != market_id
        news = {
            asked: answer for asked, answer in known.items() if is_snapshot or told[asked] != answer
        }
        market_id, told = book.market_id, known
        if news:
            yield News(market_id, book.version, is_snapshot, news)
        await changed.wait()
    raise WatchingEnded
