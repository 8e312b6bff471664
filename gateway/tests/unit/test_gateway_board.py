from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import pytest

from gateway.board import UNSEEN_SECONDS, Board, Entry
from gateway.model import Forecast, Forecasts, Quote, Quotes, Reason, Score
from gateway.watchlist import OTHER_MARKET, PENDING

NOW = datetime(2019, 12, 31, 21, 0, tzinfo=UTC)
DOWN = Reason("UNAVAILABLE", "quote-svc can't be reached at the moment.")
UNKNOWN = Reason("SYMBOL_NOT_FOUND", "There is no symbol NONE.")


def quotes(market_id: str = "csv:1", *, version: int = 1, **prices: float) -> Quotes:
    found = {
        symbol: Quote(
            symbol, symbol, "USD", 2, price, NOW, 1.0, "2019-12-31", "open", None, version=version
        )
        for symbol, price in prices.items()
    }
    return Quotes(market_id, NOW, found)


def forecasts(*symbols: str, market_id: str = "csv:1", version: int = 1) -> Forecasts:
    score = Score(None, None, None, 0, None)
    found = {
        symbol: Forecast(
            symbol, "2019-12-31", "2020-01-02", False, 1.0, "USD", 2, (), None, None, "", score
        )
        for symbol in symbols
    }
    return Forecasts(market_id, found, version=version)


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board(clock, lambda: NOW)


def prices(board: Board, *symbols: str) -> list[float | None]:
    rows = [board.row(entry) for entry in board.look(symbols)]
    return [row.quote.price if row.quote else None for row in rows]


def test_what_is_looked_at_first_is_wanted_once(board: Board) -> None:
    wanted: list[Sequence[str]] = []
    board.wanted.append(wanted.append)
    board.look(["AAPL", "MSFT"])
    board.look(["MSFT", "XOM"])
    board.look(["AAPL"])
    assert wanted == [["AAPL", "MSFT"], ["XOM"]]


def test_what_nobody_has_answered_for_is_pending(board: Board) -> None:
    (entry,) = board.look(["AAPL"])
    row = board.row(entry)
    assert (row.price_reason, row.forecast_reason) == (PENDING, PENDING)
    assert board.is_pending(entry)
    board.take_quotes(quotes(AAPL=1.5))
    assert board.is_pending(entry)
    board.take_forecasts(forecasts("AAPL"))
    assert not board.is_pending(entry)
    assert prices(board, "AAPL") == [1.5]


def test_of_two_quotes_the_later_version_counts(board: Board) -> None:
    board.look(["AAPL"])
    board.take_quotes(quotes(AAPL=2.0, version=5))
    board.take_quotes(quotes(AAPL=1.0, version=4))
    assert prices(board, "AAPL") == [2.0]
    board.take_quotes(quotes(AAPL=1.0, version=4), overrule=True)
    assert prices(board, "AAPL") == [1.0]


def test_of_two_forecasts_the_later_version_counts(board: Board) -> None:
    (entry,) = board.look(["AAPL"])
    board.take_forecasts(forecasts("AAPL", version=5))
    board.take_forecasts(Forecasts("csv:1", missing={"AAPL": UNKNOWN}, version=4))
    assert board.row(entry).forecast
    board.take_forecasts(Forecasts("csv:1", missing={"AAPL": UNKNOWN}, version=6))
    assert board.row(entry).forecast_reason == UNKNOWN


def test_each_change_is_numbered_and_told_once(board: Board) -> None:
    told: list[list[str]] = []

    def tell(entries: Iterable[Entry]) -> None:
        told.append([entry.symbol for entry in entries])

    board.listeners.append(tell)
    apple, microsoft = board.look(["AAPL", "MSFT"])
    board.take_quotes(quotes(AAPL=1.0, MSFT=2.0, version=1))
    apple.drawn["en"] = microsoft.drawn["en"] = "rendered"
    before = board.number
    board.take_quotes(quotes(AAPL=1.0, MSFT=3.0, version=2))
    assert told[-1] == ["MSFT"]
    assert (apple.changed <= before, microsoft.changed) == (True, board.number)
    assert (apple.drawn, microsoft.drawn) == ({"en": "rendered"}, {})
    board.take_quotes(quotes(AAPL=1.0, MSFT=3.0, version=3))
    assert (told[-1], board.number) == ([], microsoft.changed)


def test_what_nobody_looks_at_leaves(board: Board, clock: Clock) -> None:
    board.look(["AAPL", "MSFT"])
    clock.seconds = UNSEEN_SECONDS - 1
    board.look(["MSFT"])
    clock.seconds = UNSEEN_SECONDS + 1
    board.forget_unseen()
    assert list(board.entries) == ["MSFT"]
    board.take_quotes(quotes(AAPL=1.0))
    assert list(board.entries) == ["MSFT"], "nothing comes back that nobody looks at"


def test_another_market_clears_what_was_of_the_first(board: Board) -> None:
    apple, microsoft = board.look(["AAPL", "MSFT"])
    board.take_quotes(quotes(AAPL=1.0, MSFT=2.0, version=9))
    board.take_forecasts(forecasts("AAPL", "MSFT", version=9))
    board.take_quotes(quotes("csv:2", AAPL=7.0, version=1))
    assert prices(board, "AAPL", "MSFT") == [7.0, None]
    for entry in (apple, microsoft):
        assert board.row(entry).forecast_reason == OTHER_MARKET
    assert board.row(microsoft).price_reason == PENDING
    board.take_forecasts(forecasts("AAPL", market_id="csv:2", version=1))
    assert board.row(apple).forecast
    assert board.row(microsoft).forecast_reason == PENDING


def test_a_service_that_goes_leaves_what_it_told(board: Board) -> None:
    apple, new = board.look(["AAPL", "NEW"])
    board.take_quotes(quotes(AAPL=1.0))
    board.take_forecasts(forecasts("AAPL", "NEW"))
    board.lost(board.quotes, DOWN)
    assert (board.quotes.reason, board.quotes.since) == (DOWN, NOW)
    assert prices(board, "AAPL") == [1.0]
    assert board.row(new).price_reason == DOWN
    assert not board.is_pending(new), "nobody waits for a service that is away"
    programs = board.rows_for_programs([apple, new])
    assert [(row.quote, row.price_reason) for row in programs] == [(None, DOWN)] * 2
    assert all(row.forecast for row in programs)
    board.heard(board.quotes)
    assert (board.quotes.reason, board.quotes.since) == (None, None)
    assert board.is_pending(new)
