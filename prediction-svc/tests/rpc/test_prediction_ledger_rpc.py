"""The ledger as callers see it, from the first forecast to its outcome."""

import math
from pathlib import Path
from typing import Any

import grpc
import pytest

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick_rpc.errors import app_error

Fixture = Any


def written_down(forecast: pb.Forecast) -> bool:
    return forecast.ledger_number > 0


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = app_error(caught.value)
    return error.code, error.metadata["field"]


async def test_a_forecast_is_written_down_and_gets_its_outcome(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture
) -> None:
    quotes.holiday = False
    async with serve_quotes() as market, serve_predictions(market.port) as predictions:
        stub = predictions.stub
        told = await predictions.until(written_down)
        published = (await stub.GetLedgerHead(pb.GetLedgerHeadRequest())).head
        assert (published.market_id, published.row_count) == ("demo:1", 3 * 6)

        quotes.hidden = 1
        later = await predictions.until(
            lambda each: written_down(each) and each.ledger_number != told.ledger_number
        )
        answer = await stub.ListLedgerEntries(pb.ListLedgerEntriesRequest(symbol="s0"))
        newest, oldest = (entry for entry in answer.entries if entry.horizon == 1)
        assert (newest.row_number, oldest.row_number) == (later.ledger_number, told.ledger_number)
        assert newest.state == pb.OUTCOME_STATE_OPEN
        assert not newest.HasField("outcome_log_move")
        assert oldest.state == pb.OUTCOME_STATE_RESOLVED
        assert oldest.issue_time == told.issue_time
        assert oldest.target_session_date == told.target_session_date
        assert oldest.up_probability == told.up_probability
        closes = quotes.histories["S0"].closes
        move = closes[-2] / closes[-3]
        assert oldest.outcome_log_move == pytest.approx(math.log(move))

        head = f"{published.row_hash}@{published.row_count}"
        sound = await stub.VerifyLedger(pb.VerifyLedgerRequest(expected_head=head))
        # Six of three horizons, the outcomes of one, and seven: one more symbol has enough bars.
        assert (sound.fault, sound.head.row_count) == ("", 3 * 6 + 6 + 3 * 7)
        wrong = await stub.VerifyLedger(pb.VerifyLedgerRequest(expected_head="0" * 64))
        assert wrong.fault


async def test_every_row_of_the_ledger_can_be_had(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture
) -> None:
    quotes.holiday = False
    async with serve_quotes() as market, serve_predictions(market.port) as predictions:
        first = await predictions.until(written_down)
        quotes.hidden = 1
        await predictions.until(lambda each: each.ledger_number > first.ledger_number)
        stub = predictions.stub
        listed = (await stub.ListLedgerEntries(pb.ListLedgerEntriesRequest(page_size=500))).entries
        assert len(listed) == 3 * 6 + 3 * 7
        assert {each.symbol for each in listed} >= {f"S{i}" for i in range(6)}
        (resolved,) = (e for e in listed if e.row_number == first.ledger_number)
        (outcome,) = resolved.outcomes
        assert outcome.state == pb.OUTCOME_STATE_RESOLVED
        assert outcome.log_move == resolved.outcome_log_move
        assert outcome.session_date == resolved.target_session_date
        assert outcome.close == pytest.approx(resolved.reference_close * math.exp(outcome.log_move))
        for number in (resolved.row_number, outcome.row_number):
            answer = await stub.GetLedgerEntry(pb.GetLedgerEntryRequest(row_number=number))
            assert (answer.market_id, answer.entry) == ("demo:1", resolved)
        fives = await stub.ListLedgerEntries(pb.ListLedgerEntriesRequest(horizon=5))
        assert list(fives.entries) == [each for each in listed if each.horizon == 5]

        outlook = await stub.GetSymbolOutlook(
            pb.GetSymbolOutlookRequest(symbol="S0", entry_count=1, entry_horizon=1)
        )
        own = [each for each in listed if each.symbol == "S0" and each.horizon == 1]
        assert list(outlook.entries) == own[:1]
        rest = await stub.ListLedgerEntries(
            pb.ListLedgerEntriesRequest(symbol="S0", horizon=1, page_token=outlook.next_page_token)
        )
        assert list(rest.entries) == own[1:]
        for number in (0, 10_000):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetLedgerEntry(pb.GetLedgerEntryRequest(row_number=number))
            assert app_error(caught.value).reason == "LEDGER_ROW_NOT_FOUND"


async def test_entries_come_in_pages(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture
) -> None:
    quotes.holiday = False
    async with serve_quotes() as market, serve_predictions(market.port) as predictions:
        first = await predictions.until(written_down)
        quotes.hidden = 1
        await predictions.until(lambda each: each.ledger_number > first.ledger_number)
        request = pb.ListLedgerEntriesRequest(symbol="S0", page_size=1)
        numbers = []
        while True:
            page = await predictions.stub.ListLedgerEntries(request)
            numbers += [entry.row_number for entry in page.entries]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert len(numbers) == 2 * 3
        assert numbers == sorted(numbers, reverse=True)


async def test_bad_input_is_named(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture
) -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    async with serve_quotes() as market, serve_predictions(market.port) as predictions:
        stub, entries = predictions.stub, pb.ListLedgerEntriesRequest
        bad = {
            "symbol": stub.ListLedgerEntries(entries(symbol="two words")),
            "page_size": stub.ListLedgerEntries(entries(symbol="S0", page_size=501)),
            "page_token": stub.ListLedgerEntries(entries(symbol="S0", page_token="1 OR 1")),
            "horizon": stub.ListLedgerEntries(entries(symbol="S0", horizon=2)),
            "entry_count": stub.GetSymbolOutlook(
                pb.GetSymbolOutlookRequest(symbol="S0", entry_count=501)
            ),
            "entry_horizon": stub.GetSymbolOutlook(
                pb.GetSymbolOutlookRequest(symbol="S0", entry_count=1, entry_horizon=3)
            ),
            "expected_head": stub.VerifyLedger(pb.VerifyLedgerRequest(expected_head="zz")),
        }
        for field, call in bad.items():
            assert await refused(call) == (invalid, field)


async def test_the_same_bars_make_the_same_models_and_the_same_ledger(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture, tmp_path: Path
) -> None:
    quotes.holiday = False
    heads, models = [], []
    async with serve_quotes() as market:
        for name in ("one", "other"):
            quotes.hidden = 2
            url = f"sqlite:///{tmp_path / name}.db"
            async with serve_predictions(market.port, url) as predictions:
                first = await predictions.until(written_down)
                assert first.model_version
                quotes.hidden = 1
                number = first.ledger_number
                await predictions.until(lambda each, number=number: each.ledger_number > number)
                stub = predictions.stub
                heads.append((await stub.GetLedgerHead(pb.GetLedgerHeadRequest())).head)
                listed = (await stub.ListModels(pb.ListModelsRequest())).models
                models.append([model.model_version for model in listed])
    assert heads[0] == heads[1]
    assert models[0] == models[1]  # a version names the hash of the model's bytes
    assert len(models[0]) == 4
