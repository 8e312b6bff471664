"""The whole product on the demo exchange, stepped session by session: real processes and RPCs."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick.prediction.v1.prediction_pb2_grpc import PredictionServiceStub
from foretick.quote.v1 import quote_pb2
from foretick.quote.v1.quote_pb2_grpc import MarketControlServiceStub
from foretick_rpc.client import open_channel
from foretick_rpc.convert import instant
from planted import SEEDS, SESSIONS, TURMOIL_SESSIONS, Judged, Turmoil, Verdicts
from quote_svc.demo_stocks import DELISTED, STOCKS
from quote_svc.demo_time import PAST_SESSIONS
from stack import Stack, eventually

LIVE, BACKTEST = pb.SCORE_BASIS_LIVE, pb.SCORE_BASIS_BACKTEST
LISTED = [stock for stock in STOCKS if stock.symbol != DELISTED]
SCORED_SESSIONS = 250  # that a symbol's coverage is over
RECORDED_WITHIN_SECONDS = 300.0  # a forecast may wait for a model in training
LEARNED_WITHIN_SECONDS = 300.0
Changes: TypeAlias = AsyncIterator[pb.WatchForecastsResponse]


@dataclass
class Stepped:
    """The exchange, stepped, and how far its forecasts have been written down."""

    control: MarketControlServiceStub
    predictions: PredictionServiceStub
    changes: Changes | None = None
    session: int = PAST_SESSIONS - 1
    """Index of the last that has closed."""
    written: dict[str, str] = field(default_factory=dict)
    """The last as-of session in the ledger, by symbol."""
    withheld: set[str] = field(default_factory=set)
    """Symbols whose last move, in a turmoil, is as large as a split that nobody has told of."""

    async def step(self, sessions: int = 1) -> str:
        """Close so many more sessions; the last one's date."""
        request = quote_pb2.SetClockRequest(step_sessions=sessions)
        stepped = await self.control.SetClock(request)
        self.session += sessions
        return instant(stepped.market_time).date().isoformat()

    async def recorded(self, session_date: str) -> None:
        """Wait until the forecasts of all stocks that were traded are in the ledger."""
        traded = [stock.symbol for stock in LISTED if stock.trades_in(self.session)]
        async with asyncio.timeout(RECORDED_WITHIN_SECONDS):
            while not {s for s in traded if self.written.get(s) != session_date} <= self.withheld:
                news = await self._news()
                for each in news.forecasts:
                    self.withheld.discard(each.symbol)
                    if each.ledger_number:
                        self.written[each.symbol] = each.as_of_session_date
                for refused in news.missing:
                    if refused.reason == "CORPORATE_ACTION_PENDING":
                        self.withheld.add(refused.symbol)

    async def _news(self) -> pb.WatchForecastsResponse:
        """What has changed; a stream that has ended begins again with all that was missed."""
        while True:
            if self.changes is None:
                symbols = [stock.symbol for stock in LISTED]
                request = pb.WatchForecastsRequest(symbols=symbols)
                self.changes = aiter(self.predictions.WatchForecasts(request))
            try:
                return await anext(self.changes)
            except AioRpcError as error:
                # A service ends each connection after some minutes.
                if error.code() is not StatusCode.UNAVAILABLE:
                    raise
                self.changes = None

    async def record(self, *, scored: str) -> pb.TrackRecord:
        """The live record, once the outcomes of a session are in it."""

        async def there() -> pb.TrackRecord | None:
            record = (await self.predictions.GetTrackRecord(pb.GetTrackRecordRequest())).record
            return record if record.last_target_date == scored else None

        record = await eventually(there, f"the score of {scored}")
        assert record is not None
        return record

    async def counted(self) -> pb.TrackRecord:
        """The live record, once each forecast so far is in it as issued or as missed."""
        days = range(PAST_SESSIONS - 1, self.session + 1)
        forecasts = sum(stock.trades_in(day) for stock in LISTED for day in days)

        async def there() -> pb.TrackRecord | None:
            record = (await self.predictions.GetTrackRecord(pb.GetTrackRecordRequest())).record
            return record if record.issued + record.missed == forecasts else None

        record = await eventually(there, f"a record of {forecasts} forecasts")
        assert record is not None
        return record

    async def verdicts(self, basis: pb.ScoreBasis.ValueType) -> Verdicts:
        """What is said of each stock."""
        request = pb.ListSymbolRecordsRequest(page_size=1000, basis=basis)
        listed = await self.predictions.ListSymbolRecords(request)
        return Verdicts([_judged(each) for each in listed.records])


