"""What the fake services know of symbols, the track record, the ledger and past prices."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from grpc import StatusCode

from fake_service import Fake
from foretick.prediction.v1 import prediction_pb2 as pb
from foretick.quote.v1 import quote_pb2
from foretick_rpc.convert import epoch_day, timestamp
from foretick_rpc.errors import AppError

LEVEL_MOVES = (-0.033, -0.02, -0.011, 0.0004, 0.012, 0.021, 0.034)
FIRST_DAY = date(2019, 12, 2)
HASH = "ab" * 32


def ledger_entry(number: int, symbol: str, state: int, horizon: int = 1, **more: Any) -> Any:
    """A row of the ledger; what came of it is a move of half a percent."""
    as_of = FIRST_DAY + timedelta(days=number % 28)
    entry = pb.LedgerEntry(
        row_number=number,
        row_hash=HASH,
        symbol=symbol,
        horizon=horizon,
        as_of_session_date=as_of.isoformat(),
        target_session_date=(as_of + timedelta(days=horizon)).isoformat(),
        issue_time=timestamp(datetime(2019, 12, 2, 21, 1, tzinfo=UTC)),
        deadline_time=timestamp(datetime(2019, 12, 3, 14, 30, tzinfo=UTC)),
        state=pb.OutcomeState.Name(state),  # type: ignore[arg-type]
        **more,
    )
    if state == pb.OUTCOME_STATE_MISSED:
        return entry
    entry.reference_close = 290.125 + number / 8
    entry.currency_code = "USD"
    entry.log_moves.extend(LEVEL_MOVES)
    entry.up_probability = 0.5 + number / 1000
    entry.model_version = "2019-07-01.1"
    if state in (pb.OUTCOME_STATE_RESOLVED, pb.OUTCOME_STATE_REVISED):
        add_outcome(entry, number + 1, pb.OUTCOME_STATE_RESOLVED, 0.005)
    if state == pb.OUTCOME_STATE_REVISED:
        add_outcome(entry, number + 2, pb.OUTCOME_STATE_REVISED, 0.03)
    if state == pb.OUTCOME_STATE_UNRESOLVED:
        entry.reason = "SESSION_LOST"
        entry.outcomes.add(row_number=number + 1, row_hash=HASH, state=state, reason="SESSION_LOST")
    return entry


def add_outcome(entry: Any, number: int, state: int, log_move: float) -> None:
    entry.outcome_log_move = log_move
    entry.outcomes.add(
        row_number=number,
        row_hash=HASH,
        state=state,
        record_time=timestamp(datetime(2019, 12, 3, 21, 1, tzinfo=UTC)),
        session_date=entry.target_session_date,
        close=entry.reference_close * math.exp(log_move),
        log_move=log_move,
    )


def in_every_state(symbol: str = "AAPL") -> list[Any]:
    """A row in each state that there is, and one whose close fell outside of its band."""
    missed = pb.OUTCOME_STATE_MISSED
    fell_out = ledger_entry(9, symbol, pb.OUTCOME_STATE_OPEN)
    fell_out.state = pb.OUTCOME_STATE_RESOLVED
    add_outcome(fell_out, 10, pb.OUTCOME_STATE_RESOLVED, -0.05)
    return [
        ledger_entry(25, symbol, pb.OUTCOME_STATE_OPEN),
        ledger_entry(21, symbol, missed, reason="SERVICE_AWAY"),
        ledger_entry(17, symbol, pb.OUTCOME_STATE_UNRESOLVED),
        ledger_entry(13, symbol, pb.OUTCOME_STATE_REVISED),
        fell_out,
        ledger_entry(5, symbol, pb.OUTCOME_STATE_RESOLVED),
    ]


def estimate(value: float, reach: float = 1.5) -> pb.Estimate:
    return pb.Estimate(value=value, low=value - reach, high=value + reach)


def symbol_record(symbol: str, basis: int, sessions: int) -> pb.SymbolRecord:
    score = pb.PredictScore(scored_sessions=min(sessions, 250), basis=pb.ScoreBasis.Name(basis))  # type: ignore[arg-type]
    record = pb.SymbolRecord(symbol=symbol, score=score, verdict_sessions=sessions)
    if sessions < 150:
        record.range.stands = record.direction.stands = False
        return record
    score = record.score
    score.value, score.low, score.high = 2.13, -0.2, 4.4
    record.coverage = 0.8125
    record.range.CopyFrom(pb.Verdict(stands=True, t=3.25, reviewed_sessions=300))
    record.direction.CopyFrom(pb.Verdict(stands=False, t=0.375, reviewed_sessions=300))
    record.range_skill.CopyFrom(estimate(2.0625))
    return record


def track_record(horizon: int, basis: int, dates: int) -> pb.TrackRecord:
    record = pb.TrackRecord(
        horizon=horizon,
        basis=pb.ScoreBasis.Name(basis),  # type: ignore[arg-type]
        scored_forecasts=dates * 5,
        scored_dates=dates,
    )
    if basis == pb.SCORE_BASIS_LIVE:
        record.issued, record.missed, record.resolved, record.unresolved = (
            dates * 5 + 7,
            3,
            dates * 5,
            2,
        )
    if dates:
        record.first_target_date, record.last_target_date = "2018-10-01", "2019-12-30"
    if dates < 150:
        return record
    for place, baseline in enumerate((1, 2, 3)):
        record.skills.add(baseline=baseline, percent=estimate(1.8125 - place / 4 + horizon / 16))
    record.coverage.CopyFrom(estimate(0.8046875, 0.015625))
    for said, happened in ((0.05, 0.0625), (0.1, 0.109375), (0.5, 0.515625), (0.9, 0.90625)):
        record.quantile_calibration.add(said=said, happened=happened, count=dates * 5)
    for said, happened in ((0.48, 0.484375), (0.53, 0.546875)):
        record.up_calibration.add(said=said, happened=happened, count=dates)
    if horizon == 1:
        record.range.CopyFrom(pb.Verdict(stands=True, t=4.125, reviewed_sessions=300))
        record.direction.CopyFrom(pb.Verdict(stands=False, t=1.25, reviewed_sessions=300))
        record.judged_symbols, record.range_edges, record.direction_edges = 5, 5, 1
        record.direction_edges_by_chance = 0.06
    record.coverage_alarm.CopyFrom(pb.CoverageAlarm(rings=False, mean=estimate(0.7890625, 0.0625)))
    for day in range(40):
        target = date(2019, 11, 1) + timedelta(days=day)
        record.coverage_path.add(target_date=target.isoformat(), mean=0.79 + day / 4096)
    return record


@dataclass
class FakeRecords(Fake, ABC):
    """The part of a fake prediction-svc that tells what forecasts were worth."""

    market_id: str = "csv:0001"
    closes: dict[str, float] = field(default_factory=dict)
    target: str = "2020-01-02"
    learned: bool = True
    live_sessions: int = 300
    backtest_sessions: int = 1000
    entries: list[Any] = field(default_factory=in_every_state)

    @abstractmethod
    def _forecast(self, symbol: str) -> pb.Forecast: ...

    async def GetSymbolOutlook(self, request: Any, context: Any) -> Any:
        self.note("GetSymbolOutlook")
        answer = pb.GetSymbolOutlookResponse(market_id=self.market_id)
        if request.symbol not in self.closes:
            answer.missing.symbol = request.symbol
            answer.missing.reason = "HISTORY_TOO_SHORT"
            answer.missing.message = f"{request.symbol} has 20 sessions; 30 are needed."
            return answer
        for horizon, target in ((1, self.target), (5, "2020-01-08"), (20, "2020-01-30")):
            forecast = self._forecast(request.symbol)
            forecast.horizon, forecast.target_session_date = horizon, target
            forecast.up_probability, forecast.ledger_number = 0.5078125, 25 if horizon == 1 else 0
            answer.forecasts.append(forecast)
        if self.learned:
            why = answer.explanation
            why.prediction, why.bias, why.others = -0.125, -0.25, 0.0625
            why.contributions.add(feature="|z| 5", value=1.5, contribution=0.1875)
            why.contributions.add(feature="rank of volume 1", contribution=-0.125)
        for told, basis, sessions in (
            (answer.live, pb.SCORE_BASIS_LIVE, self.live_sessions),
            (answer.backtest, pb.SCORE_BASIS_BACKTEST, self.backtest_sessions),
        ):
            if sessions:
                told.CopyFrom(symbol_record(request.symbol, basis, sessions))
        page = self._page(request.symbol, request.entry_horizon, 0, request.entry_count)
        answer.entries.extend(page.entries)
        answer.next_page_token = page.next_page_token
        return answer

    async def ListLedgerEntries(self, request: Any, context: Any) -> Any:
        self.note("ListLedgerEntries")
        before = int(request.page_token or 0)
        return self._page(request.symbol, request.horizon, before, request.page_size or 50)

    def _page(self, symbol: str, horizon: int, before: int, count: int) -> Any:
        found = [
            each
            for each in self.entries
            if symbol in ("", each.symbol)
            and horizon in (0, each.horizon)
            and (not before or each.row_number < before)
        ]
        token = str(found[count - 1].row_number) if len(found) > count else ""
        return pb.ListLedgerEntriesResponse(
            market_id=self.market_id, entries=found[:count], next_page_token=token
        )

    async def GetLedgerEntry(self, request: Any, context: Any) -> Any:
        self.note("GetLedgerEntry")
        for each in self.entries:
            rows = {each.row_number, *(outcome.row_number for outcome in each.outcomes)}
            if request.row_number in rows:
                return pb.GetLedgerEntryResponse(market_id=self.market_id, entry=each)
        message = f"the ledger of {self.market_id} has no row {request.row_number}"
        raise AppError(StatusCode.NOT_FOUND, "LEDGER_ROW_NOT_FOUND", message)

    async def GetLedgerHead(self, request: Any, context: Any) -> Any:
        self.note("GetLedgerHead")
        head = pb.LedgerHead(market_id=self.market_id, row_count=1234, row_hash=HASH)
        return pb.GetLedgerHeadResponse(head=head)

    async def GetTrackRecord(self, request: Any, context: Any) -> Any:
        self.note("GetTrackRecord")
        record = track_record(request.horizon, request.basis, self._sessions(request.basis))
        return pb.GetTrackRecordResponse(market_id=self.market_id, record=record)

    async def ListSymbolRecords(self, request: Any, context: Any) -> Any:
        self.note("ListSymbolRecords")
        sessions = self._sessions(request.basis)
        records = [symbol_record(each, request.basis, sessions) for each in sorted(self.closes)]
        return pb.ListSymbolRecordsResponse(
            market_id=self.market_id, records=records if sessions else []
        )

    def _sessions(self, basis: int) -> int:
        return self.live_sessions if basis == pb.SCORE_BASIS_LIVE else self.backtest_sessions


@dataclass
class FakeHistory(Fake, ABC):
    """The part of a fake quote-svc that knows past prices."""

    market_id: str = "csv:0001"
    prices: dict[str, float] = field(default_factory=dict)
    next_session: str = "2020-01-02"
    past_sessions: int = 300
    last_session: date = date(2019, 12, 31)

    @abstractmethod
    def _instrument(self, symbol: str) -> quote_pb2.Instrument: ...

    async def GetHistory(self, request: Any, context: Any) -> Any:
        self.note("GetHistory")
        n, end = self.past_sessions, epoch_day(self.last_session)
        price = self.prices[request.symbol]
        closes = [price * (1 + 0.05 * math.sin(k / 9)) for k in range(1 - n, 1)]
        dividends, splits = [0.0] * n, [1.0] * n
        dividends[n // 2], splits[n // 3] = 0.77, 4.0
        return quote_pb2.GetHistoryResponse(
            market_id=self.market_id,
            instrument=self._instrument(request.symbol),
            session_days=range(end - n + 1, end + 1),
            opens=[close * 0.995 for close in closes],
            highs=[close * 1.01 for close in closes],
            lows=[close * 0.99 for close in closes],
            closes=closes,
            volumes=[1_000_000.0 + k for k in range(n)],
            dividends=dividends,
            split_factors=splits,
            close_seconds=[day * 86_400 + 75_600 for day in range(end - n + 1, end + 1)],
            next_session=quote_pb2.Session(session_date=self.next_session),
            next_session_days=range(end + 2, end + 22),
            known_next_sessions=20,
            lost_session_days=[end - 100],
        )
