"""Ten sessions of the demo exchange, watched: each forecast on the pages is the ledger's own."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foretick.prediction.v1 import prediction_pb2 as pb
from gateway import wording
from reading import words_of
from stack import Stack, Visitor, eventually
from stepping import exchange_of

SYMBOL = "ALVQ"
SESSIONS = 10
Visit = Callable[[Stack], Visitor]
STATES = {
    pb.OUTCOME_STATE_OPEN: "open",
    pb.OUTCOME_STATE_RESOLVED: "resolved",
    pb.OUTCOME_STATE_MISSED: "missed",
}


def rows_of(page: str) -> dict[int, str]:
    """The rows of the ledger on a page, as they are read, by their numbers."""
    found = re.findall(r'<tr role="row" data-row="(\d+)"[^>]*>(.*?)</tr>', page, re.DOTALL)
    return {int(number): words_of(row) for number, row in found}


def check_row(text: str, entry: pb.LedgerEntry) -> None:
    """What a row says is what the ledger says."""
    low, high = (entry.reference_close * math.exp(entry.log_moves[k]) for k in (1, 5))
    assert wording.day(entry.target_session_date) in text
    assert f"{wording.price(low)} – {wording.price(high)}" in text
    assert wording.share(entry.up_probability, 1) in text
    if entry.state == pb.OUTCOME_STATE_OPEN:
        assert "pending" in text
        return
    (outcome,) = entry.outcomes
    assert wording.price(outcome.close) in text
    assert wording.percent(100 * math.expm1(outcome.log_move)) in text
    is_inside = entry.log_moves[1] <= outcome.log_move <= entry.log_moves[5]
    assert ("inside" if is_inside else "outside") in text


def check_json(told: dict[str, Any], entry: pb.LedgerEntry) -> None:
    """What programs get is what the ledger says, to the bit."""
    assert told["number"] == entry.row_number
    assert told["hash"] == entry.row_hash
    assert told["logMoves"] == list(entry.log_moves)
    assert told["upProbability"] == entry.up_probability
    assert told["referenceClose"] == entry.reference_close
    assert told["forecastSession"] == entry.target_session_date
    assert told["state"] == STATES[entry.state]
    assert [each["logMove"] for each in told["outcomes"]] == [
        each.log_move for each in entry.outcomes
    ]


async def test_the_pages_say_what_the_ledger_says(tmp_path: Path, visitors: Visit) -> None:
    with Stack(tmp_path, QUOTE_MARKET="demo", QUOTE_CONTROL="1") as stack:
        visitor = visitors(stack)
        await visitor.register("ada@example.org")
        async with exchange_of(stack) as exchange:
            await exchange.hold()
            for _ in range(SESSIONS):
                entries = await exchange.written(SYMBOL, await exchange.step())

                async def shown(newest: int = entries[0].row_number) -> bool:
                    return newest in rows_of(await visitor.page(f"/symbols/{SYMBOL}"))

                await eventually(shown, "the new forecast on the page")
                rows = rows_of(await visitor.page(f"/symbols/{SYMBOL}"))
                assert list(rows) == [each.row_number for each in entries]
                for entry in entries:
                    check_row(rows[entry.row_number], entry)
            resolved = [each for each in entries if each.state == pb.OUTCOME_STATE_RESOLVED]
            assert len(resolved) >= SESSIONS - 1
            assert entries[0].state == pb.OUTCOME_STATE_OPEN
            told = await outlook_of(visitor, entries[0].row_number)
            for row, entry in zip(told["ledger"]["entries"], entries, strict=True):
                check_json(row, entry)
                status, text = await visitor.get(f"/ledger/{entry.row_number}")
                assert status == 200
                check_json(json.loads(text), entry)
            await check_outlook(visitor, exchange.predictions, told)
            await check_record(visitor, exchange.predictions)


async def outlook_of(visitor: Visitor, newest: int) -> Any:
    """What programs are told once the newest forecast, which the ledger has first, is served."""
    found: list[Any] = []

    async def served() -> bool:
        _, text = await visitor.get(f"/symbols/{SYMBOL}")
        found[:] = [json.loads(text)]
        return any(each["ledgerNumber"] == newest for each in found[0]["forecasts"])

    await eventually(served, "the newest forecast")
    return found[0]


async def check_outlook(visitor: Visitor, predictions: Any, told: dict[str, Any]) -> None:
    outlook = await predictions.GetSymbolOutlook(pb.GetSymbolOutlookRequest(symbol=SYMBOL))
    page = await visitor.page(f"/symbols/{SYMBOL}")
    for said, forecast in zip(told["forecasts"], outlook.forecasts, strict=True):
        prices = {round(each.probability, 2): each.price for each in forecast.quantiles}
        assert [each["price"] for each in said["quantiles"]] == list(prices.values())
        assert said["upProbability"] == forecast.up_probability
        assert said["ledgerNumber"] == forecast.ledger_number
        assert f"{wording.price(prices[0.1])} – {wording.price(prices[0.9])}" in page
        assert f"/ledger/{forecast.ledger_number}" in page


async def check_record(visitor: Visitor, predictions: Any) -> None:
    async def agree() -> bool:
        status, text = await visitor.get("/track-record")
        assert status == 200
        told = json.loads(text)
        for said in told["records"]:
            basis = pb.ScoreBasis.Value(f"SCORE_BASIS_{said['basis'].upper()}")
            asked = pb.GetTrackRecordRequest(horizon=said["horizon"], basis=basis)
            record = (await predictions.GetTrackRecord(asked)).record
            for key, name in (
                ("dates", "scored_dates"),
                ("issued", "issued"),
                ("resolved", "resolved"),
                ("unresolved", "unresolved"),
                ("missed", "missed"),
            ):
                if said[key] != getattr(record, name):
                    return False
            assert [each["value"] for each in said["skills"].values()] == [
                each.percent.value for each in record.skills
            ]
        head = (await predictions.GetLedgerHead(pb.GetLedgerHeadRequest())).head
        found = {"market": head.market_id, "rows": head.row_count, "hash": head.row_hash}
        return bool(told["head"] == found)

    # Scoring goes on beside the pages, so the two are compared until both have seen the same.
    await eventually(agree, "the same record on the page and over gRPC")
    page = words_of(await visitor.page("/track-record"))
    assert "not enough yet" in page
