"""What keeps the board up to date, over streams that a test scripts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import pytest

from gateway import feeding
from gateway.board import Board
from gateway.feeding import Feed
from gateway.model import Quote, Quotes
from gateway.problems import RequestError

NOW = datetime(2019, 12, 31, 21, 0, tzinfo=UTC)
DOWN = RequestError(503, "UNAVAILABLE", "quote-svc can't be reached at the moment.")


def quotes(symbols: Sequence[str], price: float, version: int) -> Quotes:
    found = {
        symbol: Quote(
            symbol, symbol, "USD", 2, price, NOW, 1.0, "2019-12-31", "open", None, version=version
        )
        for symbol in symbols
    }
    return Quotes("csv:1", NOW, found)


class Stage:
    """A service: what it answers, whether it is there, and all streams that were opened."""

    def __init__(self) -> None:
        self.price, self.version = 1.0, 10
        self.is_down = False
        self.opened: list[list[str]] = []
        self.open: list[list[str]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.changed = asyncio.Event()

    async def watch(self, symbols: Sequence[str]) -> AsyncIterator[Quotes]:
        self.opened.append(list(symbols))
        if self.is_down:
            raise DOWN
        self.open.append(list(symbols))
        try:
            await self.may_answer.wait()
            while True:
                yield quotes(symbols, self.price, self.version)
                await self.changed.wait()
                if self.is_down:
                    raise DOWN
        finally:
            self.open.remove(list(symbols))

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Fed:
    """A board that a stage feeds."""

    def __init__(self, stage: Stage) -> None:
        self.board = Board(lambda: self.seconds, lambda: NOW)
        self.seconds = 0.0
        self.feed = Feed[Quotes](
            self.board, self.board.quotes, stage.watch, self.board.take_quotes, lambda _: 0.0
        )
        self.board.wanted.append(self.feed.want)

    def prices(self, *symbols: str) -> list[float | None]:
        rows = [self.board.row(entry) for entry in self.board.look(symbols)]
        return [row.quote.price if row.quote else None for row in rows]


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(200):
        await asyncio.sleep(0)


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
async def fed(stage: Stage) -> AsyncIterator[Fed]:
    fed = Fed(stage)
    running = asyncio.create_task(fed.feed.run())
    await settled()
    yield fed
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await settled()
    assert stage.open == [], "no stream outlives its feed"


async def test_symbols_are_fetched_and_watched_by_one_stream(fed: Fed, stage: Stage) -> None:
    fed.board.look(["AAPL", "MSFT"])
    fed.board.look(["MSFT"])
    await settled()
    assert stage.opened == [["AAPL", "MSFT"]]
    assert fed.prices("AAPL", "MSFT") == [1.0, 1.0]
    stage.price, stage.version = 2.0, 11
    stage.tell()
    await settled()
    assert fed.prices("AAPL", "MSFT") == [2.0, 2.0]
    assert len(stage.opened) == 1


async def test_what_is_asked_for_during_slow_answers_goes_together(
    fed: Fed, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "MOST_OPENING", 2)
    stage.may_answer.clear()
    for symbol in "ABCDE":
        fed.board.look([symbol])
        await settled()
    assert stage.opened == [["A"], ["B"]]
    stage.may_answer.set()
    await settled()
    assert stage.opened[2:] == [["C", "D", "E"]]
    assert fed.prices(*"ABCDE") == [1.0] * 5


async def test_a_stream_takes_no_more_symbols_than_the_contract(fed: Fed, stage: Stage) -> None:
    symbols = [f"S{number}" for number in range(1200)]
    fed.board.look(symbols)
    await settled()
    assert [len(each) for each in stage.opened] == [500, 500, 200]
    assert set(fed.prices(*symbols)) == {1.0}


async def test_small_streams_become_one(fed: Fed, stage: Stage) -> None:
    for symbol in "ABCDEFG":
        fed.board.look([symbol])
        await settled()
    assert len(stage.open) <= feeding.MOST_SMALL
    assert sorted(symbol for each in stage.open for symbol in each) == list("ABCDEFG")


async def test_what_is_not_looked_at_is_let_go(fed: Fed, stage: Stage) -> None:
    fed.board.look(["A", "B", "C"])
    await settled()
    fed.seconds = 400.0
    fed.board.look(["B"])
    fed.board.forget_unseen()
    fed.feed.tidy()
    await settled()
    assert stage.open == [["B"]]
    fed.seconds = 800.0
    fed.board.forget_unseen()
    fed.feed.tidy()
    await settled()
    assert stage.open == []
    assert not fed.feed.is_watching


async def test_what_was_let_go_is_fetched_again(fed: Fed, stage: Stage) -> None:
    fed.board.look(["A", "B", "C", "D"])
    await settled()
    fed.seconds = 400.0
    fed.board.look(["A", "B", "C"])
    fed.board.forget_unseen()
    fed.feed.tidy()
    fed.board.look(["D"])
    await settled()
    assert fed.prices("D") == [1.0]


async def test_a_replica_that_is_replaced_is_not_noticed(fed: Fed, stage: Stage) -> None:
    fed.board.look(["AAPL"])
    await settled()
    lost: list[object] = []
    fed.board.listeners.append(lambda _: lost.append(fed.board.quotes.reason))
    stage.is_down = True
    stage.tell()
    stage.is_down = False
    await settled()
    assert not any(lost)
    assert fed.prices("AAPL") == [1.0]


async def test_an_outage_keeps_what_is_known_and_ends_by_itself(fed: Fed, stage: Stage) -> None:
    fed.board.look(["AAPL"])
    await settled()
    stage.is_down = True
    stage.tell()
    await settled()
    assert fed.board.quotes.reason is not None
    assert fed.board.quotes.reason.reason == "UNAVAILABLE"
    assert fed.prices("AAPL", "NEW") == [1.0, None]
    # What comes back may count its versions from the beginning.
    stage.price, stage.version, stage.is_down = 3.0, 1, False
    await settled()
    assert fed.board.quotes.reason is None
    assert fed.prices("AAPL", "NEW") == [3.0, 3.0]


async def test_a_service_that_never_answers_is_given_up(
    fed: Fed, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "FIRST_ANSWER_SECONDS", 0.0)
    stage.may_answer.clear()
    fed.board.look(["AAPL"])
    await settled()
    assert fed.board.quotes.reason is not None
    assert fed.board.quotes.reason.message == "quote-svc did not answer in time."