def _judged(record: pb.SymbolRecord) -> Judged:
    assert record.HasField("coverage"), record
    sessions = min(record.score.scored_sessions, SCORED_SESSIONS)
    directed, sharper = record.direction.stands, record.range.stands
    return Judged(record.symbol, sessions, record.coverage, directed, sharper)


@asynccontextmanager
async def stepped(folder: Path, **settings: str) -> AsyncIterator[Stepped]:
    """The product on a demo exchange that is held, once models forecast and it was backtested."""
    with Stack(folder, QUOTE_MARKET="demo", QUOTE_CONTROL="1", **settings) as stack:
        token = stack.environment["FORETICK_SERVICE_TOKEN"]
        controls = quote_pb2.DESCRIPTOR.services_by_name["MarketControlService"]
        services = pb.DESCRIPTOR.services_by_name["PredictionService"]
        quotes, forecasts = stack.target("quote-svc"), stack.target("prediction-svc")
        async with (
            open_channel(quotes, service_token=token, service=controls) as to_quotes,
            open_channel(forecasts, service_token=token, service=services) as to_predictions,
        ):
            control = MarketControlServiceStub(to_quotes)
            await control.SetClock(quote_pb2.SetClockRequest(hold=True))
            predictions = PredictionServiceStub(to_predictions)

            async def learned() -> bool:
                status = await predictions.GetModelStatus(pb.GetModelStatusRequest())
                idle = status.training_state == pb.TRAINING_STATE_IDLE
                return idle and status.HasField("model")

            await eventually(learned, "models that answer", LEARNED_WITHIN_SECONDS)
            yield Stepped(control, predictions)


def say(capsys: pytest.CaptureFixture[str], *lines: str) -> None:
    with capsys.disabled():
        print("\n  ".join(("", *lines)))


async def through_turmoil(market: Stepped) -> Turmoil:
    means, rings = [], []
    for _ in range(TURMOIL_SESSIONS):
        session_date = await market.step()
        await market.recorded(session_date)
        alarm = (await market.record(scored=session_date)).coverage_alarm
        means.append(alarm.mean.value)
        rings.append(alarm.rings)
    return Turmoil(means, rings)


async def check_ledger(market: Stepped) -> None:
    verified = await market.predictions.VerifyLedger(pb.VerifyLedgerRequest(), timeout=300)
    assert not verified.fault, verified.fault


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_record_finds_what_is_planted_and_nothing_else(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"DEMO_SEED": str(seed), "DEMO_TURMOIL_AFTER": str(SESSIONS)}
    async with stepped(tmp_path, **settings) as market:
        begin = time.monotonic()
        for _ in range(SESSIONS):
            session_date = await market.step()
            await market.recorded(session_date)
        took = (time.monotonic() - begin) / SESSIONS
        record = await market.counted()
        assert (record.missed, record.last_target_date) == (0, session_date)
        await check_ledger(market)
        live, backtest = [await market.verdicts(basis) for basis in (LIVE, BACKTEST)]
        say(
            capsys,
            f"seed {seed}, {SESSIONS} sessions of {took:.2f} s, live: {record.summary}",
            *live.lines(),
            "backtest:",
            *backtest.lines(),
        )
        turmoil = await through_turmoil(market)
        say(capsys, *turmoil.lines())
    live.check()
    turmoil.check()


async def test_sessions_that_pass_too_fast_are_named_as_missed(tmp_path: Path) -> None:
    jumps: Sequence[int] = (1, 20, 1, 7, 1)
    async with stepped(tmp_path) as market:
        for sessions in jumps:
            session_date = await market.step(sessions)
            await market.recorded(session_date)
        record = await market.counted()
        # What was skipped was seen for a moment each, so some of it may be written down after all.
        skipped = sum(jumps) - len(jumps)
        assert (skipped - 2) * len(LISTED) <= record.missed <= skipped * len(LISTED)
        await check_ledger(market)
